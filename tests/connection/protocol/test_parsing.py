"""The one error for replies that make no sense: what it says, and what passes through."""

import pytest
from playback import Playback, bulk
from recorded import FOLDER

from fiftyone_redis.connection import topology
from fiftyone_redis.connection.client import connect
from fiftyone_redis.connection.protocol.parsing import parses, parsing
from fiftyone_redis.engine.protocol import index_info
from fiftyone_redis.errors import IncompleteResultError, ProtocolError, SettingsError

RECORDING = FOLDER / "redis-8.8-search-8.8.0.json"


def test_it_names_the_command_and_the_beginning_of_the_reply():
    reply = {b"index_name": b"docs", b"attributes": [b"x" * 1000]}
    with pytest.raises(ProtocolError, match=r"^The reply to FT\.INFO makes no sense") as caught:
        index_info.read_info(reply)
    assert "{b'index_name': b'docs'" in str(caught.value)
    assert len(str(caught.value)) < 300
    assert isinstance(caught.value.__cause__, KeyError)


def test_errors_of_the_package_pass_through():
    with pytest.raises(IncompleteResultError, match="num_docs: None"):
        index_info.read_indexing({})
    with pytest.raises(SettingsError, match="as it was"), parsing("PING"):
        raise SettingsError("as it was")


def test_mistakes_in_a_test_or_program_pass_through():
    @parses("PING")
    def read(reply: object) -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(b"PONG")


@pytest.mark.parametrize("reply", [b"*0\r\n", b":7\r\n", bulk("hello")])
def test_what_is_no_redis_is_said_when_connecting(reply):
    with Playback(RECORDING) as server:
        server.answer(lambda words: words[0] == "HELLO", reply)
        with pytest.raises(ProtocolError, match="The reply to HELLO"):
            connect(f"redis://127.0.0.1:{server.port}")


def test_a_cluster_that_makes_no_sense_is_said():
    for read in (topology.read_searched, topology.is_managed, topology.read_shards):
        with pytest.raises(ProtocolError, match="makes no sense"):
            read(b"7")
    with pytest.raises(ProtocolError, match="CLUSTER NODES"):
        topology.read_state("a:1", {}, {"a:1": b"too few words"})
