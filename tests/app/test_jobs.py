"""Long work in the panel: watched, cancelled, scheduled, and ended by closing the page."""

import re
import subprocess
import sys
import time
from pathlib import Path

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from driving import happens, until
from redis_panel import index_by_model

from fiftyone_redis.engine import VectorIndex, connect

PROGRESS = re.compile(r"Indexed [\d,]+ of 6,000")


def count_vectors(dataset, url: str) -> int:
    """Returns how many vectors the server has for the index of a dataset."""
    dataset.reload()
    if not dataset.has_brain_run("redis"):
        return 0
    client = connect(url)
    try:
        return len(VectorIndex.open(client, dataset.get_brain_info("redis").config.index_name))
    finally:
        client.close()


@pytest.mark.slow
def test_a_job_is_watched_and_cancelled(panel, page, many, app_redis):
    page.open(many.name)
    panel.open()
    panel.create_index()
    panel.run("Create")
    panel.button("Create").wait_for(state="detached")  # the form closes at once
    panel.browser.get_by_text(PROGRESS).wait_for()
    page.select(0)  # nothing covers the App
    page.picture("job")
    panel.button("Cancel").click()
    panel.toast("'Create an index' was cancelled.", "info")
    count = count_vectors(many, app_redis)
    assert 0 < count < 6000
    until(lambda: panel.row()[2:4] == [f"{count:,}", f"{6000 - count:,}"])
    panel.says("What it had done before is kept.")
    panel.button("Clear finished jobs").click()
    panel.button("Clear finished jobs").wait_for(state="detached")
    assert count_vectors(many, app_redis) == count


@pytest.mark.slow
def test_all_distances_are_measured_while_the_panel_can_be_used(panel, page, many, app_redis):
    vectors = np.random.default_rng(51).normal(size=(6000, 4096)).astype(np.float32)
    fob.compute_similarity(
        many, embeddings=vectors, brain_key="redis", backend="redis", url=app_redis
    )
    page.open(many.name)
    panel.open()
    panel.settle()
    more = panel.browser.get_by_role("button", name=re.compile(r"Measure [\d,]+ more"))
    more.click()
    panel.browser.get_by_text(re.compile(r"Measured [\d,]+ of 1,000")).wait_for()
    more.wait_for(state="detached")
    panel.browser.locator("table tbody td").first.click()
    panel.says("Text prompts")
    panel.toast("Measured the distances of 1,000 of 6,000 vectors.", "success")
    panel.says("of 1,000 of 6,000")
    assert more.count() == 0


@pytest.mark.slow
def test_a_failure_is_red_and_stays_in_the_list(panel, page, few, app_redis):
    index_by_model(few, app_redis)
    page.open(few.name)
    panel.open()
    few.add_sample(fo.Sample(filepath="no-such-file.png"))
    panel.act("Index missing samples")
    panel.run("Index")
    panel.toast("Index failed: ", "error")
    panel.browser.locator(".MuiAlert-standardError, .MuiAlert-colorError").first.wait_for()
    panel.says("Index missing samples: redis")


@pytest.mark.slow
def test_closing_the_page_ends_its_work(panel, page, many, app_redis):
    page.open(many.name)
    panel.open()
    panel.create_index()
    panel.run("Create")
    panel.browser.get_by_text(PROGRESS).wait_for()
    page.browser.close()
    counts = [-1, count_vectors(many, app_redis)]

    def stands_still() -> bool:
        time.sleep(2)
        counts.append(count_vectors(many, app_redis))
        return counts[-1] == counts[-2]

    assert happens(stands_still, within=10)
    assert 0 < counts[-1] < 6000


@pytest.fixture
def launch(app_folder, app_environment):
    """Starts `fiftyone delegated launch`, and stops it afterwards."""
    started = []
    program = Path(sys.executable).with_name("fiftyone")

    def start() -> None:
        with (app_folder / "delegated.log").open("w") as log:
            service = [program, "delegated", "launch"]
            started.append(subprocess.Popen(service, env=app_environment, stdout=log, stderr=log))

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_what_is_scheduled_is_listed_and_shown_when_it_is_done(panel, page, few, launch, app_redis):
    index_by_model(few, app_redis)
    page.open(few.name)
    few.add_sample(fo.Sample(filepath="no-such-file.png"))
    panel.open()
    panel.act("Index missing samples")
    panel.schedule("Index")
    panel.says("it waits until")
    panel.create_index(brain_key="other")
    panel.schedule("Create")
    until(lambda: panel.browser.get_by_text("it waits until").count() == 2)
    launch()
    panel.says("Nothing was indexed; 1 sample without a vector: ")
    panel.says("Indexed 20 samples; 1 sample without a vector: ")
    rows = [["other", "samples", "20", "1"], ["redis", "samples", "20", "1"]]
    until(lambda: sorted(panel.row(number)[:4] for number in range(2)) == rows)
    page.picture("jobs")


@pytest.mark.slow
def test_what_waits_can_be_cancelled(panel, page, few):
    page.open(few.name)
    panel.open()
    panel.create_index()
    panel.schedule("Create")
    panel.says("it waits until")
    panel.button("Cancel").click()
    panel.says("cancelled in the App")
