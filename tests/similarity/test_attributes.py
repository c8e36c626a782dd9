"""Sample fields stored beside the vectors: which, as what, brought up to date, found by filters."""

from datetime import date, datetime, timezone

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from versions import needs_frames

from fiftyone_redis.engine.protocol.commands import escape
from fiftyone_redis.engine.schema.schema import SEPARATOR
from fiftyone_redis.errors import IndexMismatchError, InputError, SettingsError

ODD_TAGS = ["a,b", "c|d {e}", "日本 é", "-1", "with space", 'quote"d', "back\\slash", "a.b@c$d*"]


@pytest.fixture
def fielded(samples):
    """The samples, of which the first has every kind of field and the second has none."""
    first = samples.dataset.first()
    first.tags = ["validated", *ODD_TAGS]
    first["caption"] = "A dog\nruns, fast"
    first["uniqueness"] = 0.25
    first["count"] = 2**40
    first["good"] = False
    first["day"] = date(2024, 2, 29)
    first["moment"] = datetime(2024, 2, 29, 12, 0, 0, 500_000, tzinfo=timezone.utc)
    first["words"] = ["x y", "z"]
    first["found"] = fo.Detections(
        detections=[
            fo.Detection(label=label, bounding_box=[0, 0, 1, 1], confidence=0.5)
            for label in ("cat", "dog", "cat")
        ]
    )
    first["score"] = fo.Regression(value=1.5)
    first["numbers"] = [1.0, 2.0]
    first["info"] = {"a": 1}
    first["array"] = np.zeros(3)
    first.metadata = fo.ImageMetadata(width=640, height=480)
    first.save()
    return samples


def similarity(samples, attributes, **kwargs):
    return fob.compute_similarity(
        samples.dataset,
        embeddings=samples.embeddings,
        brain_key="key",
        backend="redis",
        attributes=attributes,
        **kwargs,
    )


def fields(index, id: str) -> dict[str, str]:
    """Returns the fields of a document but for its vector."""
    held = index._redis.hgetall(f"{index.config.index_name}:{id}")
    return {n.decode(): held[n].decode() for n in held if not n.startswith(b"vector")}


def matching(index, query: str) -> list[str]:
    """Returns the ids of the documents that match, as a service without FiftyOne asks for them."""
    name = index.config.index_name
    reply = index._redis.execute_command("FT.SEARCH", name, query, "NOCONTENT", "DIALECT", 2)
    return [hit[b"id"].decode().removeprefix(f"{name}:") for hit in reply[b"results"]]


@pytest.mark.parametrize(
    ("attribute", "query", "text"),
    [
        ("tags", "@tags:{validated}", SEPARATOR.join(["validated", *ODD_TAGS])),
        ("filepath", "@filepath:{*0\\.png}", None),
        ("id", None, None),
        ("ground_truth.label", "@ground_truth_label:{a}", "a"),
        ("found.label", "@found_label:{cat} @found_label:{dog}", f"cat{SEPARATOR}dog"),
        ("found.detections.label", "@found_detections_label:{dog}", f"cat{SEPARATOR}dog"),
        ("good", "@good:{false}", "false"),
        ("caption", "@caption:{A\\ dog*}", "A dog\nruns, fast"),
        (("caption", "TEXT"), "@caption:(dog run)", "A dog runs, fast"),
        (("words", "TEXT"), '@words:"y z"', "x y, z"),
        ("uniqueness", "@uniqueness:[0.25 0.25]", "0.25"),
        ("count", "@count:[1e12 inf]", str(2**40)),
        ("day", "@day:[1709164800 1709164800]", "1709164800.0"),
        ("moment", "@moment:[1709208000.5 1709208000.5]", "1709208000.5"),
        ("created_at", "@created_at:[1709208000 inf]", None),
        ("score.value", "@score_value:[1.5 1.5]", "1.5"),
        ("metadata.width", "@metadata_width:[640 640]", "640"),
    ],
    ids=str,
)
def test_fields_are_stored_by_their_types(fielded, attribute, query, text):
    index = similarity(fielded, [attribute])
    id = fielded.ids[0]
    held = fields(index, id)
    assert len(held) == 1
    assert text is None or list(held.values()) == [text]
    if query is not None:
        assert id in matching(index, query)


@pytest.mark.parametrize("tag", ODD_TAGS)
def test_tags_survive_any_characters(fielded, tag):
    index = similarity(fielded, ["tags"])
    assert matching(index, f"@tags:{{{escape(tag)}}}") == [fielded.ids[0]]


def test_characters_that_the_index_cannot_hold_are_replaced(samples):
    samples.dataset.set_values("tags", [[f"a{SEPARATOR}b\x00c", "d"]] + [[]] * 59)
    index = similarity(samples, ["tags"])
    assert fields(index, samples.ids[0]) == {"tags": f"a\ufffdb\ufffdc{SEPARATOR}d"}
    assert matching(index, "@tags:{d}") == [samples.ids[0]]


