"""The panel "Redis" as the server of the App paints it, also when something is wrong."""

import shutil
import tempfile
import time
import uuid
from pathlib import Path

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor
from operating import run

from fiftyone_redis import CONFIG_CLS, server, settings
from fiftyone_redis.app import cache, changes, jobs, plugin, status
from fiftyone_redis.app.jobs import Job, JobStopped
from fiftyone_redis.app.panel import RedisPanel
from fiftyone_redis.doctor import indexes
from fiftyone_redis.engine import connect
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.similarity import in_step


class Opened:
    """The panel, opened on a dataset, and the page that calls it back."""

    def __init__(self, dataset) -> None:
        self.dataset = dataset
        self.state: dict = {}
        self.asks: list[tuple[str, dict]] = []

    def call(self, method: str, **params) -> dict:
        """Calls a method of the panel, and returns what it paints."""
        panel = RedisPanel()
        panel.plugin_name = "@fiftyone-redis/app"
        params = {"panel_id": "p", "panel_state": self.state, "__method__": method, **params}
        request = {"dataset_name": self.dataset.name, "params": params}
        context = ExecutionContext(request, executor=Executor())
        panel.execute(context)
        asked = [one.params for one in context.executor._requests if "prompt" in one.operator_uri]
        self.asks = [(one["operator_uri"].split("/")[-1], one["params"]) for one in asked]
        self.is_skipping = any(one.get("skip_prompt") for one in asked)
        for _, params in self.asks:
            params.pop("page", None)  # which stands for this page
        self.state = context.panel.state._data
        [painted] = [
            one.params["output"]
            for one in context.executor._requests
            if one.operator_uri.endswith("show_panel_output")
        ]
        return painted["type"]["properties"]

    def settle(self) -> dict:
        """Does what the page does after the first paint: calls what the panel asks for."""
        painted = {}
        while self.asks:
            [(uri, params)] = self.asks
            painted = self.call(uri.split("#")[1], **params)
        return painted


@pytest.fixture
def panel(redis_backend):
    cache.clear()
    dataset = fo.Dataset(f"panel-{uuid.uuid4().hex[:8]}")
    dataset.add_samples(fo.Sample(filepath=f"{row}.png") for row in range(50))
    yield Opened(dataset)
    dataset.delete()


@pytest.fixture
def index(panel):
    vectors = np.random.default_rng(51).normal(size=(50, 8)).astype(np.float32)
    return fob.compute_similarity(
        panel.dataset, embeddings=vectors, brain_key="key", backend="redis", algorithm="HNSW"
    )


def test_the_first_paint_has_the_server_and_the_index(panel, index):
    painted = panel.call("on_load")
    [row] = panel.state["rows"]
    assert "Redis " in painted["server_text"]["default"]
    assert (row["name"], row["of"], row["vectors"]) == ("key", "samples", "50")
    assert (row["metric"], row["algorithm"]) == ("cosine", "HNSW (m 32, ef 200/400)")
    assert (row["type"], row["missing"], row["gone"]) == ("float32 x 8", "…", "…")


def test_the_table_has_what_matters_and_a_row_opens_the_rest(panel, index):
    painted = panel.call("on_load")
    labels = [column["label"] for column in painted["table_1"]["view"]["columns"]]
    assert labels == ["Index", "Target", "Vectors", "Missing", "Stale", "Memory"]
    opened = panel.call("open_row", row=0)["details"]["default"]
    for text in ("cosine", "HNSW (m 32", "float32 x 8", "Text prompts: `no`", "fiftyone-panel-"):
        assert text in opened
    assert index.open_index().schema.server_name in opened
    assert "details" in panel.call("open_row", row=-1)  # the head of the table
    assert "details" not in panel.call("open_row", row=0)


def test_what_is_missing_and_gone_and_the_distances_come_afterwards(panel, index):
    panel.dataset.delete_samples(panel.dataset.take(3, seed=51))
    panel.dataset.add_samples([fo.Sample(filepath="new.png")])
    panel.call("on_load")
    painted = panel.settle()
    [row] = panel.state["rows"]
    assert (row["missing"], row["gone"]) == ("1", "3")
    assert sum(panel.state["plot"]["counts"]) == 49  # but for the farthest hundredth
    assert painted["histogram"]["view"]["name"] == "PlotlyView"


