"""What the panel's actions show in the grid, and beside it."""

from pathlib import Path

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from driving import PATIENCE, happens, until
from redis_panel import index_by_model

from fiftyone_redis.demo.model import register_model

OURS = ("redis_distance", "redis_group", "redis_role")


@pytest.fixture
def clean(digits):
    """The digits, without the fields that the plugin adds, and without visualizations."""
    yield digits
    digits.dataset.reload()
    fields = [field for field in OURS if digits.dataset.has_sample_field(field)]
    digits.dataset.delete_sample_fields(fields)
    for key in digits.dataset.list_brain_runs(type=fob.Visualization):
        digits.dataset.delete_brain_run(key)


def duplicates_form(panel):
    """Opens the form, and returns its input and its slider."""
    panel.button("Find near duplicates").click()
    panel.says("have another one within")
    panel.browser.locator(".js-plotly-plot .bars").last.wait_for()
    return (
        panel.browser.locator("input[type=number]").last,
        panel.browser.locator("input[type=range]").last,
    )


@pytest.mark.slow
def test_a_search_with_a_picture_shows_what_looks_like_it_and_how_far_that_is(panel, page, clean):
    digits = clean
    file = Path(digits.dataset[digits.ids[7]].filepath)
    page.open(digits.dataset.name)
    panel.open()
    panel.settle()
    panel.button("Search with a picture").click()
    panel.says("Upload a picture")
    assert panel.button("Search").is_disabled()
    assert panel.browser.get_by_text("Required property").count() == 0
    panel.browser.locator("input[type=file]").set_input_files(file)
    panel.says(file.name)
    panel.picture("search-form", "Search")
    panel.run("Search")
    panel.toast("25 samples nearest to it are shown", "success")
    panel.has_ticked("redis_distance")
    nearest = digits.nearest(digits.embeddings[7])[:25]
    page.shows(nearest)
    page.picture("search-with-a-picture")
    shown = [float(distance) for distance in page.values("redis_distance")]
    assert shown == pytest.approx(digits.distances(digits.embeddings[7], nearest), abs=1e-3)


@pytest.mark.slow
def test_a_threshold_is_typed_and_dragged_and_finds_as_many_as_the_form_says(panel, page, clean):
    page.open(clean.dataset.name)
    panel.open()
    panel.settle()
    typed, slider = duplicates_form(panel)
    typed.fill("0.05")
    panel.says("samples have another one within 0.05")
    until(lambda: float(slider.input_value()) == 0.05)
    slider.press("ArrowLeft")
    until(lambda: typed.input_value() not in ("", "0.05"))
    assert 0 < float(typed.input_value()) < 0.05
    typed.fill("0.0005")
    panel.says("samples have another one within 0.0005")
    said = panel.browser.get_by_text("samples have another one within").first.inner_text()
    panel.picture("near-duplicates-form", "Find")
    panel.run("Find")
    panel.toast("can be left out", "success")
    panel.has_ticked(*OURS)
    until(lambda: page.count() == f"{said.split()[0]} samples")
    page.pictures_are_there()
    page.picture("near-duplicates")
    groups = [int(group) for group in page.values("redis_group")]
    assert groups == sorted(groups)
    assert set(page.values("redis_role")) == {"keep", "duplicate"}


@pytest.mark.slow
def test_a_tile_for_each_group_and_all_but_one_of_each_can_be_deleted(panel, page, few, app_redis):
    files = few.values("filepath")
    few.add_samples([fo.Sample(filepath=file) for file in files[:3]])
    index_by_model(few, app_redis)
    page.open(few.name)
    panel.open()
    panel.settle()
    typed, _ = duplicates_form(panel)
    typed.fill("0.000001")
    panel.says("6 of 23 samples")
    panel.browser.get_by_text("Side by side").click()
    panel.browser.get_by_text("A tile for each group").click()
    panel.run("Find")
    until(lambda: page.count() == "3 groups")
    panel.has_ticked(*OURS)
    page.pictures_are_there()
    page.picture("near-duplicate-groups")
    panel.act("Delete near duplicates")
    panel.says("Delete 3 samples from the dataset")
    assert panel.button("Delete").is_disabled()
    panel.browser.get_by_role("checkbox").last.check()
    panel.picture("delete-near-duplicates", "Delete")
    panel.run("Delete")
    panel.toast("Deleted 3 samples of 3 groups", "success")
    assert sorted(few.values("filepath")) == sorted(files)