def test_missing_values_are_no_fields(fielded):
    attributes = ["tags", "caption", "uniqueness", "good", "day", "found.label", "metadata.width"]
    index = similarity(fielded, [*attributes, "filepath"])
    assert fields(index, fielded.ids[1]) == {"filepath": fielded.dataset.values("filepath")[1]}
    assert index.total_index_size == 60


def test_numbers_that_are_none_are_left_out(samples):
    samples.dataset.set_values("number", [float("nan"), float("inf"), -0.0] + [1e-300] * 57)
    index = similarity(samples, ["number"])
    assert index.total_index_size == 60
    assert fields(index, samples.ids[0]) == {}
    assert matching(index, "@number:[5 inf]") == [samples.ids[1]]


def test_embeddings_and_results_are_the_same(fielded):
    index = similarity(fielded, ["tags", "filepath", "uniqueness"])
    embeddings, ids, _ = index.get_embeddings(fielded.ids)
    assert np.array_equal(embeddings, fielded.embeddings)
    assert ids.tolist() == fielded.ids
    view = index.sort_by_similarity(fielded.ids[3], k=5)
    assert view.first().id == fielded.ids[3]
    assert len(view) == 5


def test_the_fields_are_saved_with_the_run(fielded):
    similarity(fielded, ["tags", ("caption", "TEXT"), "uniqueness"])
    expected = (("tags", "TAG"), ("caption", "TEXT"), ("uniqueness", "NUMERIC"))
    fielded.dataset.clear_cache()
    assert fielded.dataset.get_brain_info("key").config.stored_fields == expected
    index = fielded.dataset.load_brain_results("key")
    index.add_to_index(fielded.embeddings[:1], fielded.ids[:1])
    assert fields(index, fielded.ids[0])["uniqueness"] == "0.25"


def test_an_index_that_starts_empty_gets_them_with_the_first_samples(fielded):
    index = fob.compute_similarity(
        fielded.dataset, embeddings=False, brain_key="key", backend="redis", attributes=["tags"]
    )
    index.add_to_index(fielded.embeddings, fielded.ids)
    assert matching(index, "@tags:{validated}") == [fielded.ids[0]]


def test_a_run_without_them_has_none(samples):
    index = similarity(samples, None)
    assert fields(index, samples.ids[0]) == {}
    assert index.update_attributes() == 0
    assert "attributes" not in index.config.serialize()


def test_a_rebuild_keeps_them(fielded):
    index = similarity(fielded, ["tags"])
    index.rebuild(algorithm="HNSW", dtype="float16")
    assert matching(index, "@tags:{validated}") == [fielded.ids[0]]
    index.add_to_index(fielded.embeddings[:1], fielded.ids[:1])
    assert "validated" in fields(index, fielded.ids[0])["tags"]


def test_what_changed_in_the_dataset_is_brought_up_to_date(fielded):
    index = similarity(fielded, ["tags", "uniqueness"])
    fielded.dataset.set_values("uniqueness", [None, 0.5] + [None] * 58)
    fielded.dataset.match_tags("validated").untag_samples("validated")
    assert index.update_attributes() == 2
    assert "uniqueness" not in fields(index, fielded.ids[0])
    assert matching(index, "@uniqueness:[0.5 0.5]") == [fielded.ids[1]]
    assert matching(index, "@tags:{validated}") == []
    assert index.update_attributes() == 0


def test_only_some_samples_can_be_brought_up_to_date(fielded):
    index = similarity(fielded, ["uniqueness"])
    fielded.dataset.set_values("uniqueness", [0.5] * 60)
    assert index.update_attributes(fielded.ids[:3]) == 3
    assert index.update_attributes(fielded.ids[0]) == 0
    assert sorted(matching(index, "@uniqueness:[0.5 0.5]")) == sorted(fielded.ids[:3])


def test_a_field_that_is_gone_is_without_values(fielded):
    index = similarity(fielded, ["uniqueness", "found.label", "filepath"])
    fielded.dataset.delete_sample_fields(["uniqueness", "found"])
    fielded.dataset.clear_cache()
    index = fielded.dataset.load_brain_results("key")
    assert index.update_attributes() == 1
    assert fields(index, fielded.ids[0]).keys() == {"filepath"}
    assert len(index.sort_by_similarity(fielded.ids[0], k=3)) == 3


def test_progress_is_told(fielded):
    index, told = similarity(fielded, ["tags"]), []
    index.update_attributes(progress=lambda bar: told.append(bar.iteration))
    assert told[-1] == 60


def test_patches_have_fields_of_their_own_and_of_their_samples(patches, make_patch_index):
    patches.dataset.set_values("tags", [["even", "odd"][row % 2 :][:1] for row in range(20)])
    index = make_patch_index(
        attributes=["ground_truth.detections.label", "ground_truth.id", "filepath", "tags"]
    )
    held = fields(index, patches.label_ids[4])
    assert held == {
        "sample_id": patches.sample_ids[4],
        "ground_truth_detections_label": "b",
        "ground_truth_id": patches.label_ids[4],
        "filepath": patches.dataset[patches.sample_ids[4]].filepath,
        "tags": "odd",
    }


