"""The files around the code: they are valid, say the same as pyproject.toml, and are published."""

import re
from pathlib import Path

import pytest
import yaml

import fiftyone_redis

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
HOME = re.search(r'^Homepage = "(.+)"', PYPROJECT, re.MULTILINE)[1]


def read(name: str | Path):
    return yaml.safe_load((ROOT / name).read_text())


def test_every_project_url_is_below_the_homepage():
    [section] = re.findall(r"^\[project\.urls\]\n(.+?)\n\n", PYPROJECT, re.MULTILINE | re.DOTALL)
    urls = dict(re.findall(r'^(\w+) = "(.+)"', section, re.MULTILINE))
    assert {"Homepage", "Documentation", "Changelog", "Issues", "Source"} <= urls.keys()
    assert all(url.startswith(HOME) for url in urls.values())


def test_the_citation_is_of_this_version():
    citation = read("CITATION.cff")
    assert citation["version"] == fiftyone_redis.__version__
    assert citation["url"] == HOME
    assert citation["license"] == "Apache-2.0"
    assert f'authors = [{{ name = "{citation["authors"][0]["name"]}" }}]' in PYPROJECT
    assert {"cff-version", "message", "title", "type"} <= citation.keys()


@pytest.mark.parametrize("form", [f for f in FORMS if f.stem != "config"], ids=lambda f: f.stem)
def test_an_issue_form_asks_for_something(form):
    asked = read(form)
    assert {"name", "description", "body"} <= asked.keys()
    assert any(field.get("validations", {}).get("required") for field in asked["body"])
    names = [field["id"] for field in asked["body"]]
    assert len(names) == len(set(names))
    assert all(field["attributes"]["label"] for field in asked["body"])


def test_vulnerabilities_are_not_reported_in_public():
    [link] = read(".github/ISSUE_TEMPLATE/config.yml")["contact_links"]
    assert link["url"].startswith(HOME)
    assert "SECURITY.md" in link["about"]


def test_the_hooks_run_what_ci_runs():
    hooks = read(".pre-commit-config.yaml")["repos"][0]["hooks"]
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [hook["entry"] for hook in hooks] == ["make lint", "make types"]
    assert {hook["entry"] for hook in hooks} <= set(ci)


def test_the_source_archive_has_them():
    [include] = re.findall(r"^include = \[(.+)\]", PYPROJECT, re.MULTILINE)
    pages = [*ROOT.glob("*.md"), ROOT / "CITATION.cff", ROOT / "LICENSE"]
    assert {f"/{page.name}" for page in pages} <= set(re.findall(r'"(.+?)"', include))
