"""How the backend is told where Redis is: every way that the page names."""

import copy
import json
import os
import pickle
import subprocess
import sys
from dataclasses import asdict, replace

import fiftyone.brain as fob
import fiftyone.brain.config as fbc
import pytest

import fiftyone_redis
from fiftyone_redis import server, settings
from fiftyone_redis.backend import RedisSimilarityConfig
from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    ServerStoppedError,
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


ALL = {
    "HOST": "redis.example.org",
    "PORT": "06380",
    "PASSWORD": "0123",
    "USERNAME": "true",
    "SSL": "true",
    "SSL_CHECK_HOSTNAME": "False",
    "SOCKET_TIMEOUT": "2.50",
    "SOCKET_CONNECT_TIMEOUT": "1",
    "RETRIES": "3",
    "RETRY_TIMEOUT": "60",
    "CLUSTER": "true",
}


def test_every_setting_can_come_from_the_environment(nowhere, monkeypatch):
    for name, value in ALL.items():
        monkeypatch.setenv(f"FIFTYONE_BRAIN_SIMILARITY_REDIS_{name}", value)
    nowhere.update(fbc.BrainConfig().similarity_backends["redis"])
    assert settings.read(said(nowhere)) == settings.Parameters(
        host="redis.example.org",
        port=6380,
        password="0123",
        username="true",
        ssl=True,
        ssl_check_hostname=False,
        socket_timeout=2.5,
        socket_connect_timeout=1.0,
        retries=3,
        retry_timeout=60.0,
        cluster=True,
    )


@pytest.mark.parametrize("value", ["one:1,two:2", "one:1", "one,two:26379"])
def test_sentinels_can_come_from_the_environment(nowhere, monkeypatch, value):
    for name, text in {"SENTINELS": value, "SERVICE_NAME": "123"}.items():
        monkeypatch.setenv(f"FIFTYONE_BRAIN_SIMILARITY_REDIS_{name}", text)
    nowhere.update(fbc.BrainConfig().similarity_backends["redis"])
    found = settings.read(said(nowhere))
    assert found == settings.read({"sentinels": value, "service_name": "123"})


def said(config: dict) -> dict:
    """Returns what a brain config says of the connection."""
    return {name: config.get(name) for name in settings.NAMES}


def test_every_setting_can_be_a_keyword_and_in_the_brain_config(nowhere):
    given = {"host": "a", "ssl": True, "socket_timeout": 1, "retries": 3, "cluster": False}
    config = RedisSimilarityConfig(**given)
    assert config.connection == settings.Parameters(**given)
    nowhere.update(given)
    loaded = RedisSimilarityConfig()
    loaded.load_credentials()
    assert loaded.connection == config.connection
    loaded.load_credentials(host="b", retries=4)
    assert loaded.connection == replace(config.connection, host="b", retries=4)


def test_no_setting_of_the_connection_is_saved(samples, redis_backend, redis_server):
    how = {"socket_timeout": 7, "socket_connect_timeout": 7, "retries": 7, "retry_timeout": 7}
    index = indexed(samples, **how, cluster=False)
    saved = json.dumps(samples.dataset._doc.brain_methods["key"].config, default=str)
    assert index.config.connection.retries == 7
    assert not [name for name in settings.NAMES if f'"{name}"' in saved or f'"_{name}"' in saved]


def test_unknown_credentials_are_refused(samples, redis_backend):
    indexed(samples)
    with pytest.raises(SettingsError, match="Unknown connection parameters: pasword"):
        freshly_loaded(samples.dataset, pasword=PASSWORD)


