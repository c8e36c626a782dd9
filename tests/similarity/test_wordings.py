"""The whole contract, behind a server that words its refusals as other versions do."""

import fiftyone.brain as fob
import pytest
from cutter import Cutter

from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.errors import IndexMismatchError, IndexNotFoundError


@pytest.fixture
def cutter(redis_backend, reworded):
    """A way to the server that loses replies, which all runs take."""
    cutter = Cutter(reworded.port)
    del redis_backend["url"]
    redis_backend.update(host="127.0.0.1", port=cutter.port)
    yield cutter
    cutter.close()


@pytest.fixture
def compute(samples, cutter):
    """Indexes the samples, with any settings."""

    def compute(brain_key="key", **settings):
        options = {"embeddings": samples.embeddings, **settings}
        return fob.compute_similarity(
            samples.dataset, brain_key=brain_key, backend="redis", **options
        )

    return compute


@pytest.fixture(params=[None, "mine"])
def index(request, compute):
    return compute(**({} if request.param is None else {"index_name": request.param}))


def test_a_first_index_is_made_and_searched(index, samples):
    assert samples.dataset.list_brain_runs() == ["key"]
    assert index.total_index_size == 60
    view = samples.dataset.sort_by_similarity(samples.ids[7], k=5, brain_key="key")
    assert view.first().id == samples.ids[7]


def test_an_index_that_is_there_is_opened(compute, samples):
    compute(index_name="mine")
    second = compute("second", index_name="mine", embeddings=False)
    assert second.total_index_size == 60


def test_an_index_that_does_not_fit_is_refused(compute, samples):
    compute(index_name="mine")
    with pytest.raises(IndexMismatchError, match="metric"):
        compute("second", index_name="mine", embeddings=False, metric="euclidean")
    assert samples.dataset.list_brain_runs() == ["key"]


def test_cleaning_up_twice_is_no_error(index):
    index.cleanup()
    index.cleanup()
    assert index.total_index_size == 0


def test_a_run_whose_index_is_gone_is_empty(index, samples, client):
    VectorIndex.open(client, index.config.index_name).drop()
    loaded = samples.dataset.load_brain_results("key", cache=False)
    assert loaded.total_index_size == 0
    for each in (index, loaded):
        with pytest.raises(IndexNotFoundError, match="does not exist"):
            each.sort_by_similarity(samples.embeddings[0], k=3)
    samples.dataset.delete_brain_run("key")
    assert not samples.dataset.list_brain_runs()


def test_an_emptied_index_is_filled_again(index, samples):
    index.cleanup()
    index.add_to_index(samples.embeddings, samples.ids)
    assert index.total_index_size == 60


def test_an_index_is_made_although_the_reply_is_lost(cutter, compute):
    cutter.cut_reply_to(b"FT.CREATE")
    assert compute().total_index_size == 60
    assert cutter.is_done


def test_an_index_is_dropped_although_the_reply_is_lost(cutter, index, client):
    cutter.cut_reply_to(b"FT.DROPINDEX")
    index.cleanup()
    assert cutter.is_done
    assert not VectorIndex.exists(client, index.config.index_name)
