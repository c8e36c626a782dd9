"""The panel "Redis Similarity Indexes" in the App: indexes made, seen and dropped by a person."""

import os
from pathlib import Path

import fiftyone.brain as fob
import numpy as np
import pytest
from driving import until
from redis_panel import index_by_model

from fiftyone_redis import server
from fiftyone_redis.app.painting.index_table import COUNTING
from fiftyone_redis.demo.model import register_model
from fiftyone_redis.engine import connect

# Notes whatever stands below an input in red, even for a moment.
NOTE_RED = """() => {
    window.red = [];
    const note = () => document.body.innerText.includes("Required property")
        && window.red.push("Required property");
    new MutationObserver(note).observe(document.body, {childList: true, subtree: true});
}"""


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
    page.browser.set_viewport_size({"width": 900, "height": 800})
    until(panel.table_fits)


@pytest.mark.slow
def test_an_index_is_created_filled_and_dropped(panel, page, few):
    page.open(few.name)
    panel.open()
    panel.says("no Redis index yet")
    panel.says("How it works")
    page.picture("empty")
    panel.button("Create an index").click()
    panel.says("Where vectors come from")
    model = panel.browser.locator("input[role=combobox]").first
    model.fill(register_model())
    model.press("Tab")  # the list of models closes
    panel.says("takes text prompts")
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


@pytest.mark.slow
def test_an_index_that_was_dropped_behind_its_back_is_said_and_filled_again(
    panel, page, few, app_redis
):
    index = index_by_model(few, app_redis)
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
def test_a_private_server_that_is_stopped_is_started_by_a_button(stopped):
    stopped.open()
    stopped.says("The private server is stopped")
    stopped.page.picture("server-stopped")
    stopped.button("Start").click()
    stopped.settle()
    assert stopped.row()[:3] == ["redis", "samples", "20"]


@pytest.mark.slow
def test_the_table_is_that_of_the_indexes_that_are_left(panel, page, few, app_redis):
    for key in ("first", "second"):
        vectors = np.eye(20, dtype=np.float32)
        fob.compute_similarity(
            few, embeddings=vectors, brain_key=key, backend="redis", url=app_redis
        )
    page.open(few.name)
    panel.open()
    panel.settle()
    panel.browser.get_by_role("combobox").filter(has_text="first").click()
    panel.browser.get_by_role("option", name="second").click()
    panel.says("in second, of all 20")
    panel.act("Drop")
    panel.says("Delete first and its 20 vectors")
    panel.browser.get_by_role("checkbox").last.check()
    panel.run("Drop")
    panel.toast("Dropped 'first'", "success")
    until(lambda: panel.rows() == [["second", "samples", "20", "0", "0"]])


@pytest.mark.slow
def test_the_table_fits_while_it_is_counted(panel, page, digits):
    def hold_counts(route):
        if '"__method__":"count"' not in (route.request.post_data or ""):
            route.continue_()

    page.browser.route("**/operators/execute**", hold_counts)
    page.open(digits.dataset.name)
    panel.open()
    until(lambda: panel.row()[3:5] == [COUNTING, COUNTING])
    assert panel.table_fits()


@pytest.mark.slow
def test_a_form_is_not_red_before_anything_was_typed(panel, page, few):
    page.open(few.name)
    panel.open()
    panel.browser.evaluate(NOTE_RED)
    panel.create_index()
    until(lambda: panel.button("Create").is_enabled())
    panel.browser.locator("input[type=string]").first.fill("")
    until(lambda: panel.button("Create").is_disabled())
    assert panel.browser.evaluate("window.red") == []


@pytest.fixture
def leftover(app_redis):
    """An index that a rebuild left behind."""
    client = connect(app_redis)
    schema = ["SCHEMA", "vector", "VECTOR", "FLAT", "6", "TYPE", "FLOAT32", "DIM", "2"]
    name = "birds~0f0f0f0f"
    client.execute("FT.CREATE", name, *schema, "DISTANCE_METRIC", "COSINE")
    yield name
    client.execute("FT.DROPINDEX", name)
    client.close()


@pytest.mark.slow
def test_names_in_a_warning_are_not_struck_through(panel, page, few, leftover):
    page.open(few.name)
    panel.open()
    panel.says(f"{leftover}: no alias leads to it.")
    panel.says(f"run FT.DROPINDEX {leftover}")
