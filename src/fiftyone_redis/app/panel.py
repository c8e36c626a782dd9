"""The panel "Redis Similarity Indexes": the server, the dataset's indexes, and actions on them.

It is painted as soon as the server has answered. Then the page requests the slow facts, missing
vectors and nearest-neighbour distances, for one index at a time, and paints them as they arrive.
"""

from __future__ import annotations

import uuid
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types
from fiftyone.operators.categories import Categories

from fiftyone_redis.app import cache, changes, copying, indexes, status
from fiftyone_redis.app.indexes import IndexSummary
from fiftyone_redis.app.painting import distance_plot, empty_state, job_list
from fiftyone_redis.doctor.findings import format_bytes
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
)
_COUNTING = "counting …"

_COLUMNS = {
    "name": "Index",
    "of": "Target",
    "vectors": "Vectors",
    "missing": "Missing",
    "gone": "Stale",
    "memory": "Memory",
}

# What opens below the table with a click on a row.
_DETAILS = {
    "metric": "Metric",
    "algorithm": "Algorithm",
    "type": "Type",
    "source": "Vectors from",
    "prompts": "Text prompts",
    "stored": "Stored fields",
    "index_name": "Index name",
    "generation": "Generation",
}

_HELP = """\
Make, watch and change this dataset's similarity indexes in Redis. A click on a row opens its
details, the three dots at its end have all that can be done with it."""

# Material UI styles: a wide table scrolls instead of stretching the panel.
_NARROW = {"grid": {"sx": {"gridTemplateColumns": "minmax(0, 1fr)", "p": 2, "gap": 2}}}
_WRAP = {"grid": {"sx": {"display": "flex", "flexWrap": "wrap", "gap": 1}}}
_BUTTON = {"item": {"sx": {"width": "auto"}}}
_CELL = {"sx": {"whiteSpace": "nowrap", "px": 1, "py": 0.75, "fontSize": "0.85rem"}}
_SURFACE = "var(--fo-palette-background-level2, #262626)"
_ACTIONS_STAY = {"position": "sticky", "right": 0, "background": _SURFACE, "px": 1}
_NAMES_WRAP = {"whiteSpace": "normal", "overflowWrap": "anywhere"}
_TABLE = {
    "table": {
        "sx": {
            "minWidth": 0,
            "& td:nth-of-type(-n+2)": _NAMES_WRAP,
            "& td:nth-of-type(2)": _NAMES_WRAP | {"minWidth": 100},
            "& td:last-of-type, & th:last-of-type": _ACTIONS_STAY,
        }
    },
    "tableHeadCell": _CELL,
    "tableBodyCell": _CELL,
}

