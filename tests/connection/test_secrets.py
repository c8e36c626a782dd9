"""A secret, wherever it is put, is not in an error, a log, a repr, a copy or a pickle."""

import copy
import logging
import pickle
import random
import re
import string
import traceback
from dataclasses import asdict
from urllib.parse import quote

import pytest

from fiftyone_redis.connection.client import connect
from fiftyone_redis.connection.parameters import (
    NAMES,
    SECRETS,
    Parameters,
    check_parameters,
    show,
)
from fiftyone_redis.connection.pool import borrow_connection
from fiftyone_redis.connection.secret import reveal
from fiftyone_redis.errors import FiftyOneRedisError

SPECIAL = "@:/?#&=%+ []{}'\"\\,;§$"

URLS = (
    "redis://:{secret}@127.0.0.1:1",
    "redis://anna:{secret}@127.0.0.1:1",
    "redis://anna:{secret}@127.0.0.1:1/0?max_connections=2",
    "redis://127.0.0.1:1/{secret}",
    "redis://127.0.0.1:1?password={secret}",
    "redis://127.0.0.1:1?pwd={secret}",
    "redis://127.0.0.1:1?db={secret}",
    "redis://127.0.0.1:1?max_connections={secret}",
    "redis://127.0.0.1:1?socket_timeout={secret}",
    "redis://127.0.0.1:1#{secret}",
    "rediss://127.0.0.1:1?ssl_password={secret}",
    "rediss://anna:{secret}@127.0.0.1:1?ssl_cert_reqs=none&ssl_password={secret}",
    "rediss://127.0.0.1:1?ssl_cert_reqs={secret}",
    "unix://anna:{secret}@/none.sock",
    "unix:///none.sock?password={secret}",
    "http://anna:{secret}@127.0.0.1:1",
    "redis:anna:{secret}@127.0.0.1:1",
    "anna:{secret}@127.0.0.1:1",
    "{secret}",
)
WITHOUT_HOST = ("redis://anna:{secret}", "redis://:{secret}", "redis://127.0.0.1:{secret}")
# what follows "@" is the host and what follows ":" the password, where a URL has no other
PLAIN = (*WITHOUT_HOST, "redis://{secret}@127.0.0.1:1")
# any text may be the name of a host or a user, which are shown
NAMED = ("host", "username", "sentinels", "sentinel_username")
SENTINEL = {"sentinels": "127.0.0.1:1", "service_name": "photos"}
PLACES = (
    *({name: "{secret}"} for name in NAMES if name not in NAMED),
    {"host": ":{secret}@127.0.0.1"},
    {"host": "anna:{secret}@127.0.0.1"},
    {"host": "redis://:{secret}@127.0.0.1"},
    {"host": "127.0.0.1", "port": "1", "password": "{secret}"},
    {"host": "127.0.0.1", "port": "1", "username": "anna", "password": "{secret}"},
    {"host": "127.0.0.1", "port": "1", "password": "{secret}", "ssl": True},
    {**SENTINEL, "password": "{secret}"},
    {**SENTINEL, "sentinel_password": "{secret}", "sentinel_username": "anna"},
    {"sentinels": ":{secret}@127.0.0.1:1", "service_name": "photos"},
    {"sentinels": "127.0.0.1:{secret}", "service_name": "photos"},
    {"sentinels": [("127.0.0.1", "{secret}")], "service_name": "photos"},
    {"sentinels": "127.0.0.1:1", "service_name": ":{secret}@127.0.0.1"},
    {"url": "redis://127.0.0.1:1", "password": "{secret}"},
)


class Words:
    """A secret of two random words with special characters around them."""

    def __init__(self, chance: random.Random, special: str = SPECIAL) -> None:
        self.words = ["".join(chance.choices(string.ascii_letters, k=9)) for _ in range(2)]
        first, middle, last = ("".join(chance.choices(special, k=k)) for k in (0, 2, 1))
        self.text = f"{first}{self.words[0]}{middle}{self.words[1]}{last}"

    def is_in(self, text: str) -> bool:
        return bool(self.where(text))

    def where(self, text: str) -> list[str]:
        places = [text.lower().find(word.lower()) for word in self.words]
        return [text[max(0, at - 60) : at + 60] for at in places if at >= 0]


def put(place, secret: str):
    """Returns settings with a secret in the place of ``{secret}``."""
    if isinstance(place, dict):
        return {name: put(value, secret) for name, value in place.items()}
    if isinstance(place, list | tuple):
        return type(place)(put(value, secret) for value in place)
    return place.replace("{secret}", secret) if isinstance(place, str) else place


