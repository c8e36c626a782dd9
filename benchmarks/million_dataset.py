"""A dataset as large as an index of million.py, for the searches in its views."""

from __future__ import annotations

from typing import Any

import data
import fiftyone as fo
import fiftyone.brain as fob
from bson import ObjectId

BRAIN_KEY = "million"

_INSERTED = 20_000  # at a time


def search_view(view: Any, query: str, k: int) -> None:
    """Searches a view by FiftyOne, and reads the ids of what it finds."""
    view.sort_by_similarity(query, k=k, brain_key=BRAIN_KEY).values("id")


def open_dataset(count: int, index: str, port: int) -> Any:
    """Returns a dataset of samples with the ids of an index, which is a run of it.

    Args:
        count: how many samples
        index: the index's name
        port: that of its server
    """
    name = f"million-{count}"
    if name in fo.list_datasets():
        dataset = fo.load_dataset(name)
    else:
        dataset = fo.Dataset(name, persistent=True)
        dataset.add_sample(fo.Sample(filepath="0.jpg", share=0.5))
        collection = dataset._sample_collection
        template = collection.find_one()
        collection.delete_many({})
        shares = data.shares(count)
        for start in range(0, count, _INSERTED):
            stop = min(start + _INSERTED, count)
            collection.insert_many(
                {**template, "_id": ObjectId(id), "filepath": f"{id}.jpg", "share": share}
                for id, share in zip(
                    data.made_up_ids(stop, start), shares[start:stop].tolist(), strict=True
                )
            )
    if dataset.has_brain_run(BRAIN_KEY):
        dataset.delete_brain_run(BRAIN_KEY)
    fob.compute_similarity(
        dataset,
        embeddings=False,
        brain_key=BRAIN_KEY,
        backend="redis",
        index_name=index,
        url=f"redis://127.0.0.1:{port}",
    )
    return dataset
