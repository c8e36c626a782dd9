"""The similarity backend: the three classes that FiftyOne loads, on top of the engine.

The path of this module is saved in users' databases with every brain run; it never moves. FiftyOne
looks for all three classes in the one module; what an index does is in ``similarity/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fiftyone.brain.similarity import (
    DuplicatesMixin,
    SimilarityConfig,
    SimilarityIndex,
)

from fiftyone_redis import settings
from fiftyone_redis.connection.client import Client
from fiftyone_redis.engine import Attribute, Schema, VectorIndex
from fiftyone_redis.engine.protocol.requirements import require_support
from fiftyone_redis.engine.schema.options import OPTIONS, UNREPORTED
from fiftyone_redis.errors import (
    IndexNotFoundError,
    SettingsError,
    list_unknown,
)
from fiftyone_redis.similarity.adding import AddingMixin
from fiftyone_redis.similarity.option_keywords import (
    check_timeout,
    document_options,
    refuse_unknown,
    take_options,
)
from fiftyone_redis.similarity.progress import bar as progress_bar
from fiftyone_redis.similarity.queries import AGGREGATIONS, NeighborsMixin
from fiftyone_redis.similarity.registration import RegistrationMixin
from fiftyone_redis.similarity.sharing import refuse_if_shared
from fiftyone_redis.similarity.stored_embeddings import EmbeddingsMixin
from fiftyone_redis.similarity.stored_fields import RequestedFields, StoredField, parse_fields
from fiftyone_redis.similarity.sync import SyncResult, sync

_FIELD_SETTINGS = ("vector_field", "id_field")
_REBUILD_SETTINGS = (*(name for name, each in OPTIONS.items() if each.can_rebuild), "storage")


@document_options
class RedisSimilarityConfig(SimilarityConfig):
    """Configuration of the Redis similarity backend.

    The settings apply to a new index; an existing index keeps its own.

    Args:
        index_name (None): the name of the Redis index to use or create. By default, a new name is
            derived from the names of the dataset and the brain run
        {options}
        vector_field (None): the field of the documents that holds the vector, ``"vector"`` by
            default. An existing index needs it only if it has several vector fields
        id_field (None): the field of the documents that holds the sample or label ID. By default,
            the documents' keys hold the ID
        sample_id_field (None): in an index of patches, the field of the documents that holds the
            sample ID, ``"sample_id"`` by default
        query_timeout (None): the server's time limit for a query in seconds, 30 by default
        attributes (None): sample fields to store beside the vectors, for other programs to filter
            by: a list of field names, and of pairs of a field name and ``"TAG"``, ``"TEXT"`` or
            ``"NUMERIC"``
        **kwargs: connection settings, any of
            :class:`~fiftyone_redis.connection.parameters.Parameters` (``url``, ``host``, ``port``,
            ``username``, ``password``, ``ssl``, ``sentinels`` and more), which are never saved; and
            keyword arguments for :class:`fiftyone.brain.similarity.SimilarityConfig`

    Raises:
        SettingsError: if a parameter is unknown, or its value is not supported
    """

    @take_options
    def __init__(
        self,
        options: Mapping[str, Any],
        index_name: str | None = None,
        vector_field: str | None = None,
        id_field: str | None = None,
        sample_id_field: str | None = None,
        query_timeout: float | None = None,
        attributes: Any = None,
        **kwargs: Any,
    ) -> None:
        # No setting: saved while nothing was ever added to the index.
        is_empty = bool(kwargs.pop("is_empty", False))
        connection = {name: kwargs.pop(name, None) for name in settings.NAMES}
        refuse_unknown(type(self), kwargs)
        super().__init__(**kwargs)

        self.index_name = index_name
        self.is_empty = is_empty
        for name, value in options.items():
            setattr(self, name, value)
        self.vector_field = vector_field
        self.id_field = id_field
        self.sample_id_field = sample_id_field
        self.query_timeout = query_timeout
        self.schema(1, () if sample_id_field is None else (sample_id_field,))
        check_timeout(query_timeout)

        # Not named attributes, since every FiftyOne config has a method of that name.
        self._stored_fields = parse_fields(attributes)

        # Private, so that FiftyOne does not save it in the run.
        self._connection = settings.read(connection)

    @property
    def method(self) -> str:
        """The name under which FiftyOne looks up credentials."""
        return "redis"

    @property
    def max_k(self) -> int | None:
        """The largest supported k: None, as there is no limit."""
        return None

    @property
    def supports_least_similarity(self) -> bool:
        """Whether ``reverse=True`` is supported."""
        return True

    @property
    def supported_aggregations(self) -> tuple[str, ...]:
        """The supported values of ``aggregation``."""
        return ("mean", *AGGREGATIONS)

    @property
    def stored_fields(self) -> RequestedFields:
        """The fields stored beside the vectors, each with its kind: the keyword ``attributes``."""
        return self._stored_fields

    def record_stored_fields(self, fields: Sequence[StoredField]) -> None:
        """Records which fields are stored beside the vectors."""
        self._stored_fields = tuple((field.path, field.kind) for field in fields)

    def serialize(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Returns the dict saved in the run; see :meth:`eta.core.serial.Serializable.serialize`."""
        saved: dict[str, Any] = super().serialize(*args, **kwargs)
        if self._stored_fields:
            saved["attributes"] = [list(field) for field in self._stored_fields]
        if not self.is_empty:
            saved.pop("is_empty", None)
        return saved

    def schema(
        self, dim: int, tags: tuple[str, ...] = (), attributes: tuple[Attribute, ...] = ()
    ) -> Schema:
        """Returns the definition of a new index.

        Args:
            dim: the dimension of the vectors
            tags: the TAG fields to write and read with every vector
            attributes: the fields for other programs to filter by

        Raises:
            SettingsError: if a setting is not supported
            InputError: if the dimension is out of range
        """
        given = {name: getattr(self, name) for name in (*OPTIONS, *_FIELD_SETTINGS)}
        known = {name: value for name, value in given.items() if value is not None}
        name = "unnamed" if self.index_name is None else self.index_name
        return Schema(name, dim, tags=tags, attributes=attributes, **known)

    def open_index(self, client: Client, tags: Sequence[str] | None = None) -> VectorIndex:
        """Opens the index of the run, with the settings that only the run knows.

        Args:
            client: a client from :func:`~fiftyone_redis.connection.client.connect`
            tags (None): the tags to read with every vector; all by default

        Raises:
            FiftyOneRedisError: if there is no such index, or it cannot be used
        """
        index = VectorIndex.open(
            client,
            self.index_name or "",
            vector_field=self.vector_field,
            id_field=self.id_field,
            tags=tags,
        )
        index.timeout = self.query_timeout
        noted = {name: getattr(self, name) for name in UNREPORTED}
        known = {name: value for name, value in noted.items() if value is not None}
        index.schema = replace(index.schema, **known)
        return index

    @property
    def connection(self) -> settings.Parameters:
        """The connection settings; never saved."""
        return self._connection

    def load_credentials(self, **kwargs: Any) -> None:
        """Sets the connection settings from arguments; None means the brain config's value.

        Args:
            **kwargs: any of :class:`~fiftyone_redis.connection.parameters.Parameters`

        Raises:
            SettingsError: if a name or value is not supported, or settings conflict
        """
        configured = settings.drop_replaced(settings.configured(), kwargs)
        given = {
            name: configured.get(name) if kwargs.get(name) is None else kwargs[name]
            for name in (*settings.NAMES, *kwargs)
        }
        self._connection = settings.read(given)


