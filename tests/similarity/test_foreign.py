"""Indexes that others made, behind FiftyOne's functions."""

import json

import brute_force
import fiftyone.brain as fob
import numpy as np
import pytest
from fiftyone import ViewField as F

from fiftyone_redis.errors import IndexMismatchError, SettingsError

DIM = 16
VECTOR = f"VECTOR FLAT 6 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC COSINE"


@pytest.fixture
def photos(client, samples):
    """An index of HASHes with the samples' ids in a field, as an upload service might make it."""
    make(client, f"image_id TAG caption TEXT thumb {VECTOR} full {VECTOR}")
    for row, (id, vector) in enumerate(zip(samples.ids, samples.embeddings, strict=True)):
        vectors = {"full": vector.tobytes(), "thumb": vector[::-1].tobytes()}
        client.hset(f"photo:{row}", mapping={"image_id": id, "caption": f"photo {row}", **vectors})
    return samples


@pytest.fixture
def crops(client, patches):
    """The same for patches, with the samples' ids in another field."""
    make(client, f"crop_id TAG image_id TAG v {VECTOR}")
    rows = zip(patches.label_ids, patches.sample_ids, patches.embeddings, strict=True)
    for row, (id, sample_id, vector) in enumerate(rows):
        content = {"crop_id": id, "image_id": sample_id, "v": vector.tobytes()}
        client.hset(f"photo:{row}", mapping=content)
    return patches


def make(client, fields: str) -> None:
    definition = f"ON HASH PREFIX 1 photo: SCHEMA {fields}"
    client.execute_command("FT.CREATE", "photos", *definition.split())


def use(dataset, **options):
    return fob.compute_similarity(
        dataset,
        embeddings=False,
        brain_key="key",
        backend="redis",
        index_name="photos",
        **options,
    )


def nearest(embeddings, ids, row: int, among=None) -> list[str]:
    order = brute_force.nearest("cosine", embeddings[row], embeddings)
    return [ids[i] for i in order if among is None or ids[i] in among]


def test_samples_are_searched_in_the_index_of_others(photos):
    use(photos.dataset, vector_field="full", id_field="image_id")
    query, expected = photos.ids[3], nearest(photos.embeddings, photos.ids, 3)
    found = photos.dataset.sort_by_similarity(query, k=10, brain_key="key")
    assert found.values("id") == expected[:10]
    farthest = photos.dataset.sort_by_similarity(query, k=3, reverse=True, brain_key="key")
    assert farthest.values("id") == expected[:-4:-1]
    view = photos.dataset.match(F("ground_truth.label") == "a")
    found = view.sort_by_similarity(query, k=5, brain_key="key")
    assert found.values("id") == nearest(photos.embeddings, photos.ids, 3, view.values("id"))[:5]


def test_the_index_of_others_is_kept_up_and_its_fields_stay(client, photos):
    index = use(photos.dataset, vector_field="full", id_field="image_id")
    index.add_to_index(photos.embeddings[:2] * 2, photos.ids[:2])
    assert index.total_index_size == 60
    assert client.hget("photo:1", "caption") == b"photo 1"
    index.remove_from_index(photos.ids[2:4])
    assert index.total_index_size == 58
    embeddings, ids, _ = index.get_embeddings(photos.ids[:3])
    assert np.array_equal(embeddings, photos.embeddings[:2] * 2)
    assert ids.tolist() == photos.ids[:2]
    index.find_duplicates(thresh=1e-6)
    assert index.duplicate_ids == []


def test_the_fields_are_saved_with_the_run_and_last_through_a_rebuild(client, photos):
    use(photos.dataset, vector_field="full", id_field="image_id")
    photos.dataset.load_brain_results("key").rebuild(algorithm="HNSW")
    photos.dataset.clear_cache()
    photos.dataset.reload()

    index = photos.dataset.load_brain_results("key")
    assert (index.config.vector_field, index.config.id_field) == ("full", "image_id")
    assert index.config.algorithm == "HNSW"
    assert set(index.sample_ids) == set(photos.ids)
    found = client.execute_command("FT.SEARCH", "photos", "@caption:photo", "LIMIT", 0, 0)
    assert found[b"total_results"] == 60
    index.cleanup()
    assert client.dbsize() == 0


