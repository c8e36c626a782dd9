"""Adopting runs of FiftyOne's own Redis backend, and giving them back.

FiftyOne's own class makes the runs, all but the index: for that it needs redis-py 5. FT.CREATE is
sent here as redis-py 5.2 sends it for FiftyOne 1.22 (compared with what FT.INFO says of a real
one). `test_a_run_of_the_real_backend` runs all of it in an environment with redis-py 5.2.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

import brute_force
import fiftyone.brain as fob
import fiftyone.brain.internal.core.redis as own_redis
import numpy as np
import pytest
from click.testing import CliRunner
from fiftyone import ViewField as F
from fiftyone.brain.similarity import Similarity

import fiftyone_redis
from fiftyone_redis import RedisSimilarityIndex, adoption
from fiftyone_redis.cli import main
from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.errors import IndexMismatchError, IndexNotFoundError, SettingsError

pytestmark = pytest.mark.needs("json")

DIM = 16
VECTOR = f"VECTOR FLAT 6 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC COSINE"
SCHEMA = (
    "$.foid AS foid TAG SEPARATOR , $.sample_id AS sample_id TAG SEPARATOR , "
    f"$.vector AS vector {VECTOR}"
)


@pytest.fixture
def make_own_run(client, redis_server):
    """Makes runs of FiftyOne's own backend, over embeddings of samples or of patches."""

    def make(source, name="own", schema=SCHEMA, patches_field=None):
        definition = f"ON JSON PREFIX 1 {name}: SCORE 1.0 SCHEMA {schema}"
        client.execute_command("FT.CREATE", name, *definition.split())
        port = int(redis_server.port)
        config = own_redis.RedisSimilarityConfig(
            index_name=name, patches_field=patches_field, port=port
        )
        backend = config.build()
        backend.register_run(source.dataset, "key")
        index = backend.initialize(source.dataset, "key")
        if patches_field is None:
            index.add_to_index(source.embeddings, source.ids, reload=False)
        else:
            index.add_to_index(
                source.embeddings, source.sample_ids, label_ids=source.label_ids, reload=False
            )
        backend.save_run_results(source.dataset, "key", index, cache=False)
        index.client.close()
        return name

    return make


@pytest.fixture
def own_run(make_own_run, samples):
    make_own_run(samples)
    return samples


def saved(dataset) -> tuple[dict, bytes]:
    """Returns what FiftyOne has saved of the run."""
    document = Similarity._get_run_doc(dataset, "key")
    document.results.seek(0)
    return dict(document.config), document.results.read()


def keys(client) -> dict[bytes, bytes]:
    """Returns all documents of the server."""
    return {key: client.execute_command("JSON.GET", key) for key in client.scan_iter()}


def nearest(samples, row: int, k: int) -> list[str]:
    order = brute_force.nearest("cosine", samples.embeddings[row], samples.embeddings)
    return [samples.ids[i] for i in order[:k]]


def test_an_adopted_run_is_answered_here_without_uploading_again(client, own_run):
    before = keys(client)
    report = fiftyone_redis.adopt(own_run.dataset, "key")

    index = own_run.dataset.load_brain_results("key")
    assert isinstance(index, RedisSimilarityIndex)
    assert index.total_index_size == report.documents == 60
    view = own_run.dataset.sort_by_similarity(own_run.ids[3], k=10, brain_key="key")
    assert view.values("id") == nearest(own_run, 3, 10)
    assert keys(client) == before


def test_an_adopted_run_does_everything(client, own_run):
    fiftyone_redis.adopt(own_run.dataset, "key")
    index = own_run.dataset.load_brain_results("key")

    embeddings, sample_ids, _ = index.get_embeddings(own_run.ids[5:8])
    assert np.array_equal(embeddings, own_run.embeddings[5:8])
    assert sample_ids.tolist() == own_run.ids[5:8]
    farthest = own_run.dataset.sort_by_similarity(
        own_run.ids[3], k=2, reverse=True, brain_key="key"
    )
    assert farthest.values("id") == nearest(own_run, 3, 60)[:-3:-1]
    few = own_run.dataset.match(F("ground_truth.label") == "a").sort_by_similarity(
        own_run.ids[3], k=3, brain_key="key"
    )
    allowed = set(own_run.ids[::3])
    assert few.values("id") == [id for id in nearest(own_run, 3, 60) if id in allowed][:3]
    index.find_duplicates(thresh=1e-6)
    assert index.duplicate_ids == []

    index.remove_from_index(own_run.ids[:10])
    index.add_to_index(own_run.embeddings[:4], own_run.ids[:4])
    assert index.total_index_size == 54
    assert set(index.sample_ids) == {*own_run.ids[:4], *own_run.ids[10:]}
    added = client.json().get(f"own:{own_run.ids[0]}")
    assert added["foid"] == added["sample_id"] == own_run.ids[0]
    index.cleanup()
    assert client.dbsize() == 0


