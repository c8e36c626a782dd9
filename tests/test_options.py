"""A setting of an index stands once: whatever knows settings knows one that is added there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEW = """    made_up: int = _option(
        7,
        "made up",
        algorithm="HNSW",
        minimum=2,
        argument="MADE_UP",
        info_name="made_up",
        per_query=True,
    )

    def __post_init__"""

# What the package makes of that setting, in a process that has imported the changed one.
LOOK = """
import inspect, json
from types import SimpleNamespace
from fiftyone.operators import types
import options_table
from fiftyone_redis.app import changes
from fiftyone_redis.app.operators import manage
from fiftyone_redis.backend import RedisSimilarityConfig, RedisSimilarityIndex
from fiftyone_redis.engine import protocol
from fiftyone_redis.engine.protocol import index_info
from fiftyone_redis.engine.schema.options import ALGORITHMS, DTYPES
from fiftyone_redis.engine.schema.schema import Schema

def refusal(call):
    try:
        call()
    except Exception as error:
        return str(error)

config = RedisSimilarityConfig("any", algorithm="HNSW", made_up=9)
schema = config.schema(4)
vector = ["identifier", "vector", "attribute", "vector", "type", "VECTOR", "algorithm", "HNSW"]
vector += ["data_type", "FLOAT32", "dim", 4, "distance_metric", "COSINE", "made_up", "11"]
definition = ["key_type", "HASH", "prefixes", ["any:"]]
info = ["index_name", "any", "index_definition", definition, "attributes", [vector]]
changes.fetch_capabilities = lambda: (ALGORITHMS, tuple(DTYPES))
form = types.Object()
manage._ask_settings(SimpleNamespace(params={}), form, schema)
print(json.dumps({
    "the command that makes it": protocol.create(schema),
    "a query": protocol.knn(schema, b"", 5, timeout_ms=1)[2],
    "an index on a server": index_info.read_schema(index_info.read_info(info)).made_up,
    "another algorithm": protocol.create(Schema("any", 4, made_up=9)),
    "a value that cannot be": refusal(lambda: Schema("any", 4, made_up=1)),
    "the run": config.serialize()["made_up"],
    "the signature": list(inspect.signature(RedisSimilarityConfig).parameters),
    "the docstring": RedisSimilarityConfig.__doc__,
    "a rebuild": refusal(lambda: RedisSimilarityIndex.rebuild(None, nonsense=1)),
    "the form": form.to_json()["properties"]["made_up"]["default"],
    "what the form hands over": manage._settings(
        SimpleNamespace(params={"algorithm": "HNSW", "made_up": 3})
    ),
    "the guide": options_table.table(),
}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    """What a copy of the package makes of a setting that is one field more in one file."""
    folder = tmp_path_factory.mktemp("edited")
    shutil.copytree(ROOT / "src" / "fiftyone_redis", folder / "fiftyone_redis")
    file = folder / "fiftyone_redis" / "engine" / "schema" / "options.py"
    before, after = file.read_text().split("    def __post_init__")
    file.write_text(before + NEW + after)
    path = os.pathsep.join([str(folder), str(ROOT / "scripts")])
    ran = subprocess.run(
        [sys.executable, "-c", LOOK],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_the_server_is_told_a_new_setting_and_tells_it(found):
    command = found["the command that makes it"]
    assert command[command.index("MADE_UP") + 1] == 9
    assert "MADE_UP 9" in found["a query"]
    assert found["an index on a server"] == 11
    assert "MADE_UP" not in found["another algorithm"]
    assert "made_up must be a whole number of at least 2" in found["a value that cannot be"]


def test_a_run_takes_and_saves_a_new_setting(found):
    assert found["the run"] == 9
    assert "made_up" in found["the signature"]


def test_a_rebuild_and_its_form_offer_a_new_setting(found):
    assert "made_up" in found["a rebuild"]
    assert found["the form"] == 9
    assert found["what the form hands over"]["made_up"] == 3


def test_a_new_setting_is_documented(found):
    assert "made_up (None): HNSW: made up; ``7`` by default" in found["the docstring"]
    assert "| `made_up` | HNSW | 7 | made up |" in found["the guide"]
