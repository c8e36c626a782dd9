"""What a person does in a page of the App, and sees there.

Every action waits until the page is ready for it, and for what it brings about. `browser` is
Playwright's page, for whatever is not here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator
from playwright.sync_api import Page as PlaywrightPage

PATIENCE = 30  # seconds that anything may take, on a machine that does much else
ORDER = """lookers => lookers
    .map(one => [one.getBoundingClientRect(), one.querySelector('[data-cy="tag-id"]')])
    .sort(([a], [b]) => a.y - b.y || a.x - b.x)
    .map(([, tag]) => tag && tag.title.replace('id: ', ''))"""


class Page:
    """A page of the App.

    Attributes:
        browser: Playwright's page
        url: the address of the App
        pictures: the folder for screenshots
    """

    def __init__(self, browser: PlaywrightPage, url: str, pictures: Path) -> None:
        self.browser = browser
        self.url = url
        self.pictures = pictures
        browser.set_default_timeout(PATIENCE * 1000)
        # As if the advertisement that covers a part of the page had been read before.
        browser.add_init_script("localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')")

    def open(self, dataset: str, view: str | None = None) -> None:
        """Opens a dataset, or its saved view of that name, and waits for its pictures."""
        query = "" if view is None else f"?view={view}"
        self.browser.goto(f"{self.url}/datasets/{dataset}{query}")
        self.pictures_are_there()

    def there(self, name: str) -> Locator:
        """Returns the part of the page that FiftyOne gives this name, by its `data-cy`."""
        return self.browser.locator(f'[data-cy="{name}"]')

    def pictures_are_there(self) -> None:
        """Waits until every thumbnail has its picture."""
        loaded = self.there("looker").locator("canvas[canvas-loaded=true]")
        until(lambda: 0 < loaded.count() == self.there("looker").count())

    def thumbnail(self, place: int) -> Locator:
        """Returns the thumbnail in a place of the grid, from 0."""
        return self.there("looker").nth(place)

    def select(self, *places: int) -> None:
        """Selects the thumbnails in these places of the grid, from 0."""
        for place in places:
            thumbnail = self.thumbnail(place)
            checked = thumbnail.locator("input:checked")

            def tick(thumbnail: Locator = thumbnail, checked: Locator = checked) -> bool:
                # While a page loads, its first clicks are lost.
                thumbnail.hover()
                thumbnail.locator("[class*=showSelector] label").click()
                return happens(lambda: checked.count() == 1, within=2)

            until(tick)

    def ids(self) -> list[str]:
        """Returns the ids of the samples or patches whose thumbnails are seen, in their order."""
        self.tick("id", True)
        until(lambda: None not in self._ids())
        ids = self._ids()
        self.tick("id", False)
        return ids

    def shows(self, expected: list[str]) -> None:
        """Waits until the grid shows these first, and fails if it never does.

        Args:
            expected: ids; only as many of them are compared as there is room for
        """
        self.tick("id", True)

        def same() -> bool:
            seen = self._ids()
            return bool(seen) and seen == expected[: len(seen)]

        if not happens(same):
            raise AssertionError(f"The page shows {self._ids()}, not {expected[:30]}")
        self.tick("id", False)
        self.pictures_are_there()

    def tick(self, field: str, on: bool) -> None:
        """Ticks a field in the sidebar, so that thumbnails show it, or takes the tick out."""
        box = self.there(f"checkbox-{field}")
        if box.locator("input").is_checked() != on:
            box.click()

    def count(self) -> str:
        """Returns what the page says of how many there are, such as "1,797 samples"."""
        return self.there("entry-counts").inner_text()

    def show_similar(self) -> None:
        """Asks for those that are similar to the selected ones, by the button above the grid."""
        self.there("action-sort-by-similarity").click()
        self.browser.get_by_text("Show similar").click()

    def show_similar_to_text(self, prompt: str) -> None:
        """Asks for those that fit a prompt, by the button above the grid."""
        self.there("action-sort-by-similarity").click()
        box = self.there("input-Type anything!")
        box.fill(prompt)
        box.press("Enter")

    def picture(self, name: str) -> None:
        """Takes a screenshot."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.browser.mouse.move(0, 0)
        self.browser.screenshot(path=self.pictures / f"{name}.png")

    def _ids(self) -> list[str | None]:
        return self.there("looker").evaluate_all(ORDER)


def happens(condition: Callable[[], bool], within: float = PATIENCE) -> bool:
    """Waits until a condition holds, and tells whether it did in this many seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def until(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds, and fails if it never does."""
    assert happens(condition), "The page was not ready for it."