class RedisSimilarity(RegistrationMixin):
    """Factory of Redis similarity indexes.

    Args:
        config: a :class:`RedisSimilarityConfig`
    """

    def ensure_requirements(self) -> None:
        """Connects and checks that the server supports the index, before FiftyOne registers a run.

        Raises:
            UnsupportedServerError: if it does not support such an index
            FiftyOneRedisError: if it cannot be used at all
        """
        with self._close_on_failure():
            require_support(self.open_client(), self.config.schema(1))

    def initialize(self, samples: Any, brain_key: str | None) -> RedisSimilarityIndex:
        """Returns the index of a new run.

        Args:
            samples: a :class:`fiftyone.core.collections.SampleCollection`
            brain_key: the brain key

        Raises:
            FiftyOneRedisError: if the index cannot be used
        """
        with self._close_on_failure():
            return RedisSimilarityIndex(samples, self.config, brain_key, backend=self)


class RedisSimilarityIndex(AddingMixin, EmbeddingsMixin, NeighborsMixin):
    """A Redis similarity index.

    Args:
        samples: the :class:`fiftyone.core.collections.SampleCollection` used
        config: the :class:`RedisSimilarityConfig` used
        brain_key: the brain key
        backend (None): a :class:`RedisSimilarity` instance

    Raises:
        FiftyOneRedisError: if the server or the index cannot be used
    """

    def __init__(
        self,
        samples: Any,
        config: RedisSimilarityConfig,
        brain_key: str | None,
        backend: RedisSimilarity | None = None,
    ) -> None:
        SimilarityIndex.__init__(self, samples, config, brain_key, backend=backend)
        DuplicatesMixin.__init__(self)
        # FiftyOne passes a backend only for a new run, not when it loads one.
        self._is_new = backend is not None
        self._unfinished = self._is_new
        self._is_created = False
        self._dataset = samples._root_dataset
        self._text_client: Client | None = None
        self._redis = self.backend.open_client()
        self._index: VectorIndex | None = None
        self._fields: tuple[StoredField, ...] = ()
        self._open_or_name()

    @property
    def client(self) -> Client:
        """A ``redis.Redis`` or ``redis.RedisCluster`` client that decodes replies to text."""
        if self._text_client is None:
            self._text_client = self._redis.open_decoding_client()
        return self._text_client

    @property
    def total_index_size(self) -> int:
        """The number of embeddings in the index; 0 if there is no index yet."""
        try:
            return len(self._open_index())
        except IndexNotFoundError:
            return 0

    def add_to_index(
        self,
        embeddings: Any,
        sample_ids: Any,
        label_ids: Any = None,
        overwrite: bool = True,
        allow_existing: bool = True,
        warn_existing: bool = False,
        reload: bool = True,
        progress: Any = None,
    ) -> None:
        """Adds embeddings to the index, and creates the index if it does not exist yet.

        Args:
            embeddings: a ``num_embeddings x num_dims`` array of embeddings
            sample_ids: a ``num_embeddings`` array of sample IDs
            label_ids (None): a ``num_embeddings`` array of label IDs, if applicable
            overwrite (True): whether to replace (True) or ignore (False) existing embeddings of
                the same sample/label IDs
            allow_existing (True): whether to raise an error (False) when an ID already exists
            warn_existing (False): whether to log a warning if an ID already exists
            reload (True): whether to call :meth:`reload` after the update
            progress (None): whether to render a progress bar (True/False), use the default value
                ``fiftyone.config.show_progress_bars`` (None), or a progress callback function

        Raises:
            InputError: if the embeddings or IDs are invalid; nothing is written
            FiftyOneRedisError: if the server refuses them
        """
        existing = (overwrite, allow_existing, warn_existing)
        try:
            with self._registered_unless_it_fails():
                self._add(embeddings, sample_ids, label_ids, progress, *existing)
        finally:
            self._clear_cache()
        if reload:
            self.reload()

    def sync(
        self,
        dry_run: bool = False,
        batch_size: int | None = None,
        num_workers: int | None = None,
        skip_failures: bool = True,
        progress: Any = None,
    ) -> SyncResult:
        """Brings the index in step with its dataset.

        Embeds the samples or patches that are new, and those whose file or box was replaced, and
        uploads each batch while the next one is embedded; removes what is in no dataset any more;
        updates the stored fields. If it is interrupted, the next call goes on from there.

        Vectors come from the run's embeddings field, or else from its model.

        Args:
            dry_run (False): whether to only tell what would be done
            batch_size (None): how many samples the model takes at once
            num_workers (None): the number of workers that load images, for models of PyTorch
            skip_failures (True): whether to go on if a sample cannot be embedded
            progress (None): whether to render a progress bar (True/False), use the default value
                ``fiftyone.config.show_progress_bars`` (None), or a progress callback function

        Returns:
            a :class:`~fiftyone_redis.similarity.sync.SyncResult`, which prints what was done

        Raises:
            InputError: if something is missing, and the run has neither a field nor a model
            FiftyOneRedisError: if the index is gone, or the server refuses
        """
        return sync(
            self,
            dry_run,
            progress,
            batch_size=batch_size,
            num_workers=num_workers,
            skip_failures=skip_failures,
        )

    def rebuild(self, progress: Any = None, force: bool = False, **changes: Any) -> None:
        """Rebuilds the index with other settings, from the embeddings in Redis.

        The old index answers searches until the new one is complete. After an interruption the old
        index still works, and the rebuild can be repeated.

        Args:
            progress (None): whether to render a progress bar (True/False), use the default value
                ``fiftyone.config.show_progress_bars`` (None), or a progress callback function
            force (False): whether to rebuild an index that other brain runs use, for all of them
            **changes: any of ``metric``, ``algorithm``, ``dtype`` and the settings of the
                algorithms; see :class:`RedisSimilarityConfig`. Also ``storage="HASH"``, which
                converts the JSON documents of FiftyOne's own backend to HASHes, which are faster

        Raises:
            SettingsError: if a value is not supported
            IndexInUseError: if other brain runs use the index, unless ``force`` is True
            InputError: if embeddings do not fit the new data type or metric; nothing changes
            FiftyOneRedisError: if there is no index, or the server refuses
        """
        unknown = changes.keys() - set(_REBUILD_SETTINGS)
        if unknown:
            raise SettingsError(
                f"Cannot rebuild with {list_unknown(unknown, _REBUILD_SETTINGS)}; use "
                f"{', '.join(_REBUILD_SETTINGS)}."
            )
        index = self._open_index()
        if not force:
            refuse_if_shared(self, "rebuild(force=True) rebuilds it for all of them.")
        with progress_bar(len(index), progress, "Indexing") as bar:
            index.rebuild(bar.update, **changes)
        self._record_options(index.schema)
        if self.config.id_field is not None:
            self.config.id_field = index.schema.id_field
        if self.config.vector_field is not None:
            self.config.vector_field = index.schema.vector_name
        self.save_config()
        self._clear_cache()

    def cleanup(self, force: bool = False) -> None:
        """Deletes the index and its embeddings from the server, if they exist.

        Args:
            force (False): whether to delete an index that other brain runs use, for all of them

        Raises:
            IndexInUseError: if other brain runs use the index, unless ``force`` is True
            FiftyOneRedisError: if the server refuses
        """
        if not force:
            refuse_if_shared(
                self,
                "delete_brain_run() alone leaves it to them; cleanup(force=True) deletes it for "
                "all of them.",
            )
        try:
            self._open_index().drop()
        except IndexNotFoundError:
            VectorIndex.remove_leftovers(self._redis, self.config.index_name)
        self._index = None
        self._clear_cache()

    @classmethod
    def _from_dict(
        cls, d: dict[str, Any], samples: Any, config: RedisSimilarityConfig, brain_key: str
    ) -> RedisSimilarityIndex:
        del d
        return cls(samples, config, brain_key)
