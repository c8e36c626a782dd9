"""Definitions that this package did not make: carried over by a rebuild, or refused."""

import pytest

from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.errors import IndexMismatchError

NEEDS_JSON = pytest.mark.needs("json")
DIM = 4
IDS = ["a", "b", "c"]
FLAT = f"VECTOR FLAT 6 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC L2"
HNSW = f"VECTOR HNSW 8 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC L2 M 8"


EVERYTHING = f"""ON HASH PREFIX 1 f: FILTER @n<1000 LANGUAGE french LANGUAGE_FIELD lf SCORE 0.5
    SCORE_FIELD sf PAYLOAD_FIELD pf MAXTEXTFIELDS NOOFFSETS NOHL NOFIELDS NOFREQS
    STOPWORDS 2 foo bar
    SCHEMA t AS text TEXT NOSTEM WEIGHT 3 WITHSUFFIXTRIE INDEXEMPTY INDEXMISSING SORTABLE UNF
    n NUMERIC SORTABLE NOINDEX g GEO SORTABLE shape GEOSHAPE FLAT
    tag TAG SEPARATOR ; CASESENSITIVE WITHSUFFIXTRIE INDEXEMPTY INDEXMISSING SORTABLE UNF
    tag AS twice TAG plain TAG other {HNSW} v AS vec {FLAT}"""


def definition(client, index: str):
    """Returns what the server says that an index is."""
    info = client.execute_command("FT.INFO", index)
    fields = sorted(info[b"attributes"], key=lambda field: field[b"attribute"])
    return [
        info[b"index_definition"],
        info[b"index_options"],
        info.get(b"stopwords_list"),
        [{**field, b"flags": sorted(field[b"flags"])} for field in fields],
    ]


def test_every_kind_of_field_and_option_stays_through_a_rebuild(client):
    client.execute_command("FT.CREATE", "theirs", *EVERYTHING.split())
    before = definition(client, "theirs")
    index = VectorIndex.open(client, "theirs", vector_field="vec")
    assert index.schema.lost == ()

    index.rebuild(block_size=100)
    assert len(client.execute_command("FT._LIST")) == 1
    behind = client.execute_command("FT.INFO", "theirs")[b"index_name"].decode()
    assert behind == index.schema.server_name != "theirs"
    assert definition(client, "theirs") == before


def test_what_cannot_be_carried_over_is_refused_before_anything_is_touched(client):
    missing = f"v {FLAT} INDEXMISSING"
    client.execute_command("FT.CREATE", "f", *f"ON HASH PREFIX 1 f: SCHEMA {missing}".split())
    with pytest.raises(
        IndexMismatchError, match=r"cannot carry over .*: INDEXMISSING of the field v"
    ):
        VectorIndex.open(client, "f").rebuild(algorithm="HNSW")
    assert client.execute_command("FT.INFO", "f")[b"index_name"] == b"f"


def test_an_index_that_is_known_by_an_alias_keeps_both_names(client, vectors):
    index = VectorIndex.create(client, Schema("real", DIM, metric="euclidean"))
    index.add(IDS, vectors(3))
    client.execute_command("FT.ALIASADD", "other", index.schema.server_name)
    for algorithm in ("HNSW", "FLAT"):
        VectorIndex.open(client, "other").rebuild(algorithm=algorithm)
        for known in ("other", "real"):
            seen = VectorIndex.open(client, known)
            assert seen.schema.algorithm == algorithm
            assert seen.search(vectors(1), 1)[0].ids == ["a"]
    assert len(client.execute_command("FT._LIST")) == 1


@NEEDS_JSON
def test_an_index_whose_name_looks_like_a_rebuilt_one_is_left_alone(client, vectors):
    VectorIndex.create(client, Schema("docs~2", DIM)).add(IDS, vectors(3))
    index = VectorIndex.create(client, Schema("docs", DIM, storage="JSON"))
    index.add(IDS, vectors(3))
    index.rebuild(algorithm="HNSW")
    index.rebuild(storage="HASH")
    assert len(VectorIndex.open(client, "docs~2")) == len(IDS)
    assert len(index) == len(IDS)


@pytest.mark.parametrize("storage", ["HASH", "JSON"])
@NEEDS_JSON
def test_prefixes_that_overlap_are_refused_between_documents_of_one_storage(client, storage):
    where = {"HASH": "v", "JSON": "$.v AS v"}[storage]
    other = {"HASH": "JSON", "JSON": "HASH"}[storage]
    definition = f"ON {storage} PREFIX 2 x: docs:a SCHEMA {where} {FLAT}"
    client.execute_command("FT.CREATE", "theirs", *definition.split())
    client.execute_command("FT.ALIASADD", "alias", "theirs")

    for overlapping in ("docs", "x:", "docs:ab"):
        schema = Schema("mine", DIM, storage=storage, prefix=overlapping.rstrip(":") + ":")
        if overlapping == "docs:ab":
            schema = Schema("mine", DIM, storage=storage, prefix="docs:ab:")
        with pytest.raises(IndexMismatchError, match="'theirs'"):
            VectorIndex.create(client, schema)
    VectorIndex.create(client, Schema("docs", DIM, storage=other))


@NEEDS_JSON
def test_an_index_of_every_key_shares_its_documents_with_all_others(client):
    client.execute_command("FT.CREATE", "theirs", *f"ON HASH SCHEMA v {FLAT}".split())
    with pytest.raises(IndexMismatchError, match="'theirs'"):
        VectorIndex.create(client, Schema("docs", DIM))
    VectorIndex.create(client, Schema("docs", DIM, storage="JSON"))
