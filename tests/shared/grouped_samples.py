"""A dataset of groups."""

from typing import Any

import fiftyone as fo


def make_grouped_dataset(count: int, **fields: Any) -> fo.Dataset:
    """Returns ``count`` groups of a left and a right sample, with the same fields each."""
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    for row in range(count):
        group = fo.Group()
        dataset.add_samples(
            fo.Sample(filepath=f"{row}-{side}.png", group=group.element(side), **fields)
            for side in ("left", "right")
        )
    return dataset
