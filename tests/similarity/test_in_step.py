"""How an index differs from its dataset is noted, and later only what is new is compared."""

from datetime import timedelta

import fiftyone as fo
import fiftyone.brain as fob
import pytest

from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.similarity import comparison, in_step


@pytest.fixture(autouse=True)
def many(monkeypatch):
    """Has a few samples count as many, which were made a moment ago."""
    monkeypatch.setattr(in_step, "_FEW", 10)
    monkeypatch.setattr(in_step, "_MANY", 10)
    monkeypatch.setattr(in_step, "CLOCK_SKEW", timedelta())


@pytest.fixture
def compared(monkeypatch):
    """Counts how often all ids of a dataset are compared with those of its index."""
    calls = []

    def compare(*args):
        calls.append(args)
        return comparison.difference(*args)

    monkeypatch.setattr(in_step, "difference", compare)
    return calls


def compute(samples, embeddings=None):
    return fob.compute_similarity(
        samples.dataset,
        embeddings=samples.embeddings if embeddings is None else embeddings,
        brain_key="key",
        backend="redis",
    )


def look(samples):
    """Finds how the index differs from its dataset, as another process would."""
    return in_step.find_difference(samples.dataset.load_brain_results("key", cache=False))


def add(samples) -> str:
    [new] = samples.dataset.add_samples([fo.Sample(filepath="new.png")])
    return new


def test_an_index_of_a_whole_dataset_is_known_to_be_in_step(samples, monkeypatch):
    compute(samples)
    monkeypatch.setattr(in_step, "difference", lambda *_: pytest.fail("compared all"))
    monkeypatch.setattr(Documents, "walk_ids", lambda _: pytest.fail("listed all"))
    found = look(samples)
    assert (found.missing, found.gone, found.indexed) == ([], [], 60)
    new = add(samples)
    assert look(samples).missing == [new]


def test_what_was_left_out_from_the_beginning_is_missing(samples, compared):
    samples.dataset.set_values("vector", [*samples.embeddings[:-1], None])
    compute(samples, "vector")
    assert not compared
    for _ in range(2):
        assert look(samples).missing == samples.ids[-1:]
    assert len(compared) == 1


def test_an_index_of_a_view_lacks_the_rest(samples):
    view = samples.dataset.limit(40)
    fob.compute_similarity(
        view, embeddings=samples.embeddings[:40], brain_key="key", backend="redis"
    )
    assert sorted(look(samples).missing) == sorted(samples.ids[40:])


def test_ids_of_other_datasets_are_gone_though_there_are_as_many(samples):
    index = compute(samples, embeddings=False)
    strangers = [f"{row:024x}" for row in range(5)]
    index.add_to_index(samples.embeddings, samples.ids[:55] + strangers)
    found = look(samples)
    assert (sorted(found.missing), found.gone) == (sorted(samples.ids[55:]), strangers)


def test_all_ids_are_compared_once_and_then_only_what_is_new(samples, compared):
    index = compute(samples, embeddings=False)
    for rows in (slice(0, 30), slice(30, 60)):
        index.add_to_index(samples.embeddings[rows], samples.ids[rows])
    look(samples)
    new = add(samples)
    assert look(samples).missing == [new]
    assert len(compared) == 1


def test_what_changes_after_it_was_in_step_is_found(samples):
    index = compute(samples)
    ids = samples.ids
    index.remove_from_index(sample_ids=ids[:2])
    assert sorted(look(samples).missing) == sorted(ids[:2])
    index.add_to_index(samples.embeddings[:2], ids[:2])
    samples.dataset.delete_samples(ids[5:8])
    assert look(samples).gone == sorted(ids[5:8])
    new = add(samples)
    found = look(samples)
    assert (found.missing, found.gone) == ([new], sorted(ids[5:8]))


@pytest.fixture
def differing(samples, compared):
    """An index that lacks two samples, and has the vectors of three that were deleted."""
    index = compute(samples)
    ids = samples.ids
    index.remove_from_index(sample_ids=ids[:2])
    samples.dataset.delete_samples(ids[2:5])
    for _ in range(2):
        found = look(samples)
        assert (sorted(found.missing), found.gone) == (sorted(ids[:2]), sorted(ids[2:5]))
    assert len(compared) == 2  # when it was filled, and for the first look
    return index, ids


