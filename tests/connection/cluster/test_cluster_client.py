"""A client of a cluster: how it connects, and as whom."""

import subprocess
from dataclasses import replace

import pytest
import redis
from cluster_nodes import READY_SECONDS, SCHEMA, blobs, matrix_of, names, read, walk, write

from fiftyone_redis.connection import client as connecting
from fiftyone_redis.connection.cluster import cluster_client
from fiftyone_redis.connection.parameters import check_parameters
from fiftyone_redis.connection.retry import RetryPolicy, is_retryable
from fiftyone_redis.connection.topology import SLOTS
from fiftyone_redis.engine import connect
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    SettingsError,
    UnsupportedServerError,
)


@pytest.mark.filterwarnings("ignore:.*lib_name:DeprecationWarning")
def test_the_options_of_a_url_apply_to_every_node(nodes):
    url = f"redis://127.0.0.1:{nodes[0].port}?max_connections=3&client_name=anna&lib_name=photos"
    url += "&health_check_interval=9&retry_on_timeout=yes"
    seed = connecting._make_pool(check_parameters({"url": url}))
    with cluster_client.connect_cluster(redis.Redis.from_pool(seed)) as client:
        with client.open_decoding_client() as speaking:
            for each in (client, speaking):
                clients = each.list_primaries()
                assert len(clients) == 3
                for node in clients:
                    assert node.connection_pool.max_connections == 3
                    assert node.connection_pool.make_connection().health_check_interval == 9
                    assert node.client_getname() in (b"anna", "anna")
                    assert "photos" in str(node.client_info()) or redis.__version__ < "5.1"
            assert speaking.get("key") is None
        client.set("key", "value")
        assert client.get("key") == b"value"
    seed.disconnect()


def test_a_client_of_text_reaches_all_nodes(client):
    write(client, 100)
    with client.open_decoding_client() as speaking:
        assert isinstance(speaking, redis.RedisCluster)
        assert speaking.ping() is True
        assert sorted(speaking.scan_iter(match="docs:*")) == [f"docs:{id}" for id in names(100)]


def test_where_a_cluster_is_names_its_nodes(client, nodes):
    ports = [str(node.port) for node in nodes.primaries()]
    assert all(port in client.address for port in ports)


@pytest.fixture
def user_of_cluster(nodes):
    """Makes a user on all nodes, less some of its rights; returns a client of that user."""
    made = []

    def user_of_cluster(rights: str, without: str = "+nothing"):
        left = [right for right in rights.split() if right != without]
        for node in nodes:
            node("ACL", "SETUSER", "tester", "reset", "on", ">sEcr3t", "~docs:*", *left)
        seed = nodes[0].client(username="tester", password="sEcr3t")
        made.append(seed)
        made.append(cluster_client.connect_cluster(seed))
        return made[-1]

    yield user_of_cluster
    for client in made:
        client.close()
    for node in nodes:
        node("ACL", "DELUSER", "tester")


RIGHTS_OF_A_CLUSTER = "+command +cluster|slots"


def test_the_rights_to_find_the_nodes_are_enough_for_documents(user_of_cluster):
    client = user_of_cluster(f"+hset +hmget {RIGHTS_OF_A_CLUSTER}")
    ids, _ = write(client, 1000)
    assert read(client, ids)[0] == ids


@pytest.mark.parametrize("right", RIGHTS_OF_A_CLUSTER.split())
def test_every_right_to_find_the_nodes_is_needed(user_of_cluster, right):
    with pytest.raises(AuthenticationError, match="the user lacks a right"):
        write(user_of_cluster(f"+hset +hmget {RIGHTS_OF_A_CLUSTER}", right), 10)


def test_the_right_that_is_needed_while_a_slot_moves_is_named(user_of_cluster, client, nodes):
    first, second, _ = nodes.primaries()
    id = next(i for i in names(5000) if client.get_node_from_key(f"docs:{i}").port == first.port)
    slot = client.keyslot(f"docs:{id}")
    rights = f"+hset {RIGHTS_OF_A_CLUSTER} +asking"
    nodes.open_slot(slot, first, second)
    try:
        written = Documents(user_of_cluster(rights), SCHEMA).write([id], matrix_of(1), {})
        assert list(written) == [1]
        refused = user_of_cluster(rights, without="+asking")
        with pytest.raises(AuthenticationError, match="'asking' command"):
            list(Documents(refused, SCHEMA).write([id], matrix_of(1), {}))
    finally:
        nodes.close_slot(slot, second)