def test_fields_of_patches_are_brought_up_to_date(patches, make_patch_index):
    index = make_patch_index(
        attributes=["ground_truth.label", "ground_truth.detections.confidence"]
    )
    sample = patches.dataset.first()
    sample.ground_truth.detections[1].confidence = 0.75
    sample.ground_truth.detections[2].label = "new"
    sample.save()
    assert index.update_attributes(label_ids=patches.label_ids[2]) == 1
    assert index.update_attributes(sample.id) == 1
    assert matching(index, "@ground_truth_label:{new}") == [patches.label_ids[2]]
    confident = matching(index, "@ground_truth_detections_confidence:[0.7 0.8]")
    assert confident == [patches.label_ids[1]]


@needs_frames
def test_fields_of_frames(redis_backend):
    dataset = fo.Dataset()
    sample = fo.Sample(filepath="video.mp4")
    for number in (1, 2, 3):
        sample.frames[number] = fo.Frame(filepath=f"{number}.png", even=number % 2 == 0)
    dataset.add_sample(sample)
    frames = dataset.to_frames(sample_frames="dynamic")
    index = fob.compute_similarity(
        frames,
        embeddings=np.eye(3),
        brain_key="key",
        backend="redis",
        attributes=["even", "frame_number"],
    )
    ids = frames.values("id")
    assert matching(index, "@even:{true} @frame_number:[2 2]") == [ids[1]]
    dataset.delete()


def test_fields_of_all_slices_of_a_group(redis_backend):
    dataset = fo.Dataset()
    dataset.add_group_field("group")
    group = fo.Group()
    dataset.add_samples(
        fo.Sample(filepath=f"{name}.png", group=group.element(name)) for name in ("left", "right")
    )
    view = dataset.select_group_slices(_allow_mixed=True)
    index = fob.compute_similarity(
        view, embeddings=np.eye(2), brain_key="key", backend="redis", attributes=["filepath"]
    )
    paths = [fields(index, id)["filepath"] for id in view.values("id")]
    assert paths == view.values("filepath")
    dataset.delete()


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("nothing", "no such field"),
        ("ground_truth.nothing", "no such field"),
        ("nothing.label", "no such field"),
        ("ground_truth", "fields of its own"),
        ("found", "fields of its own"),
        ("metadata", "fields of its own"),
        ("numbers", "several numbers"),
        ("found.confidence", "several numbers"),
        ("found.bounding_box", "several numbers"),
        ("info", "DictField"),
        ("array", "VectorField"),
        (("uniqueness", "TEXT"), "can be NUMERIC, not TEXT"),
        (("caption", "NUMERIC"), "can be TAG or TEXT, not NUMERIC"),
    ],
    ids=str,
)
def test_fields_that_cannot_be_stored_are_refused(fielded, client, attribute, reason):
    path = attribute if isinstance(attribute, str) else attribute[0]
    with pytest.raises(SettingsError, match=f"'{path}' .*{reason}"):
        similarity(fielded, ["tags", attribute])
    assert fielded.dataset.list_brain_runs() == []
    assert client.dbsize() == 0
    assert not client.execute_command("FT._LIST")


@pytest.mark.parametrize("attributes", ["tags", {"caption": "TEXT"}, [3], [("a", "GEO")], 7])
def test_what_is_no_list_of_fields_is_refused(samples, attributes):
    with pytest.raises(SettingsError, match=r"attribute.*caption|attribute.*TAG, TEXT"):
        similarity(samples, attributes)


def test_fields_of_one_name_in_the_index_are_refused(fielded):
    fielded.dataset.add_sample_field("ground_truth_label", fo.StringField)
    with pytest.raises(SettingsError, match=r"'ground_truth\.label' and 'ground_truth_label'"):
        similarity(fielded, ["ground_truth.label", "ground_truth_label"])


@pytest.mark.parametrize("name", ["distance", "vector"])
def test_fields_named_like_those_of_the_index_are_refused(samples, name):
    samples.dataset.add_sample_field(name, fo.StringField)
    with pytest.raises(SettingsError, match=f"'{name}'"):
        similarity(samples, [name])
    assert samples.dataset.list_brain_runs() == []


def test_an_index_that_exists_without_them_is_refused(samples):
    similarity(samples, ["filepath"], index_name="mine")
    with pytest.raises(IndexMismatchError, match=r"tags \(TAG\).*omit them"):
        fob.compute_similarity(
            samples.dataset,
            embeddings=False,
            brain_key="other",
            backend="redis",
            index_name="mine",
            attributes=["filepath", "tags"],
        )


def test_bad_embeddings_are_refused_before_anything_is_written(samples, client):
    samples.embeddings[3, 3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        similarity(samples, ["filepath"])
    assert client.dbsize() == 0