_ACTIONS = {
    "add_missing": ("Index missing samples", "playlist_add"),
    "show_missing": ("Show missing samples", "visibility"),
    "remove_gone": ("Remove stale vectors", "playlist_remove"),
    "find_near_duplicates": ("Find near duplicates", "content_copy"),
    "delete_near_duplicates": ("Delete near duplicates", "delete_sweep"),
    "compute_visualization": ("Compute visualization", "scatter_plot"),
    "rebuild_index": ("Rebuild", "construction"),
    "rename_index": ("Rename", "edit"),
    "drop_index": ("Drop", "delete"),
}


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
        """Counts the missing vectors of one index, then has the page request the next."""
        _restore(ctx)
        rows = ctx.panel.state.rows or []
        row = next((row for row in rows if row["missing"] == _COUNTING), None)
        if row is None:
            self._follow(ctx, "measure")
            return
        try:
            found = cache.cached_difference(indexes.load_to_show(ctx.dataset, row["name"]))
            row["missing"], row["gone"] = f"{len(found.missing):,}", f"{len(found.gone):,}"
        except FiftyOneRedisError as error:
            row["missing"] = row["gone"] = "?"
            ctx.panel.state.problems = [*(ctx.panel.state.problems or []), str(error)]
        _set_rows(ctx, rows)
        self._follow(ctx, "count")

    def measure(self, ctx: Any) -> None:
        """Measures the distances of the chosen index for a second; goes on if more are wanted."""
        _restore(ctx)
        key, more = ctx.panel.state.chosen, bool(ctx.params.get("more"))
        if key is None:
            return
        try:
            index = indexes.load_to_show(ctx.dataset, key)
            found = changes.fetch_distances(index, more)
        except FiftyOneRedisError as error:
            ctx.panel.state.plot = {"problem": str(error)}
            return
        ctx.panel.state.plot = distance_plot.describe(found, index.config.metric, more)
        if more and found.rest:
            self._follow(ctx, "measure", more=True)

    def measure_more(self, ctx: Any) -> None:
        """Measures the rest of the sample of distances, a second at a time."""
        self._follow(ctx, "measure", more=True)

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
        if state.stopped:
            _paint_stopped(panel)
        elif state.problem:
            _paint_problem(panel, state.problem)
        elif state.server:
            _paint_server(panel, state.server)
        for number, problem in enumerate(state.problems or []):
            warning = types.AlertView(severity="warning")
            panel.str(f"warning_{number}", default=problem, label=problem, view=warning)
        job_list.paint(
            panel,
            state.jobs or [],
            look=self.look,
            cancel=self.cancel_job,
            clear=self.clear_jobs,
            show=self.show_job,
        )
        if state.rows:
            self._paint_indexes(panel)
            _paint_details(panel, state)
        elif state.rows is not None and not state.problem and not job_list.has_active(state.jobs):
            empty_state.paint(panel, state.others or {})
        self._paint_buttons(panel, state)
        if state.rows and not state.problem:
            self._paint_distances(panel, state)
        return types.Property(panel, view=types.VStackView(gap=2, p=2, componentsProps=_NARROW))

    def _read(self, ctx: Any, start: bool = False) -> None:
        """Reads the server and the indexes, which takes a few milliseconds."""
        fresh: dict[str, Any] = {"problem": None, "problems": [], "plot": None, "rows": []}
        fresh |= {"stopped": False, "others": {}, "jobs": job_list.read(ctx)}
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
            fresh["rows"] = [_row(one) for one in found]
            fresh["problems"] = [*server.problems, *(one.problem for one in found if one.problem)]
        names = [row["name"] for row in fresh["rows"]]
        chosen = ctx.panel.state.chosen
        fresh["chosen"] = chosen if chosen in names else next(iter(names), None)
        ctx.panel.set_state(fresh)
        _set_rows(ctx, fresh["rows"])
        if names:
            self._follow(ctx, "count")

    def _follow(self, ctx: Any, method: str, **more: Any) -> None:
        """Has the page call a method of this panel after painting it."""
        known = {name: ctx.panel.get_state(name) for name in _STATE}
        params = {"known": known, **more}
        ctx.prompt(self.method_to_uri(method), params=params, skip_prompt=True)

    def _paint_indexes(self, panel: Any) -> None:
        table = types.TableView(componentsProps=_TABLE, on_click_row=self.open_row)
        for key, label in _COLUMNS.items():
            table.add_column(key, label=label)
        for name, (label, icon) in _ACTIONS.items():
            table.add_row_action(name, on_click=self.act, label=label, icon=icon, tooltip=label)
        panel.list("table", types.Object(), view=table)

    def _paint_buttons(self, panel: Any, state: Any) -> None:
        buttons = panel.h_stack("buttons", componentsProps=_WRAP)
        available = []
        if state.stopped:
            available.append(("start", "Start", "play_arrow", self.start))
        if not state.problem:
            available.append(("create", "Create an index", "add", self.create))
        if state.others and not state.problem:
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

    def _prompt(self, ctx: Any, name: str, params: dict[str, Any], at_once: bool = False) -> None:
        params |= {"page": ctx.panel.state.page}
        uri = f"{self.plugin_name}/{name}"
        ctx.prompt(uri, params=params, on_success=self.done, skip_prompt=at_once)

    @staticmethod
    def _chosen(ctx: Any) -> dict[str, Any]:
        key = ctx.panel.state.chosen
        return {"brain_key": key} if key else {}


PANELS = (RedisPanel,)


def _row(one: IndexSummary) -> dict[str, str]:
    """Returns an index as a row of the table."""
    return {
        "name": one.brain_key,
        "of": "samples" if one.patches_field is None else f"patches of {one.patches_field}",
        "vectors": "not there" if one.documents is None else f"{one.documents:,}",
        "missing": _COUNTING,
        "gone": _COUNTING,
        "memory": "-" if one.memory is None else format_bytes(one.memory),
        "algorithm": one.algorithm,
        "type": one.dtype if one.dim is None else f"{one.dtype} x {one.dim}",
        "metric": one.metric,
        "source": one.model or one.field or "a program",
        "prompts": "yes" if one.takes_prompts else "no",
        "stored": ", ".join(one.stored_fields) or "none",
        "index_name": one.index_name,
        "generation": one.server_name,
    }


def _restore(ctx: Any) -> None:
    """Restores the state of the previous call, which the page may not have merged yet."""
    known = ctx.params.get("known")
    if known:
        ctx.panel.set_state(known)


def _set_rows(ctx: Any, rows: list[dict[str, str]]) -> None:
    """Stores the rows in the state for the next event, and shows them."""
    ctx.panel.state.rows = rows
    ctx.panel.set_data("table", rows)


def _paint_server(panel: Any, server: dict[str, Any]) -> None:
    panel.md(
        f"**{server['version']}** at `{server['address']}` · user {server['login']} · "
        f"memory {server['memory']}",
        name="server_text",
    )


def _paint_details(panel: Any, state: Any) -> None:
    """Paints the details of the index whose row is open."""
    row = next((row for row in state.rows if row["name"] == state.opened), None)
    if row is None:
        panel.md("*Click a row for its metric, algorithm, fields and names.*", name="hint")
        return
    lines = [f"**{row['name']}**", *(f"{label}: `{row[key]}`" for key, label in _DETAILS.items())]
    panel.md("  \n".join(lines), name="details")


def _paint_stopped(panel: Any) -> None:
    view = types.AlertView(severity="info")
    text = "It keeps its indexes on disk. Start it to search them."
    panel.str("stopped_text", label="The private server is stopped", description=text, view=view)


def _paint_problem(panel: Any, problem: str) -> None:
    view = types.AlertView(severity="error")
    panel.str("problem_text", label="Redis cannot be used now", description=problem, view=view)
    panel.md("`fiftyone-redis doctor` says more. Once fixed, press **Refresh**.", name="advice")