@pytest.fixture
def large(panel):
    """An index of 2,500 vectors."""
    panel.dataset.add_samples(fo.Sample(filepath=f"more-{row}.png") for row in range(2450))
    vectors = np.random.default_rng(51).normal(size=(2500, 8)).astype(np.float32)
    return fob.compute_similarity(
        panel.dataset, embeddings=vectors, brain_key="key", backend="redis"
    )


def test_a_large_index_is_sampled_and_measured_on_if_asked_to(panel, large, monkeypatch):
    monkeypatch.setattr(cache, "_SECONDS", 0)
    panel.call("on_load")
    painted = panel.settle()
    few = 1000 - panel.state["plot"]["rest"]
    assert 0 < few < 1000
    assert f"of {few} of 2,500" in painted["measured"]["default"]
    assert painted["more"]["view"]["label"] == f"Measure {1000 - few} more"
    panel.call("measure_more")
    assert panel.asks == [("measure_distances", {"brain_key": "key"})]
    assert panel.is_skipping
    ran = run("measure_distances", panel.dataset, {"brain_key": "key"})
    assert ran.text == "Measured the distances of 1,000 of 2,500 vectors."
    assert "measured" in panel.call("measure_begun")  # what was measured before stays in sight
    painted = panel.settle()
    assert "of 1,000 of 2,500" in painted["measured"]["default"]
    assert "more" not in painted


@pytest.fixture
def measuring(panel, large, monkeypatch):
    """Starts to measure all distances, which takes ten seconds, as a job."""
    monkeypatch.setattr(cache, "_SECONDS", 0)
    job = Job("Measure distances", "key", str(panel.dataset._doc.id), "page")

    def work(report) -> jobs.Outcome:
        def wait_and_report(progress, caption):
            time.sleep(0.1)
            report(progress, caption)

        found = changes.measure_distances(panel.dataset.load_brain_results("key"), wait_and_report)
        return jobs.Outcome(str(found))

    def start() -> Job:
        jobs.start(job, "Measure", work)
        return job

    yield start
    jobs.cancel(job.id)
    assert job.is_over.wait(5)
    jobs.forget_ended(job.dataset)


def test_distances_that_are_being_measured_are_not_asked_for_again(panel, measuring):
    job = measuring()
    panel.call("on_load")
    painted = panel.settle()
    assert "measured" in painted
    assert "more" not in painted
    jobs.cancel(job.id)
    assert job.is_over.wait(5)
    panel.call("look")
    assert "more" in panel.settle()


def test_a_job_stays_in_sight_though_the_page_has_an_older_list(panel, measuring):
    panel.call("on_load")
    panel.settle()
    before, job = dict(panel.state), measuring()
    assert f"job_{job.id}" in panel.call("measure_begun")
    panel.state = before  # the page asks for more before it has taken over what it was told
    assert f"job_{job.id}" in panel.settle()


def test_what_was_measured_is_kept_if_it_is_cancelled(large, monkeypatch):
    monkeypatch.setattr(cache, "_SECONDS", 0)
    told = []

    def report(progress, caption):
        told.append((progress, caption))
        if len(told) == 4:
            raise JobStopped

    with pytest.raises(JobStopped):
        changes.measure_distances(large, report)
    done = len(changes.fetch_distances(large).values)
    assert 0 < done < 1000
    assert told[-1] == (done / 1000, f"Measured {done:,} of 1,000")


def test_distances_are_those_of_the_whole_index(panel, large):
    index = large.open_index()
    found = cache.measure_rest(large, index, lambda _: None)
    near = dict(zip(index.ids(), index.search(index.fetch(index.ids()).vectors, 2), strict=True))
    expected = {round(float(each.distances[1]), 6) for each in near.values()}
    assert len(found.values) == 1000
    assert {round(value, 6) for value in found.values} <= expected


