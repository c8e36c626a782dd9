"""An index goes into a file and comes out of it on another server, bit by bit."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from fiftyone_redis.engine import Attribute, Schema, VectorIndex, connect, index_file
from fiftyone_redis.engine.index_file import Header, create_file, open_file
from fiftyone_redis.engine.transfer import read_import, read_index, write_index
from fiftyone_redis.engine.vectors import encoding
from fiftyone_redis.errors import InputError, MissingPackageError

DIM = 6
EXPORT_MUCH = """
import re, sys
from pathlib import Path
from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.index_file import open_file
from fiftyone_redis.engine.transfer import read_index, write_index

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

client, path = connect(sys.argv[1]), Path(sys.argv[2])
index = VectorIndex.open(client, "filled")
small = VectorIndex.open(client, "small")
write_index(small.definition, path.with_name("small" + path.suffix), {})  # loads all that is needed
before = peak()
write_index(index.definition, path, {})
with open_file(path) as file:
    read_index(VectorIndex.create(client, Schema("copy", index.schema.dim)).definition, file)
print(peak() - before)
"""


@pytest.fixture(params=[".parquet", ".arrow"])
def path(request, tmp_path):
    """Where the file goes, in each of the formats."""
    return tmp_path / f"index{request.param}"


@pytest.fixture
def make_index(client, vectors):
    """Makes an index of fifty documents with a tag, attributes and a field beside the index."""

    def make_index(dtype: str = "float32") -> VectorIndex:
        schema = Schema(
            "birds",
            DIM,
            metric="euclidean",
            algorithm="HNSW",
            dtype=dtype,
            m=8,
            tags=("sample_id",),
            attributes=(Attribute("id", "TAG"), Attribute("size", "NUMERIC")),
        )
        index = VectorIndex.create(client, schema)
        ids = [f"ü{row:02}" for row in range(50)]

        def read_fields(some):
            return {
                "id": [f"tag of {id}" for id in some],
                "size": [None if id < "ü25" else "1.5" for id in some],
                "_source": [id[::-1] for id in some],
            }

        tags = {"sample_id": [f"s{id}" for id in ids]}
        index.add(ids, vectors(50, DIM), tags, attributes=read_fields)
        return index

    return make_index


def documents_of(client) -> dict[bytes, dict[bytes, bytes]]:
    return {key: client.hgetall(key) for key in client.keys("birds:*")}


def move(index: VectorIndex, path, client) -> VectorIndex:
    """Exports an index, deletes it, and imports it again."""
    assert write_index(index.definition, path, {"of": "birds"}, ["_source"]) == len(index)
    schema = index.schema
    index.drop()
    copy = VectorIndex.create(client, schema)
    with open_file(path) as file:
        assert file.count == 50
        assert file.header.about == {"of": "birds"}
        assert read_index(copy.definition, file) == 50
    return copy


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_documents_come_back_bit_by_bit(make_index, client, path, dtype):
    index = make_index(dtype)
    before = documents_of(client)
    move(index, path, client)
    assert documents_of(client) == before
    assert len(before) == 50


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_whole_numbers_come_back_bit_by_bit(path, dtype):
    values = np.arange(2 * DIM).reshape(2, DIM)
    blobs = [row.tobytes() for row in encoding.encode(values.astype(float), dtype)]
    with create_file(path, Header(DIM, {"dtype": dtype}, [], {})) as write:
        write(["a", "b"], blobs, {})
    with open_file(path) as file:
        [page] = file.read_pages()
    assert page.ids == ["a", "b"]
    assert np.array_equal(page.vectors, values)


def test_the_file_says_what_the_index_was(make_index, path):
    index = make_index()
    write_index(index.definition, path, {})
    with open_file(path) as file:
        header = file.header
    assert header.dim == DIM
    assert header.options["algorithm"] == "HNSW"
    assert header.options["m"] == 8
    assert header.options["metric"] == "euclidean"
    assert header.fields == ["sample_id", "id", "size"]


def test_other_programs_read_the_vectors_as_numbers(make_index, tmp_path, client):
    index = make_index("float16")
    write_index(index.definition, tmp_path / "index.parquet", {})
    table = parquet.read_table(tmp_path / "index.parquet")
    assert table.column_names == ["id", "vector", "sample_id", "id_", "size"]
    assert table.schema.field("vector").type == pa.list_(pa.float16(), DIM)
    found = dict(zip(table["id"].to_pylist(), table["vector"].to_pylist(), strict=True))
    assert found["ü07"] == index.fetch(["ü07"]).vectors[0].tolist()


def test_a_file_of_many_parts_is_read_whole(make_index, client, path, monkeypatch):
    monkeypatch.setattr(index_file, "PART_BYTES", 7 * 4 * DIM)
    index = make_index()
    before = documents_of(client)
    copy = move(index, path, client)
    assert documents_of(client) == before
    with open_file(path) as file:
        assert [len(page.ids) for page in file.read_pages()] == [7] * 7 + [1]
    assert len(copy) == 50


def test_an_interrupted_import_goes_on(make_index, client, path, monkeypatch):
    monkeypatch.setattr(index_file, "PART_BYTES", 20 * 4 * DIM)
    index = make_index()
    before, schema = documents_of(client), index.schema
    write_index(index.definition, path, {}, ["_source"])
    index.drop()
    copy = VectorIndex.create(client, schema)

    def stop(_):
        raise KeyboardInterrupt

    with open_file(path) as file:
        with pytest.raises(KeyboardInterrupt):
            read_index(copy.definition, file, stop)
        assert len(copy) == 20
        assert read_import(client, "birds") == file.header.export_id
        with pytest.raises(InputError, match="not complete"):
            write_index(copy.definition, path, {})
        assert read_index(copy.definition, file) == 30
    assert read_import(client, "birds") is None
    assert documents_of(client) == before


def test_an_export_that_fails_leaves_the_file_that_was_there(make_index, client, path):
    index = make_index()
    write_index(index.definition, path, {})
    before = path.read_bytes()
    client.hset("birds:odd", "vector", b"short")
    with pytest.raises(InputError, match="odd"):
        write_index(index.definition, path, {})
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_files_that_hold_no_index_are_refused(path, tmp_path):
    with pytest.raises(InputError, match="No such file"), open_file(path):
        pass
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(InputError, match="Cannot read"), open_file(path):
        pass
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="not written by"), open_file(tmp_path / "other.parquet"):
        pass
    with pytest.raises(InputError, match=r"must end in \.parquet"), open_file(tmp_path / "a.csv"):
        pass


def test_a_text_that_is_none_is_refused(make_index, client, path):
    index = make_index()
    client.hset("birds:ü01", "id", b"\xff")
    with pytest.raises(InputError, match="UTF-8"):
        write_index(index.definition, path, {})


def test_without_pyarrow_it_is_told_how_to_install_it(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        pytest.raises(MissingPackageError, match=r'pip install "fiftyone-redis\[parquet\]"'),
        open_file(path),
    ):
        pass


@pytest.mark.slow
def test_memory_is_bounded(filled, vectors, client, redis_server, path):
    matrix = vectors(60_000, 512)
    filled(matrix)
    VectorIndex.create(client, Schema("small", 512)).add(["a"], matrix[:1])
    command = [sys.executable, "-c", EXPORT_MUCH, redis_server.url, str(path)]
    grown = int(subprocess.check_output(command, text=True))
    assert len(VectorIndex.open(client, "copy")) == 60_000
    assert grown < matrix.nbytes


def test_an_index_goes_to_another_server(make_index, client, path, tmp_path):
    from fiftyone_redis import server

    index = make_index()
    write_index(index.definition, path, {}, ["_source"])
    other = server.start(tmp_path / "r")
    try:
        with connect(other.url) as there, open_file(path) as file:
            copy = VectorIndex.create(there, index.schema)
            read_index(copy.definition, file)
            assert documents_of(there) == documents_of(client)
    finally:
        server.stop(tmp_path / "r")
