"""The options of a connection: an own authority, a client certificate, a proxy."""

import asyncio
import ssl
from base64 import b64encode
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gatepost import wire
from gatepost.errors import ConfigError, Unavailable, Uncertain
from gatepost.model import Secret
from wire.raw_server import Connection, RawServer, answer, answering


@pytest.fixture(scope="session")
def anyio_backend(either_loop):
    return either_loop


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def files(tmp_path, authority):
    """Return a folder with ca.pem, client.pem, client.key and others that are unusable."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client = authority.issue_cert("gatepost@brand.example")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    client.private_key_pem.write_to_path(tmp_path / "client.key")
    authority.issue_cert("other.example").private_key_pem.write_to_path(tmp_path / "other.key")
    key = load_pem_private_key(client.private_key_pem.bytes(), None)
    form = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame"))
    (tmp_path / "encrypted.key").write_bytes(key.private_bytes(*form))
    (tmp_path / "text.pem").write_text("no certificate")
    return tmp_path


@pytest.fixture(scope="module")
def tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def connect(url: str, **options) -> wire.Http:
    return wire.connect(url, timeout=30.0, connections=4, options=wire.ConnectionOptions(**options))


async def test_an_own_authority_is_trusted(files, tls):
    async with RawServer(answering, tls=tls) as server, connect(server.url, ca=files / "ca.pem") as http:
        assert (await http.post("/", b"{}")).status == 202


async def test_a_client_certificate_is_shown(files, tls, authority):
    names = []

    async def who(connection: Connection) -> None:
        names.append(connection.writer.get_extra_info("peercert")["subjectAltName"])
        await answering(connection)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    identity = {"certificate": files / "client.pem", "key": files / "client.key"}
    async with RawServer(who, tls=context) as server:
        async with connect(server.url, ca=files / "ca.pem", **identity) as http:
            assert (await http.post("/", b"{}")).status == 202
        async with connect(server.url, ca=files / "ca.pem") as http:
            with pytest.raises((Unavailable, Uncertain)):
                await http.post("/", b"{}")

    assert names == [(("email", "gatepost@brand.example"),)]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("options", "key", "problem"),
    [
        ({"ca": "absent.pem"}, "connection.ca", "can't be read"),
        ({"ca": "text.pem"}, "connection.ca", "no certificate in PEM form"),
        ({"certificate": "client.pem", "key": "absent.key"}, "connection.key", "can't be read"),
        ({"certificate": "text.pem", "key": "client.key"}, "connection.certificate", "not a matching pair"),
        ({"certificate": "client.pem", "key": "other.key"}, "connection.certificate", "not a matching pair"),
        ({"certificate": "client.pem", "key": "encrypted.key"}, "connection.certificate", "encrypted"),
    ],
)
async def test_an_unusable_file_refuses_the_start_and_is_named(files, options, key, problem):
    client = connect("https://127.0.0.1:1", **{name: files / value for name, value in options.items()})
    with pytest.raises(ConfigError) as refusal:
        async with client:
            pass

    [fault] = refusal.value.faults
    assert fault.key == key
    assert problem in fault.problem


@pytest.mark.parametrize(
    ("url", "options", "keys"),
    [
        ("https://a.example", {"certificate": Path("c.pem")}, {"connection.key"}),
        ("https://a.example", {"key": Path("c.key")}, {"connection.certificate"}),
        ("http://a.example", {"ca": Path("ca.pem")}, {"connection.ca"}),
        ("ftp://a.example", {"proxy": Secret("proxy:3128")}, {"base_url", "connection.proxy"}),
        *(
            ("https://a.example", {"proxy": Secret(proxy)}, {"connection.proxy"})
            for proxy in (
                "https://proxy:3128",
                "socks5://proxy",
                "http://",
                "http://proxy:0",
                "http://p/path",
                "http://p..q",
                "http://us%E2%82%ACr:sesame@proxy",
                "http://a%3Ab:sesame@proxy",
                "http://anna:ses%0Aame@proxy",
                "",
            )
        ),
    ],
)
def test_what_can_not_be_is_named_at_once(url, options, keys):
    with pytest.raises(ConfigError) as refusal:
        connect(url, **options)

    assert {fault.key for fault in refusal.value.faults} == keys


def test_no_fault_shows_the_proxys_password():
    with pytest.raises(ConfigError) as refusal:
        connect("https://a.example", proxy=Secret("https://anna:sesame@proxy:3128"))

    assert "sesame" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example",
        "https://",
        "https://u:p@a.example",
        "https://a.example/?q",
        "https://a.example/#f",
        "//a",
        "https://a.example\n",
        # Each request to these would raise an error that is none of a send.
        "https://a..example",
        "https://.example",
        f"https://{'a' * 64}.example",
        "https://a\\b.example",
        "https://é..example",
        "https://xn--.example",
    ],
)
def test_a_base_url_must_be_one(url):
    with pytest.raises(ConfigError, match="base_url"):
        connect(url)


class Proxy:
    """A proxy that tunnels, or forwards to nobody and answers itself."""

    def __init__(self, target: RawServer, status: int = 200) -> None:
        self.target = target
        self.status = status
        self.close_tunnel = False

    async def __call__(self, connection: Connection) -> None:
        request = await connection.read()
        if request.method != "CONNECT" or self.status != 200:
            await connection.write(answer(self.status))
            return
        await connection.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if self.close_tunnel:
            return
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target.port)
        try:
            await asyncio.gather(copy(connection.reader, writer), copy(reader, connection.writer))
        finally:
            writer.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


CREDENTIALS = f"Basic {b64encode(b'anna:s@same').decode()}"


@pytest.mark.parametrize("login", ["", "anna:s%40same@"])
async def test_https_goes_through_a_tunnel(files, tls, login):
    async with RawServer(answering, tls=tls) as server, RawServer(Proxy(server)) as proxy:
        url = Secret(f"http://{login}127.0.0.1:{proxy.port}")
        async with connect(server.url, ca=files / "ca.pem", proxy=url) as http:
            for _ in range(2):
                assert (await http.post("/v1/messages", b"{}")).status == 202

    [tunnel] = proxy.requests
    assert (tunnel.method, tunnel.target) == ("CONNECT", f"127.0.0.1:{server.port}")
    assert tunnel.headers.get("proxy-authorization", "") == (CREDENTIALS if login else "")
    assert [request.target for request in server.requests] == ["/v1/messages"] * 2
    assert "proxy-authorization" not in server.requests[0].headers


@pytest.mark.parametrize("login", ["", "anna:s%40same@"])
async def test_http_is_forwarded(login):
    async with RawServer(answering) as proxy:
        url = Secret(f"http://{login}127.0.0.1:{proxy.port}")
        async with connect("http://provider.example", proxy=url) as http:
            for _ in range(2):
                assert (await http.post("/v1/messages", b"{}")).status == 202

    assert [request.target for request in proxy.requests] == ["http://provider.example/v1/messages"] * 2
    for request in proxy.requests:
        assert request.headers.get("proxy-authorization", "") == (CREDENTIALS if login else "")


@pytest.mark.parametrize(("status", "misconfigured"), [(407, True), (403, True), (502, False), (503, False)])
async def test_a_proxy_that_opens_no_tunnel_is_unavailable(tls, status, misconfigured):
    async with (
        RawServer(answering, tls=tls) as server,
        RawServer(Proxy(server, status)) as proxy,
        connect(server.url, proxy=Secret(proxy.url)) as http,
    ):
        with pytest.raises(Unavailable) as raised:
            await http.post("/", b"{}")

    assert (raised.value.code, raised.value.misconfigured) == (str(status), misconfigured)
    assert server.requests == []


async def test_a_tunnel_that_breaks_before_tls_is_unavailable(tls):
    async with RawServer(answering, tls=tls) as server:
        script = Proxy(server)
        script.close_tunnel = True
        async with RawServer(script) as proxy, connect(server.url, proxy=Secret(proxy.url)) as http:
            with pytest.raises(Unavailable):
                await http.post("/", b"{}")

    assert server.requests == []


@pytest.mark.parametrize("is_tunnelled", [False, True])
async def test_a_certificate_of_another_name_is_refused(files, tls, is_tunnelled):
    async with RawServer(answering, tls=tls) as server, RawServer(Proxy(server)) as proxy:
        way = {"proxy": Secret(proxy.url)} if is_tunnelled else {}
        url = server.url.replace("127.0.0.1", "localhost")
        async with connect(url, ca=files / "ca.pem", **way) as http:
            with pytest.raises(Unavailable, match="TLS failed"):
                await http.post("/", b"{}")

    assert server.requests == []


async def test_a_proxy_that_is_away_is_unavailable():
    async with connect("https://provider.example", proxy=Secret("http://127.0.0.1:1")) as http:
        with pytest.raises(Unavailable):
            await http.post("/", b"{}")


@pytest.mark.parametrize(("method", "outcome"), [("POST", Uncertain), ("GET", Unavailable)])
@pytest.mark.parametrize("status", [502, 504])
async def test_a_proxy_that_lost_a_forwarded_request_leaves_it_uncertain(status, method, outcome):
    async with (
        RawServer(Proxy(None, status)) as proxy,
        connect("http://provider.example", proxy=Secret(proxy.url)) as http,
    ):
        with pytest.raises(outcome):
            await http.request(method, "/")

    assert len(proxy.requests) == 1


async def test_a_forwarding_proxy_that_wants_credentials_is_misconfigured():
    async with (
        RawServer(Proxy(None, 407)) as proxy,
        connect("http://provider.example", proxy=Secret(proxy.url)) as http,
    ):
        with pytest.raises(Unavailable) as raised:
            wire.expect_success(await http.post("/", b"{}"))

    assert raised.value.misconfigured


async def test_no_proxy_of_the_environment_is_used(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with RawServer(answering) as server, connect(server.url) as http:
        assert (await http.post("/", b"{}")).status == 202
