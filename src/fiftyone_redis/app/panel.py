"""The panel "Redis Similarity Indexes": the server, the dataset's indexes, and actions on them.

It is painted as soon as the server has answered. Then the page requests the slow facts, missing
vectors and nearest-neighbour distances, for one index at a time, and paints them as they arrive.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types
from fiftyone.operators.categories import Categories

from fiftyone_redis.app import cache, changes, copying, indexes, status
from fiftyone_redis.app.painting import (
    distance_plot,
    empty_state,
    index_table,
    job_list,
    server_state,
)
from fiftyone_redis.errors import FiftyOneRedisError, InputError, ServerStoppedError

_STATE = (
    "server",
    "problem",
    "stopped",
    "problems",
    "rows",
    "opened",
    "chosen",
    "plot",
    "others",
    "jobs",
    "page",
    "read_at",
)
_HELP = """\
Make, watch and change this dataset's similarity indexes in Redis. A click on a row opens its
details, the three dots at its end have all that can be done with it."""

# Material UI styles: a wide table scrolls instead of stretching the panel.
_NARROW = {"grid": {"sx": {"gridTemplateColumns": "minmax(0, 1fr)", "p": 2, "gap": 2}}}
_WRAP = {"grid": {"sx": {"display": "flex", "flexWrap": "wrap", "gap": 1}}}
_BUTTON = {"item": {"sx": {"width": "auto"}}}


class RedisPanel(foo.Panel):
    """The panel "Redis Similarity Indexes"."""

    @property
    def config(self) -> Any:
        """The panel's config."""
        return foo.PanelConfig(
            name="redis",
            label="Redis Similarity Indexes",
            icon="storage",
            surfaces="grid",
            category=Categories.CURATE,
            help_markdown=_HELP,
        )

    def execute(self, ctx: Any) -> Any:
        """Calls a method of the panel, and paints it; looking for changes paints only these."""
        is_look = ctx.params.get("__method__") == "look"
        if is_look and job_list.read(ctx) == (ctx.panel.state.jobs or []):
            return None
        return super().execute(ctx)

    def on_load(self, ctx: Any) -> None:
        """Reads the quick facts, and has the page request the slow ones."""
        ctx.panel.state.page = uuid.uuid4().hex
        self._read(ctx)

    def on_change_dataset(self, ctx: Any) -> None:
        """Reads everything for another dataset."""
        ctx.panel.state.chosen = None
        self._read(ctx)

    def refresh(self, ctx: Any) -> None:
        """Reads everything again, but for the distances of an index that has not changed."""
        cache.clear_differences()
        self._read(ctx)

    def start(self, ctx: Any) -> None:
        """Starts the private server, and reads everything."""
        self._read(ctx, start=True)

    def done(self, ctx: Any) -> None:
        """Updates the panel after an action that was started here."""
        self._read(ctx)

    def look(self, ctx: Any) -> None:
        """Updates the list of jobs, and everything if one of them has ended."""
        before = ctx.panel.state.jobs or []
        ctx.panel.state.jobs = job_list.read(ctx)
        ended = job_list.find_ended(before, ctx.panel.state.jobs)
        for row in ended:
            if row["is_scheduled"]:
                job_list.show(ctx, row)
        if ended:
            self._read(ctx)

    def cancel_job(self, ctx: Any) -> None:
        """Stops a job."""
        job_list.cancel(ctx)
        self.look(ctx)

    def clear_jobs(self, ctx: Any) -> None:
        """Takes the jobs off the list that have ended."""
        job_list.clear(ctx)
        self.look(ctx)

    def show_job(self, ctx: Any) -> None:
        """Shows what a job has found."""
        job_list.show(ctx)

    def choose(self, ctx: Any) -> None:
        """Shows another index's distances."""
        ctx.panel.set_state({"chosen": ctx.params.get("value"), "plot": None})
        self._follow(ctx, "measure")

    def count(self, ctx: Any) -> None:
        """Counts the missing vectors of one index, then has the page request what is left."""
        if not _restore(ctx):
            return
        rows = ctx.panel.state.rows or []
        uncounted = [row for row in rows if row["missing"] == index_table.COUNTING]
        for row in uncounted[:1]:
            try:
                found = cache.cached_difference(indexes.load_to_show(ctx.dataset, row["name"]))
                row["missing"], row["gone"] = f"{len(found.missing):,}", f"{len(found.gone):,}"
            except FiftyOneRedisError as error:
                row["missing"] = row["gone"] = "?"
                ctx.panel.state.problems = [*(ctx.panel.state.problems or []), str(error)]
        _set_rows(ctx, rows)
        self._follow(ctx, "count" if len(uncounted) > 1 else "measure")

    def measure(self, ctx: Any) -> None:
        """Measures the distances of the chosen index for a second."""
        if not _restore(ctx):
            return
        key = ctx.panel.state.chosen
        if key is None:
            return
        try:
            index = indexes.load_to_show(ctx.dataset, key)
            found = changes.fetch_distances(index)
        except FiftyOneRedisError as error:
            ctx.panel.state.plot = {"problem": str(error)}
            return
        ctx.panel.state.plot = distance_plot.describe(found, index.config.metric)

    def measure_more(self, ctx: Any) -> None:
        """Measures the rest of the sample of distances, as a job."""
        params = self._chosen(ctx)
        self._prompt(ctx, "measure_distances", params, at_once=True, then=self.measure_begun)

    def measure_begun(self, ctx: Any) -> None:
        """Shows the job that measures the rest; or all distances, if it is done already."""
        ctx.panel.state.jobs = job_list.read(ctx)
        self._follow(ctx, "measure")

    def act(self, ctx: Any) -> None:
        """Opens the form of an action on a row of the table."""
        rows = ctx.panel.state.rows or []
        row = rows[ctx.params["row"]]
        name = ctx.params["event"]
        self._prompt(ctx, name, {"brain_key": row["name"]}, at_once=name == "show_missing")

    def open_row(self, ctx: Any) -> None:
        """Shows the details of the row that was clicked, or hides them if they are shown."""
        rows, number = ctx.panel.state.rows or [], ctx.params["row"]
        if 0 <= number < len(rows):  # else the head of the table was clicked
            name = rows[number]["name"]
            ctx.panel.state.opened = None if ctx.panel.state.opened == name else name

    def create(self, ctx: Any) -> None:
        """Opens the form for a new index."""
        self._prompt(ctx, "create_index", {})

    def copy(self, ctx: Any) -> None:
        """Opens the form for a new index, with the vectors of a run of another backend."""
        config = ctx.dataset.get_brain_info(next(iter(ctx.panel.state.others))).config
        source = {"source": "run", "run": next(iter(ctx.panel.state.others))}
        field = {"patches_field": config.patches_field} if config.patches_field else {}
        self._prompt(ctx, "create_index", source | field)

    def search(self, ctx: Any) -> None:
        """Opens the form for a search with a picture."""
        self._prompt(ctx, "search_with_picture", self._chosen(ctx))

    def duplicates(self, ctx: Any) -> None:
        """Opens the form for near duplicates, with the threshold that was clicked, if any."""
        threshold = {} if ctx.params.get("x") is None else {"threshold": ctx.params["x"]}
        self._prompt(ctx, "find_near_duplicates", self._chosen(ctx) | threshold)

    def render(self, ctx: Any) -> Any:
        """Returns the content of the panel, from its state alone."""
        panel = types.Object()
        state = ctx.panel.state
        server_state.paint(panel, state)
        jobs = state.jobs or []
        job_list.paint_active(panel, jobs, cancel=self.cancel_job)
        if state.rows:
            index_table.paint(
                panel, len(state.rows), on_action=self.act, on_click_row=self.open_row
            )
            index_table.paint_details(panel, state.rows, state.opened)
        elif state.rows is not None and not state.problem and not job_list.has_active(state.jobs):
            empty_state.paint(panel, state.others or {})
        self._paint_buttons(panel, state)
        job_list.paint_ended(panel, jobs, show=self.show_job, clear=self.clear_jobs)
        if state.rows and not state.problem:
            self._paint_distances(panel, state)
        job_list.keep_looking(panel, jobs, look=self.look)
        return types.Property(panel, view=types.VStackView(gap=2, p=2, componentsProps=_NARROW))

    def _read(self, ctx: Any, start: bool = False) -> None:
        """Reads the server and the indexes, which takes a few milliseconds."""
        fresh: dict[str, Any] = {"problem": None, "problems": [], "plot": None, "rows": []}
        fresh |= {"stopped": False, "others": {}, "jobs": job_list.read(ctx)}
        fresh["read_at"] = time.time()
        try:
            if ctx.dataset is None:
                raise InputError("No dataset is open; open one first.")
            client = indexes.open_client(start)
            try:
                server = status.fetch_status(client)
                found = indexes.fetch_summaries(ctx.dataset, client)
            finally:
                client.close()
        except FiftyOneRedisError as error:
            fresh["problem"] = str(error)
            fresh["stopped"] = isinstance(error, ServerStoppedError)
        else:
            fresh["server"] = vars(server)
            fresh["others"] = copying.list_other_backends(ctx.dataset)
            fresh["rows"] = [index_table.describe(one) for one in found]
            fresh["problems"] = [*server.problems, *(one.problem for one in found if one.problem)]
        names = [row["name"] for row in fresh["rows"]]
        chosen = ctx.panel.state.chosen
        fresh["chosen"] = chosen if chosen in names else next(iter(names), None)
        ctx.panel.set_state(fresh)
        _set_rows(ctx, fresh["rows"])
        if names:
            self._follow(ctx, "count")

    def _follow(self, ctx: Any, method: str) -> None:
        """Has the page call a method of this panel after painting it."""
        known = {name: ctx.panel.get_state(name) for name in _STATE}
        ctx.prompt(self.method_to_uri(method), params={"known": known}, skip_prompt=True)

    def _paint_buttons(self, panel: Any, state: Any) -> None:
        buttons = panel.h_stack("buttons", componentsProps=_WRAP)
        available = []
        if state.stopped:
            available.append(("start", "Start", "play_arrow", self.start))
        if not state.problem:
            available.append(("create", "Create an index", "add", self.create))
        if state.others and not state.rows and not state.problem:
            available.append(("copy", "Use the vectors of another run", "move_up", self.copy))
        if state.rows and not state.problem:
            available += [
                ("search", "Search with a picture", "image_search", self.search),
                ("duplicates", "Find near duplicates", "content_copy", self.duplicates),
            ]
        available.append(("refresh", "Refresh", "refresh", self.refresh))
        for name, label, icon, on_click in available:
            buttons.btn(
                name,
                label,
                icon=icon,
                on_click=on_click,
                variant="outlined",
                componentsProps=_BUTTON,
            )

    def _paint_distances(self, panel: Any, state: Any) -> None:
        if len(state.rows) > 1:
            view = types.DropdownView()
            for row in state.rows:
                view.add_choice(row["name"], label=row["name"])
            names = [row["name"] for row in state.rows]
            panel.enum(
                "chosen",
                names,
                default=state.chosen,
                label="Distances of",
                view=view,
                on_change=self.choose,
            )
        distance_plot.paint(panel, state, more=self.measure_more, on_click=self.duplicates)

    def _prompt(
        self,
        ctx: Any,
        name: str,
        params: dict[str, Any],
        at_once: bool = False,
        then: Callable[[Any], None] | None = None,
    ) -> None:
        params |= {"page": ctx.panel.state.page}
        uri = f"{self.plugin_name}/{name}"
        ctx.prompt(uri, params=params, on_success=then or self.done, skip_prompt=at_once)

    @staticmethod
    def _chosen(ctx: Any) -> dict[str, Any]:
        key = ctx.panel.state.chosen
        return {"brain_key": key} if key else {}


PANELS = (RedisPanel,)


def _restore(ctx: Any) -> bool:
    """Restores the state of the previous call, which the page may not have merged yet.

    Returns:
        whether it still holds: everything may have been read again since
    """
    known, state = ctx.params.get("known"), ctx.panel.state
    if not known:
        return True
    if (state.read_at or 0) > known["read_at"]:
        return False
    if state.jobs is not None and not job_list.lacks_active(state.jobs, known["jobs"]):
        del known["jobs"]  # these change all the time
    ctx.panel.set_state(known)
    return True


def _set_rows(ctx: Any, rows: list[dict[str, str]]) -> None:
    """Stores the rows in the state for the next event, and shows them."""
    ctx.panel.state.rows = rows
    ctx.panel.set_data(index_table.name_table(len(rows)), rows)
