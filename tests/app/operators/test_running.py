"""Work of operators as jobs of a page, as delegated operations, and where there is no page."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.delegated as food
import pytest
from operating import OPERATORS, context

from fiftyone_redis.app import changes, install, jobs, scheduled
from fiftyone_redis.app.jobs import Job, JobStopped, Outcome
from fiftyone_redis.app.operators import running
from fiftyone_redis.app.operators.index_operator import IndexOperator
from fiftyone_redis.app.operators.jobs import FinishJob, WatchJobs
from fiftyone_redis.app.painting import job_list
from fiftyone_redis.errors import InputError

INDEX_OPERATORS = [each for each in OPERATORS.values() if isinstance(each, IndexOperator)]


def press(name: str, dataset, params: dict) -> dict[str, dict]:
    """Runs an operator as a page does, and returns the messages to it."""
    request = {"operator_uri": f"{install.NAME}/{name}"}
    messages = OPERATORS[name].execute(context(dataset, params, **request))
    told = {one.body.operator_uri.split("/")[-1]: one.body.params for one in messages}
    dataset.reload()
    return told


@pytest.fixture
def job():
    """A job of the page "page" that reports all the time."""
    job = Job("Count", "key", "dataset", "page")

    def count(report):
        while True:
            report(0.5, "Counting")
            time.sleep(0.01)

    jobs.start(job, "Count", count)
    yield job
    jobs.cancel(job.id)
    job.is_over.wait(5)
    jobs.forget_ended("dataset")


def test_the_end_of_short_work_is_told_at_once(indexed):
    told = press("rename_index", indexed, {"brain_key": "key", "new_key": "other"})
    assert told["notify"]["variant"] == "success"
    assert "reload_dataset" in told
    [row] = job_list.read(context(indexed, {}))
    assert (row["title"], row["state"]) == ("Rename", "done")
    job_list.clear(context(indexed, {}))
    assert job_list.read(context(indexed, {})) == []


def test_the_end_of_long_work_is_told_to_the_page_that_started_it(indexed, files, monkeypatch):
    monkeypatch.setattr(running, "_QUICK", 0)
    indexed.add_samples([fo.Sample(filepath=file) for file in files])
    told = press("add_missing", indexed, {"brain_key": "key", "page": "mine"})
    assert "see the panel" in told["notify"]["message"]

    async def watch():
        watching = WatchJobs().execute(context(indexed, told["watch_jobs"]))
        return [message.body.params async for message in watching]

    with ThreadPoolExecutor(1) as thread:
        [finished] = thread.submit(asyncio.run, watch()).result()
    finishing = context(indexed, finished)
    FinishJob().execute(finishing)
    assert finishing.executor._requests[0].params["message"] == "Indexed 60 samples."


def test_a_page_that_shows_another_dataset_gets_the_message_alone(indexed, job):
    job.dataset = str(indexed._doc.id)
    job.result = {"text": "Found.", "variant": "success", "then": [["set_view", {"view": []}]]}
    for dataset, count in ((indexed, 2), (indexed.clone(), 1)):
        finishing = context(dataset, {"job": job.id})
        FinishJob().execute(finishing)
        assert len(finishing.executor._requests) == count
    dataset.delete()


def test_a_job_ends_soon_after_it_was_cancelled(job):
    jobs.cancel(job.id)
    assert job.is_over.wait(1)
    assert (job.state, job.result["variant"]) == ("stopped", "info")
    assert job.result["text"] == "'Count' was cancelled."


def test_only_what_keeps_a_part_says_so_if_it_was_cancelled():
    for operator, keeps in (("create_index", True), ("rebuild_index", False)):
        job = Job(jobs.make_title(operator), "key", "dataset", "page")
        job.stopped_by = "cancelled"
        jobs.start(job, "Work", lambda report: report(0, "Begun"))
        assert job.is_over.wait(5)
        assert ("What it had done before is kept." in job.result["text"]) == keeps
    jobs.forget_ended("dataset")


@pytest.mark.parametrize("operator", INDEX_OPERATORS)
def test_a_job_is_called_as_its_action(operator):
    assert jobs.make_title(operator.name) == operator.label


def test_a_job_ends_when_its_page_is_closed(job):
    async def open_and_close():
        watching = WatchJobs().execute(context(SimpleNamespace(name=None), {"page": "page"}))
        task = asyncio.create_task(anext(watching, None))
        await asyncio.sleep(0.3)
        assert job.state == "running"
        task.cancel()  # as the server does
        await asyncio.gather(task, return_exceptions=True)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, open_and_close()).result()
    assert job.is_over.wait(1)
    assert "the page that started it was closed" in job.result["text"]


def test_a_job_ends_if_its_page_was_closed_before_it_could_open_its_request(job, monkeypatch):
    monkeypatch.setattr(jobs, "_ARRIVES_WITHIN", 0)
    assert job.is_over.wait(1)
    assert "the page that started it was closed" in job.result["text"]


def test_the_same_is_not_done_twice_at_once(job):
    again = Job("Count", "key", "dataset", "another page")
    with pytest.raises(InputError, match="runs already"):
        jobs.start(again, "Count", lambda report: Outcome("Counted."))


def test_an_error_that_nobody_expects_is_told_too():
    job = Job("Count", "key", "dataset", "page")
    jobs.start(job, "Count", lambda report: 1 / 0)
    job.is_over.wait(5)
    assert job.state == "failed"
    assert "ZeroDivisionError" in job.result["text"]
    jobs.forget_ended("dataset")


def stop_after(count: int):
    """Returns a report that ends the work when some have been indexed."""

    def report(progress, caption):
        if caption.startswith("Indexed") and int(caption.split()[1]) >= count:
            raise JobStopped

    return report


def test_an_index_whose_making_was_stopped_keeps_what_it_has(written, model):
    with pytest.raises(JobStopped):
        changes.create(written, "key", {"model": model}, stop_after(1))
    index = written.load_brain_results("key")
    before = index.total_index_size
    assert 0 < before < 60
    done = changes.add(index, None, lambda progress, caption: None)
    assert len(done.added) == 60 - before
    assert index.total_index_size == 60


def test_an_index_whose_making_was_stopped_before_its_first_vector_is_gone(written, model):
    def report(progress, caption):
        if caption.startswith("Looking"):
            raise JobStopped

    with pytest.raises(JobStopped):
        changes.create(written, "key", {"model": model}, report)
    assert written.list_brain_runs() == []


@pytest.fixture
def plugins(indexed, monkeypatch, tmp_path):
    """FiftyOne finds the plugin, and may delegate operations on the digits."""
    monkeypatch.setattr(fo.config, "plugins_dir", str(tmp_path))
    install.install(tmp_path)
    indexed.persistent = True


def test_an_operation_can_be_delegated(indexed, files, plugins):
    indexed.add_samples([fo.Sample(filepath=files[0])])
    good = delegated("add_missing", indexed, {"brain_key": "key"})
    assert (good.run_state, good.status.progress) == ("completed", 1)
    assert indexed.load_brain_results("key").total_index_size == 61
    indexed.add_sample(fo.Sample(filepath="no-such-file.png"))
    bad = delegated("add_missing", indexed, {"brain_key": "key"})
    assert bad.run_state == "failed"
    assert "Nothing was indexed" in bad.result.error
    failed, done = job_list.read(context(indexed, {}))
    assert failed["text"].startswith("Nothing was indexed")
    assert (failed["target"], failed["state"], failed["variant"]) == ("key", "failed", "error")
    assert (done["title"], done["text"]) == ("Index missing samples", "Indexed 1 sample.")


def test_what_a_delegated_operation_has_found_can_be_shown(indexed, files, plugins):
    indexed.add_samples([fo.Sample(filepath=files[0])])
    delegated("add_missing", indexed, {"brain_key": "key"})
    found = delegated("find_near_duplicates", indexed, {"brain_key": "key", "threshold": 1e-6})
    row = job_list.read(context(indexed, {}))[0]
    assert (row["title"], row["has_view"]) == ("Find near duplicates", True)
    assert "set_view" in dict(scheduled.find_result(str(found.id))["then"])


def test_an_operation_that_has_waited_may_find_nothing_to_do(indexed, files, plugins):
    indexed.add_samples([fo.Sample(filepath=files[0])])
    delegated("add_missing", indexed, {"brain_key": "key"}, executes=False)
    delegated("add_missing", indexed, {"brain_key": "key"})
    rows = job_list.read(context(indexed, {}))
    texts = [(row["text"], row["variant"]) for row in rows]
    expected = [("Indexed 1 sample.", "success"), ("Nothing is missing.", "info")]
    assert sorted(texts) == expected


def test_an_operation_that_waits_is_cancelled(indexed, files, plugins):
    indexed.add_samples([fo.Sample(filepath=files[0])])
    waiting = delegated("add_missing", indexed, {"brain_key": "key"}, executes=False)
    [row] = job_list.read(context(indexed, {}))
    assert (row["state"], row["is_scheduled"]) == ("queued", True)
    job_list.cancel(context(indexed, row))
    [row] = job_list.read(context(indexed, {}))
    assert (row["state"], row["text"]) == ("stopped", "It was cancelled in the App.")
    assert food.DelegatedOperationService().get(waiting.id).run_state == "failed"


def test_an_operation_that_runs_is_cancelled(indexed, files, plugins, monkeypatch):
    indexed.add_samples([fo.Sample(filepath=files[0])])
    begun = threading.Event()

    def work(index, field, report):
        begun.set()
        while True:
            report(0.5, "Indexed 1 of 2")
            time.sleep(0.01)

    monkeypatch.setattr(changes, "add", work)
    with ThreadPoolExecutor(1) as thread:
        service = thread.submit(delegated, "add_missing", indexed, {"brain_key": "key"})
        assert begun.wait(20)
        [row] = job_list.read(context(indexed, {}))
        job_list.cancel(context(indexed, row))
        assert service.result().run_state == "failed"


def delegated(name: str, dataset, params: dict, executes: bool = True) -> Any:
    """Queues an operation, executes it as FiftyOne's service does, and returns its record."""
    service = food.DelegatedOperationService()
    context = {"dataset": dataset, "params": params}
    uri = f"{install.NAME}/{name}"

    def queue_and_execute():
        queued = foo.execute_operator(uri, ctx={**context, "request_delegation": True})
        if executes:
            service.execute_queued_operations(dataset_name=dataset.name)
        return queued

    with ThreadPoolExecutor(1) as thread:  # FiftyOne wants a thread without an event loop
        queued = thread.submit(queue_and_execute).result()
    return service.get(SimpleNamespace(**queued.result).id)
