"""The similarity backend: FiftyOne's contract, answered by the engine. No ``FT.*`` strings here.

The path of this module is saved in users' databases with every brain run; it never moves.
"""

from __future__ import annotations

import inspect
import logging
import uuid
from collections.abc import Sequence
from typing import Any

import fiftyone.core.utils as fou
import numpy as np
import redis
from fiftyone.brain.similarity import (
    DuplicatesMixin,
    Similarity,
    SimilarityConfig,
    SimilarityIndex,
)

from fiftyone_redis import settings
from fiftyone_redis.engine import Neighbors, Schema, VectorIndex, codec, connection, exact
from fiftyone_redis.engine.errors import (
    FiftyOneRedisError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
    SettingsError,
    some,
)
from fiftyone_redis.engine.schema import ALGORITHMS, METRICS, check_choice, check_name
from fiftyone_redis.neighbors import AGGREGATIONS, aggregated
from fiftyone_redis.views import SAMPLE_ID, ViewSubset

# FiftyOne shows what its own loggers say.
logger = logging.getLogger("fiftyone." + __name__)

_BASE_PARAMETERS = frozenset(inspect.signature(SimilarityConfig).parameters) - {"kwargs"}


class RedisSimilarityConfig(SimilarityConfig):
    """Configuration of the Redis similarity backend.

    Args:
        index_name (None): the name of the Redis index to use or create. If none is provided, a
            new name is made from the names of the dataset and the brain run
        metric (None): the metric of a new index, ``"cosine"`` by default. Supported values are
            ``("cosine", "dotproduct", "euclidean")``. An index that exists keeps its own
        algorithm (None): the search algorithm of a new index, ``"FLAT"`` by default. Supported
            values are ``("FLAT", "HNSW")``. An index that exists keeps its own
        url (None): ``redis://``, ``rediss://`` or ``unix://``, in the place of the following
        host (None): the server's name or address, ``"localhost"`` by default
        port (None): its TCP port, 6379 by default
        db (None): its database; only 0 can be indexed
        username (None): the user to log in as
        password (None): that user's password
        **kwargs: keyword arguments for :class:`fiftyone.brain.similarity.SimilarityConfig`

    Raises:
        SettingsError: if a parameter is unknown, or its value is not supported
    """

    def __init__(
        self,
        index_name: str | None = None,
        metric: str | None = None,
        algorithm: str | None = None,
        url: str | None = None,
        host: str | None = None,
        port: int | None = None,
        db: int | None = None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> None:
        # FiftyOne would save what it does not know in the run, secrets included.
        unknown = sorted(kwargs.keys() - _BASE_PARAMETERS)
        if unknown:
            raise SettingsError(
                f"Unknown parameters of the redis backend: {', '.join(unknown)}; check their names."
            )
        if index_name is not None:
            check_name(index_name)
        if metric is not None:
            check_choice("metric", metric, tuple(METRICS))
        if algorithm is not None:
            check_choice("algorithm", algorithm, ALGORITHMS)

        super().__init__(**kwargs)

        self.index_name = index_name
        self.metric = metric
        self.algorithm = algorithm

        # Private, so that FiftyOne does not save them in the run.
        self._connection = {
            "url": url,
            "host": host,
            "port": port,
            "db": db,
            "username": username,
            "password": password,
        }
        settings.read(self._connection)

    @property
    def method(self) -> str:
        """The name under which FiftyOne looks up credentials."""
        return "redis"

    @property
    def max_k(self) -> int | None:
        """The largest supported k: none."""
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
    def connection(self) -> settings.Settings:
        """How to reach the server; never saved."""
        return settings.read(self._connection)

    def load_credentials(
        self,
        url: str | None = None,
        host: str | None = None,
        port: int | None = None,
        db: int | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        """Takes the connection from these arguments, and from the brain config where they are None.

        Raises:
            SettingsError: if a value is not supported, or they are in conflict
        """
        given = {
            "url": url,
            "host": host,
            "port": port,
            "db": db,
            "username": username,
            "password": password,
        }
        configured = _brain_config()
        self._connection = {
            name: configured.get(name) if value is None else value for name, value in given.items()
        }
        settings.read(self._connection)


class RedisSimilarity(Similarity):
    """Factory of Redis similarity indexes.

    Args:
        config: a :class:`RedisSimilarityConfig`
    """

    def ensure_requirements(self) -> None:
        """Makes sure that the server can be used, before FiftyOne registers a run.

        Raises:
            FiftyOneRedisError: if it cannot
        """
        settings.open_client(self.config.connection).close()

    def initialize(self, samples: Any, brain_key: str | None) -> RedisSimilarityIndex:
        """Returns the index of a new run.

        Args:
            samples: a :class:`fiftyone.core.collections.SampleCollection`
            brain_key: the brain key

        Raises:
            FiftyOneRedisError: if the index cannot be used; the run is unregistered then
        """
        try:
            index = RedisSimilarityIndex(samples, self.config, brain_key, backend=self)
        except FiftyOneRedisError:
            if brain_key is not None:
                self.delete_run(samples, brain_key, cleanup=False)
            raise
        index._unfinished = True
        return index

    @classmethod
    def save_run_results(cls, samples: Any, key: str, run_results: Any, **kwargs: Any) -> None:
        """Saves results; see :meth:`fiftyone.core.runs.BaseRun.save_run_results`."""
        super().save_run_results(samples, key, run_results, **kwargs)
        if run_results is not None:
            run_results._unfinished = False


class RedisSimilarityIndex(SimilarityIndex, DuplicatesMixin):
    """A Redis similarity index.

    Args:
        samples: the :class:`fiftyone.core.collections.SampleCollection` used
        config: the :class:`RedisSimilarityConfig` used
        brain_key: the brain key
        backend (None): a :class:`RedisSimilarity` instance

    Raises:
        FiftyOneRedisError: if the server or the index cannot be used
    """

    # Set while FiftyOne's own constructor runs, which uses them before ours can set them.
    _id_columns: tuple[Any, Any] | None = None
    _points: Any = None

    def __init__(
        self,
        samples: Any,
        config: RedisSimilarityConfig,
        brain_key: str | None,
        backend: RedisSimilarity | None = None,
    ) -> None:
        SimilarityIndex.__init__(self, samples, config, brain_key, backend=backend)
        DuplicatesMixin.__init__(self)
        self._unfinished = False
        self._text_client: redis.Redis | None = None
        self._redis = settings.open_client(config.connection)
        self._index: VectorIndex | None = None
        self._open_or_name()

    @property
    def client(self) -> redis.Redis:
        """A ``redis.Redis`` client of the server, whose replies are text."""
        if self._text_client is None:
            self._text_client = connection.decoding(self._redis)
        return self._text_client

    @property
    def sample_ids(self) -> Any:
        """The sample ids of the whole index, sorted; in a patch index one for each patch."""
        return self._indexed_ids()[0]

    @property
    def label_ids(self) -> Any:
        """The label ids of the whole index, sorted; None in an index of samples."""
        return self._indexed_ids()[1]

    @property
    def total_index_size(self) -> int:
        """The number of embeddings in the index; 0 while there is no index yet."""
        try:
            return len(self._existing_index())
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
    ) -> None:
        """Adds embeddings to the index, and makes the index when it does not exist yet.

        Args:
            embeddings: a ``num_embeddings x num_dims`` array of embeddings
            sample_ids: a ``num_embeddings`` array of sample IDs
            label_ids (None): a ``num_embeddings`` array of label IDs, if applicable
            overwrite (True): whether to replace (True) or ignore (False) existing embeddings of
                the same sample/label IDs
            allow_existing (True): whether to raise an error (False) when an ID already exists
            warn_existing (False): whether to log a warning if an ID already exists
            reload (True): whether to call :meth:`reload` after the update

        Raises:
            InputError: if anything is wrong with the embeddings or IDs; nothing is written then
            FiftyOneRedisError: if the server cannot take them
        """
        try:
            self._add(embeddings, sample_ids, label_ids, overwrite, allow_existing, warn_existing)
        except FiftyOneRedisError:
            self._unregister_unfinished_run()
            raise
        finally:
            self._forget()
        if reload:
            self.reload()

    def remove_from_index(
        self,
        sample_ids: Any = None,
        label_ids: Any = None,
        allow_missing: bool = True,
        warn_missing: bool = False,
        reload: bool = True,
    ) -> None:
        """Removes embeddings from the index.

        Args:
            sample_ids (None): an array of sample IDs; in a patch index, all of their patches
            label_ids (None): an array of label IDs, if applicable; sample IDs are ignored then
            allow_missing (True): whether to raise an error (False) when an ID is not in the index
            warn_missing (False): whether to log a warning if an ID is not in the index
            reload (True): whether to call :meth:`reload` after the update

        Raises:
            InputError: if IDs are missing and ``allow_missing`` is False; nothing is removed then
            FiftyOneRedisError: if there is no index, or the server cannot do it
        """
        index = self._existing_index()
        if sample_ids is None and label_ids is None:
            raise InputError("Nothing to remove was named; provide sample_ids or label_ids.")
        ids = self._ids(index, sample_ids, label_ids, allow_missing, warn_missing)
        if not allow_missing or warn_missing:
            found = index.existing(ids)
            _report_missing([id for id in ids if id not in found], allow_missing, warn_missing)
        index.remove(ids)
        self._forget()
        if reload:
            self.reload()

    def get_embeddings(
        self,
        sample_ids: Any = None,
        label_ids: Any = None,
        allow_missing: bool = True,
        warn_missing: bool = False,
    ) -> tuple[Any, Any, Any]:
        """Retrieves embeddings, all of them if no IDs are provided.

        Args:
            sample_ids (None): a sample ID or list of sample IDs
            label_ids (None): a label ID or list of label IDs; sample IDs are ignored then
            allow_missing (True): whether to raise an error (False) when an ID is not in the index
            warn_missing (False): whether to log a warning if an ID is not in the index

        Returns:
            a tuple of:

            -   a ``num_embeddings x num_dims`` array of embeddings
            -   a ``num_embeddings`` array of sample IDs
            -   a ``num_embeddings`` array of label IDs, if applicable, or else ``None``

        Raises:
            InputError: if IDs are missing and ``allow_missing`` is False
            FiftyOneRedisError: if there is no index, or the server cannot be read
        """
        index = self._existing_index()
        if sample_ids is None and label_ids is None:
            ids = list(index.ids())
        else:
            ids = self._ids(index, sample_ids, label_ids, allow_missing, warn_missing)
        found = index.fetch(ids)
        if len(found.ids) < len(ids):
            there = set(found.ids)
            _report_missing([id for id in ids if id not in there], allow_missing, warn_missing)
        if self.config.patches_field is None:
            return found.vectors, _id_array(found.ids), None
        return found.vectors, _id_array(found.tags[SAMPLE_ID]), _id_array(found.ids)

    def sort_by_similarity(
        self,
        query: Any,
        k: int | None = None,
        reverse: bool = False,
        aggregation: str = "mean",
        dist_field: str | None = None,
        _mongo: bool = False,
    ) -> Any:
        """Returns a view sorted by similarity to a query.

        See :meth:`fiftyone.brain.similarity.SimilarityIndex.sort_by_similarity`.
        """
        in_labels = self.config.patches_field is not None and not self.view._is_patches
        if dist_field is not None and in_labels:
            # FiftyOne 1.22 fails when it is to store the distances of labels outside of a patches
            # view, with every backend; they are stored here.
            query = self._parse_query(query)
            _, label_ids, dists = self._kneighbors(query, k, reverse, aggregation, True)
            _, path = self.view._get_label_field_path(self.config.patches_field, dist_field)
            distances = dict(zip(label_ids, dists, strict=True))
            self.view.set_label_values(path, distances, dynamic=True)
            dist_field = None
        return super().sort_by_similarity(
            query,
            k=k,
            reverse=reverse,
            aggregation=aggregation,
            dist_field=dist_field,
            _mongo=_mongo,
        )

    def cleanup(self) -> None:
        """Deletes the index and its embeddings from the server, if they are there."""
        try:
            self._existing_index().drop()
        except IndexNotFoundError:
            logger.debug("The index %s does not exist", self.config.index_name)
        self._index = None
        self._forget()

    def use_view(
        self, samples: Any, allow_missing: bool = True, warn_missing: bool = False
    ) -> RedisSimilarityIndex:
        """Restricts the index to a view.

        See :meth:`fiftyone.brain.similarity.SimilarityIndex.use_view`.
        """
        self._forget()
        super().use_view(samples, allow_missing=allow_missing, warn_missing=warn_missing)
        return self

    def _kneighbors(
        self,
        query: Any = None,
        k: int | None = None,
        reverse: bool = False,
        aggregation: str | None = None,
        return_dists: bool = False,
    ) -> Any:
        if aggregation is not None:
            check_choice("aggregation", aggregation, self.config.supported_aggregations)
        index = self._existing_index()
        if query is None:
            return self._neighbors_of_all(k, reverse, aggregation, return_dists)

        queries, query_ids, single = self._query_vectors(index, query)
        if aggregation == "mean":
            queries, single = queries.mean(axis=0, keepdims=True), True
        if aggregation in AGGREGATIONS:
            single = True
            found = [
                aggregated(
                    index,
                    queries,
                    query_ids,
                    aggregation,
                    k,
                    within=self._subset(index),
                    farthest=reverse,
                )
            ]
        else:
            within = self._subset(index)
            if k is None:
                k = max(1, len(index) if within is None else len(within.ids(None) or []))
            found = index.search(queries, k, within=within, farthest=reverse)
        return self._columns(found, single, return_dists)

    def _columns(self, found: list[Neighbors], single: bool, return_dists: bool) -> Any:
        """Returns what was found as FiftyOne wants it: sample ids, label ids, distances."""
        ids: list[Any] = [neighbors.ids for neighbors in found]
        if self.config.patches_field is None:
            columns = [ids, None]
        else:
            columns = [[neighbors.tags[SAMPLE_ID] for neighbors in found], ids]
        if return_dists:
            columns.append([neighbors.distances.tolist() for neighbors in found])
        if single:
            columns = [None if column is None else column[0] for column in columns]
        return tuple(columns)

    def _neighbors_of_all(
        self, k: int | None, reverse: bool, aggregation: str | None, return_dists: bool
    ) -> Any:
        """Returns the neighbours of all points of the view, as numbers of such points."""
        if aggregation is not None or reverse:
            raise InputError(
                "The neighbors of all points can neither be aggregated nor reversed; provide a "
                "query."
            )
        points = self._current_points()
        most = len(points) - 1 if k is None else k
        found = list(exact.neighbors(points, None, most, self.config.metric))
        inds = [rows for rows, _ in found]
        return (inds, [distances for _, distances in found]) if return_dists else inds

    def _radius_neighbors(
        self, query: Any = None, thresh: float | None = None, return_dists: bool = False
    ) -> Any:
        if thresh is None:
            raise InputError("A radius query needs a threshold; provide thresh.")
        index = self._existing_index()
        metric = self.config.metric
        points = self._current_points()
        queries, single = None, False
        if query is not None:
            queries, _, single = self._query_vectors(index, query)
        inds = list(exact.within(points, queries, thresh, metric))
        asked = points if queries is None else queries
        dists = [
            exact.distances(asked[row : row + 1], points[near], metric)[0]
            for row, near in enumerate(inds if return_dists else [])
        ]
        if queries is None:
            return (inds, dists) if return_dists else inds
        found = [
            Neighbors(
                [str(id) for id in self._current_ids()[near]],
                dists[row] if return_dists else np.zeros(0),
                {SAMPLE_ID: [str(id) for id in self.current_sample_ids[near]]},
            )
            for row, near in enumerate(inds)
        ]
        return self._columns(found, single, return_dists)

    def _remove_duplicates_thresh(self, thresh: float, ids: Any) -> list[str]:
        # FiftyOne's own way takes the neighbours of all points first, which for a large threshold
        # are all pairs of points.
        kept = exact.without_duplicates(self._current_points(), thresh, self.config.metric)
        return [ids[row] for row in kept]

    @classmethod
    def _from_dict(
        cls, d: dict[str, Any], samples: Any, config: RedisSimilarityConfig, brain_key: str
    ) -> RedisSimilarityIndex:
        del d
        return cls(samples, config, brain_key)

    def _open_or_name(self) -> None:
        """Opens the index if it exists; else settles what a new one will be."""
        config = self.config
        before = (config.index_name, config.metric, config.algorithm)
        if config.index_name is None:
            config.index_name = self._new_name()
        elif VectorIndex.exists(self._redis, config.index_name):
            self._index = self._opened(config.index_name)
        config.metric = config.metric or "cosine"
        config.algorithm = config.algorithm or "FLAT"
        if before != (config.index_name, config.metric, config.algorithm):
            self.save_config()

    def _opened(self, name: str) -> VectorIndex:
        index = VectorIndex.open(self._redis, name)
        for setting in ("metric", "algorithm"):
            wanted, actual = getattr(self.config, setting), getattr(index.schema, setting)
            if wanted not in (None, actual):
                raise IndexMismatchError(
                    f"The index {name!r} exists with {setting}={actual!r}, not {wanted!r}; leave "
                    "the setting out, or choose another index_name."
                )
            setattr(self.config, setting, actual)
        if self.config.patches_field is not None and SAMPLE_ID not in index.schema.tags:
            raise IndexMismatchError(
                f"The index {name!r} holds no {SAMPLE_ID!r} tags, so it is not one of patches; "
                "choose another index_name."
            )
        return index

    def _new_name(self) -> str:
        """Returns a name that tells the dataset and the run, and is free."""
        run = self.key or uuid.uuid4().hex[:6]
        name = f"fiftyone-{fou.to_slug(self.samples._root_dataset.name)}-{fou.to_slug(run)}"
        if not VectorIndex.exists(self._redis, name):
            return name
        return f"{name}-{uuid.uuid4().hex[:6]}"

    def _existing_index(self) -> VectorIndex:
        if self._index is None:
            self._index = self._opened(self.config.index_name)
        return self._index

    def _add(
        self,
        embeddings: Any,
        sample_ids: Any,
        label_ids: Any,
        overwrite: bool,
        allow_existing: bool,
        warn_existing: bool,
    ) -> None:
        patches = self.config.patches_field is not None
        if patches and label_ids is None:
            raise InputError("This is an index of patches; provide their label_ids.")
        matrix = codec.as_matrix(embeddings)
        ids = _strings(label_ids if patches else sample_ids)
        tags = {SAMPLE_ID: _strings(sample_ids)} if patches else {}
        try:
            index = self._existing_index()
        except IndexNotFoundError:
            self._create(ids, matrix, tags)
            return
        if warn_existing or not allow_existing or not overwrite:
            existing = index.existing(ids)
            _report_existing(existing, overwrite, allow_existing, warn_existing)
            if not overwrite and existing:
                rows = [row for row, id in enumerate(ids) if id not in existing]
                matrix, ids = matrix[rows], [ids[row] for row in rows]
                tags = {tag: [values[row] for row in rows] for tag, values in tags.items()}
        index.add(ids, matrix, tags)

    def _create(self, ids: list[str], matrix: Any, tags: dict[str, list[str]]) -> None:
        schema = Schema(
            self.config.index_name,
            matrix.shape[1],
            metric=self.config.metric,
            algorithm=self.config.algorithm,
            tags=tuple(tags),
        )
        index = VectorIndex.create(self._redis, schema)
        try:
            index.add(ids, matrix, tags)
        except InputError:
            index.drop(documents=False)
            raise
        self._index = index

    def _unregister_unfinished_run(self) -> None:
        """Takes back the run that `compute_similarity()` registers before it adds embeddings."""
        if self._unfinished and self.key is not None:
            self.backend.delete_run(self.samples, self.key, cleanup=False)

    def _ids(
        self,
        index: VectorIndex,
        sample_ids: Any,
        label_ids: Any,
        allow_missing: bool,
        warn_missing: bool,
    ) -> list[str]:
        """Returns the ids of the documents that sample or label IDs stand for."""
        if label_ids is not None:
            if self.config.patches_field is None:
                raise InputError("This is an index of samples; provide sample_ids, not label_ids.")
            return _strings(label_ids)
        samples = _strings(sample_ids)
        if self.config.patches_field is None:
            return samples
        ids = index.ids_with_tag(SAMPLE_ID, samples)
        if not allow_missing or warn_missing:
            there = set(index.fetch(ids).tags[SAMPLE_ID])
            _report_missing([id for id in samples if id not in there], allow_missing, warn_missing)
        return ids

    def _indexed_ids(self) -> tuple[Any, Any]:
        """Returns the sample and label ids of the whole index, sorted, as of the last reload."""
        if self._id_columns is None:
            try:
                index = self._existing_index()
                ids = sorted(index.ids())
                samples = index.tags(ids)[SAMPLE_ID] if self.config.patches_field else ids
            except IndexNotFoundError:
                ids = samples = []
            labels = _id_array(ids) if self.config.patches_field else None
            self._id_columns = _id_array(samples), labels
        return self._id_columns

    def _current_ids(self) -> Any:
        patches = self.config.patches_field is not None
        return self.current_label_ids if patches else self.current_sample_ids

    def _current_points(self) -> Any:
        """Returns the embeddings of the current ids, in their order."""
        if self._points is None:
            index = self._existing_index()
            ids = _strings(self._current_ids())
            with fou.ProgressBar(total=len(ids)) as bar:
                self._points = index.fetch(ids, progress=bar.update).vectors
        return self._points

    def _forget(self) -> None:
        """Forgets what was read of the index, since it or the view may have changed."""
        self._id_columns = None
        self._points = None

    def _subset(self, index: VectorIndex) -> ViewSubset | None:
        if not self.has_view:
            return None
        return ViewSubset(self.view, self.config.patches_field, index.schema.prefix)

    def _query_vectors(self, index: VectorIndex, query: Any) -> tuple[Any, list[str] | None, bool]:
        """Returns a query's vectors as a matrix, their ids if any, and whether it is single."""
        if isinstance(query, str):
            return self._vectors_of(index, [query]), [query], True
        array = np.asarray(query)
        if not np.issubdtype(array.dtype, np.number):
            ids = _strings(query)
            return self._vectors_of(index, ids), ids, False
        return codec.as_matrix(np.atleast_2d(array), index.schema.dim), None, array.ndim == 1

    def _vectors_of(self, index: VectorIndex, ids: list[str]) -> Any:
        found = index.fetch(ids)
        if len(found.ids) < len(ids):
            there = set(found.ids)
            _report_missing([id for id in ids if id not in there], allow_missing=False)
        return found.vectors


def _brain_config() -> dict[str, Any]:
    import fiftyone.brain as fob  # noqa: PLC0415  (the brain imports backends on demand itself)

    config: dict[str, Any] = fob.brain_config.similarity_backends.get("redis", {})
    return config


def _strings(ids: Any) -> list[str]:
    if isinstance(ids, str):
        return [str(ids)]
    return [str(id) for id in ids]


def _id_array(ids: Sequence[str]) -> Any:
    return np.array(ids, dtype=np.str_)


def _report_existing(
    existing: set[str], overwrite: bool, allow_existing: bool, warn_existing: bool
) -> None:
    if not existing:
        return
    named = f"{len(existing)} IDs that already exist in the index ({some(sorted(existing))})"
    if not allow_existing:
        raise InputError(f"Found {named}; nothing was added.")
    if warn_existing:
        logger.warning("%s %s", "Overwriting" if overwrite else "Skipping", named)


def _report_missing(missing: list[str], allow_missing: bool, warn_missing: bool = False) -> None:
    if not missing:
        return
    named = f"{len(missing)} IDs that are not in the index ({some(missing)})"
    if not allow_missing:
        raise InputError(f"Found {named}.")
    if warn_missing:
        logger.warning("Ignoring %s", named)
