"""The real redisvl beside this package: each opens, reads and searches what the other made."""

import brute_force
import numpy as np
import pytest
import redis

from fiftyone_redis.engine import Schema, VectorIndex

redisvl = pytest.importorskip("redisvl.index", reason="redisvl needs redis-py 6 or newer")
redisvl_query = pytest.importorskip("redisvl.query")

NEEDS_JSON = pytest.mark.needs("json")
COUNT, DIM = 40, 8


@pytest.fixture
def matrix(vectors):
    return vectors(COUNT, DIM)


@pytest.fixture
def url(client, redis_server):
    return redis_server.url


@pytest.fixture
def theirs(client, url, matrix):
    """Makes and fills indexes with redisvl."""

    def make(storage: str, id_field: str | None, **index) -> redisvl.SearchIndex:
        attributes = {"algorithm": "flat", "dims": DIM, "distance_metric": "cosine"}
        fields = [
            {"name": "image_id", "type": "tag"},
            {"name": "caption", "type": "text"},
            {"name": "score", "type": "numeric"},
            {"name": "embedding", "type": "vector", "attrs": {**attributes, "datatype": "float32"}},
        ]
        schema = {"index": {"name": "photos", "storage_type": storage, **index}, "fields": fields}
        made = redisvl.SearchIndex.from_dict(schema, redis_url=url)
        made.create()
        rows = [
            {
                "image_id": name(row),
                "caption": f"photo {row}",
                "score": row,
                "embedding": vector.tobytes() if storage == "hash" else vector.tolist(),
            }
            for row, vector in enumerate(matrix)
        ]
        made.load(rows, id_field=id_field)
        return made

    return make


def name(row: int) -> str:
    return f"{row:024x}"


def names() -> list[str]:
    return [name(row) for row in range(COUNT)]


def nearest(matrix, query, k: int) -> list[str]:
    return [name(row) for row in brute_force.nearest("cosine", query, matrix)[:k]]


def asked(index, vector, k, field, returned, dtype="float32") -> list[dict]:
    """Asks an index with redisvl."""
    query = redisvl_query.VectorQuery(
        vector.tolist(), field, num_results=k, return_fields=returned, dtype=dtype
    )
    return index.query(query)


@pytest.mark.parametrize("storage", ["hash", pytest.param("json", marks=NEEDS_JSON)])
@pytest.mark.parametrize(
    "index",
    [
        {"prefix": "photo"},
        {"prefix": "photo:"},
        {"prefix": "photo", "key_separator": "/"},
        {"prefix": ["photo", "other"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("id_field", ["image_id", None], ids=["ids in keys", "ids in a field"])
def test_an_index_of_redisvl_is_used_here(client, theirs, matrix, storage, index, id_field):
    made = theirs(storage, id_field, **index)
    opened = VectorIndex.open(client, "photos", id_field=None if id_field else "image_id", tags=())

    assert len(opened) == COUNT
    assert opened.ids() == names()
    assert np.array_equal(opened.fetch(names()).vectors, matrix)
    assert opened.search(matrix[3:4], 5)[0].ids == nearest(matrix, matrix[3], 5)

    opened.add(["new"], matrix[:1] * 2)
    opened.remove([name(0)])
    found = asked(made, matrix[0], 1, "embedding", ["caption"])
    assert found[0]["id"] == opened.schema.prefix + "new"
    assert opened.schema.prefix == made.key("")

    opened.rebuild(algorithm="HNSW")
    seen = redisvl.SearchIndex.from_existing("photos", redis_client=made.client)
    assert seen.schema.fields.keys() == made.schema.fields.keys()
    assert asked(seen, matrix[5], 1, "embedding", ["caption"])[0]["caption"] == "photo 5"


@pytest.mark.parametrize("storage", ["HASH", pytest.param("JSON", marks=NEEDS_JSON)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_index_of_ours_is_used_by_redisvl(client, url, matrix, storage, dtype):
    schema = Schema("ours", DIM, tags=("sample_id",), storage=storage, dtype=dtype)
    index = VectorIndex.create(client, schema)
    index.add(names(), matrix, {"sample_id": names()})

    opened = redisvl.SearchIndex.from_existing("ours", redis_url=url)
    attributes = opened.schema.fields["vector"].attrs
    assert (attributes.dims, attributes.datatype.value.lower()) == (DIM, dtype)
    found = asked(opened, matrix[3], 5, "vector", ["sample_id"], dtype)
    assert [hit["sample_id"] for hit in found] == nearest(matrix, matrix[3], 5)
    assert [hit["id"] for hit in found] == [opened.key(id) for id in nearest(matrix, matrix[3], 5)]
    assert opened.fetch(name(3))["sample_id"] == name(3)


@pytest.mark.parametrize("storage", ["HASH", pytest.param("JSON", marks=NEEDS_JSON)])
def test_an_index_of_ours_is_searched_with_plain_commands(client, url, matrix, storage):
    index = VectorIndex.create(client, Schema("ours", DIM, tags=("sample_id",), storage=storage))
    index.add(names(), matrix, {"sample_id": names()})
    plain = redis.Redis.from_url(url, protocol=2, decode_responses=True)
    query = "*=>[KNN 5 @vector $vector AS distance]"
    arguments = ["SORTBY", "distance", "RETURN", 1, "sample_id", "DIALECT", 2]
    parameters = ["PARAMS", 2, "vector", matrix[3].tobytes()]
    reply = plain.execute_command("FT.SEARCH", "ours", query, *arguments, *parameters)
    plain.close()
    assert [fields[1] for fields in reply[2::2]] == nearest(matrix, matrix[3], 5)
