"""Stands in for what the docs take from the internet: a dataset "quickstart" and a zoo model.

Both are found by FiftyOne's own zoos, by name, in the tests' home: only their content is ours.
"""

import shutil
from pathlib import Path

import fiftyone as fo
import fiftyone.brain.similarity as fbs
import fiftyone.zoo as foz
import numpy as np
import pytest
from PIL import Image

MODEL = "projection-512"


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """The zoo model, and 200 images with one or two detections each, as if downloaded before."""
    shutil.copytree(
        Path(__file__).parent / "zoo_source",
        Path(fo.config.model_zoo_dir) / "fiftyone-redis-tests",
        dirs_exist_ok=True,
    )
    images = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(51)
    dataset = fo.Dataset()
    for row in range(200):
        path = images / f"{row:03}.png"
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
        dataset.add_sample(fo.Sample(filepath=str(path), ground_truth=_detections(1 + row % 2)))
    folder = Path(fo.config.dataset_zoo_dir) / "quickstart"
    dataset.export(export_dir=str(folder), dataset_type=fo.types.FiftyOneDataset)
    info = foz.ZooDatasetInfo(foz.get_zoo_dataset("quickstart"), fo.types.FiftyOneDataset, 200)
    info.write_json(str(folder / "info.json"))
    dataset.delete()


@pytest.fixture
def quickstart(zoo, monkeypatch):
    """The dataset "quickstart", and the zoo model where none is named."""
    monkeypatch.setattr(fbs, "_DEFAULT_MODEL", MODEL)
    dataset = foz.load_zoo_dataset("quickstart")
    yield dataset
    if fo.dataset_exists("quickstart"):
        fo.delete_dataset("quickstart")


def _detections(count):
    return fo.Detections(
        detections=[
            fo.Detection(label="cat", bounding_box=[0.4 * box, 0.1, 0.4, 0.8])
            for box in range(count)
        ]
    )
