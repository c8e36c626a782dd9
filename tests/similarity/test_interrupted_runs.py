"""compute_similarity() that fails, is interrupted or killed can be run again, just so."""

import subprocess
import sys

import fiftyone.brain as fob
import fiftyone.core.models as fom
import numpy as np
import pytest
from fiftyone.brain.similarity import Similarity
from PIL import Image
from waiting import wait_until

from fiftyone_redis.backend import RedisSimilarityConfig
from fiftyone_redis.connection.naming import get_alias
from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.lifecycle import lease
from fiftyone_redis.errors import IndexMismatchError, InputError
from fiftyone_redis.similarity import registration

UPLOAD = """
import sys
import fiftyone as fo, fiftyone.brain as fob, numpy as np, fiftyone_redis
fiftyone_redis.register()
dataset = fo.load_dataset(sys.argv[1])
vectors = np.random.default_rng(51).normal(size=(len(dataset), 16)).astype(np.float32)
fob.compute_similarity(
    dataset, embeddings=vectors, brain_key="key", backend="redis", algorithm="HNSW",
    ef_construction=4000, m=128, url=sys.argv[2],
)
"""


class Failing(fom.Model, fom.EmbeddingsMixin):
    """A model that raises while it embeds."""

    media_type, has_embeddings, ragged_batches = "image", True, True
    transforms, preprocess = None, False

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def embed(self, arg):
        raise self.error

    def predict(self, arg):
        raise self.error

    def get_embeddings(self):
        raise self.error


@pytest.fixture
def compute(samples):
    """Computes the run "key" of the samples."""

    def compute(**settings):
        settings = {"embeddings": samples.embeddings, "brain_key": "key", **settings}
        return fob.compute_similarity(samples.dataset, backend="redis", **settings)

    return compute


@pytest.fixture
def begun(samples, redis_server):
    """Begins a run as `compute_similarity()` does before embeddings are computed."""

    def begun(**settings):
        backend = RedisSimilarityConfig(url=redis_server.url, **settings).build()
        backend.ensure_requirements()
        backend.register_run(samples.dataset, "key", overwrite=False)
        return backend.initialize(samples.dataset, "key")

    return begun


def indexes(client) -> set[str]:
    return {get_alias(name.decode()) for name in client.execute_command("FT._LIST")}


@pytest.mark.parametrize(
    "embeddings",
    [
        np.ones((10, 16)),
        np.ones((90, 16)),
        np.ones((0, 16)),
        np.ones((60, 0)),
        np.full((60, 16), np.inf),
        "ragged",
        "text",
    ],
    ids=["few", "many", "none", "narrow", "infinite", "ragged", "text"],
)
def test_bad_embeddings_leave_nothing_and_the_key_free(samples, client, compute, embeddings):
    samples.dataset.set_values("ragged", [[1.0], [1.0, 2.0]] * 30)
    samples.dataset.set_values("text", ["a"] * 60)
    with pytest.raises((ValueError, TypeError)):
        compute(embeddings=embeddings)
    assert samples.dataset.list_brain_runs() == []
    assert (indexes(client), client.dbsize()) == (set(), 0)
    assert compute().total_index_size == 60


@pytest.mark.parametrize(
    "error", [RuntimeError("no memory"), KeyboardInterrupt(), SystemExit(1)], ids=repr
)
def test_a_model_that_raises_leaves_nothing_and_the_key_free(
    samples, client, compute, tmp_path, error
):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    samples.dataset.set_values("filepath", [str(tmp_path / "a.png")] * 60)
    with pytest.raises(type(error)):
        compute(embeddings=None, model=Failing(error), skip_failures=False)
    assert samples.dataset.list_brain_runs() == []
    assert client.dbsize() == 0
    assert compute().total_index_size == 60