def test_what_was_missing_may_be_there_and_something_else_be_missing(samples, differing):
    index, ids = differing
    index.add_to_index(samples.embeddings[:1], ids[:1])
    index.remove_from_index(sample_ids=ids[9:10])
    assert sorted(look(samples).missing) == sorted([ids[1], ids[9]])


def test_what_was_missing_may_be_deleted(samples, differing):
    _, ids = differing
    samples.dataset.delete_samples(ids[:1])
    assert look(samples).missing == ids[1:2]


def test_what_was_gone_may_be_removed_while_something_else_goes(samples, differing):
    index, ids = differing
    index.remove_from_index(sample_ids=ids[2:3])
    index.add_to_index(samples.embeddings[:1], ["f" * 24])
    assert look(samples).gone == sorted([*ids[3:5], "f" * 24])


def test_what_is_new_counts_once_though_it_was_missing_before(samples, differing):
    _, ids = differing
    new = add(samples)
    for _ in range(2):
        found = look(samples)
        assert sorted(found.missing) == sorted([*ids[:2], new])
    samples.dataset.delete_samples([new])
    assert sorted(look(samples).missing) == sorted(ids[:2])


def test_a_sample_that_is_created_while_all_is_compared_may_be_deleted(samples, monkeypatch):
    compute(samples, embeddings=samples.embeddings)
    samples.dataset.load_brain_results("key").remove_from_index(sample_ids=samples.ids[:1])
    made = []

    def compare(*args):
        made.append(add(samples))
        return comparison.difference(*args)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(in_step, "difference", compare)
        assert sorted(look(samples).missing) == sorted([samples.ids[0], *made])
    assert sorted(look(samples).missing) == sorted([samples.ids[0], *made])
    samples.dataset.delete_samples(made)
    assert look(samples).missing == samples.ids[:1]


def test_if_much_is_missing_it_is_not_noted(samples, compared, monkeypatch):
    monkeypatch.setattr(in_step, "_MOST_NOTED", 5)
    index = compute(samples)
    index.remove_from_index(sample_ids=samples.ids[:6])
    for _ in range(2):
        assert sorted(look(samples).missing) == sorted(samples.ids[:6])
    assert len(compared) == 3


@pytest.mark.parametrize("lost", ["sample", "vector"])
def test_what_is_lost_during_a_comparison_is_found_by_the_next(samples, lost, monkeypatch):
    index = compute(samples, embeddings=False)
    index.add_to_index(samples.embeddings[:1], samples.ids[:1])
    index.add_to_index(samples.embeddings[1:], samples.ids[1:])
    [id] = samples.ids[-1:]

    def compare(*args):
        found = comparison.difference(*args)
        if lost == "sample":
            samples.dataset.delete_samples([id])
        else:
            index.remove_from_index(sample_ids=[id])
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(in_step, "difference", compare)
        assert not look(samples).missing
    found = look(samples)
    assert found.missing + found.gone == [id]


def test_a_vector_that_is_removed_during_a_sync_is_missing_after_it(samples, monkeypatch):
    samples.dataset.set_values("vector", list(samples.embeddings))
    index = compute(samples, "vector")
    [id] = samples.ids[-1:]
    note = in_step.note_sync

    def remove_and_note(*args):
        index.remove_from_index(sample_ids=[id])
        note(*args)

    monkeypatch.setattr(in_step, "note_sync", remove_and_note)
    index.sync()
    assert look(samples).missing == [id]


def test_a_look_hides_no_replaced_vector_from_the_next_sync(samples):
    samples.dataset.set_values("vector", list(samples.embeddings))
    index = compute(samples, "vector")
    [id] = samples.ids[:1]
    samples.dataset.set_values("vector", {id: samples.embeddings[1]}, key_field="id")
    samples.dataset.delete_samples(samples.ids[-1:])
    index.remove_from_index(sample_ids=look(samples).gone)
    look(samples)  # notes that nothing is missing
    assert index.sync().changed == [id]


def test_if_much_is_new_all_ids_are_compared(samples, compared, monkeypatch):
    compute(samples)
    new = add(samples)
    monkeypatch.setattr(in_step, "_MOST_NEW", 0)
    assert look(samples).missing == [new]
    assert len(compared) == 2  # when it was filled, and now