def all_said(error: BaseException) -> str:
    """Returns what an error, its traceback and all errors behind it say."""
    texts, seen = traceback.format_exception(error), error
    while seen is not None:
        texts += [str(seen), repr(seen), repr(vars(seen))]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(texts)


def all_shown(parameters: Parameters) -> str:
    copies = [parameters, copy.copy(parameters), copy.deepcopy(parameters)]
    texts = [f"{each} {each!r} {vars(each)} {asdict(each)}" for each in copies]
    texts += [repr(pickle.dumps(parameters)), repr(pickle.loads(pickle.dumps(parameters)))]
    return " ".join(texts)


def collect(settings: dict) -> str:
    """Returns everything that can be seen of settings, whether or not they can be used."""
    texts = [show(name, value) for name, value in settings.items() if name not in NAMED[1:]]
    try:
        texts.append(all_shown(check_parameters(settings)))
        if "/none.sock" not in str(settings.get("url")):  # whose socket redis-py 5 forgets
            connect(**settings, retries=0, socket_connect_timeout=0.2)
    except FiftyOneRedisError as error:
        texts.append(all_said(error))
    return "\n".join(texts)


@pytest.mark.parametrize("seed", range(4))
def test_a_secret_in_any_setting_is_seen_nowhere(seed, caplog):
    chance = random.Random(seed)
    caplog.set_level(logging.DEBUG)
    for place in PLACES:
        for _ in range(8):
            secret = Words(chance)
            seen = collect(put(place, secret.text)) + caplog.text
            assert not secret.is_in(seen), (place, secret.text, secret.where(seen))


@pytest.mark.parametrize("seed", range(4))
def test_a_secret_in_any_part_of_a_url_is_seen_nowhere(seed, caplog):
    chance = random.Random(seed)
    caplog.set_level(logging.DEBUG)
    for url in (*URLS, *PLAIN):
        for way in (str, str, quote, lambda text: quote(text, safe="")):
            secret = Words(chance, re.sub("[@:]", "", SPECIAL) if url in PLAIN else SPECIAL)
            seen = collect({"url": put(url, way(secret.text))}) + caplog.text
            assert not secret.is_in(seen), (url, secret.text, secret.where(seen))


def test_a_copy_still_connects_and_a_pickle_has_no_secret():
    told = {"url": "redis://anna:s3cret@host?password=s3cret", "retries": 2}
    parameters = check_parameters(told)
    for same in (copy.copy(parameters), copy.deepcopy(parameters)):
        assert same == parameters
        assert reveal(same.url) == told["url"]
    loaded = pickle.loads(pickle.dumps(parameters))
    assert reveal(loaded.url) == "redis://anna:@host?password="
    assert loaded.retries == 2
    assert pickle.loads(pickle.dumps(check_parameters({"password": "s3cret"}))) == Parameters()


def test_every_secret_has_a_type_that_hides_it():
    settings = Parameters(**dict.fromkeys(SECRETS, "s3cret"))
    assert "s3cret" not in all_shown(settings)


@pytest.fixture
def user(client):
    client.execute_command("ACL", "SETUSER", "anna", "reset", "on", ">s3cr@t", "~*", "+@all")
    yield "anna"
    client.execute_command("ACL", "DELUSER", "anna")


@pytest.mark.parametrize("how", ["keywords", "url", "option"])
def test_a_client_that_is_logged_in_holds_no_password_in_sight(user, redis_server, how):
    port = redis_server.port
    settings = {
        "keywords": {"port": port, "username": user, "password": "s3cr@t"},
        "url": {"url": f"redis://{user}:s3cr%40t@127.0.0.1:{port}"},
        "option": {"url": f"redis://127.0.0.1:{port}?username={user}&password=s3cr%40t"},
    }[how]
    with connect(**settings) as client, client.open_decoding_client() as speaking:
        assert client.acl_whoami() == user.encode()
        assert speaking.acl_whoami() == user
        for each in (client, speaking):
            pool = each.connection_pool
            with borrow_connection(each) as connection:
                shown = [each, pool, pool.connection_kwargs, connection]
                shown += map(vars, (each, pool, connection))
                assert "s3cr" not in " ".join(f"{one} {one!r}" for one in shown)
            for write in (pickle.dumps, copy.copy):
                try:
                    written = repr(write(each)) + repr(vars(copy.copy(each)))
                except (TypeError, pickle.PicklingError) as error:  # locks cannot be pickled
                    written = all_said(error)
                assert "s3cr@t" not in written
