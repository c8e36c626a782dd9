"""Users with the least rights, as docs/permissions.md has them, on the running server.

Each runs everything that it may; then every right is taken away in turn, and something fails.
"""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from server_under_test import describe

from fiftyone_redis import server
from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.lifecycle import lease
from fiftyone_redis.engine.search import planner
from fiftyone_redis.errors import AuthenticationError

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"
READER, WRITER = re.findall(r"^ACL SETUSER .*$", PAGE.read_text(), re.MULTILINE)

READ_ONLY_KEYS = READER.replace("~fiftyone-*", "%R~fiftyone-*")

# Redis Stack checks the index's name as a key; Redis 8 checks the prefix of its documents.
NOT_THESE_KEYS = "No permissions to access a key|required permissions to query the index"

NAME, DIM, MANY = "fiftyone-docs", 2, 10_001  # one more than a cursor's first page has
IDS = [f"{row:05}" for row in range(MANY)]
VECTORS = np.random.default_rng(51).normal(size=(MANY, DIM)).astype(np.float32)


def rights(line: str) -> list[str]:
    """Returns what a line grants but for keys."""
    return [rule for rule in line.split() if rule.startswith("+")]


@pytest.fixture(autouse=True)
def short_leases(monkeypatch):
    """Has a lease that a user may not release expire soon."""
    monkeypatch.setattr(lease, "EXPIRY", 0.5)
    monkeypatch.setattr(lease, "_RENEWAL", 0.1)


@pytest.fixture(scope="module")
def admin(tmp_path_factory):
    """A client that may do anything, of a server that these tests have to themselves."""
    folder = tmp_path_factory.mktemp("redis")
    admin = connect(server.start(folder).url)
    yield admin
    admin.close()
    server.stop(folder)


@pytest.fixture(scope="module")
def server_under_test(admin):
    """What this server is."""
    return describe(admin)


@pytest.fixture(scope="module")
def filled(admin):
    """An index for all tests that only read, of more documents with one tag than fit on a page."""
    index = VectorIndex.create(admin, Schema(NAME, DIM, "euclidean", tags=("sample_id",)))
    index.add(IDS, VECTORS, {"sample_id": ["s"] * MANY})
    return index


@pytest.fixture
def user(admin):
    """Makes the user of a line, less some of its rights; returns a client of that user."""
    socket = admin.connection_pool.connection_kwargs["path"]
    clients = []

    def user(line: str, without: str = ""):
        _, _, name, *rules = shlex.split(line)
        admin.execute_command("ACL", "SETUSER", name, "reset", *rules)
        if without.startswith("+"):
            admin.execute_command("ACL", "SETUSER", name, f"-{without[1:]}")
        elif without:
            admin.execute_command("ACL", "SETUSER", name, "resetkeys")
        password = next(rule[1:] for rule in rules if rule.startswith(">"))
        clients.append(connect(f"unix://{name}:{password}@{socket}"))
        return clients[-1]

    yield user
    for client in clients:
        client.close()


def read_everything(client, monkeypatch) -> None:
    index = VectorIndex.open(client, NAME)
    assert VectorIndex.exists(client, NAME)
    assert len(index) == MANY
    assert index.ids() == IDS
    assert index.existing(["00003", "none"]) == {"00003"}
    assert index.fetch(["00003"]).vectors.tolist() == VECTORS[3:4].tolist()
    assert index.tags(["00003"]) == {"sample_id": ["s"]}
    assert sorted(index.ids_with_tag("sample_id", ["s"])) == IDS
    for within in (None, IDS[:100], IDS[:9000]):
        for filtered in (True, False):
            monkeypatch.setattr(planner, "is_prefilter_cheaper", lambda *_, f=filtered: f)
            [found] = index.search(VECTORS[:1], 3, within=within)
            assert found.ids[0] == "00000"
    [found] = index.search(VECTORS[:1], 3, farthest=True)
    assert len(found.ids) == 3


def write_everything(client) -> None:
    schema = Schema("fiftyone-own", DIM, tags=("sample_id",))
    index = VectorIndex.create(client, schema)
    index.add(IDS[:20], VECTORS[:20], {"sample_id": IDS[:20]})
    index.drop(documents=False)
    index = VectorIndex.create(client, schema)
    index.rebuild(algorithm="HNSW")
    index.rebuild(metric="euclidean", dtype="float16")
    assert index.remove(IDS[:5]) == 5
    assert len(VectorIndex.open(client, "fiftyone-own")) == 15
    index.drop()


