"""What has moved since version 0.1.0 is still found where it was."""

import redis

import fiftyone_redis
from fiftyone_redis import settings, sync
from fiftyone_redis.engine import errors, protocol

REFUSAL = "SEARCH_INDEX_NOT_FOUND Index not found: birds"


def test_exceptions_are_the_same_ones_under_their_former_names():
    assert errors.FiftyOneRedisError is fiftyone_redis.FiftyOneRedisError
    assert errors.some(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    error = errors.translated(redis.ResponseError(REFUSAL), "host:6379")
    assert type(error) is errors.IndexNotFoundError


def test_commands_are_built_and_read_under_their_former_names():
    assert protocol.is_done(("FT.DROPINDEX", "birds"), REFUSAL)
    assert not protocol.is_done(("FT.DROPINDEX", "birds"), "ERR out of luck")
    assert protocol.text(protocol.raw("bird")) == "bird"
    assert protocol.pack(protocol.info("birds")).startswith(b"*2\r\n$7\r\nFT.INFO")


def test_modules_that_users_import_are_where_they_were():
    assert callable(sync.difference)
    assert callable(sync.add_missing)
    assert callable(sync.remove_gone)
    assert settings.read({}) == settings.Parameters()
    assert callable(settings.open_client)