def test_each_setting_tells_where_it_comes_from(nowhere, monkeypatch):
    monkeypatch.setenv("FIFTYONE_BRAIN_SIMILARITY_REDIS_PASSWORD", PASSWORD)
    monkeypatch.setenv("FIFTYONE_BRAIN_SIMILARITY_REDIS_USERNAME", "0123")
    config = {"port": 6380, "username": "brain"}
    nowhere.update({**config, **fbc.BrainConfig().similarity_backends["redis"]})
    found = {each.name: each for each in settings.sources({"host": "here"}, settings.configured())}
    assert list(found) == list(settings.NAMES)
    assert found["host"] == settings.Source("host", "here", "keyword")
    assert found["port"] == settings.Source("port", "6380", "brain config")
    assert found["username"] == settings.Source("username", "0123", "environment")
    assert found["password"] == settings.Source("password", "***", "environment")
    assert found["db"] == settings.Source("db", "0", "default")
    assert found["url"] == settings.Source("url", None, "default")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://anna:s3cret@host:6379", "redis://anna:***@host:6379"),
        ("redis://:s3cret@host", "redis://:***@host"),
        (
            "rediss://host?ssl_ca_certs=a&password=s3cret",
            "rediss://host?ssl_ca_certs=a&password=***",
        ),
        ("rediss://host?ssl_password=s3cret&db=0", "rediss://host?ssl_password=***&db=0"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("unix://anna:s3cret@/run/redis.sock", "unix://anna:***@/run/redis.sock"),
        ("redis://:s3/cret@host", "***"),
        ("redis://:s3@cret@host", "***"),
        ("redis://:s3#cret@host", "***"),
        ("redis://:s3?cret@host", "***"),
        ("anna:s3cret@host", "***"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, shown):
    [source] = [each for each in settings.sources({"url": url}, {}) if each.name == "url"]
    assert source.value == shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", ":s3cret@host"),
        ("port", "s3cret"),
        ("db", "s3cret"),
        ("url", "redis://h?pwd=s3cret"),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown(name, value):
    [source] = [each for each in settings.sources({name: value}, {}) if each.name == name]
    assert source.value == "***"


def test_how_to_connect_leaves_the_private_server_open(nowhere, free_port, monkeypatch):
    monkeypatch.setattr(settings, "DEFAULT_PORT", free_port)
    try:
        with settings.open_client(settings.Parameters(retries=2, socket_timeout=9.0)) as client:
            assert client.connection_pool.connection_kwargs["socket_timeout"] == 9.0
            assert client.get_retry().count == 2
    finally:
        server.stop()


def test_a_stopped_private_server_can_be_left_alone(nowhere, free_port, monkeypatch):
    monkeypatch.setattr(settings, "DEFAULT_PORT", free_port)
    with pytest.raises(ServerStoppedError, match="fiftyone-redis server start"):
        settings.open_client(settings.Parameters(), start=False)
    assert server.status() is None


def test_a_running_private_server_is_used_without_a_start(nowhere, free_port, monkeypatch):
    monkeypatch.setattr(settings, "DEFAULT_PORT", free_port)
    server.start()
    try:
        with settings.open_client(settings.Parameters(), start=False) as client:
            assert client.ping()
    finally:
        server.stop()


def test_a_server_that_wants_a_password_is_not_replaced_by_a_private_one(
    nowhere, client, redis_server, monkeypatch
):
    monkeypatch.setattr(settings, "DEFAULT_PORT", redis_server.port)
    client.config_set("requirepass", PASSWORD)
    try:
        with pytest.raises(AuthenticationError):
            settings.open_client(settings.Parameters())
    finally:
        client.config_set("requirepass", "")
    assert server.status() is None


@pytest.mark.parametrize("named", [{"ssl": True}, {"cluster": True}, {"username": "anna"}])
def test_what_a_private_server_is_not_keeps_it_from_being_started(free_port, monkeypatch, named):
    monkeypatch.setattr(settings, "DEFAULT_PORT", free_port)
    with pytest.raises(ConnectionFailedError):
        settings.open_client(settings.Parameters(**named))
    assert server.status() is None


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
        "print(settings.open_client(settings.Parameters()).info('server')['process_id'])"
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
        ({"host": 7}, "host must be a name or address"),
        ({"pasword": PASSWORD}, "pasword"),
        ({"ssl_ca_certs": "/none"}, "ssl_ca_certs cannot be read"),
        ({"ssl_check_hostname": False}, "ssl_check_hostname: set without ssl=True"),
        ({"sentinels": ["a:1"], "port": 1}, "sentinels and port are both set"),
        ({"socket_timeout": "soon"}, "socket_timeout must be a number of seconds"),
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


@pytest.mark.parametrize("how", [{"password": PASSWORD}, {"url": "redis://:0123%2Cs3cret@host"}])
def test_a_config_hides_secrets_in_copies_and_pickles(how):
    config = RedisSimilarityConfig(**how)
    same = copy.deepcopy(config)
    assert same.connection == config.connection
    loaded = pickle.loads(pickle.dumps(config))
    assert loaded.index_name == config.index_name
    shown = [config, same, loaded, config.connection, config.serialize(), pickle.dumps(config)]
    shown += [vars(config), vars(config.connection), asdict(config.connection)]
    assert "s3cret" not in " ".join(f"{each} {each!r}" for each in shown)