def test_all_nodes_are_reached_as_the_same_user_of_few_rights(nodes):
    rights = [
        "+hset",
        "+hmget",
        "+scan",
        "+unlink",
        "+eval",
        "+hstrlen",
        "+cluster|slots",
        "+cluster|nodes",
    ]
    for node in nodes:
        node("ACL", "SETUSER", "tester", "reset", "on", ">sEcr3t", "~docs:*", *rights, "+command")
    with nodes[0].client(username="tester", password="sEcr3t") as seed:
        with cluster_client.connect_cluster(seed) as client:
            ids, matrix = write(client, 100)
            assert read(client, ids) == (ids, blobs(matrix))
            assert sorted(walk(client)) == ids
            assert len(Documents(client, SCHEMA).delete(ids)) == 100
            with pytest.raises(AuthenticationError, match="hexists"):
                Documents(client, SCHEMA).find_existing(ids)
        for node in nodes:
            node("ACL", "SETUSER", "tester", "-command")
        with pytest.raises(AuthenticationError, match="'command' command"):
            cluster_client.connect_cluster(seed)
        for node in nodes:
            node("ACL", "DELUSER", "tester")
        with pytest.raises(ConnectionFailedError, match="does not report the nodes") as caught:
            cluster_client.connect_cluster(seed)
    assert "sEcr3t" not in str(caught.value)


@pytest.mark.needs("tls")
@pytest.mark.parametrize("certified", ["IP:127.0.0.1", "DNS:elsewhere"])
def test_all_nodes_are_reached_over_tls(own_server, unused_port, tmp_path, certified):
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=node"),
            *("-addext", f"subjectAltName={certified}", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    tls = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate]
    options = ["--cluster-enabled", "yes", "--cluster-port", str(unused_port()), *tls]
    known = {"ssl": True, "ssl_ca_certs": certificate, "ssl_check_hostname": True}
    mine = {"ssl_certfile": certificate, "ssl_keyfile": key}
    node = own_server(
        *options, "--tls-cluster", "yes", modules=False, tls={"ssl_cert_reqs": "none", **mine}
    )
    often = RetryPolicy(20, READY_SECONDS)
    with redis.Redis("127.0.0.1", node.port, protocol=3, retry=often, **known, **mine) as seed:
        with pytest.raises(ConnectionFailedError, match="does not report the nodes"):
            cluster_client.connect_cluster(seed)
        with node.client() as own:
            own.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        if certified != "IP:127.0.0.1":
            with pytest.raises(ConnectionFailedError, match="CERTIFICATE_VERIFY_FAILED"):
                cluster_client.connect_cluster(seed)
            return
        with cluster_client.connect_cluster(seed) as client:
            ids, matrix = write(client, 100)
            assert read(client, ids) == (ids, blobs(matrix))


def test_connecting_to_one_node_leads_to_all(nodes, monkeypatch):
    def with_coordinator(found):  # which Redis Stack has not
        return replace(found, coordinator=True)

    monkeypatch.setattr(connecting, "check_server", with_coordinator)
    with connect(host="127.0.0.1", port=nodes[4].port, retries=7) as client:
        assert isinstance(client, redis.RedisCluster)
        assert client.retry_policy.count == 7
        write(client, 100)
    with connect(host="127.0.0.1", port=nodes[0].port, cluster=False) as alone:
        assert isinstance(alone, redis.Redis)


def test_a_server_that_is_no_cluster_is_not_taken_for_one(redis_server):
    with pytest.raises(SettingsError, match="is not a cluster node; leave cluster out"):
        connect(redis_server.url, cluster=True)


@pytest.mark.parametrize(
    "said",
    [
        "ERRCLUSTER Uninitialized cluster state, could not perform command",
        "Could not send query to cluster",
    ],
)
def test_what_a_coordinator_says_of_nodes_out_of_reach_is_tried_again(said):
    assert is_retryable(redis.ResponseError(said))
    assert not is_retryable(redis.ResponseError("No such index nope"))


def test_a_socket_does_not_lead_to_a_cluster(tmp_path):
    seed = redis.Redis(unix_socket_path=str(tmp_path / "none.sock"))
    with pytest.raises(UnsupportedServerError, match="set host and port"):
        cluster_client.connect_cluster(seed)
