"""The demo's datasets and model, and a few scenes as a dataset of FiftyOne's zoo."""

import fiftyone as fo
import fiftyone.zoo as foz
import pytest

from fiftyone_redis.demo import datasets
from fiftyone_redis.demo.model import register_model

ZOO_NAME = "quickstart-geo"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder for the demo's images."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="session")
def digits(folder):
    """The dataset of digits, which no test changes."""
    return datasets.digits(folder)


@pytest.fixture
def scenes(tmp_path):
    """A dataset of twelve scenes."""
    return datasets.scenes(tmp_path, count=12)


@pytest.fixture
def model():
    """The demo's model, loaded by name."""
    return foz.load_zoo_model(register_model())


@pytest.fixture
def zoo_dataset(scenes):
    """The name of a zoo dataset with the twelve scenes in it, as if it was downloaded before."""
    target = f"{fo.config.dataset_zoo_dir}/{ZOO_NAME}"
    scenes.export(export_dir=target, dataset_type=fo.types.FiftyOneDataset)
    info = foz.ZooDatasetInfo(foz.get_zoo_dataset(ZOO_NAME), fo.types.FiftyOneDataset, len(scenes))
    info.write_json(f"{target}/info.json")
    yield ZOO_NAME
    foz.delete_zoo_dataset(ZOO_NAME)
    if fo.dataset_exists(ZOO_NAME):
        fo.delete_dataset(ZOO_NAME)
