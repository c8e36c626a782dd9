"""What happens to a run where the package is not installed, as docs/upgrade.md tells it."""

import os
import subprocess
import sys

import fiftyone.brain as fob
import numpy as np
import pytest

pytestmark = pytest.mark.slow

# `None` in sys.modules is how Python is told that there is no such module.
WITHOUT = """
import sys
sys.modules["fiftyone_redis"] = None
import fiftyone as fo

dataset = fo.load_dataset("quickstart")
"""


@pytest.fixture
def run_without(quickstart, redis_backend):
    """Runs code where the package is missing, on a dataset with a run "key"."""
    quickstart.persistent = True
    vectors = np.random.default_rng(51).normal(size=(len(quickstart), 8))
    fob.compute_similarity(quickstart, embeddings=vectors, backend="redis", brain_key="key")
    environment = {name: v for name, v in os.environ.items() if "_CONFIG_CLS" not in name}

    def run(code: str) -> subprocess.CompletedProcess:
        program = [sys.executable, "-c", WITHOUT + code]
        return subprocess.run(
            program, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def test_a_run_is_listed_renamed_and_deleted(run_without, client):
    ran = run_without("""
dataset.rename_brain_run("key", "renamed")
clone = dataset.clone()
print("listed", dataset.list_brain_runs(), clone.list_brain_runs())
clone.delete()
dataset.delete_brain_run("renamed")
print("left", dataset.list_brain_runs())
""")
    assert ran.returncode == 0, ran.stderr
    assert {"listed ['renamed'] ['renamed']", "left []"} <= set(ran.stdout.splitlines())
    assert client.execute_command("FT._LIST")


@pytest.mark.parametrize(
    "call",
    ['load_brain_results("key")', 'sort_by_similarity(dataset.first().id, brain_key="key")'],
)
def test_a_run_cannot_be_searched(run_without, call):
    ran = run_without(f"dataset.{call}")
    assert ran.returncode
    assert "Unable to load fiftyone_redis.backend.RedisSimilarityConfig" in ran.stdout
    assert ran.stderr.splitlines()[-1].startswith("NotImplementedError")