def test_distances_are_measured_again_only_after_a_change(panel, index):
    found = cache.cached_distances(index, index.open_index())
    panel.call("on_load")
    panel.call("refresh")
    panel.settle()
    assert cache.cached_distances(index, index.open_index()) is found
    [id] = index.sample_ids[:1]
    index.add_to_index(np.ones((1, 8), dtype=np.float32), [id])  # as many as before
    assert cache.cached_distances(index, index.open_index()) is not found


def test_after_a_sync_only_new_samples_are_looked_at(panel, index, monkeypatch):
    index.sync()
    [new] = panel.dataset.add_samples([fo.Sample(filepath="new.png")])
    monkeypatch.setattr(in_step, "difference", None)  # which reads all ids
    assert cache.cached_difference(index).missing == [new]
    panel.dataset.delete_samples(panel.dataset.first())
    monkeypatch.undo()
    found = cache.cached_difference(index)
    assert (found.missing, len(found.gone)) == ([new], 1)


def test_the_panel_of_a_large_dataset_compares_and_lists_no_ids(panel, large, monkeypatch):
    monkeypatch.setattr(in_step, "_FEW", 10)
    monkeypatch.setattr(in_step, "_MANY", 10)
    panel.dataset.clear_cache()
    panel.dataset.delete_brain_run("key")
    vectors = np.random.default_rng(51).normal(size=(2500, 8)).astype(np.float32)
    fob.compute_similarity(panel.dataset, embeddings=vectors, brain_key="key", backend="redis")
    monkeypatch.setattr(in_step, "difference", None)
    monkeypatch.setattr(Documents, "walk_ids", None)
    panel.call("on_load")
    calls = []
    while panel.asks:
        [(uri, params)] = panel.asks
        calls.append(uri.split("#")[1])
        panel.call(calls[-1], **params)
    assert calls == ["count", "measure"]
    assert panel.state["rows"][0]["missing"] == "0"
    assert panel.state["plot"]["edges"]


def test_a_run_of_another_backend_is_offered_for_its_vectors(panel, redis_backend):
    vectors = np.eye(50, dtype=np.float32)
    fob.compute_similarity(panel.dataset, embeddings=vectors, brain_key="former", backend="sklearn")
    painted = panel.call("on_load")
    assert "`former` (sklearn)" in painted["none"]["default"]
    panel.call("copy")
    assert panel.asks == [("create_index", {"source": "run", "run": "former"})]


def test_missing_samples_are_shown_at_once(panel, index):
    panel.call("on_load")
    panel.call("act", row=0, event="show_missing")
    assert panel.asks == [("show_missing", {"brain_key": "key"})]
    assert panel.is_skipping


def test_what_was_read_before_does_not_replace_what_is_read_now(panel, index):
    panel.call("on_load")
    late = panel.asks
    index.remove_from_index(sample_ids=index.sample_ids[:10])
    panel.call("refresh")
    assert panel.state["rows"][0]["vectors"] == "40"
    panel.asks = late  # a slow request of the first time
    panel.settle()
    assert panel.state["rows"][0]["vectors"] == "40"


def test_a_dataset_without_an_index_is_offered_one(panel):
    painted = panel.call("on_load")
    assert "No Redis index yet" in painted["none"]["default"]
    assert "https://" in painted["none"]["default"]
    assert painted["none_icon"]["default"].startswith("data:image/svg+xml")
    assert "create" in painted["buttons"]["type"]["properties"]
    assert panel.asks == []


def test_a_server_that_is_gone_is_said_and_found_again(panel, index, redis_backend, free_port):
    url, redis_backend["url"] = redis_backend["url"], f"redis://127.0.0.1:{free_port}"
    painted = panel.call("on_load")
    assert "No Redis answers" in painted["problem_text"]["view"]["description"]
    assert list(painted["buttons"]["type"]["properties"]) == ["refresh"]
    redis_backend["url"] = url
    assert "problem_text" not in panel.call("refresh")