@pytest.mark.slow
def test_a_region_is_chosen_by_its_picture(panel, page, scenes):
    page.open(scenes.dataset.name)
    panel.open()
    panel.settle()
    assert panel.row()[1] == "patches of ground_truth"
    assert panel.table_fits()
    sample = scenes.dataset[page.ids()[0]]
    page.select(0)
    panel.button("Search with a picture").click()
    panel.says("A region of the sample that is open")
    tile = panel.browser.locator("label:has(input[type=radio])").nth(1)
    tile.click()
    picture = "one => getComputedStyle(one, '::before').backgroundImage"
    assert tile.evaluate(picture).startswith('url("data:image/jpeg')
    panel.picture("search-region", "Search")
    panel.run("Search")
    panel.toast("25 patches nearest to it are shown", "success")
    panel.has_ticked("redis_distance")
    vector = scenes.embedding(sample.ground_truth.detections[1].id)
    nearest = scenes.nearest(vector)[:25]
    page.shows(nearest)
    page.picture("search-region-found")
    shown = [float(distance) for distance in page.values("redis_distance")]
    assert shown == pytest.approx(scenes.distances(vector, nearest), abs=1e-3)


@pytest.mark.slow
def test_what_is_missing_is_shown_at_once(panel, page, few, app_redis):
    index = index_by_model(few, app_redis)
    missing = few.values("id")[3:6]
    index.remove_from_index(missing)
    page.open(few.name)
    panel.open()
    until(lambda: panel.row()[3] == "3")
    panel.act("Show missing samples")
    panel.toast("3 samples without a vector", "success")
    page.shows(missing)
    assert page.count() == "3 samples"
    page.picture("missing")


@pytest.mark.slow
def test_a_visualization_opens_in_the_panel_embeddings(panel, page, clean):
    page.open(clean.dataset.name)
    panel.open()
    panel.settle()
    panel.act("Compute visualization")
    panel.says("Method")
    panel.picture("visualization-form", "Compute")
    panel.run("Compute")
    panel.toast("Computed redis_", "success", within=5 * PATIENCE)  # numba compiles UMAP first
    embeddings = page.there("panel-content-Embeddings")
    back = embeddings.get_by_label("Back to visualizations")

    def is_opened() -> bool:
        if not back.count():  # the dataset is reloaded, so a click may get lost
            embeddings.get_by_text("redis_", exact=False).first.click()
        return happens(lambda: back.count() > 0, within=5)

    until(is_opened)
    embeddings.locator("canvas").first.wait_for()
    page.pictures_are_there()
    page.picture("visualization")
    clean.dataset.reload()
    [key] = clean.dataset.list_brain_runs(type=fob.Visualization)
    assert len(clean.dataset.load_brain_results(key).points) == 1797


@pytest.mark.slow
def test_a_mistyped_model_is_said_and_what_was_entered_stays(panel, page, few):
    page.open(few.name)
    panel.open()
    panel.create_index("clip-vit-base32-troch", brain_key="mine")
    panel.says("did you mean clip-vit-base32-torch")
    assert panel.button("Create").is_disabled()
    page.picture("create-mistyped")
    model = panel.browser.locator("input[role=combobox]").first
    model.fill(register_model())
    model.press("Tab")
    panel.run("Create")
    panel.toast("Indexed 20 samples", "success")
    until(lambda: panel.row()[:3] == ["mine", "samples", "20"])


@pytest.mark.slow
def test_a_run_of_another_backend_is_turned_into_one_here(panel, page, few):
    vectors = np.random.default_rng(51).normal(size=(20, 8)).astype(np.float32)
    sklearn = "fiftyone.brain.internal.core.sklearn.SklearnSimilarityConfig"
    fob.compute_similarity(
        few, embeddings=vectors, brain_key="former", backend="sklearn", config_cls=sklearn
    )
    page.open(few.name)
    panel.open()
    panel.says("nothing is embedded again")
    panel.button("Use the vectors of another run").click()
    panel.says("former (sklearn)")
    panel.picture("copy-run", "Create")
    panel.run("Create")
    panel.toast("Indexed 20 samples", "success")
    until(lambda: panel.row()[:4] == ["redis", "samples", "20", "0"])


def test_the_panel_stands_among_those_to_curate_with(panel, page, digits):
    page.open(digits.dataset.name)
    menu = panel.browser.get_by_text("Curate", exact=True)

    def opened() -> bool:
        page.there("new-panel-btn").first.click()
        return menu.count() == 1

    until(opened)
    texts = panel.browser.locator("body").inner_text()
    assert texts.index("Curate") < texts.index("Redis Similarity Indexes") < texts.index("Analyze")
