"""Commands of the query engine, sent to a running server."""

import string

import numpy as np
import pytest
import redis

from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.engine import Schema
from fiftyone_redis.engine.protocol import commands, index_info, replies
from fiftyone_redis.engine.schema.options import DTYPES, METRICS
from fiftyone_redis.engine.schema.schema import Field

# What a server without int8 and SVS-VAMANA can hold, as the running one.
OFFERED = ("float32", "float64", "float16", "bfloat16")
ALGORITHMS = ("FLAT", "HNSW")


# The recorded indexes; "al" is another name of "recflat".
FLAT = Schema("recflat", 4, "euclidean", "FLAT", "float32", "rec:")


@pytest.mark.parametrize(
    "command",
    [
        ["PING"],
        ["SET", "", ""],
        ["SET", "ключ 日本 😀", "a\r\nb"],
        ["SET", b"\x00\xff\r\n", bytes(range(256))],
        ["NUMBERS", 10, -3, 0, 2.5, 1e-7, 1e22],
    ],
)
def test_commands_are_packed_as_redis_py_packs_them(command):
    assert wire.pack(command) == b"".join(redis.Connection().pack_command(*command))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", OFFERED)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_server_makes_and_searches_every_kind_of_index(speaker, metric, algorithm, dtype):
    schema = Schema("any", 2, metric, algorithm, dtype, tags=("tag",))
    blob = bytes(2 * DTYPES[dtype] - 1) + b"\x3f"
    speaker.execute_command(*commands.create(schema))
    speaker.hset("any:1", mapping={"vector": blob, "tag": "t"})

    command = commands.knn(schema, blob, 5, tags=["tag"], keys=["any:1"], timeout_ms=1000)
    [hit] = replies.read_hits(speaker.execute_command(*command), schema)
    info = index_info.read_info(speaker.execute_command(*commands.info("any")))

    assert (hit.key, hit.tags) == ("any:1", {"tag": "t"})
    assert index_info.read_schema(info) == schema


def test_the_size_of_an_index_is_the_sum_of_its_parts():
    parts = {"vector_index_sz_mb": "3", "doc_table_size_mb": 1.5, "geoshapes_sz_mb": "0.5"}
    others = {"total_index_memory_sz_mb": "2", "num_docs": "7"}
    assert index_info.read_index_bytes(parts | others) == 5 * 1024 * 1024


def test_the_settings_of_the_graph_reach_the_server(speaker):
    schema = Schema("any", 2, algorithm="HNSW", m=7, ef_construction=33)
    speaker.execute_command(*commands.create(schema))
    info = index_info.read_info(speaker.execute_command(*commands.info("any")))
    assert (index_info.read_schema(info).m, index_info.read_schema(info).ef_construction) == (7, 33)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("SORTABLE", "SORTABLE"),
        ("SORTABLE UNF", "SORTABLE UNF"),
        ("CASESENSITIVE SORTABLE UNF", "CASESENSITIVE SORTABLE UNF"),
        ("SORTABLE NOINDEX", "SORTABLE NOINDEX"),
        ("WITHSUFFIXTRIE INDEXMISSING INDEXEMPTY", "WITHSUFFIXTRIE INDEXEMPTY INDEXMISSING"),
    ],
)
def test_fields_with_flags_are_read(speaker, flags, told):
    definition = f"t TAG {flags} v VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2 u TAG"
    speaker.execute_command("FT.CREATE", "any", "PREFIX", 1, "any:", "SCHEMA", *definition.split())
    info = index_info.read_info(speaker.execute_command(*commands.info("any")))
    defined = (
        Field("t", "t", "TAG", ("SEPARATOR", ",", *told.split())),
        Field("u", "u", "TAG", ("SEPARATOR", ",")),
    )
    expected = Schema("any", 2, "euclidean", vector_field="v", tags=("t", "u"), fields=defined)
    assert index_info.read_schema(info) == expected


def test_hits_are_limited_to_k_and_to_the_tags_that_were_asked_for(speaker):
    schema = Schema("any", 1, tags=("x", "y"))
    blob = np.ones(1, "<f4").tobytes()
    speaker.execute_command(*commands.create(schema))
    for key in ("any:1", "any:2", "any:3"):
        speaker.hset(key, mapping={"vector": blob, "x": "X", "y": "Y"})
    command = commands.knn(schema, blob, 2, tags=["y"], timeout_ms=1000)
    hits = replies.read_hits(speaker.execute_command(*command), schema)
    assert [hit.tags for hit in hits] == [{"y": "Y"}, {"y": "Y"}]


@pytest.mark.parametrize(
    "character",
    list(string.punctuation + " "),
)
def test_an_escaped_character_finds_itself_and_nothing_else(speaker, character):
    assert keys_with_tag(speaker, f"a{character}b", others=["ab", "a", "b", "a-b", "a.b"]) == [
        "t:0"
    ]


@pytest.mark.parametrize("value", ["日本", "naïve", "١٢", "x_1"])
def test_letters_of_all_scripts_find_themselves(speaker, value):
    assert keys_with_tag(speaker, value, others=["a"]) == ["t:0"]


@pytest.mark.parametrize("value", ["x😀y", "a—b", "e\u0301a", "x\u00a0y"])
def test_symbols_of_all_scripts_find_themselves(speaker, value):
    assert keys_with_tag(speaker, value, others=["a"]) == ["t:0"]


def test_upper_case_finds_upper_case(speaker):
    assert keys_with_tag(speaker, "A", others=["a"]) == ["t:0"]


def test_several_tags_find_the_documents_of_each(speaker):
    assert keys_with_tag(speaker, "a", "b-c", others=["b"]) == ["t:0", "t:1"]


def keys_with_tag(speaker, *values: str, others: list[str]) -> list[str]:
    """Asks for documents with one of the values, among them and some with other values."""
    schema = Schema("t", 1, tags=("tag",))
    speaker.execute_command(*commands.create(schema))
    distinct = [*values, *(other for other in others if other not in values)]
    for row, value in enumerate(distinct):
        speaker.hset(f"t:{row}", mapping={"vector": bytes(4), "tag": value})
    command = commands.keys_with_tag(schema, "tag", values, timeout_ms=1000)
    keys, cursor = replies.read_keys(speaker.execute_command(*command), schema)
    assert cursor == 0
    return sorted(keys)
