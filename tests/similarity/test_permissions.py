"""FiftyOne as the users of docs/permissions.md: what they may do, and what they are told else."""

import re
import shlex
from pathlib import Path

import fiftyone.brain as fob
import numpy as np
import pytest

from fiftyone_redis.errors import AuthenticationError
from fiftyone_redis.similarity import in_step
from fiftyone_redis.transfer import export_index, import_index

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"
READER, WRITER = re.findall(r"^ACL SETUSER .*$", PAGE.read_text(), re.MULTILINE)


@pytest.fixture
def login(client, redis_backend, redis_server):
    """Makes the user of a line, and has FiftyOne log in as that user."""
    made = []

    def login(line: str) -> None:
        command = shlex.split(line)
        client.execute_command(*command)
        made.append(command[2])
        password = next(rule[1:] for rule in command if rule.startswith(">"))
        user = f"{command[2]}:{password}"
        redis_backend["url"] = redis_server.url.replace("://", f"://{user}@")

    yield login
    for name in made:
        client.execute_command("ACL", "DELUSER", name)


def computed(samples):
    return fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="key", backend="redis"
    )


def loaded(data):
    return data.dataset.load_brain_results("key", cache=False)


def test_the_writing_user_computes_searches_reads_changes_and_deletes(samples, login):
    login(WRITER)
    index = computed(samples)
    view = samples.dataset.sort_by_similarity(samples.ids[0], k=5, brain_key="key")
    assert view.first().id == samples.ids[0]
    embeddings, ids, _ = index.get_embeddings()
    assert dict(zip(ids, embeddings[:, 0], strict=True)) == pytest.approx(
        dict(zip(samples.ids, samples.embeddings[:, 0], strict=True))
    )
    index.remove_from_index(sample_ids=samples.ids[:3])
    index.add_to_index(samples.embeddings[:2], samples.ids[:2])
    index.rebuild(algorithm="HNSW")
    index.find_duplicates(fraction=0.1)
    assert index.total_index_size == 59
    index.cleanup()
    assert index.total_index_size == 0


def test_the_writing_user_syncs_exports_and_imports(samples, login, tmp_path):
    login(WRITER)
    computed(samples)
    index = samples.dataset.load_brain_results("key", cache=False)
    assert str(index.sync()) == "Nothing to do."
    assert str(index.sync()) == "Nothing to do."
    export_index(index, tmp_path / "index.arrow")
    done = import_index(samples.dataset, "copy", tmp_path / "index.arrow")
    assert done.added == len(samples.ids)


def test_the_reading_user_searches_and_reads_samples(samples, login):
    computed(samples)
    login(READER)
    index = loaded(samples)
    query, view = samples.ids[0], samples.dataset[:30]
    assert index.sort_by_similarity(query, k=5).first().id == query
    assert view.sort_by_similarity(query, k=5, brain_key="key").first().id == query
    assert len(index.sort_by_similarity(query, k=5, reverse=True)) == 5
    assert len(index.sort_by_similarity(samples.ids[:2], k=5, aggregation="post-min")) == 5
    assert index.get_embeddings(samples.ids[:4])[0].shape == (4, 16)
    assert sorted(index.get_embeddings()[1]) == sorted(samples.ids)
    index.find_unique(5)
    assert len(index.unique_ids) == 5


def test_the_reading_user_finds_what_is_missing(samples, login, monkeypatch):
    monkeypatch.setattr(in_step, "_FEW", 10)  # above it, what was found would be noted
    index = computed(samples)
    [id] = samples.ids[:1]
    samples.dataset.delete_samples([id])
    index.remove_from_index(sample_ids=[id])
    login(READER)
    found = in_step.find_difference(loaded(samples))
    assert (found.missing, found.gone, found.indexed) == ([], [], 59)


def test_the_reading_user_searches_and_reads_patches(patches, make_patch_index, login):
    make_patch_index()
    login(READER)
    index = loaded(patches)
    view = patches.dataset[:10].to_patches("ground_truth")
    query = view.first().id
    assert view.sort_by_similarity(query, k=5, brain_key="key").first().id == query
    _, sample_ids, _ = index.get_embeddings(sample_ids=patches.sample_ids[:1])
    assert sample_ids.tolist() == patches.sample_ids[:1] * 3


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (lambda index, samples: index.add_to_index(samples.embeddings, samples.ids), "mget"),
        (lambda index, samples: index.remove_from_index(sample_ids=samples.ids[:2]), "mget"),
        (lambda index, _: index.rebuild(algorithm="HNSW"), "set"),
        (lambda index, _: index.cleanup(), "set"),
    ],
    ids=["add", "remove", "rebuild", "cleanup"],
)
def test_the_reading_user_is_refused_changes_and_told_why(samples, login, change, missing):
    computed(samples)
    login(READER)
    with pytest.raises(AuthenticationError, match=f"(?i)run the '{missing}' command"):
        change(loaded(samples), samples)
    assert np.array_equal(np.sort(loaded(samples).get_embeddings()[1]), np.sort(samples.ids))


def test_the_reading_user_computes_nothing_and_no_run_is_left_behind(samples, login):
    login(READER)
    with pytest.raises(AuthenticationError, match=r"docs/permissions\.md"):
        computed(samples)
    assert samples.dataset.list_brain_runs() == []
