"""TLS with a real server and throw-away authorities: what is accepted, and what is said if not."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import redis

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.errors import ConnectionFailedError, SettingsError

pytestmark = pytest.mark.needs("tls")

KEY = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
HERE = ("DNS:localhost", "IP:127.0.0.1")


@dataclass
class Authority:
    """A certificate authority, and what it signed."""

    folder: Path

    @property
    def certificate(self) -> str:
        return str(self.folder / "ca.crt")

    def signed(self, name: str, *names: str, expired: bool = False) -> dict[str, str]:
        """Returns the files of a new certificate for host names, and of its key."""
        key, request, certificate = (self.folder / f"{name}.{end}" for end in ("key", "csr", "crt"))
        extension = self.folder / f"{name}.ext"
        text = f"subjectAltName={','.join(names or HERE)}\nauthorityKeyIdentifier=keyid\n"
        extension.write_text(text)
        openssl("req", "-newkey", *KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        openssl(
            *("x509", "-req", "-in", request, "-out", certificate, "-extfile", extension),
            *("-CA", self.certificate, "-CAkey", self.folder / "ca.key", "-CAcreateserial"),
            *(("-days", "-1") if expired else ("-days", "2")),
        )
        return {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}


def openssl(*arguments) -> None:
    words = ["openssl", *map(str, arguments)]
    subprocess.run(words, check=True, capture_output=True)


def new_authority(folder: Path) -> Authority:
    assert shutil.which("openssl"), "The tests of TLS need the openssl command; install it."
    folder.mkdir()
    key, certificate = folder / "ca.key", folder / "ca.crt"
    openssl(
        *("req", "-x509", "-newkey", *KEY, "-keyout", key, "-out", certificate),
        *("-subj", "/CN=throw-away authority", "-days", "2"),
        *("-addext", "keyUsage=critical,keyCertSign"),  # which Python 3.13 asks for
    )
    return Authority(folder)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """The authority that signs what the server is to trust."""
    return new_authority(tmp_path_factory.mktemp("tls") / "known")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """An authority that nobody trusts."""
    return new_authority(tmp_path_factory.mktemp("tls") / "unknown")


@pytest.fixture
def tls_server(own_server, authority):
    """Starts a server that speaks only TLS; gives its port."""

    def tls_server(*names: str, expired: bool = False, clients: str = "no") -> int:
        certificate = authority.signed("server", *names, expired=expired)
        options = {
            "--tls-cert-file": certificate["ssl_certfile"],
            "--tls-key-file": certificate["ssl_keyfile"],
            "--tls-ca-cert-file": authority.certificate,
            "--tls-auth-clients": clients,
        }
        tester = {"ssl_cert_reqs": "none", **authority.signed("tester")}
        return own_server(*(word for pair in options.items() for word in pair), tls=tester).port

    return tls_server


def failure(url: str | None = None, **parameters) -> str:
    """Returns what is said when a connection is refused, which must be one sentence."""
    where = {} if url else {"host": "localhost", "ssl": True}
    with pytest.raises(ConnectionFailedError) as caught:
        connect(url, **{**where, **parameters})
    said = str(caught.value)
    assert said.endswith(".")
    assert "\n" not in said
    return said


def test_an_index_is_filled_and_searched_over_tls(tls_server, authority):
    port = tls_server()
    trust = {"ssl": True, "ssl_ca_certs": authority.certificate}
    with connect(host="localhost", port=port, **trust) as client:
        index = VectorIndex.create(client, Schema("docs", 4))
        index.add(["a", "b"], np.eye(2, 4, dtype=np.float32))
        [found] = index.search(np.eye(1, 4), 1)
        assert found.ids == ["a"]
        with client.open_decoding_client() as speaking:
            assert speaking.echo("text") == "text"


def test_the_url_says_it_too(tls_server, authority):
    port = tls_server()
    trust = authority.certificate
    with connect(f"rediss://localhost:{port}?ssl_ca_certs={trust}") as client:
        assert client.ping()
    with connect(f"rediss://localhost:{port}", ssl_ca_certs=trust) as client:
        assert client.ping()
    with connect(f"rediss://localhost:{port}?ssl_cert_reqs=none") as client:
        assert client.ping()


def test_an_unknown_authority_is_refused(tls_server, stranger):
    port = tls_server()
    for trust in ({}, {"ssl_ca_certs": stranger.certificate}):
        assert "unknown authority; set ssl_ca_certs" in failure(port=port, **trust)
        assert "unknown authority" in failure(f"rediss://localhost:{port}", **trust)


def test_a_certificate_signed_by_itself_is_refused(own_server, stranger):
    own = {"ssl_certfile": stranger.certificate, "ssl_keyfile": str(stranger.folder / "ca.key")}
    words = ("--tls-cert-file", own["ssl_certfile"], "--tls-key-file", own["ssl_keyfile"])
    server = own_server(*words, "--tls-auth-clients", "no", tls={"ssl_cert_reqs": "none"})
    # OpenSSL 3 tells it from an unknown authority.
    assert "set ssl_ca_certs to a file with" in failure(port=server.port)


def test_an_expired_certificate_is_refused(tls_server, authority):
    port = tls_server(expired=True)
    assert "has expired; renew it" in failure(port=port, ssl_ca_certs=authority.certificate)


@pytest.mark.parametrize("names", [("DNS:example.org",), ("IP:127.0.0.9",)])
def test_a_certificate_for_another_host_is_refused(tls_server, authority, names):
    port, trust = tls_server(*names), {"ssl_ca_certs": authority.certificate}
    assert "another host name; use the name" in failure(port=port, **trust)
    assert "another" in failure(port=port, host="127.0.0.1", **trust)
    assert "another host name" in failure(f"rediss://localhost:{port}", **trust)


def test_the_check_of_the_host_name_can_be_turned_off(tls_server, authority):
    port, trust = tls_server("DNS:example.org"), {"ssl_ca_certs": authority.certificate}
    with connect(host="localhost", port=port, ssl=True, ssl_check_hostname=False, **trust) as one:
        assert one.ping()
    with connect(f"rediss://localhost:{port}?ssl_check_hostname=false", **trust) as other:
        assert other.ping()


def test_a_client_certificate_is_shown_where_it_is_demanded(tls_server, authority, tmp_path):
    port, trust = tls_server(clients="yes"), {"ssl_ca_certs": authority.certificate}
    shown = authority.signed("client")
    with connect(host="localhost", port=port, ssl=True, **trust, **shown) as client:
        assert client.ping()
    both = tmp_path / "both.pem"
    both.write_text("".join(Path(file).read_text() for file in shown.values()))
    with connect(f"rediss://localhost:{port}", **trust, ssl_certfile=str(both)) as client:
        assert client.ping()


def test_a_client_certificate_that_is_missing_is_said(tls_server, authority):
    port, trust = tls_server(clients="yes"), {"ssl_ca_certs": authority.certificate}
    said = failure(port=port, **trust)
    assert "asks for a client certificate; set ssl_certfile and ssl_keyfile" in said


def test_a_client_certificate_that_is_not_trusted_is_said(tls_server, authority, stranger):
    port, trust = tls_server(clients="yes"), {"ssl_ca_certs": authority.certificate}
    said = failure(port=port, **trust, **stranger.signed("client"))
    assert "does not trust the client certificate; set ssl_certfile" in said


@pytest.mark.parametrize("beside", [False, True])
def test_a_key_may_have_a_password_which_is_not_shown(tls_server, authority, tmp_path, beside):
    port, mine, key = tls_server(clients="yes"), authority.signed("client"), tmp_path / "secret.key"
    openssl("ec", "-in", mine["ssl_keyfile"], "-aes256", "-passout", "pass:s3cr%t", "-out", key)
    files = {"ssl_ca_certs": authority.certificate, **mine, "ssl_keyfile": str(key)}
    url = f"rediss://localhost:{port}?ssl_password=s3cr%2525t"
    if int(redis.__version__.split(".")[0]) >= 8:  # older ones decode options twice
        url = url.replace("%2525", "%25")
    if not beside:
        url += "".join(f"&{name}={file}" for name, file in files.items())
    options = files if beside else {}
    with connect(url, **options) as client, client.open_decoding_client() as speaking:
        assert speaking.ping()
        pool = client.connection_pool
        shown = [client, pool, pool.connection_kwargs, vars(pool.make_connection())]
        assert "s3cr" not in repr(shown)
    with pytest.raises((SettingsError, ConnectionFailedError)) as caught:
        connect(url.replace("s3cr", "wr0ng"), **options)
    assert "wr0ng" not in str(caught.value)


def test_sentinels_are_asked_over_tls_too(own_server, authority):
    mine = authority.signed("server")
    options = {
        "tls-cert-file": mine["ssl_certfile"],
        "tls-key-file": mine["ssl_keyfile"],
        "tls-ca-cert-file": authority.certificate,
        "tls-auth-clients": "no",
        "tls-replication": "yes",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    server = own_server(*words, tls={"ssl_cert_reqs": "none"})
    sentinel = own_server(*words, modules=False, tls={"ssl_cert_reqs": "none"})
    sentinel.kill()
    lines = [f"port 0\ntls-port {sentinel.port}", *(" ".join(pair) for pair in options.items())]
    lines.append(f"sentinel monitor photos 127.0.0.1 {server.port} 1")
    (sentinel.folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
    sentinel.options = ("sentinel.conf", "--sentinel")
    sentinel.start()

    where = {"sentinels": f"localhost:{sentinel.port}", "service_name": "photos", "ssl": True}
    with connect(**where, ssl_ca_certs=authority.certificate) as client:
        assert client.ping()
    with pytest.raises(ConnectionFailedError, match="unknown authority; set ssl_ca_certs"):
        connect(**where)


def test_a_server_that_wants_tls_is_said(tls_server):
    assert "if it expects TLS, set ssl" in failure(port=tls_server(), ssl=False)


def test_a_server_without_tls_is_said_soon(redis_server):
    said = failure(port=redis_server.port, socket_connect_timeout=0.2)
    assert "does not speak TLS, leave ssl out" in said


def test_files_that_cannot_be_used_are_named_before_connecting(authority, stranger, tmp_path):
    mine, other = authority.signed("mine"), stranger.signed("other")
    text = tmp_path / "text"
    text.write_text("no certificate")
    for given, said in (
        ({"ssl_ca_certs": str(tmp_path / "none")}, "ssl_ca_certs cannot be read .*No such file"),
        ({"ssl_certfile": str(tmp_path)}, "ssl_certfile cannot be read .*directory"),
        ({"ssl_ca_certs": str(text)}, "ssl_ca_certs cannot be used .not PEM"),
        ({"ssl_certfile": mine["ssl_certfile"]}, "ssl_certfile cannot be used"),
        (
            {**mine, "ssl_keyfile": other["ssl_keyfile"]},
            "ssl_certfile and ssl_keyfile cannot be used .they do not belong together",
        ),
    ):
        with pytest.raises(SettingsError, match=said):
            connect(host="localhost", ssl=True, **given)
