"""How the backend is chosen, and how it is told where Redis is: every way that the page names."""

import json
import os
import subprocess
import sys

import fiftyone.brain as fob
import fiftyone.brain.config as fbc
import pytest

import fiftyone_redis
from fiftyone_redis import server, settings
from fiftyone_redis.engine.errors import (
    AuthenticationError,
    ConnectionFailedError,
    SettingsError,
    UnsupportedServerError,
)

PASSWORD = "0123,s3cret"  # FiftyOne makes a list of it when it comes from the environment


@pytest.fixture
def user(client):
    """A user of the server, for as long as the test runs."""
    client.acl_setuser("anna", enabled=True, passwords=f"+{PASSWORD}", keys="*", commands=["+@all"])
    yield "anna"
    client.acl_deluser("anna")


@pytest.fixture
def nowhere(redis_backend):
    """The backend is told nothing about a server."""
    redis_backend.clear()
    redis_backend["config_cls"] = fiftyone_redis.CONFIG_CLS
    return redis_backend


def indexed(samples, **kwargs):
    return fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="key", backend="redis", **kwargs
    )


def freshly_loaded(dataset, **kwargs):
    return dataset.load_brain_results("key", cache=False, **kwargs)


def test_keywords_lead_to_the_server(samples, nowhere, redis_server, user):
    where = {"host": "127.0.0.1", "port": redis_server.port, "db": 0}
    login = {"username": user, "password": PASSWORD}
    indexed(samples, **where, **login)
    assert freshly_loaded(samples.dataset, **where, **login).total_index_size == 60


def test_the_brain_config_leads_to_the_server(samples, nowhere, redis_server, user, tmp_path):
    login = {"username": user, "password": PASSWORD}
    where = {"host": "localhost", "port": redis_server.port, "db": 0}
    file = tmp_path / "brain_config.json"
    file.write_text(json.dumps({"similarity_backends": {"redis": {**where, **login}}}))
    nowhere.update(fbc.BrainConfig.from_json(str(file)).similarity_backends["redis"])

    indexed(samples)

    assert freshly_loaded(samples.dataset).total_index_size == 60


def test_the_environment_leads_to_the_server(samples, nowhere, redis_server, user, monkeypatch):
    for name, value in {
        "HOST": "localhost",
        "PORT": str(redis_server.port),
        "DB": "0",
        "USERNAME": user,
        "PASSWORD": PASSWORD,
    }.items():
        monkeypatch.setenv(f"FIFTYONE_BRAIN_SIMILARITY_REDIS_{name}", value)
    nowhere.update(fbc.BrainConfig().similarity_backends["redis"])
    assert nowhere["password"] != PASSWORD

    indexed(samples)

    assert freshly_loaded(samples.dataset).total_index_size == 60


def test_keywords_come_before_the_brain_config(samples, nowhere, redis_server, user):
    nowhere.update(host="localhost", port=redis_server.port, username=user, password="wrong")
    indexed(samples, password=PASSWORD)
    assert freshly_loaded(samples.dataset, password=PASSWORD).total_index_size == 60


def test_a_wrong_password_is_refused_and_nothing_is_saved(samples, nowhere, redis_server, user):
    with pytest.raises(AuthenticationError, match="check username and password"):
        indexed(samples, host="localhost", port=redis_server.port, username=user, password="wrong")
    assert not samples.dataset.list_brain_runs()


def test_without_settings_a_private_server_is_started(
    samples, nowhere, free_port, monkeypatch, caplog
):
    monkeypatch.setattr(settings, "DEFAULT_PORT", free_port)
    try:
        with caplog.at_level("INFO", logger="fiftyone"):
            indexed(samples)
        [line] = [r.getMessage() for r in caplog.records if "private" in r.getMessage()]
        pid = server.status().pid
        assert str(pid) in line
        assert freshly_loaded(samples.dataset).total_index_size == 60
        assert server.status().pid == pid
        assert indexed_elsewhere(settings.DEFAULT_PORT) == pid
    finally:
        server.stop()


def indexed_elsewhere(port: int) -> int:
    """Returns the pid of the server that another process finds with no settings."""
    code = (
        "from fiftyone_redis import settings; settings.DEFAULT_PORT = int('{}');"
        "print(settings.open_client(settings.Settings()).info('server')['process_id'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code.format(port)],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_a_server_that_was_named_is_never_replaced_by_a_private_one(samples, nowhere, free_port):
    for named in ({"port": free_port}, {"url": f"redis://localhost:{free_port}"}):
        with pytest.raises(ConnectionFailedError, match="No Redis answers"):
            indexed(samples, **named)
    assert server.status() is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "redis://localhost", "host": "other"}, "url and host"),
        ({"port": "many"}, "port must be a whole number"),
        ({"host": 7}, "host must be text"),
        ({"pasword": PASSWORD}, "pasword"),
        ({"metric": "manhattan"}, "metric 'manhattan'; use one of cosine, dotproduct, euclidean"),
        ({"algorithm": "BRUTE"}, "algorithm 'BRUTE'; use one of FLAT, HNSW"),
        ({"index_name": "two words"}, "index_name 'two words'"),
        ({"url": f"http://anna:{PASSWORD}@host"}, "redis://host:6379"),
    ],
)
def test_wrong_settings_are_refused_and_nothing_is_saved(samples, nowhere, given, message):
    with pytest.raises(SettingsError, match=message) as refused:
        indexed(samples, **given)
    assert PASSWORD not in str(refused.value)
    assert not samples.dataset.list_brain_runs()


def test_a_database_other_than_0_is_refused(samples, nowhere, redis_server):
    with pytest.raises(UnsupportedServerError, match="database 0, not in 3"):
        indexed(samples, port=redis_server.port, db=3)
    assert not samples.dataset.list_brain_runs()


def test_secrets_are_saved_and_shown_nowhere(samples, nowhere, redis_server, user, caplog):
    with caplog.at_level("DEBUG"):
        index = indexed(
            samples, host="localhost", port=redis_server.port, username=user, password=PASSWORD
        )
        with pytest.raises(AuthenticationError) as refused:
            freshly_loaded(
                samples.dataset,
                host="localhost",
                port=redis_server.port,
                username=user,
                password=PASSWORD + "x",
            )
    run = samples.dataset._doc.brain_methods["key"]
    info = samples.dataset.get_brain_info("key")
    shown = [run.config, info, index, index.config, index.config.connection, refused.value]
    for text in [*map(str, shown), *map(repr, shown), caplog.text]:
        assert PASSWORD not in text


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