def clear(admin) -> None:
    """Removes what a user who lacks rights could not."""
    for name in admin.execute_command("FT._LIST"):
        if not name.startswith(NAME.encode()):
            admin.execute_command("FT.DROPINDEX", name, "DD")
    for key in admin.scan_iter("fiftyone-{redis}:*"):
        admin.delete(key)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("line", [READER, WRITER], ids=["reader", "writer"])
def test_both_users_read_everything(user, monkeypatch, line):
    read_everything(user(line), monkeypatch)


def test_the_writing_user_writes_everything(user, admin):
    write_everything(user(WRITER))
    assert admin.keys("fiftyone-own*") == []


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("right", [*rights(READER), "~fiftyone-*"])
def test_every_right_to_read_is_needed(user, monkeypatch, right):
    with pytest.raises(AuthenticationError, match="the user lacks a right"):
        read_everything(user(READER, without=right), monkeypatch)


@pytest.mark.parametrize("right", [r for r in rights(WRITER) if r not in rights(READER)])
def test_every_right_to_write_is_needed(user, admin, right):
    command = re.escape(right[1:])
    try:
        with pytest.raises(AuthenticationError, match=f"(?i)run the '{command}' command") as e:
            write_everything(user(WRITER, without=right))
        assert "docs/permissions.md" in str(e.value)
    finally:
        clear(admin)


def test_the_writing_user_may_read_what_the_reading_one_may():
    assert set(rights(READER)) < set(rights(WRITER))


@pytest.mark.parametrize(
    ("what", "missing"),
    [
        (lambda index: index.add(["new"], [[1.0, 2.0]], {"sample_id": ["s"]}), "mget"),
        (lambda index: index.remove(["00003"]), "mget"),
        (lambda index: index.rebuild(algorithm="HNSW"), "set"),
        (lambda index: index.drop(), "set"),
        (lambda index: VectorIndex.create(index.client, Schema("fiftyone-b", 2)), "set"),
    ],
    ids=["add", "remove", "rebuild", "drop", "create"],
)
def test_the_reading_user_changes_nothing_and_is_told_what_is_missing(
    user, filled, admin, what, missing
):
    index = VectorIndex.open(user(READER), NAME)
    with pytest.raises(AuthenticationError, match=f"(?i)to run the '{missing}' command"):
        what(index)
    assert len(filled) == MANY
    assert len(admin.execute_command("FT._LIST")) == 1


@pytest.mark.usefixtures("filled")
def test_everything_is_searched_without_the_right_to_list_keys(user):
    index = VectorIndex.open(user(READER, without="+scan"), NAME)
    assert index.search(VECTORS[:1], 1)[0].ids == ["00000"]
    assert index.search(VECTORS[:1], 1, within=["00007"])[0].ids == ["00007"]
    with pytest.raises(AuthenticationError, match="run the 'scan' command"):
        index.ids()


@pytest.mark.needs("engine<8")
@pytest.mark.usefixtures("filled")
def test_a_pattern_for_reading_keys_only_is_not_enough_before_redis_8(user):
    with pytest.raises(AuthenticationError, match=NOT_THESE_KEYS):
        VectorIndex.open(user(READ_ONLY_KEYS), NAME)


@pytest.mark.needs("engine>=8")
@pytest.mark.usefixtures("filled")
def test_a_pattern_for_reading_keys_only_is_enough_since_redis_8(user, monkeypatch):
    read_everything(user(READ_ONLY_KEYS), monkeypatch)


def test_an_index_of_another_name_is_closed_to_both_users(user, admin):
    other = VectorIndex.create(admin, Schema("other", DIM))
    for line in (READER, WRITER):
        with pytest.raises(AuthenticationError, match=NOT_THESE_KEYS):
            VectorIndex.open(user(line), "other").search(VECTORS[:1], 1)
    other.drop()


def test_an_index_that_may_not_be_looked_into_keeps_nobody_from_making_one(user, admin):
    other = VectorIndex.create(admin, Schema("other", DIM))
    write_everything(user(WRITER))
    other.drop()
