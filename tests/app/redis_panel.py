"""What a person does in the panel "Redis Similarity Indexes", and sees there."""

from __future__ import annotations

from typing import Any

import fiftyone.brain as fob
from driving import PATIENCE, Page, happens, until

from fiftyone_redis.app.painting.index_table import COUNTING
from fiftyone_redis.demo.model import register_model


def index_by_model(dataset: Any, url: str) -> Any:
    """Indexes a dataset by the demo's model, and returns the index."""
    return fob.compute_similarity(
        dataset, model=register_model(), brain_key="redis", backend="redis", url=url
    )


class Panel:
    """The panel in a page of the App."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.browser = page.browser

    def open(self) -> None:
        """Opens it, unless the App remembers that it is open, and waits until it has painted."""
        refresh = self.button("Refresh")
        option = self.page.there("new-panel-option-redis")

        def there() -> bool:
            if happens(lambda: refresh.count() == 1, within=2):
                return True
            # While a page loads, its first clicks are lost.
            self.page.there("new-panel-btn").first.click()
            if happens(lambda: option.count() == 1, within=2):
                option.click()
            return False

        until(there)

    def settle(self) -> None:
        """Waits until everything was counted and measured."""
        self.browser.get_by_text("Distances to the nearest neighbour").wait_for()
        until(lambda: COUNTING not in self.row())
        self.browser.locator(".js-plotly-plot .bars").first.wait_for()

    def row(self, number: int = 0) -> list[str]:
        """Returns the cells of an index's row in the table."""
        return self.browser.locator("table tbody tr").nth(number).locator("td").all_inner_texts()

    def rows(self) -> list[list[str]]:
        """Returns the cells of all rows, but for the memory and the menu."""
        count = self.browser.locator("table tbody tr").count()
        return [self.row(number)[:5] for number in range(count)]

    def table_fits(self) -> bool:
        """Tells whether the whole table is seen without scrolling sideways."""
        fits = "one => one.offsetWidth <= one.parentElement.clientWidth"
        return self.browser.locator("table").evaluate(fits)

    def act(self, action: str, number: int = 0) -> None:
        """Opens the form of an action on an index."""
        self.browser.locator("table tbody tr").nth(number).locator("button").click()
        self.browser.get_by_role("menuitem").filter(has_text=action).click()

    def button(self, label: str):
        """Returns a button by its whole label."""
        return self.browser.get_by_role("button", name=label, exact=True)

    def picture(self, name: str, label: str) -> None:
        """Takes a screenshot of a form, as soon as the button with this label can be pressed."""
        until(lambda: self.button(label).is_enabled())
        self.page.picture(name)

    def run(self, label: str) -> None:
        """Presses the button of a form, as soon as it can be pressed."""
        until(lambda: self.button(label).is_enabled())
        self.button(label).click()

    def schedule(self, label: str) -> None:
        """Chooses to schedule what a form asks for, and does so."""
        until(lambda: self.button(label).is_enabled())
        self.browser.locator('[aria-label="split button"] button').last.click()
        self.browser.get_by_role("menuitem", name="Schedule").click()
        self.run("Schedule")

    def says(self, text: str) -> None:
        """Waits until the page says something."""
        self.browser.get_by_text(text).first.wait_for()

    def create_index(self, name: str | None = None, brain_key: str = "redis") -> None:
        """Fills in the form for a new index by a model, by default the demo's."""
        self.button("Create an index").click()
        self.says("Where vectors come from")
        self.browser.locator("input[type=string]").first.fill(brain_key)
        model = self.browser.locator("input[role=combobox]").first
        model.fill(name or register_model())
        model.press("Tab")  # the list of models closes

    def has_ticked(self, *fields: str) -> None:
        """Waits until fields are ticked in the sidebar, so that the grid shows them."""
        for field in fields:
            until(self.page.there(f"checkbox-{field}").locator("input").is_checked)

    def toast(self, text: str, variant: str, within: float = PATIENCE) -> None:
        """Waits for a message that goes by itself; nothing else covers the page.

        Args:
            text: the message, or a part of it
            variant: "success" is green, "error" red, "warning" orange, and "info" blue
            within: seconds that it may take
        """
        messages = self.browser.locator(f".notistack-MuiContent-{variant}")
        messages.filter(has_text=text).first.wait_for(timeout=within * 1000)
        assert self.button("Done").count() == 0