@pytest.mark.parametrize("field", ["$.uid", "uid"])
@pytest.mark.needs("json")
def test_the_names_of_the_fields_follow_a_change_of_storage(client, samples, field):
    definition = f"ON JSON PREFIX 1 photo: SCHEMA $.a AS first {VECTOR} $.n AS n NUMERIC"
    client.execute_command("FT.CREATE", "photos", *definition.split())
    for row, (id, vector) in enumerate(zip(samples.ids, samples.embeddings.tolist(), strict=True)):
        content = json.dumps({"uid": id, "a": vector, "n": row})
        client.execute_command("JSON.SET", f"photo:{row}", "$", content)
    index = use(samples.dataset, vector_field="$.a", id_field=field)
    index.rebuild(storage="HASH")
    samples.dataset.clear_cache()
    samples.dataset.reload()

    again = samples.dataset.load_brain_results("key")
    assert set(again.sample_ids) == set(samples.ids)
    found = samples.dataset.sort_by_similarity(samples.ids[3], k=5, brain_key="key")
    assert found.values("id") == nearest(samples.embeddings, samples.ids, 3)[:5]


def test_patches_are_searched_in_the_index_of_others(crops):
    index = use(
        crops.dataset, patches_field="ground_truth", id_field="crop_id", sample_id_field="image_id"
    )
    assert index.total_index_size == len(crops.label_ids)
    view = crops.dataset.to_patches("ground_truth").limit(9)
    found = view.sort_by_similarity(crops.label_ids[0], k=5, brain_key="key").values("id")
    assert found == nearest(crops.embeddings, crops.label_ids, 0, crops.label_ids[:9])[:5]
    _, _, label_ids = index.get_embeddings(sample_ids=crops.sample_ids[:1])
    assert sorted(label_ids) == sorted(crops.label_ids[:3])
    few = crops.dataset.limit(5).sort_by_similarity(crops.label_ids[0], k=4, brain_key="key")
    assert set(few.values("id")) <= set(crops.dataset.values("id")[:5])
    index.remove_from_index(sample_ids=crops.sample_ids[:1])
    assert index.total_index_size == len(crops.label_ids) - 3


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "2 vector fields .*; name one with vector_field"),
        ({"vector_field": "none"}, "no vector field 'none'"),
        ({"vector_field": "full", "id_field": "none"}, "has the field 'none'"),
        (
            {"vector_field": "full"},
            "ids that are not FiftyOne's, such as .*; name .* with id_field",
        ),
        ({"vector_field": "full", "metric": "euclidean"}, "exists with metric='cosine'"),
        (
            {"vector_field": "full", "id_field": "image_id", "patches_field": "gt"},
            "name the tag .* with sample_id_field",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_touched(client, photos, options, reason):
    with pytest.raises(IndexMismatchError, match=reason):
        use(photos.dataset, **options)
    assert photos.dataset.list_brain_runs() == []
    assert client.dbsize() == 60


def test_what_fiftyone_does_not_know_is_left_out_of_views(client, samples):
    client.execute_command("FT.CREATE", "photos", *f"ON HASH SCHEMA v {VECTOR}".split())
    for id, vector in zip(samples.ids, samples.embeddings, strict=True):
        client.hset(id, mapping={"v": vector.tobytes()})
    client.hset("session:1", mapping={"user": "me"})
    client.hset("theirs", mapping={"v": samples.embeddings[3].tobytes()})
    use(samples.dataset)
    found = samples.dataset.limit(40).sort_by_similarity(samples.ids[3], k=40, brain_key="key")
    assert found.values("id") == nearest(samples.embeddings, samples.ids, 3, samples.ids[:40])


def test_embeddings_of_another_dimension_are_told_before_anything_is_touched(client, photos):
    with pytest.raises(IndexMismatchError, match="dimension 16, not 15"):
        fob.compute_similarity(
            photos.dataset,
            embeddings=np.ones((60, 15)),
            brain_key="key",
            backend="redis",
            index_name="photos",
            vector_field="full",
            id_field="image_id",
        )
    assert photos.dataset.list_brain_runs() == []
    assert client.hlen("photo:0") == 4


def test_a_new_index_has_the_fields_that_are_named(client, patches, make_patch_index):
    make_patch_index(
        index_name="mine", vector_field="emb", id_field="label_id", sample_id_field="image"
    )
    first = client.hgetall(f"mine:{patches.label_ids[0]}")
    assert first == {
        b"emb": patches.embeddings[0].tobytes(),
        b"label_id": patches.label_ids[0].encode(),
        b"image": patches.sample_ids[0].encode(),
    }
    view = patches.dataset.to_patches("ground_truth")
    found = view.sort_by_similarity(patches.label_ids[0], k=5, brain_key="key").values("id")
    assert found == nearest(patches.embeddings, patches.label_ids, 0)[:5]


@pytest.mark.parametrize("option", ["vector_field", "id_field", "sample_id_field"])
def test_names_of_fields_are_checked(samples, option):
    with pytest.raises(SettingsError, match="name of a field must be text, not 5"):
        use(samples.dataset, **{option: 5})