@pytest.mark.parametrize("name", [None, "mine"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_an_upload_that_is_interrupted_leaves_nothing(samples, client, begun, error, name):
    def interrupt(bar):
        raise error

    run = begun(index_name=name)
    with pytest.raises(error):
        run.add_to_index(samples.embeddings, samples.ids, progress=interrupt)
    samples.dataset.reload()
    assert samples.dataset.list_brain_runs() == []
    assert (indexes(client), client.dbsize()) == (set(), 0)


def test_an_interrupted_upload_leaves_the_index_that_was_there(samples, client, begun):
    existing = VectorIndex.create(client, Schema("mine", 16))
    existing.add(["0" * 24], np.ones((1, 16)))

    def interrupt(bar):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begun(index_name="mine").add_to_index(samples.embeddings, samples.ids, progress=interrupt)
    assert samples.dataset.list_brain_runs() == []
    assert "0" * 24 in existing.ids()


def test_results_that_cannot_be_saved_leave_nothing(samples, client, begun):
    run = begun()
    run.add_to_index(samples.embeddings, samples.ids)
    run.attributes = lambda: 1 / 0  # FiftyOne asks for them when it saves
    with pytest.raises(ZeroDivisionError):
        run.backend.save_run_results(samples.dataset, "key", run)
    assert samples.dataset.list_brain_runs() == []
    assert indexes(client) == set()


@pytest.mark.slow
def test_a_run_that_was_killed_is_taken_over(samples, client, redis_server, compute):
    samples.dataset.persistent = True
    samples.dataset.add_samples([sample.copy() for sample in samples.dataset] * 100)
    child = subprocess.Popen([sys.executable, "-c", UPLOAD, samples.dataset.name, redis_server.url])
    try:
        wait_until(lambda: client.dbsize() > 500)
    finally:
        child.kill()
        child.wait()
    [left] = indexes(client)
    vectors = np.random.default_rng(51).normal(size=(len(samples.dataset), 16))

    index = compute(embeddings=vectors)

    assert index.total_index_size == len(samples.dataset)
    assert samples.dataset.list_brain_runs() == ["key"]
    assert indexes(client) == {index.config.index_name} != {left}
    assert client.keys(f"{left}:*") == []


def test_a_run_that_version_0_1_0_left_unfinished_is_taken_over(samples, compute, redis_server):
    backend = RedisSimilarityConfig(url=redis_server.url, index_name="old").build()
    Similarity.register_run(backend, samples.dataset, "key", overwrite=False)
    assert samples.dataset.load_brain_results("key") is None
    assert compute().total_index_size == 60
    assert samples.dataset.load_brain_results("key", cache=False).total_index_size == 60


def test_a_run_that_another_process_is_computing_is_not(
    samples, client, compute, redis_server, monkeypatch
):
    monkeypatch.setattr(registration, "_PATIENCE", 0.3)
    backend = RedisSimilarityConfig(url=redis_server.url).build()
    Similarity.register_run(backend, samples.dataset, "key", overwrite=False)
    run = samples.dataset._doc.brain_methods["key"]
    with (
        lease.hold(client, f"run-{run.id}"),
        pytest.raises(InputError, match=r"Another process .* is computing the run 'key' now"),
    ):
        compute()
    assert samples.dataset._doc.brain_methods["key"].id == run.id
    assert compute().total_index_size == 60


def test_a_run_that_is_uploading_holds_its_lease(samples, client, begun):
    held = []

    def look(bar):
        held.extend(client.keys("fiftyone-{redis}:lease:run-*"))

    run = begun()
    run.add_to_index(samples.embeddings, samples.ids, progress=look)
    assert held
    assert client.keys("fiftyone-{redis}:*") == []


def test_a_key_that_was_taken_while_embedding_is_not_overwritten(samples, client, begun, compute):
    late = begun()
    first = compute()
    with pytest.raises(ValueError, match="already exists"):
        late.add_to_index(samples.embeddings, samples.ids)
    assert indexes(client) == {first.config.index_name}
    assert samples.dataset.load_brain_results("key", cache=False).total_index_size == 60


def test_a_finished_run_is_not_overwritten(compute, client):
    first = compute()
    with pytest.raises(ValueError, match="already exists"):
        compute()
    assert first.total_index_size == 60


@pytest.mark.parametrize("key", ["", "$set", "a.b", "two words", 5])
def test_a_key_that_fiftyone_refuses_is_refused_in_its_words(compute, key):
    with pytest.raises(ValueError, match="Keys must be valid variable names"):
        compute(brain_key=key)


def test_nothing_is_found_where_nothing_was_added(samples, compute, client):
    compute(embeddings=False)
    assert len(samples.dataset.sort_by_similarity(np.ones(16), k=3, brain_key="key")) == 0
    samples.dataset.clear_cache()
    assert len(samples.dataset.sort_by_similarity(np.ones(16), k=3, brain_key="key")) == 0
    with pytest.raises(InputError, match="1 ID that is not in the index"):
        samples.dataset.sort_by_similarity(samples.ids[0], k=3, brain_key="key")


def test_an_existing_index_that_does_not_fit_leaves_no_run(samples, client, compute):
    VectorIndex.create(client, Schema("mine", 8))
    with pytest.raises(IndexMismatchError, match="dimension 8, not 16"):
        compute(index_name="mine")
    assert samples.dataset.list_brain_runs() == []
    assert indexes(client) == {"mine"}
