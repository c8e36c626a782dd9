"""What a person does in a page of the App, and sees there.

Every action waits until the page is ready for it, and for what it brings about. `browser` is
Playwright's page, for whatever is not here.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Locator
from playwright.sync_api import Page as PlaywrightPage

PATIENCE = 60  # seconds that anything may take, on a machine that does much else
SMALL = 150_000  # bytes of a screenshot
TOAST = "[class*=notistack-MuiContent]"
PASSING = re.compile(r"Showing \d+ results")  # a message that goes by itself
# What the thumbnails show of a field, row by row: the page keeps them in another order.
VALUES = """(thumbnails, field) => thumbnails
    .map(one => [one.getBoundingClientRect(), one.querySelector(`[data-cy="tag-${field}"]`)])
    .sort(([a], [b]) => a.y - b.y || a.x - b.x)
    .map(([, tag]) => tag && tag.title.replace(`${field}: `, ""))"""


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
        """Opens a dataset, or its saved view of that slug, and waits for its pictures."""
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
        """Returns the thumbnail in a place of the grid, from 0, as long as it is not scrolled."""
        return self.there("looker").nth(place)

    def select(self, *places: int, against: bool = False) -> None:
        """Selects the thumbnails in these places of the grid, from 0.

        Args:
            *places: the places
            against: whether to do so with the Alt key, which in FiftyOne's panel makes them
                examples of what is not wanted
        """
        for place in places:
            thumbnail = self.thumbnail(place)
            checked = thumbnail.locator("input:checked")

            def tick(thumbnail: Locator = thumbnail, checked: Locator = checked) -> bool:
                # While a page loads, its first clicks are lost.
                thumbnail.hover()
                box = thumbnail.locator("[class*=showSelector] label")
                box.click(modifiers=["Alt"] if against else [])
                return happens(lambda: checked.count() == 1, within=2)

            until(tick)

    def ids(self) -> list[str]:
        """Returns the ids of the samples or patches whose thumbnails are seen, in their order."""
        return self.values("id")

    def values(self, field: str) -> list[str]:
        """Returns what the thumbnails show of a field, in their order."""
        self.tick(field, True)
        until(lambda: None not in self._values(field))
        values = self._values(field)
        self.tick(field, False)
        return values

    def shows(self, expected: list[str]) -> None:
        """Waits until the grid shows these first, and fails if it never does.

        Args:
            expected: the ids of samples or patches, not more than fit into the page (about 25)
        """
        self.tick("id", True)
        if not happens(lambda: self._values("id")[: len(expected)] == expected):
            seen = self._values("id")[: len(expected)]
            raise AssertionError(f"The page shows {seen}, not {expected}")
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

    def open_panel(self, name: str) -> Locator:
        """Opens a panel beside the pictures, by the plus above them, and returns its content."""
        self.there("new-panel-btn").first.click()
        self.there(f"new-panel-option-{name}").click()
        return self.there(f"panel-content-{name}")

    def show_similar(self) -> None:
        """Finds what is similar to the selected ones, by the button above the grid."""
        self.ask_for_similar()
        self.show_results()

    def ask_for_similar(self) -> None:
        """Presses that button, whatever comes of it."""
        self.there("action-sort-by-similarity").click()
        self.there("popout").get_by_text("Show similar").click()

    def show_similar_to_text(self, prompt: str) -> None:
        """Finds what fits a prompt, by the button above the grid."""
        self.there("action-sort-by-similarity").click()
        box = self.there("popout").get_by_role("textbox")
        box.fill(prompt)
        box.press("Enter")
        self.show_results()

    def filter_tags(self, tag: str) -> None:
        """Shows only the samples with a tag, by the sidebar."""
        before = self.count()
        self.there("sidebar-field-arrow-enabled-tags").click()
        box = self.browser.get_by_placeholder("+ filter by sample tag")
        box.fill(tag)
        box.press("Enter")
        until(lambda: self.count() not in ("", before))
        self.pictures_are_there()

    def show_patches(self, field: str) -> None:
        """Shows the patches of a field, by the button above the grid."""
        self.there("action-clips-patches").click()
        self.there(f"item-action-{field}").click()
        until(lambda: "patch" in self.count())
        self.pictures_are_there()

    def fill_in(
        self,
        text: str | None = None,
        picture: Path | None = None,
        within_view: bool = False,
        k: int = 25,
        least: bool = False,
        distances: str | None = None,
    ) -> None:
        """Fills in the form for a new search in FiftyOne's panel, which must be open.

        Args:
            text: a prompt
            picture: a file to upload; without it and a prompt the selected images are searched
            within_view: whether to search the current view rather than the whole dataset
            k: how many to find
            least: whether to find the least similar
            distances: a field for the distances
        """
        panel = self.there("panel-content-similarity_search_panel")
        panel.get_by_text("New Search").first.click()
        panel.get_by_text("Current View" if within_view else "Full Dataset").click()
        if text is not None:
            panel.get_by_role("button", name="Text Search").click()
            panel.get_by_placeholder("Enter a text prompt").fill(text)
        elif picture is not None:
            panel.get_by_role("button", name="Upload Image").click()
            panel.locator("input[type=file]").set_input_files(picture)
        else:
            panel.get_by_role("button", name="Image Search").click()
        panel.locator("input[type=number]").fill(str(k))
        if least:
            panel.get_by_text("Least similar").click()
        if distances is not None:
            panel.get_by_placeholder("similarity_dist").fill(distances)

    def search(self, text: str | None = None, **options: Any) -> None:
        """Searches by the form of FiftyOne's panel: :meth:`fill_in` has the options."""
        self.fill_in(text, **options)
        panel = self.there("panel-content-similarity_search_panel")
        panel.get_by_role("button", name="Search", exact=True).click()
        self.browser.get_by_text("Run this operation synchronously").click()
        self.show_results()

    def show_results(self) -> None:
        """Waits for the newest search in FiftyOne's panel, and shows what it found."""
        results = self.browser.locator('[aria-label="Show results"]:not([disabled])')
        results.first.click(force=True)  # not disabled, though a part of the page around it is

    def picture(self, name: str) -> None:
        """Takes a screenshot, in so few colours that it is small enough for the docs."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.browser.mouse.move(0, 0)
        until(lambda: self.browser.get_by_text(PASSING).count() == 0)
        if os.environ.get("SCREENSHOTS"):  # else nobody minds a message that goes by itself
            until(lambda: self.browser.locator(TOAST).count() == 0)
        # Else a button that is ready may still fade in, and look as if it was not.
        shot = self.browser.screenshot(animations="disabled")
        screenshot = Image.open(BytesIO(shot)).convert("RGB")
        path = self.pictures / f"{name}.png"
        for colors in (256, 128, 64):
            screenshot.quantize(colors).save(path, optimize=True)
            if path.stat().st_size < SMALL:
                return

    def _values(self, field: str) -> list[str | None]:
        return self.there("looker").evaluate_all(VALUES, field)


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
