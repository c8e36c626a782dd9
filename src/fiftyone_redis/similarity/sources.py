"""What a vector was embedded from: a fingerprint of the file, and of the box of a patch.

It is written with the vector of an index whose model can embed again, in a field of the document
that no query uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from bson import ObjectId

SOURCE = "_source"
"""The field of a document that holds the fingerprint; no attribute has such a name."""

_SHAPES = ("bounding_box", "points", "mask_path")


class SourceReader:
    """Reads the fingerprints of samples or patches.

    Args:
        samples: the :class:`fiftyone.core.collections.SampleCollection` that is indexed
        patches_field: the field whose patches are indexed; None for an index of samples
    """

    def __init__(self, samples: Any, patches_field: str | None) -> None:
        dataset = samples._dataset
        self._collection = dataset._sample_collection
        self._root = ""
        if patches_field is not None:
            self._root = dataset._get_label_field_path(patches_field)[1]
        roots = [f"{self._root}.{name}" for name in ("_id", *_SHAPES)] if self._root else []
        self._projection = dict.fromkeys(["filepath", *roots], True)

    def read(self, ids: Sequence[str], sample_ids: Sequence[str]) -> list[str | None]:
        """Returns the fingerprints of samples or patches; None for those that do not exist.

        A file is known by its path, and by its size and time of change where it can be read here.

        Args:
            ids: the ids of ``n`` samples or labels
            sample_ids: the ids of their samples
        """
        found = self._fetch(sample_ids)
        prints: dict[str, str] = {}
        for sample_id, document in found.items():
            file = _describe_file(document.get("filepath", ""))
            if not self._root:
                prints[sample_id] = _digest(file)
                continue
            for label in _find_labels(document, self._root.split(".")):
                shape = [label.get(name) for name in _SHAPES]
                prints[str(label.get("_id"))] = _digest(f"{file}|{shape}")
        return [prints.get(id) for id in ids]

    def _fetch(self, ids: Sequence[str]) -> dict[str, Any]:
        wanted = {"_id": {"$in": [ObjectId(id) for id in {*ids} if ObjectId.is_valid(id)]}}
        return {str(doc["_id"]): doc for doc in self._collection.find(wanted, self._projection)}


def _describe_file(path: str) -> str:
    try:
        state = Path(path).stat()
    except (OSError, ValueError):
        return path
    return f"{path}|{state.st_size}|{state.st_mtime_ns}"


def _digest(text: str) -> str:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


def _find_labels(value: Any, path: Sequence[str]) -> list[Any]:
    """Returns the labels at a path of a document, which may be one, several or none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
