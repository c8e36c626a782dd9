"""The plugin in the App: the panel "Redis" and its actions, as a person sees and uses them."""

import os
from pathlib import Path

import fiftyone.brain as fob
import pytest
from driving import until

from fiftyone_redis import server
from fiftyone_redis.demo.model import register_model
from fiftyone_redis.engine import connect


def index_of(dataset, url: str):
    return fob.compute_similarity(
        dataset, model=register_model(), brain_key="redis", backend="redis", url=url
    )


def test_the_panel_shows_the_server_the_index_and_its_distances(panel, page, digits):
    page.open(digits.dataset.name)
    panel.open()
    panel.settle()
    panel.says("query engine")
    assert panel.row()[:5] == ["redis", "samples", "1,797", "0", "0"]
    assert panel.table_fits()
    panel.browser.locator("table tbody td").first.click()
    panel.says("Text prompts")
    page.picture("panel")


@pytest.mark.slow
def test_an_index_is_created_filled_and_dropped(panel, page, few):
    page.open(few.name)
    panel.open()
    panel.says("no Redis index yet")
    panel.button("Create an index").click()
    panel.says("Where vectors come from")
    model = panel.browser.locator("input[role=combobox]")
    model.fill(register_model())
    model.press("Tab")  # the list of models closes
    panel.picture("create-index", "Create")
    panel.run("Create")
    panel.says("Indexed 20 samples")
    until(lambda: panel.row()[:3] == ["redis", "samples", "20"])

    panel.settle()
    panel.act("Drop")
    panel.says("Delete redis and its 20 vectors")
    assert panel.button("Drop").is_disabled()
    panel.browser.get_by_role("checkbox").last.check()
    panel.picture("drop-index", "Drop")
    panel.run("Drop")
    panel.says("Dropped 'redis'")
    panel.says("no Redis index yet")
    few.reload()
    assert few.list_brain_runs() == []


def test_a_search_with_a_picture_shows_what_looks_like_it(panel, page, digits):
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
    panel.browser.locator("input[type=string]").last.fill("nearness")
    panel.picture("search-form", "Search")
    panel.run("Search")
    panel.says("25 samples nearest to it are shown")
    page.shows(digits.nearest(digits.embeddings[7])[:25])
    page.picture("search-with-a-picture")
    digits.dataset.reload()  # the App has added the field
    digits.dataset.delete_sample_field("nearness")


@pytest.mark.slow
def test_near_duplicates_are_as_many_as_the_form_says(panel, page, digits):
    page.open(digits.dataset.name)
    panel.open()
    panel.settle()
    panel.button("Find near duplicates").click()
    panel.says("of 1,797 samples have another one within")
    said = panel.browser.get_by_text("samples have another one within").first.inner_text()
    panel.browser.locator(".js-plotly-plot .bars").last.wait_for()
    slider = panel.browser.locator("input[type=range]").last
    slider.press("ArrowRight")
    moved = panel.browser.get_by_text("samples have another one within").first
    until(lambda: moved.inner_text() != said)
    said = moved.inner_text()
    panel.picture("near-duplicates-form", "Find")
    panel.run("Find")
    panel.says("can be left out")
    until(lambda: page.count() == f"{said.split()[0]} samples")
    page.pictures_are_there()
    page.picture("near-duplicates")


@pytest.mark.slow
def test_an_index_that_was_dropped_behind_its_back_is_said_and_filled_again(
    panel, page, few, app_redis
):
    index = index_of(few, app_redis)
    client = connect(app_redis)
    client.execute_command("FT.DROPINDEX", index.config.index_name, "DD")
    client.close()
    page.open(few.name)
    panel.open()
    panel.says("is not on the server")
    until(lambda: panel.row()[2:4] == ["not there", "20"])
    panel.act("Index missing samples")
    panel.says("20 samples will be indexed")
    panel.run("Index")
    panel.says("Indexed 20 samples")


@pytest.mark.slow
def test_a_server_that_is_gone_is_said_with_what_to_do(panel, page, digits, app_redis):
    folder = Path(os.environ["HOME"]) / "app-redis"
    page.open(digits.dataset.name)
    panel.open()
    panel.settle()
    server.stop(folder)
    try:
        panel.button("Refresh").click()
        panel.says("Redis cannot be used now")
        panel.says("No Redis answers")
        page.picture("server-gone")
    finally:
        server.start(folder)
    panel.button("Refresh").click()
    panel.settle()
    assert panel.row()[2] == "1,797"


@pytest.mark.slow
def test_a_region_of_the_selected_sample_finds_what_looks_like_it(panel, page, scenes):
    page.open(scenes.dataset.name)
    panel.open()
    panel.settle()
    assert panel.row()[1] == "patches of ground_truth"
    assert panel.table_fits()
    sample = page.ids()[0]
    page.select(0)
    panel.button("Search with a picture").click()
    panel.says("A region of the sample that is open")
    panel.picture("search-region", "Search")
    panel.run("Search")
    panel.says("25 patches nearest to it are shown")
    label = scenes.dataset[sample].ground_truth.detections[0].id
    page.shows(scenes.nearest(scenes.embeddings[scenes.ids.index(label)])[:25])
