"""When a run is registered in FiftyOne's database: with its first vectors, and not before.

FiftyOne registers a run, embeds, adds the embeddings and saves the results. Here the first step
only checks the key, so embeddings that fail leave nothing behind. Adding registers the run, and
undoes all of it if it fails or is interrupted. A process that is killed meanwhile leaves a run
without results, whose place the next run of the same key takes. A lease, which the process renews,
tells a run that is being computed from one that was left behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import fiftyone.core.odm as foo
from bson import ObjectId
from fiftyone.brain.similarity import Similarity

from fiftyone_redis import CONFIG_CLS, settings
from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.engine.lifecycle import lease
from fiftyone_redis.engine.protocol import commands
from fiftyone_redis.errors import InputError
from fiftyone_redis.log import get_logger
from fiftyone_redis.similarity.index_users import find_run_id

_PATIENCE = lease.EXPIRY + 1.0  # seconds after which a lease that is still held is renewed
_POLL = 0.1

logger = get_logger(__name__)


class RegistrationMixin(Similarity):
    """The part of the backend that connects, and registers runs."""

    _client: Client | None = None
    _pending: tuple[Callable[[], None], Any, str, bool] | None = None

    @property
    def is_registered(self) -> bool:
        """Whether the run is in FiftyOne's database, if it has a key."""
        return self._pending is None

    def register_run(
        self, samples: Any, key: str | None, overwrite: bool = True, cleanup: bool = True
    ) -> None:
        """Checks that a run can be registered, which :meth:`register_now` does.

        Args:
            samples: a :class:`fiftyone.core.collections.SampleCollection`
            key: the brain key
            overwrite (True): whether to replace an existing run
            cleanup (True): whether to clean up after a run that is replaced

        Raises:
            ValueError: if the key is invalid or taken
            InputError: if another process is computing the run
        """
        if key is None:
            return
        with self._close_on_failure():
            if isinstance(key, str) and key.isidentifier():  # others are refused below
                _take_over(self.open_client(), samples, key)
            self.validate_run(samples, key, overwrite=overwrite)
        register = partial(super().register_run, samples, key, overwrite, cleanup)
        self._pending = register, samples, key, overwrite

    def register_now(self) -> None:
        """Registers the run, if that is still to be done.

        Raises:
            ValueError: if the key was taken in the meantime
        """
        if self._pending is None:
            return
        register, samples, key, overwrite = self._pending
        # FiftyOne does not mind two processes that register the same key at the same moment.
        with lease.hold(self.open_client(), f"runs-{samples._root_dataset._doc.id}-{key}"):
            _reload_runs(samples, key)
            self.validate_run(samples, key, overwrite=overwrite)
            self._pending = None
            register()

    @classmethod
    def save_run_results(cls, samples: Any, key: str, run_results: Any, **kwargs: Any) -> None:
        """Saves results; see :meth:`fiftyone.core.runs.BaseRun.save_run_results`."""
        if run_results is None:
            super().save_run_results(samples, key, run_results, **kwargs)
            return
        with run_results._registered_unless_it_fails():
            super().save_run_results(samples, key, run_results, **kwargs)
        run_results._unfinished = False

    def open_client(self) -> Client:
        """Returns the run's client; the first call connects.

        Raises:
            FiftyOneRedisError: if no server answers, or it cannot be used
        """
        if self._client is None:
            self._client = settings.open_client(self.config.connection)
        return self._client

    @contextmanager
    def _close_on_failure(self) -> Iterator[None]:
        """Closes the client if the ``with`` block fails."""
        with ExitStack() as undo:
            undo.callback(self.close)
            yield
            undo.pop_all()

    def close(self) -> None:
        """Closes the run's client, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


@contextmanager
def hold_run(client: Client, run: ObjectId | None) -> Iterator[None]:
    """Holds the lease of a run that is being computed.

    Args:
        client: a client of the server
        run: the id of the run's document; None for a run that is not saved
    """
    if run is None:
        yield
        return
    with lease.hold(client, _lease_name(run)):
        yield


def _take_over(client: Client, samples: Any, key: str) -> None:
    """Deletes a run that was left unfinished.

    Raises:
        InputError: if another process is computing it
    """
    run = _reload_runs(samples, key)
    found = foo.get_db_conn()["runs"].find_one({"_id": run}, {"config.cls": 1, "results": 1})
    if not found or found.get("results") is not None or found["config"].get("cls") != CONFIG_CLS:
        return
    _refuse_living(client, found["_id"], key)
    logger.warning("The run %r was not finished; it is replaced", key)
    Similarity.delete_run(samples, key, cleanup=False)


def _reload_runs(samples: Any, key: str) -> ObjectId | None:
    """Reads from the database which run has a key, and returns the id of its document."""
    doc = samples._root_dataset._doc
    field = f"brain_methods.{key}"
    found = foo.get_db_conn()["datasets"].find_one({"_id": doc.id}, {field: 1}) or {}
    reference = found.get("brain_methods", {}).get(key)
    run: ObjectId | None = getattr(reference, "id", reference)
    if run != find_run_id(doc, key):
        doc.reload("brain_methods")
    return run


def _refuse_living(client: Client, run: ObjectId, key: str) -> None:
    """Raises an :class:`InputError` if the lease of a run is renewed; waits to see that."""
    deadline = time.monotonic() + _PATIENCE
    while (owner := client.execute("GET", commands.lease_key(_lease_name(run)))) is not None:
        if time.monotonic() > deadline:
            raise InputError(
                f"Another process ({wire.to_text(owner).rpartition(':')[0]}) is computing the run "
                f"{key!r} now; wait until it is done, or choose another brain key."
            )
        time.sleep(_POLL)


def _lease_name(run: ObjectId) -> str:
    return f"run-{run}"
