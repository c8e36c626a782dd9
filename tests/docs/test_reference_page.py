"""Runs every Python example of the page that this package promises to be true to, word for word.

What is put in the place of the page's words: its CLIP model is the tests' own zoo model, ``...``
stands for a dataset and that model, and port 6379 is the tests' server, which knows the page's
user ``username`` with the password ``password``.
"""

import re
import textwrap
from pathlib import Path

import fiftyone.brain as fob
import pytest

PAGE = Path(__file__).parents[3] / "shared" / "reference" / "redis-integration.rst"
MODEL = "projection-512"

pytestmark = pytest.mark.skipif(
    not PAGE.exists(), reason="the reference page does not lie beside this checkout"
)


def blocks() -> list[tuple[int, str]]:
    """The page's Python blocks with their line numbers; those with options one by one."""
    lines = PAGE.read_text().splitlines() if PAGE.exists() else []
    found = []
    for number, line in enumerate(lines, start=1):
        match = re.match(r"( *)\.\. code(-block)?:: python", line)
        if match:
            code = _body(lines[number:], indent=len(match[1]))
            head, *options = re.split(r"(?=^# Option \d)", code, flags=re.MULTILINE)
            found += [(number, head + option) for option in options or [""]]
    return found


def _body(lines: list[str], indent: int) -> str:
    body = []
    for line in lines:
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        if ":linenos:" not in line:
            body.append(line)
    return textwrap.dedent("\n".join(body)).strip()


def runnable(code: str, port: int) -> str:
    code = code.replace("clip-vit-base32-torch", MODEL).replace("6379", str(port))
    code = code.replace("compute_similarity(...,", f"compute_similarity(dataset, model={MODEL!r},")
    code = code.replace('backend="redis", ...)', 'backend="redis")')
    return re.sub(r"^    \.\.\.$", f"    dataset,\n    model={MODEL!r},", code, flags=re.MULTILINE)


@pytest.fixture
def page_user(redis_backend, client):
    """The user of the page's credentials, and a backend that is told of no server but by them."""
    client.acl_setuser(
        "username", enabled=True, passwords="+password", keys="*", commands=["+@all"]
    )
    yield
    client.acl_deluser("username")


@pytest.mark.parametrize(
    ("line", "code"), [pytest.param(line, code, id=f"line-{line}") for line, code in blocks()]
)
def test_the_page_runs(line, code, quickstart, redis_backend, redis_server, page_user, capsys):
    names = {"fob": fob, "dataset": quickstart, "brain_key": "redis_index", "new_brain_key": "new"}
    if "compute_similarity(" not in code:
        names["redis_index"] = fob.compute_similarity(
            quickstart, backend="redis", brain_key="redis_index"
        )
    if "host=" in code:
        del redis_backend["url"]

    exec(runnable(code, redis_server.port), names)

    printed = [int(n) for n in re.findall(r"^\d+$", capsys.readouterr().out, re.MULTILINE)]
    promised = [int(n) for n in re.findall(r"print\(.*\)  # (\d+)$", code, re.MULTILINE)]
    assert printed == promised


def test_every_block_is_found():
    assert len(blocks()) == 22
