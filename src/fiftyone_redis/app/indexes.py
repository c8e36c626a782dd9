"""Describes the Redis indexes of a dataset without loading them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import fiftyone.brain as fob

from fiftyone_redis import settings
from fiftyone_redis.backend import RedisSimilarityConfig
from fiftyone_redis.connection.client import Client
from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.engine.inventory import estimate_memory
from fiftyone_redis.engine.protocol import index_info
from fiftyone_redis.errors import (
    FiftyOneRedisError,
    IndexNotFoundError,
    InputError,
    format_count,
)


@dataclass(frozen=True)
class IndexSummary:
    """The description of an index, for the panel.

    Args:
        brain_key: the key of the brain run
        index_name: the name of the index on the server
        patches_field: the field whose patches are indexed; None for an index of samples
        documents: the number of vectors; None if it cannot be read
        memory: the estimated bytes of the index and its documents; None if it cannot be read
        algorithm: for instance ``"FLAT"``, or ``"HNSW (m 32, ef 200/400)"``
        dtype: the type of its values
        dim: the dimension of its vectors
        metric: "cosine", "dotproduct" or "euclidean"
        model: the name of the model that computed the vectors; None if unknown
        field: the field that the vectors came from; None if unknown
        server_name: the name of the index behind the alias; it changes with each rebuild
        takes_prompts: whether it can be searched with text prompts
        stored_fields: the fields that are stored beside the vectors
        problem: what is wrong and what to do; None if all is well
    """

    brain_key: str
    index_name: str
    patches_field: str | None
    documents: int | None
    memory: int | None
    algorithm: str
    dtype: str
    dim: int | None
    metric: str
    model: str | None
    field: str | None
    server_name: str
    takes_prompts: bool
    stored_fields: tuple[str, ...]
    problem: str | None = None

    @property
    def things(self) -> str:
        """What is indexed: "samples" or "patches"."""
        return name_things(self)


def name_things(config: Any) -> str:
    """Returns what an index is of: ``"samples"`` or ``"patches"``.

    Args:
        config: the config of the run, or whatever else has its ``patches_field``
    """
    return "samples" if config.patches_field is None else "patches"


def count_things(count: int, config: Any) -> str:
    """Formats a count of what an index is of: ``"1,797 samples"``, ``"1 patch"``."""
    one = "sample" if config.patches_field is None else "patch"
    return format_count(count, one, name_things(config))


def open_client(start: bool = False) -> Client:
    """Connects with the settings of the brain config, which all indexes share.

    Args:
        start (False): whether to start the private server if it is to be used and is stopped

    Raises:
        ServerStoppedError: if the private server is to be used, but is stopped and not started
        FiftyOneRedisError: if no server answers, or it cannot be used
    """
    config = RedisSimilarityConfig()
    config.load_credentials()
    return settings.open_client(config.connection, start)


def list_runs(dataset: Any) -> dict[str, Any]:
    """Returns the configs of the dataset's runs of this backend, by brain key."""
    keys = dataset.list_brain_runs(type=fob.Similarity)
    configs = {key: dataset.get_brain_info(key).config for key in keys}
    return {key: c for key, c in configs.items() if isinstance(c, RedisSimilarityConfig)}


def fetch_summaries(dataset: Any, client: Client) -> list[IndexSummary]:
    """Describes the dataset's indexes.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        client: a client from :func:`open_client`

    Raises:
        ConnectionFailedError: if the server does not answer
    """
    return [_summary(key, config, client) for key, config in list_runs(dataset).items()]


def load_to_show(dataset: Any, brain_key: str) -> Any:
    """Loads an index to show facts about it; see :func:`load`. Starts no server, unlike that one.

    Raises:
        ServerStoppedError: if the private server is to be used, but is stopped
    """
    open_client().close()
    return load(dataset, brain_key)


def load(dataset: Any, brain_key: str) -> Any:
    """Loads an index, and starts the private server if need be, as FiftyOne does.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        brain_key: its brain key

    Raises:
        InputError: if the dataset has no such run of this backend
        FiftyOneRedisError: if the server or the index cannot be used
    """
    known = list_runs(dataset)
    if brain_key not in known:
        raise InputError(
            f"The dataset has no Redis index {brain_key!r}; it has "
            f"{', '.join(map(repr, known)) or 'none'}. Choose one of these, or refresh the panel."
        )
    index = dataset.load_brain_results(brain_key)
    if index is not None and not index.total_index_size:
        # FiftyOne caches loaded results, which miss that the index was dropped since.
        dataset.clear_cache()
        index = dataset.load_brain_results(brain_key)
    if index is None:
        raise InputError(
            f"Creating the index {brain_key!r} was interrupted; drop it, and create it again."
        )
    return index


def _summary(brain_key: str, config: Any, client: Client) -> IndexSummary:
    """Describes an index, from its run if it is not on the server."""
    said = IndexSummary(
        brain_key,
        config.index_name,
        config.patches_field,
        None,
        None,
        config.algorithm,
        config.dtype,
        None,
        config.metric,
        config.model,
        config.embeddings_field,
        config.index_name,
        bool(config.supports_prompts),
        tuple(name for name, _ in config.stored_fields),
    )
    try:
        return _read(said, config, client)
    except IndexNotFoundError:
        problem = (
            f"The index {config.index_name!r} is not on the server. Index missing samples to fill "
            "it again, or drop it."
        )
    except FiftyOneRedisError as error:
        problem = str(error)
    return IndexSummary(**{**vars(said), "problem": problem})


def _read(said: IndexSummary, config: Any, client: Client) -> IndexSummary:
    index: VectorIndex = config.open_index(client)
    info, schema = index.info(), index.schema
    documents = index_info.read_documents(info)
    failures = int(info.get("hash_indexing_failures", 0))
    algorithm = schema.algorithm
    if algorithm == "HNSW":
        algorithm = f"HNSW (m {schema.m}, ef {schema.ef_construction}/{schema.ef_runtime})"
    problem = None
    if failures:
        problem = (
            f"The server could not index {format_count(failures, 'document')} of "
            f"{said.index_name!r}: wrong vectors. Remove stale vectors, or rebuild the index."
        )
    read = {
        "documents": documents,
        "memory": estimate_memory(client, info),
        "algorithm": algorithm,
        "dtype": schema.dtype,
        "dim": schema.dim,
        "metric": schema.metric,
        "server_name": schema.server_name,
        "problem": problem,
    }
    return IndexSummary(**{**vars(said), **read})