@pytest.fixture
def stopped(panel, redis_backend, free_port, monkeypatch):
    """The backend is told nothing about a server, and the private one was stopped."""
    folder = Path(tempfile.mkdtemp(prefix="fr-", dir="/tmp")).resolve()
    monkeypatch.setenv("FIFTYONE_REDIS_SERVER_DIR", str(folder / "redis"))
    monkeypatch.setattr(settings, "DEFAULT_PORT", free_port)
    redis_backend.clear()
    redis_backend["config_cls"] = CONFIG_CLS
    vectors = np.eye(50, dtype=np.float32)
    fob.compute_similarity(panel.dataset, embeddings=vectors, brain_key="key", backend="redis")
    server.stop()
    panel.dataset.clear_cache()
    yield
    server.stop()
    shutil.rmtree(folder)


def test_looking_at_the_panel_leaves_a_stopped_server_stopped_until_start(panel, stopped):
    painted = panel.call("on_load")
    assert painted["stopped_text"]["view"]["label"] == "The private server is stopped"
    assert list(painted["buttons"]["type"]["properties"]) == ["start", "refresh"]
    panel.call("refresh")
    panel.settle()
    assert server.status() is None
    assert "stopped_text" not in panel.call("start")
    assert panel.state["rows"][0]["vectors"] == "50"


def test_a_panel_that_is_open_while_the_server_stops_does_not_start_it(panel, stopped):
    server.start()
    panel.call("on_load")
    server.stop()
    panel.dataset.clear_cache()
    panel.settle()
    assert server.status() is None


@pytest.mark.parametrize("kind", plugin.OPERATORS)
def test_a_form_leaves_a_stopped_server_stopped(panel, stopped, kind):
    request = {"dataset_name": panel.dataset.name, "params": {"brain_key": "key"}}
    kind().resolve_input(ExecutionContext(request, executor=Executor()))
    assert server.status() is None


def test_an_index_that_was_dropped_behind_its_back_is_said(panel, index, client):
    client.execute_command("FT.DROPINDEX", index.config.index_name, "DD")
    painted = panel.call("on_load")
    assert "is not on the server" in painted["warning_0"]["default"]
    assert panel.state["rows"][0]["vectors"] == "not there"
    panel.settle()


def test_an_action_opens_the_form_of_its_row(panel, index):
    panel.call("on_load")
    panel.call("act", row=0, event="rebuild_index")
    assert panel.asks == [("rebuild_index", {"brain_key": "key"})]


def test_a_click_on_the_histogram_opens_the_form_with_its_threshold(panel, index):
    panel.call("on_load")
    panel.call("duplicates", x=0.25)
    assert panel.asks == [("find_near_duplicates", {"brain_key": "key", "threshold": 0.25})]


def test_passwords_are_not_shown(client, redis_server):
    client.execute_command("ACL", "SETUSER", "reader", "on", ">hidden", "~*", "&*", "+@all")
    other = connect(redis_server.url.replace("://", "://reader:hidden@"))
    said = status.fetch_status(other)
    other.close()
    client.execute_command("ACL", "DELUSER", "reader")
    assert said.login == "reader, with a password"
    assert "hidden" not in str(said)


def test_what_is_wrong_with_the_server_is_said_as_the_doctor_does(panel, client):
    limit = client.info("memory")["used_memory"] * 2
    try:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", limit)
        painted = panel.call("on_load")
    finally:
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
    assert "maxmemory-policy noeviction" in str(painted)


def test_a_user_who_may_do_little_sees_the_panel(panel, index, client, redis_server, redis_backend):
    rights = ("~*", "&*", "+@all", "-info", "-memory")
    client.execute_command("ACL", "SETUSER", "small", "on", ">hidden", *rights)
    url = redis_backend["url"]
    redis_backend["url"] = redis_server.url.replace("://", "://small:hidden@")
    painted = panel.call("on_load")
    redis_backend["url"] = url
    client.execute_command("ACL", "DELUSER", "small")
    assert "not told to this user" in painted["server_text"]["default"]
    assert panel.state["rows"][0]["vectors"] == "50"


def test_the_size_of_an_index_is_said_as_the_doctor_does(panel, index, client):
    panel.call("on_load")
    [found] = [each for each in indexes.check_indexes(client) if "50 documents" in each.text]
    assert f"50 documents, {panel.state['rows'][0]['memory']}." in found.text
