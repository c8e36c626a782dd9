"""The site is built without a broken link, and shows itself without the internet."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert not re.findall(r'<(?:script|img)[^>]* src="?(?:https?:)?//[^>]+>', text), page
        assert not re.findall(r'<link[^>]* rel="?(?:stylesheet|preconnect)[^>]*//[^>]+>', text), (
            page
        )


def test_the_readme_is_the_home_and_the_notebook_a_page(site):
    assert 'href="quickstart.html"' in (site / "index.html").read_text()
    assert 'href="digits.ipynb"' in (site / "examples" / "digits.html").read_text()
    assert (site / "examples" / "digits.ipynb").is_file()


def test_the_api_links_to_the_settings_and_shows_nothing_that_only_the_code_understands(site):
    text = (site / "api.html").read_text()
    assert 'href="settings.html#settings-of-an-index"' in text
    shown = re.sub(r"<[^>]+>", "", text.split("<article", 1)[1].split("</article>")[0])
    assert not re.findall(r"\{options\}|:class:|\b_option\(|Mapping\[str, Any\]", shown)
