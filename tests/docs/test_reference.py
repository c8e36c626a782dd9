"""The reference pages are written from the code, and nothing is missing in them."""

import re

import click
import pytest
import reference

from fiftyone_redis.connection.parameters import NAMES
from fiftyone_redis.engine.schema.options import OPTIONS

SETTINGS = (reference.DOCS / "settings.md").read_text()
COMMANDS = {context.command_path: context.command for context in reference.contexts()}


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_has_the_tables_of_the_package(name):
    page = (reference.DOCS / name).read_text()
    assert reference.filled(page) == page, "run `make tables`"


def test_every_table_is_in_a_page():
    pages = "".join((reference.DOCS / name).read_text() for name in reference.PAGES)
    for name in reference.TABLES:
        assert f"<!-- {name}:" in pages
        assert f"<!-- end of {name} -->" in pages


def test_every_setting_is_explained_and_connections_name_their_variables():
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", SETTINGS, re.MULTILINE)
    explained = {name for name, text in rows if text.strip()}
    assert {*OPTIONS, *NAMES, "index_name", "query_timeout", "attributes"} <= explained
    variables = re.findall(r"^\| `(\w+)` \| `\.\.\._(\w+)` \| [`\w]", SETTINGS, re.MULTILINE)
    assert variables == [(name, name.upper()) for name in NAMES]


def test_every_environment_variable_of_the_package_is_listed():
    sources = "".join(path.read_text() for path in (reference.ROOT / "src").rglob("*.py"))
    variables = set(re.findall(r"\bFIFTYONE_REDIS_[A-Z_]+\b", sources))
    assert variables
    assert not [name for name in variables if f"| `{name}` |" not in SETTINGS]


@pytest.mark.parametrize("typed", COMMANDS)
def test_a_command_and_its_options_have_help(typed):
    command = COMMANDS[typed]
    assert command.help
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert not [option.name for option in options if not option.help]
    assert f"## `{typed}`\n" in (reference.DOCS / "cli.md").read_text()