def test_an_adopted_run_of_patches_is_searched_by_patch_and_by_sample(make_own_run, patches):
    make_own_run(patches, patches_field="ground_truth")
    fiftyone_redis.adopt(patches.dataset, "key")
    index = patches.dataset.load_brain_results("key")

    _, sample_ids, label_ids = index.get_embeddings(sample_ids=patches.sample_ids[:1])
    assert sorted(label_ids) == sorted(patches.label_ids[:3])
    assert set(sample_ids) == {patches.sample_ids[0]}
    view = patches.dataset.to_patches("ground_truth").limit(9)
    found = view.sort_by_similarity(patches.label_ids[0], k=3, brain_key="key").values("id")
    assert found[0] == patches.label_ids[0]
    assert set(found) <= set(patches.label_ids[:9])


def test_a_dry_run_says_what_would_change_and_changes_nothing(own_run):
    before = saved(own_run.dataset)
    report = fiftyone_redis.adopt(own_run.dataset, "key", dry_run=True)
    assert "index 'own' has 60 documents. Would change:" in str(report)
    assert fiftyone_redis.CONFIG_CLS in str(report)
    assert saved(own_run.dataset) == before


def test_an_adopted_run_is_given_back_as_it_was(client, own_run):
    before, documents = saved(own_run.dataset), keys(client)
    fiftyone_redis.adopt(own_run.dataset, "key")
    assert saved(own_run.dataset) != before
    fiftyone_redis.restore(own_run.dataset, "key")
    assert saved(own_run.dataset) == before
    assert keys(client) == documents


def test_a_run_whose_index_was_rebuilt_is_given_back(client, own_run):
    documents = keys(client)
    fiftyone_redis.adopt(own_run.dataset, "key")
    index = own_run.dataset.load_brain_results("key")
    index.rebuild(dtype="float64", algorithm="HNSW")

    report = fiftyone_redis.restore(own_run.dataset, "key", dry_run=True)
    assert "dtype='float32'" in report.changes[0]
    fiftyone_redis.restore(own_run.dataset, "key")
    assert saved(own_run.dataset)[0]["cls"] == adoption.FIFTYONE_CLS
    assert VectorIndex.open(client, "own").schema.dtype == "float32"
    assert keys(client) == documents


def test_a_run_in_the_fast_form_is_not_given_back(client, own_run):
    fiftyone_redis.adopt(own_run.dataset, "key")
    index = own_run.dataset.load_brain_results("key")
    index.rebuild(storage="HASH", dtype="float16", algorithm="HNSW")
    before = saved(own_run.dataset)
    assert index.total_index_size == client.dbsize() == 60
    found = own_run.dataset.sort_by_similarity(own_run.ids[3], k=5, brain_key="key")
    assert found.values("id") == nearest(own_run, 3, 5)

    for dry_run in (True, False):
        with pytest.raises(IndexMismatchError, match=r"HASH documents .*: they were converted"):
            fiftyone_redis.restore(own_run.dataset, "key", dry_run=dry_run)
    assert saved(own_run.dataset) == before
    assert client.dbsize() == 60


def test_adopting_and_restoring_twice_changes_nothing_more(own_run):
    fiftyone_redis.adopt(own_run.dataset, "key")
    adopted = saved(own_run.dataset)
    assert fiftyone_redis.adopt(own_run.dataset, "key").changes == ()
    assert saved(own_run.dataset) == adopted
    fiftyone_redis.restore(own_run.dataset, "key")
    assert fiftyone_redis.restore(own_run.dataset, "key").changes == ()


