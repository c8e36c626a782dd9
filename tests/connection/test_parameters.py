"""Connection parameters: the types they may come in, and what does not go together."""

import ssl

import pytest

from fiftyone_redis.connection.parameters import NAMES, Parameters, check_parameters
from fiftyone_redis.errors import SettingsError

SECRET = "sEcr3t"


def test_what_is_not_said_is_none():
    assert check_parameters({}) == check_parameters(dict.fromkeys(NAMES)) == Parameters()


@pytest.mark.parametrize(
    ("name", "values", "meant"),
    [
        ("port", [6380, "6380"], 6380),
        ("retries", [0, "0"], 0),
        ("ssl", [True, "true", "True", 1, "1"], True),
        ("cluster", [False, "false", "False", 0, "0"], False),
        ("socket_timeout", [0.5, "0.5", ".5"], 0.5),
        ("socket_connect_timeout", [3, "3"], 3.0),
        ("retry_timeout", [0, "0"], 0.0),
    ],
)
def test_numbers_and_flags_may_be_text(name, values, meant):
    for value in values:
        found = getattr(check_parameters({name: value}), name)
        assert found == meant
        assert type(found) is type(meant)


@pytest.mark.parametrize(
    "value",
    [
        "a:1,b:26379",
        "a:1, b",
        ["a:1", "b"],
        ("a:1", "b:26379"),
        [("a", 1), ["b", 26379]],
    ],
)
def test_sentinels_may_be_text_or_a_list(value):
    found = check_parameters({"sentinels": value, "service_name": "s"})
    assert found.sentinels == (("a", 1), ("b", 26379))


def test_addresses_of_version_6_are_understood():
    found = check_parameters({"sentinels": "[::1]:1,[fe80::1]", "service_name": "s"})
    assert found.sentinels == (("::1", 1), ("fe80::1", 26379))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"port": "many"}, "port must be a whole number from 1 to 65535"),
        ({"port": 0}, "port must be a whole number from 1 to 65535"),
        ({"port": 70000}, "port must be a whole number from 1 to 65535"),
        ({"db": -1}, "db must be a whole number, 0 or more"),
        ({"retries": -1}, "retries must be a whole number, 0 or more"),
        ({"retries": 1.5}, "retries must be a whole number, 0 or more, not float"),
        ({"retries": True}, "retries must be a whole number, 0 or more, not bool"),
        ({"host": 7}, "host must be a name or address, without login, port or redis://, not int"),
        ({"password": 7}, "password must be text, not int"),
        ({"ssl": "maybe"}, "ssl must be true or false"),
        ({"cluster": 2}, "cluster must be true or false, not int"),
        ({"socket_timeout": 0}, "socket_timeout must be a number of seconds, more than 0, not int"),
        ({"socket_timeout": "soon"}, "socket_timeout must be a number of seconds"),
        ({"socket_connect_timeout": float("nan")}, "socket_connect_timeout must be a number"),
        ({"retry_timeout": -1}, "retry_timeout must be a number of seconds, 0 or more, not int"),
        ({"retry_timeout": "inf"}, "retry_timeout must be a number of seconds"),
        ({"sentinels": []}, "sentinels must be addresses"),
        ({"sentinels": 26379}, "sentinels must be addresses"),
        ({"sentinels": ["a:1", 2]}, "sentinels must be addresses"),
        ({"sentinels": "redis://a:1"}, "sentinels must be addresses"),
        ({"sentinels": f"user:{SECRET}@a:1"}, "sentinels must be addresses"),
        ({"ssl_ca_certs": 7}, "ssl_ca_certs must be text"),
        (
            {"sssl": True, "hots": "a"},
            r"parameters: hots \(did you mean host\?\), sssl \(.* ssl\?\)",
        ),
    ],
)
def test_a_wrong_value_is_named(given, said):
    with pytest.raises(SettingsError, match=said) as caught:
        check_parameters(given)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "redis://a", "host": "b"}, "url and host are both set"),
        (
            {"url": "redis://a", "port": 1, "password": SECRET},
            "url and port, password are both set; set either the url or the others",
        ),
        ({"url": "rediss://a", "ssl": True}, "url and ssl are both set"),
        ({"url": "redis://a", "ssl_check_hostname": False}, "ssl_check_hostname: set without"),
        ({"url": "unix:///a", "ssl_check_hostname": False}, "set without rediss:// in url"),
        (
            {"url": "rediss://a?ssl_check_hostname=false", "ssl_check_hostname": True},
            "ssl_check_hostname: set by the url's options and beside it",
        ),
        (
            {"url": "redis://a?socket_timeout=1&client_name=a", "socket_timeout": 1},
            "socket_timeout: set by the url's options and beside it",
        ),
        ({"ssl_check_hostname": False}, "ssl_check_hostname: set without ssl=True"),
        ({"ssl": False, "ssl_check_hostname": True}, "ssl_check_hostname: set without ssl=True"),
        ({"sentinels": "a", "service_name": "s", "port": 1}, "sentinels and port are both set"),
        ({"sentinels": "a", "service_name": "s", "cluster": True}, "sentinels and cluster are"),
        ({"sentinels": "a"}, "sentinels is set without service_name"),
        ({"sentinel_password": SECRET}, "sentinel_password: set without sentinels"),
    ],
)
def test_what_does_not_go_together_is_named(given, said):
    with pytest.raises(SettingsError, match=said) as caught:
        check_parameters(given)
    assert SECRET not in str(caught.value)


def test_timeouts_and_retries_go_with_everything():
    how = {"socket_timeout": 1, "socket_connect_timeout": 1, "retries": 1, "retry_timeout": 1}
    for where in ({"url": "redis://a"}, {"host": "a"}, {"sentinels": "a", "service_name": "s"}):
        assert check_parameters({**where, **how}).retries == 1


def test_secrets_are_not_shown():
    shown = repr(check_parameters({"password": SECRET})) + repr(
        check_parameters({"url": f"redis://:{SECRET}@a"})
    )
    more = {"sentinels": "a", "service_name": "s", "sentinel_password": SECRET}
    assert SECRET not in shown + repr(check_parameters(more))


@pytest.mark.parametrize("given", [{}, {"ssl": True}, {"url": "rediss://host"}])
def test_no_certificates_are_loaded_where_no_file_is_named(monkeypatch, given):
    def refuse(*_) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(ssl, "SSLContext", refuse)
    check_parameters(given)
