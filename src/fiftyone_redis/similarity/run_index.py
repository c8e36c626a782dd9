"""The Redis index of a run: opened if it exists, else named and made, and noted in the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from bson import ObjectId
from fiftyone.brain.similarity import SimilarityIndex

from fiftyone_redis.connection.client import Client
from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.documents.documents import AttributeReader
from fiftyone_redis.engine.schema.options import OPTIONS, UNREPORTED
from fiftyone_redis.engine.schema.schema import check_attributes
from fiftyone_redis.errors import IndexMismatchError, IndexNotFoundError, list_first
from fiftyone_redis.log import get_logger
from fiftyone_redis.similarity import index_names, orphaned_indexes, sharing
from fiftyone_redis.similarity.index_users import IndexUser, find_run_id, list_others, refuse_others
from fiftyone_redis.similarity.sources import SOURCE, SourceReader
from fiftyone_redis.similarity.stored_fields import StoredField, StoredFieldReader, resolve_fields
from fiftyone_redis.similarity.view_subset import SAMPLE_ID

logger = get_logger(__name__)


class RunIndex(SimilarityIndex):
    """The part of a similarity index that opens or makes the Redis index of its run.

    Whoever inherits it sets what it is declared to have, then calls :meth:`_open_or_name`.
    """

    _redis: Client
    _dataset: Any
    _is_new: bool
    _unfinished: bool
    _is_created: bool
    _index: VectorIndex | None
    _fields: tuple[StoredField, ...]

    @property
    def _dataset_doc(self) -> Any:
        """The document of the dataset; a reload of the dataset replaces it."""
        return self._dataset._doc

    @property
    def _sample_tag(self) -> str:
        """The tag of a patch's document that holds the id of its sample."""
        return self.config.sample_id_field or SAMPLE_ID

    def save_config(self) -> None:
        """Saves the config in the run, once the run is registered."""
        if self.backend.is_registered:
            super().save_config()

    def _open_or_name(self) -> None:
        """Opens the index if it exists; else settles what a new one will be."""
        if not self._is_new:
            # Another process may have given the run its own index; FiftyOne keeps the old config.
            sharing.follow_run(self, find_run_id(self._dataset_doc, self.key))
        before = self.config.serialize()
        self._resolve_stored_fields()
        self._is_named_here = self.config.index_name is None
        if self._is_named_here:
            self.config.index_name = self._choose_name()
        else:
            with suppress(IndexNotFoundError):
                self._open_index()
            self._warn_of_others()
        if self._index is None:
            self._record_options(self.config.schema(1))
            self.config.is_empty |= self._is_new
        if before != self.config.serialize():
            self.save_config()

    def _resolve_stored_fields(self) -> None:
        """Finds the kinds of the fields to store, from the dataset as it is at the beginning."""
        requested, patches_field = self.config.stored_fields, self.config.patches_field
        if self._is_new:
            self._fields = resolve_fields(self.samples, patches_field, requested)
            check_attributes(self._schema(1))
            self.config.record_stored_fields(self._fields)
        else:
            self._fields = tuple(StoredField(path, kind) for path, kind in requested if kind)

    def _schema(self, dim: int) -> Schema:
        """Returns the definition of a new index."""
        tags = (self._sample_tag,) if self.config.patches_field is not None else ()
        attributes = tuple(field.attribute for field in self._fields)
        schema: Schema = self.config.schema(dim, tags, attributes)
        return schema

    def _record_options(self, schema: Schema) -> None:
        """Notes in the run what its index is, or will be."""
        for name, option in OPTIONS.items():
            if option.is_of(schema.algorithm):
                setattr(self.config, name, getattr(schema, name))

    def _open_and_check(self, name: str) -> VectorIndex:
        index: VectorIndex = self.config.open_index(self._redis, (self._sample_tag,))
        if self._is_new:
            self._refuse_other_settings(index.schema)
            _check_ids(index)
            self._refuse_lacking_attributes(index.schema)
        self._record_options(index.schema)
        self.config.is_empty = False
        if self.config.patches_field is not None and self._sample_tag not in index.schema.tags:
            raise IndexMismatchError(
                f"The index {name!r} has no tag {self._sample_tag!r}, so it is not an index of "
                "patches; name the tag that holds the sample IDs with sample_id_field, or choose "
                "another index_name."
            )
        return index

    def _refuse_other_settings(self, schema: Schema) -> None:
        for setting in (name for name in OPTIONS if name not in UNREPORTED):
            wanted, actual = getattr(self.config, setting), getattr(schema, setting)
            if wanted not in (None, actual):
                raise IndexMismatchError(
                    f"The index {schema.name!r} exists with {setting}={actual!r}, not {wanted!r}; "
                    "leave the setting out, choose another index_name, or call rebuild()."
                )

    def _refuse_lacking_attributes(self, schema: Schema) -> None:
        lacking = {field.attribute for field in self._fields} - {*schema.attributes}
        if lacking:
            raise IndexMismatchError(
                f"The index {schema.name!r} exists without the attributes "
                f"{list_first(sorted(f'{a.name} ({a.kind})' for a in lacking))}; omit them, or "
                "choose another index_name."
            )

    def _choose_name(self) -> str:
        """Returns a new name that tells the dataset and the run."""
        return index_names.choose_name(self._dataset_doc.name, self.key)

    def _warn_of_others(self) -> None:
        """Warns, before embeddings are computed, that a new run cannot add them to its index."""
        others = sharing.find_others(self) if self._is_new else []
        if others:
            logger.warning(
                "The index %r is also used by %s; it can be searched, but compute_similarity() "
                "adds no embeddings to it",
                self.config.index_name,
                list_others(others),
            )

    def _open_index(self) -> VectorIndex:
        if self._index is None:
            self._index = self._open_and_check(self.config.index_name)
        return self._index

    def _open_or_create(self, dim: int) -> tuple[VectorIndex, bool]:
        """Returns the index, and whether it was made just now."""
        if self._unfinished and self._index is None:
            # It was missing when the run began: whoever has made it since has a run of their own.
            self._refuse_to_share([user for user in sharing.find_others(self) if user.is_finished])
            return self._create_index(dim), True
        if self._unfinished and not self._is_created:
            self._refuse_to_share(sharing.find_others(self))
        try:
            return self._open_index(), False
        except IndexNotFoundError:
            return self._create_index(dim), True

    def _refuse_to_share(self, others: Sequence[IndexUser]) -> None:
        """Raises an :class:`IndexInUseError` if other runs use the index of a new run."""
        advice = (
            "The embeddings would mix. Choose another index_name, or search that index as it is "
            "with embeddings=False."
        )
        refuse_others(self.config.index_name, others, advice)

    def _create_index(self, dim: int) -> VectorIndex:
        name, dataset_name = self.config.index_name, self._dataset_doc.name
        if self.key is not None:
            orphaned_indexes.remove_orphans(self._redis, name, dataset_name, self.key)
        try:
            index = VectorIndex.create(self._redis, self._schema(dim))
        except IndexMismatchError:
            if not self._is_named_here:
                raise
            self.config.index_name = self._choose_name()
            self.save_config()
            index = VectorIndex.create(self._redis, self._schema(dim))
        index.timeout = self.config.query_timeout
        self._index, self._is_created = index, True
        if self.config.is_empty:
            self.config.is_empty = False
            self.save_config()
        return index

    def open_index(self) -> VectorIndex:
        """Opens the engine's index of the run.

        Raises:
            FiftyOneRedisError: if there is none, or it cannot be used
        """
        return self._open_index()

    def find_index(self) -> VectorIndex | None:
        """Opens the engine's index of the run; None if it was never made, or is gone."""
        try:
            index = self._open_index()
            index.info()
        except IndexNotFoundError:
            self._index = None
            return None
        return index

    def was_never_filled(self) -> bool:
        """Returns whether nothing was ever added, so that there is no index to be lost."""
        if self.config.is_empty:
            with suppress(IndexNotFoundError):
                self._open_index()
        is_empty: bool = self.config.is_empty
        return is_empty

    def drop_used_elsewhere(self, ids: list[str]) -> list[str]:
        """Returns the ids but those that other datasets have whose runs use the same index."""
        used = sharing.find_used_elsewhere(self, ids)
        return [id for id in ids if id not in used]

    def remove_unused(self, ids: list[str]) -> None:
        """Removes ids that no dataset has; other runs on the index lose nothing."""
        self._open_index().remove(ids)
        self._clear_cache()
        self.reload()

    def _make_source_reader(
        self, samples_of: Callable[[Sequence[str]], Sequence[str]]
    ) -> AttributeReader | None:
        """Returns what reads the fingerprints of documents, if a model can embed them again."""
        if self.config.model is None or self.config.embeddings_field is not None:
            return None
        reader = SourceReader(self.samples, self.config.patches_field)
        return lambda ids: {SOURCE: reader.read(ids, samples_of(ids))}

    def _make_field_reader(
        self, samples_of: Callable[[Sequence[str]], Sequence[str]]
    ) -> AttributeReader | None:
        """Returns what reads the stored fields of documents, given what tells patches' samples."""
        if not self._fields:
            return None
        patches_field = self.config.patches_field
        reader = StoredFieldReader(self.samples, patches_field, self._fields)
        if patches_field is None:
            return reader.read_samples
        return lambda ids: reader.read_labels(ids, samples_of(ids))


def _check_ids(index: VectorIndex) -> None:
    """Raises unless an index that exists holds ids as FiftyOne has them, judging by a few."""
    ids = sorted(index.existing(index.some_ids()))
    if ids and not any(ObjectId.is_valid(id) for id in ids):
        raise IndexMismatchError(
            f"The index {index.schema.name!r} holds ids that are not FiftyOne's, such as "
            f"{list_first(ids)}; name the field that holds the sample or label IDs with id_field, "
            "or choose another index_name."
        )