def test_the_command_adopts_and_restores(own_run):
    name = own_run.dataset.name
    before = saved(own_run.dataset)
    dry = CliRunner().invoke(main, ["adopt", name, "key", "--dry-run"])
    assert "Would change" in dry.output
    assert saved(own_run.dataset) == before
    assert "Changed:" in CliRunner().invoke(main, ["adopt", name, "key"]).output
    own_run.dataset.reload()
    assert saved(own_run.dataset)[0]["cls"] == fiftyone_redis.CONFIG_CLS
    CliRunner().invoke(main, ["adopt", name, "key", "--restore"])
    own_run.dataset.reload()
    assert saved(own_run.dataset) == before


def test_what_cannot_be_adopted_is_told(client, own_run, samples):
    with pytest.raises(SettingsError, match="no dataset 'none'"):
        fiftyone_redis.adopt("none", "key")
    with pytest.raises(SettingsError, match="no brain run 'other'"):
        fiftyone_redis.adopt(own_run.dataset, "other")
    fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="sk", backend="sklearn"
    )
    with pytest.raises(SettingsError, match="not to FiftyOne's own Redis backend"):
        fiftyone_redis.adopt(samples.dataset, "sk")
    client.execute_command("FT.DROPINDEX", "own")
    with pytest.raises(IndexNotFoundError, match="'own' is not on this server"):
        fiftyone_redis.adopt(own_run.dataset, "key")


def test_an_index_that_fiftyone_did_not_make_is_not_adopted(make_own_run, samples):
    make_own_run(samples, schema=f"$.foid AS foid TAG $.vector AS vector {VECTOR}")
    with pytest.raises(IndexMismatchError, match="FiftyOne's own backend did not create"):
        fiftyone_redis.adopt(samples.dataset, "key")


def test_a_run_that_was_made_here_is_not_given_to_fiftyone(samples):
    fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="key", backend="redis"
    )
    before = saved(samples.dataset)
    with pytest.raises(IndexMismatchError, match="was never adopted"):
        fiftyone_redis.restore(samples.dataset, "key")
    assert saved(samples.dataset) == before


REAL = """
import os, sys
import numpy as np
os.environ["FIFTYONE_BRAIN_SIMILARITY_REDIS_CONFIG_CLS"] = sys.argv[3]
import fiftyone as fo, fiftyone.brain as fob
dataset = fo.load_dataset(sys.argv[1])
if sys.argv[4] == "make":
    fob.compute_similarity(dataset, embeddings="embedding", brain_key="key", backend="redis",
                           port=int(sys.argv[2]))
index = dataset.load_brain_results("key", port=int(sys.argv[2]))
assert type(index).__module__ == "fiftyone.brain.internal.core.redis", type(index)
view = index.sort_by_similarity(dataset.first().id, k=5)
print("FOUND", *view.values("id"))
"""


@pytest.mark.slow
def test_a_run_of_the_real_backend_is_adopted_and_given_back(samples, redis_server, tmp_path):
    samples.dataset.set_values("embedding", list(samples.embeddings))
    python = environment(tmp_path)

    def real(step: str) -> list[str]:
        arguments = (samples.dataset.name, str(redis_server.port), adoption.FIFTYONE_CLS, step)
        command = [python, "-W", "ignore", "-c", REAL, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split("FOUND ")[1].split()

    assert real("make") == nearest(samples, 0, 5)
    samples.dataset.reload()
    before = saved(samples.dataset)
    fiftyone_redis.adopt(samples.dataset, "key")
    index = samples.dataset.load_brain_results("key")
    index.rebuild(algorithm="HNSW")
    index.rebuild(algorithm="FLAT")
    found = samples.dataset.sort_by_similarity(samples.ids[0], k=5, brain_key="key")
    assert found.values("id") == nearest(samples, 0, 5)
    fiftyone_redis.restore(samples.dataset, "key")
    assert saved(samples.dataset) == before
    assert real("load") == nearest(samples, 0, 5)


def environment(folder: Path) -> Path:
    """Makes a layer over this environment with the redis-py that FiftyOne's own backend needs."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    base = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    [packages] = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "base.pth").write_text("\n".join(sorted(base)) + "\n")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "redis==5.2.1"], check=True
    )
    return python
