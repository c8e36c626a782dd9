"""How the backend is chosen."""

import os
import subprocess
import sys

import fiftyone.brain as fob
import fiftyone.brain.config as fbc
import pytest

import fiftyone_redis


def test_importing_the_package_does_not_overrule_the_environment():
    code = "import fiftyone_redis, os; print(os.environ['{}'])".format(
        "FIFTYONE_BRAIN_SIMILARITY_REDIS_CONFIG_CLS"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FIFTYONE_BRAIN_SIMILARITY_REDIS_CONFIG_CLS": "some.Other"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "some.Other"


@pytest.mark.parametrize("first", ["fiftyone.brain", "fiftyone_redis"])
def test_importing_the_package_is_enough_in_any_order(first):
    code = (
        f"import {first}, fiftyone_redis, fiftyone.brain as fob;"
        "print(fob.brain_config.similarity_backends['redis']['config_cls'])"
    )
    environment = {k: v for k, v in os.environ.items() if not k.endswith("CONFIG_CLS")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fiftyone_redis.CONFIG_CLS


def test_the_default_backend_can_be_set(samples, monkeypatch):
    monkeypatch.setattr(fob.brain_config, "default_similarity_backend", "redis")
    fob.compute_similarity(samples.dataset, embeddings=samples.embeddings, brain_key="key")
    assert samples.dataset.get_brain_info("key").config.method == "redis"


def test_the_environment_sets_the_default_backend(monkeypatch):
    monkeypatch.setenv("FIFTYONE_BRAIN_DEFAULT_SIMILARITY_BACKEND", "redis")
    assert fbc.BrainConfig().default_similarity_backend == "redis"
