"""`index.sync()`: what is new, replaced or gone, with a real model and real pictures."""

import shutil
import time
import uuid

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from fiftyone_redis.demo.model import register_model
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.errors import InputError
from fiftyone_redis.similarity import embedding, in_step, sync

COUNT = 24


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Has a few pictures make several batches."""
    monkeypatch.setattr(embedding, "_BATCH", 5)


@pytest.fixture
def pictures(tmp_path):
    """Files of handwritten digits."""
    paths = []
    for row, digit in enumerate(load_digits().images[:40]):
        paths.append(tmp_path / f"{row}.png")
        Image.fromarray((255 - digit * 15.9).astype(np.uint8)).resize((28, 28)).save(paths[-1])
    return paths


@pytest.fixture
def dataset(redis_backend, pictures):
    """A dataset of some of them."""
    dataset = fo.Dataset(f"digits-{uuid.uuid4().hex[:8]}")
    dataset.add_samples([fo.Sample(filepath=str(path)) for path in pictures[:COUNT]])
    yield dataset
    dataset.delete()


def make_run(dataset, **settings):
    """Registers a run that will be filled by sync()."""
    return fob.compute_similarity(
        dataset,
        model=register_model(),
        embeddings=False,
        brain_key="key",
        backend="redis",
        **settings,
    )


@pytest.fixture
def index(dataset):
    """An index of all samples."""
    index = make_run(dataset)
    index.sync()
    return index


def vectors_of(index) -> dict[str, list[float]]:
    vectors, ids, _ = index.get_embeddings()
    return dict(zip(ids.tolist(), vectors.tolist(), strict=True))


def embed(dataset, ids) -> list[list[float]]:
    model = fo.zoo.load_zoo_model(register_model())
    view = dataset.select(ids, ordered=True)
    return np.asarray(view.compute_embeddings(model), np.float32).tolist()


def test_an_empty_run_is_filled_and_the_next_sync_does_nothing(dataset):
    index = make_run(dataset)
    assert str(index.sync(dry_run=True)) == "Would add 24."
    assert index.total_index_size == 0
    result = index.sync()
    assert sorted(result.added) == sorted(dataset.values("id"))
    assert str(result) == "24 added."
    assert str(index.sync()) == "Nothing to do."
    ids = dataset.values("id")
    assert [vectors_of(index)[id] for id in ids] == embed(dataset, ids)


def test_what_is_new_is_embedded_and_what_is_deleted_is_removed(index, dataset, pictures):
    added = dataset.add_samples([fo.Sample(filepath=str(path)) for path in pictures[COUNT:30]])
    deleted = dataset.values("id")[:4]
    dataset.delete_samples(deleted)
    result = index.sync()
    assert (sorted(result.added), sorted(result.removed)) == (sorted(added), sorted(deleted))
    assert str(result) == "6 added, 4 removed."
    assert sorted(vectors_of(index)) == sorted(dataset.values("id"))


def test_a_sample_with_another_file_is_embedded_again(index, dataset, pictures):
    sample = dataset.first()
    sample.filepath = str(pictures[35])
    sample.save()
    result = index.sync()
    assert (result.added, result.changed, result.removed) == ([], [sample.id], [])
    assert [vectors_of(index)[sample.id]] == embed(dataset, [sample.id])
    assert str(index.sync()) == "Nothing to do."


def test_a_file_that_was_replaced_is_noticed_once_its_sample_is_saved(index, dataset, pictures):
    shutil.copy(pictures[36], pictures[3])
    sample = dataset.skip(3).first()
    sample.tags.append("replaced")
    sample.save()
    assert index.sync().changed == [sample.id]


def test_samples_that_only_got_tags_are_not_embedded_again(index, dataset, monkeypatch):
    monkeypatch.setattr(embedding, "_embed", lambda *_: pytest.fail("embedded"))
    dataset.tag_samples("reviewed")
    assert str(index.sync()) == "Nothing to do."


def test_a_change_that_came_before_the_first_sync_is_noticed(dataset, pictures):
    index = fob.compute_similarity(
        dataset, model=register_model(), brain_key="key", backend="redis"
    )
    sample = dataset.last()
    sample.filepath = str(pictures[37])
    sample.save()
    assert index.sync().changed == [sample.id]


def test_stored_fields_follow_the_dataset(dataset):
    index = make_run(dataset, attributes=["tags"])
    index.sync()
    dataset.limit(3).tag_samples("new")
    result = index.sync()
    assert str(result) == "3 stored fields updated."


def test_a_change_that_came_before_a_clone_got_its_own_index_is_noticed(index, dataset, pictures):
    clone = dataset.clone()
    sample = clone.first()
    sample.filepath = str(pictures[35])
    sample.save()
    copy = clone.load_brain_results("key")
    copy.remove_from_index(sample_ids=clone.values("id")[5:6])
    result = copy.sync()
    assert (result.added, result.changed) == (clone.values("id")[5:6], [sample.id])
    assert [vectors_of(copy)[sample.id]] == embed(clone, [sample.id])
    clone.delete()


def test_vectors_of_a_field_that_were_replaced_are_taken_over(dataset):
    before = np.random.default_rng(1).normal(size=(COUNT, 8)).astype(np.float32)
    dataset.set_values("vector", list(before))
    index = fob.compute_similarity(dataset, embeddings="vector", brain_key="key", backend="redis")
    ids = dataset.values("id")
    dataset.set_values("vector", {ids[2]: before[0]}, key_field="id")
    dataset.tag_samples("reviewed")
    assert index.sync().changed == [ids[2]]
    assert vectors_of(index)[ids[2]] == before[0].tolist()


def test_patches_are_embedded_again_when_their_box_moves(dataset):
    for sample in dataset:
        boxes = [[0, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]
        found = [fo.Detection(label="part", bounding_box=box) for box in boxes]
        sample["parts"] = fo.Detections(detections=found)
        sample.save()
    index = make_run(dataset, patches_field="parts")
    assert len(index.sync().added) == 2 * COUNT
    sample = dataset.first()
    moved, deleted = sample.parts.detections
    moved.bounding_box = [0.1, 0.1, 0.8, 0.8]
    sample.parts.detections = [moved, fo.Detection(label="new", bounding_box=[0, 0, 1, 1])]
    sample.save()
    result = index.sync()
    assert (result.changed, result.removed) == ([moved.id], [deleted.id])
    assert result.added == [dataset.first().parts.detections[1].id]
    assert str(index.sync()) == "Nothing to do."


def test_an_interrupted_sync_keeps_all_but_its_last_batch_and_goes_on(dataset, monkeypatch):
    index = make_run(dataset)
    embed_batch, calls = embedding._embed, []

    def interrupt(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return embed_batch(*args)

    with monkeypatch.context() as patched:
        patched.setattr(embedding, "_embed", interrupt)
        with pytest.raises(KeyboardInterrupt):
            index.sync()
    assert index.total_index_size == 15
    assert len(index.sync().added) == COUNT - 15
    assert sorted(vectors_of(index)) == sorted(dataset.values("id"))


def test_a_picture_that_cannot_be_read_is_named_and_tried_again(dataset, pictures):
    broken = pictures[5].read_bytes()
    pictures[5].write_bytes(b"no picture")
    index = make_run(dataset)
    bad = dataset.values("id")[5]
    result = index.sync()
    assert (len(result.added), result.without_vector) == (COUNT - 1, [bad])
    assert str(result) == f"23 added. 1 without a vector: '{bad}'."
    pictures[5].write_bytes(broken)
    assert index.sync().added == [bad]


def test_vectors_that_others_removed_are_added_again(index, dataset):
    ids = dataset.values("id")[:2]
    index.remove_from_index(sample_ids=ids)
    assert sorted(index.sync().added) == sorted(ids)


def test_a_sync_after_a_sync_reads_only_what_is_new(index, dataset, pictures, monkeypatch):
    monkeypatch.setattr(in_step, "difference", lambda _: pytest.fail("compared all"))
    monkeypatch.setattr(Documents, "walk_ids", lambda _: pytest.fail("listed all"))
    added = dataset.add_samples([fo.Sample(filepath=str(pictures[30]))])
    loaded = fo.load_dataset(dataset.name).load_brain_results("key")
    assert loaded.sync().added == added


def test_an_index_that_is_gone_is_filled_anew_with_a_warning(index, dataset, caplog):
    index.open_index().drop()
    assert len(index.sync().added) == COUNT
    assert "is not on the server any more" in caplog.text
    assert sorted(vectors_of(index)) == sorted(dataset.values("id"))


def test_a_run_without_a_model_says_so_before_anything_is_removed(dataset, pictures):
    ids = dataset.values("id")
    vectors = np.random.default_rng(1).normal(size=(COUNT, 8))
    index = fob.compute_similarity(dataset, embeddings=vectors, brain_key="key", backend="redis")
    dataset.add_samples([fo.Sample(filepath=str(pictures[30]))])
    dataset.delete_samples(ids[:2])
    with pytest.raises(InputError, match="neither an embeddings field nor a model"):
        index.sync()
    assert index.total_index_size == COUNT


def test_an_index_of_all_slices_is_kept_in_step(redis_backend, pictures):
    dataset = fo.Dataset(f"groups-{uuid.uuid4().hex[:8]}")
    dataset.add_group_field("group", default="left")
    for row in range(4):
        group = fo.Group()
        dataset.add_samples(
            [
                fo.Sample(filepath=str(pictures[2 * row + side]), group=group.element(name))
                for side, name in enumerate(["left", "right"])
            ]
        )
    index = make_run(dataset)
    assert len(index.sync().added) == 8
    time.sleep(0.01)
    assert str(index.sync()) == "Nothing to do."
    dataset.delete()


def test_what_is_not_to_be_removed_is_found_by_the_next_sync(index, dataset, pictures):
    deleted = dataset.values("id")[:4]
    dataset.delete_samples(deleted)
    [new] = dataset.add_samples([fo.Sample(filepath=str(pictures[30]))])
    result = sync.sync(index, removes=False)
    assert (result.added, result.removed) == ([new], [])
    assert sorted(index.sync().removed) == sorted(deleted)


def test_an_exception_of_the_progress_callback_ends_it_after_a_batch(dataset):
    index = make_run(dataset)

    def stop(bar):
        if bar.iteration >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.sync(progress=stop)
    assert index.total_index_size == 10
    assert len(index.sync().added) == COUNT - 10


def test_slow_models_get_smaller_batches(dataset, monkeypatch):
    monkeypatch.setattr(embedding, "_SECONDS", 0.0)  # so that every model is slow
    counts = []
    make_run(dataset).sync(progress=lambda bar: counts.append(bar.iteration))
    assert counts[:3] == [5, 6, 7]
    assert counts[-1] == COUNT
