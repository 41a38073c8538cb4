"""Connections: how long they are used, and for what."""

import asyncio
import socket
import ssl
from urllib.parse import quote

import pytest
import trustme

from gatepost import wire
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.wire.connections import NoConnection
from gatepost.wire.dialing import Dialer, Origin
from gatepost.wire.pool import Pool, Request
from wire.raw_server import Connection, RawServer, answer, answering, forever


@pytest.fixture(scope="session")
def anyio_backend(either_loop):
    return either_loop


def connect(url: str, **more) -> wire.Http:
    return wire.connect(url, **{"timeout": 30.0, "connections": 4, **more})


async def test_a_connection_is_reused():
    async with RawServer(answering) as server, connect(server.url) as http:
        for _ in range(3):
            await http.post("/", b"{}")

    assert (server.connections, len(server.requests)) == (1, 3)


async def test_no_more_connections_are_opened_than_configured():
    async with RawServer(answering) as server, connect(server.url, connections=3) as http:
        await asyncio.gather(*(http.post("/", b"{}") for _ in range(30)))

    assert len(server.requests) == 30
    assert server.connections == 3


@pytest.mark.parametrize(
    "ending",
    [
        answer(202, b"{}", "Connection: close"),
        answer() + b"x",
        answer() + answer(500),
        answer(202, b"x" * 100_000),
        b"HTTP/1.0 202 Accepted\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_connection_that_is_out_of_step_is_not_reused(ending):
    async def answer_and_wait(connection: Connection) -> None:
        while await connection.read():
            await connection.write(ending)

    async with RawServer(answer_and_wait) as server, connect(server.url) as http:
        for _ in range(2):
            assert (await http.post("/", b"{}")).status == 202

    assert server.connections == len(server.requests) == 2


async def test_bytes_that_were_not_requested_are_no_answer():
    closed = asyncio.Event()

    async def push(connection: Connection) -> None:
        await connection.read()
        await connection.write(answer())
        await asyncio.sleep(0.01)
        await connection.write(answer(500))
        assert await connection.read() is None
        closed.set()

    async with RawServer(push) as server, connect(server.url) as http:
        await http.post("/", b"{}")
        await closed.wait()
        server.script = answering
        assert (await http.post("/", b"{}")).status == 202

    assert server.connections == 2


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def ca(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return wire.ConnectionOptions(ca=path)


@pytest.mark.parametrize("is_tls", [False, True])
async def test_an_answer_before_the_whole_body_is_read_counts_and_ends_the_connection(is_tls, tls, ca):
    body = b"x" * 30_000_000
    answered, ended = asyncio.Event(), asyncio.Queue()

    async def refuse(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(answer(413))
        await answered.wait()
        received = 0
        try:
            while part := await connection.reader.read(1_000_000):
                received += len(part)
        except OSError:
            pass
        ended.put_nowait(received)

    async with (
        RawServer(refuse, tls=tls if is_tls else None) as server,
        connect(server.url, options=ca if is_tls else None) as http,
    ):
        for _ in range(2):
            assert (await http.post("/", body)).status == 413
        answered.set()
        for _ in range(2):
            assert await ended.get() < len(body)

    assert server.connections == 2


async def test_a_server_that_does_not_end_tls_holds_no_connection(tls, ca):
    def serve(listener: socket.socket) -> None:
        connection = tls.wrap_socket(listener.accept()[0], server_side=True)
        connection.recv(65_536)
        connection.sendall(answer(202, b"{}", "Connection: close"))
        with socket.socket(fileno=connection.detach()) as plain:
            plain.settimeout(60)
            while plain.recv(65_536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(asyncio.to_thread(serve, listener))
        async with connect(f"https://127.0.0.1:{listener.getsockname()[1]}", options=ca) as http:
            assert (await http.post("/", b"{}")).status == 202
            await serving


@pytest.mark.parametrize("close", [Connection.reset, lambda connection: connection.writer.close()])
async def test_a_connection_that_is_lost_before_the_request_leaves_is_none(close):
    class SlowDialer(Dialer):
        async def dial(self, *where):
            connection = await super().dial(*where)
            await connection.lost
            return connection

    async def close_at_once(connection: Connection) -> None:
        close(connection)

    async with RawServer(close_at_once) as server:
        pool = Pool(SlowDialer(), 8)
        with pytest.raises(NoConnection) as raised:
            await get(pool, Origin(tls=False, host="127.0.0.1", port=server.port))
        await pool.close()

    assert raised.value.kind == "connect"


async def test_a_request_that_sends_nothing_leaves_again_where_a_reused_connection_was_lost():
    async def once(connection: Connection) -> None:
        await connection.read()
        await connection.write(answer())
        await connection.read()

    async with RawServer(once) as server, connect(server.url) as http:
        for _ in range(2):
            assert (await http.get("/")).status == 202
    assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 202 Acc"])
async def test_a_request_that_sends_nothing_leaves_once_where_it_was_answered_or_the_connection_is_new(begin):
    async def once(connection: Connection) -> None:
        if begin:
            await connection.read()
            await connection.write(answer())
        await connection.read()
        await connection.write(begin)

    async with RawServer(once) as server, connect(server.url) as http:
        if begin:
            await http.get("/")
        with pytest.raises(Unavailable):
            await http.get("/")
    assert server.connections == 1


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 202 Accepted\r\n\r\n{"])
async def test_requests_in_flight_are_lost_when_the_pool_is_closed(begin):
    requested = asyncio.Event()

    async def hang(connection: Connection) -> None:
        await connection.read()
        await connection.write(begin)
        await asyncio.sleep(0.05)
        requested.set()
        assert await connection.read() is None

    async with RawServer(hang) as server:
        async with connect(server.url) as http:
            sending = asyncio.create_task(http.post("/", b"{}"))
            await requested.wait()
        with pytest.raises(Uncertain):
            await sending
        with pytest.raises(Unavailable, match="the connections are closed"):
            await http.post("/", b"{}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Id", "447700900123\r\nX-Other: 1"),
        ("X-Id", "447700900123\0"),
        ("X-Id", "447700900123\ud83d"),
        ("X Id", "447700900123"),
        ("X-Id\n", "447700900123"),
        ("", "447700900123"),
        ("content-length", "447700900123"),
        ("Transfer-Encoding", "chunked"),
        ("Accept-Encoding", "gzip"),
    ],
)
@pytest.mark.parametrize(("sends", "outcome"), [(True, Rejected), (False, Unavailable)])
async def test_a_header_that_can_not_be_sent_is_refused_before_anything_leaves(name, value, sends, outcome):
    async with RawServer(answering) as server, connect(server.url) as http:
        with pytest.raises(outcome) as raised:
            await http.request("POST", "/", body=b"{}", headers={name: value}, sends=sends)
        assert "447700900123" not in repr(raised.value)
        assert (await http.post("/", b"{}", headers={"X-Id": "é\t7"})).status == 202

    [request] = server.requests
    assert request.headers["x-id"] == "é\t7"


async def test_each_request_says_how_long_it_is_and_asks_for_no_encoding():
    async with RawServer(answering) as server, connect(server.url) as http:
        await http.post("/")
        await http.post("/", "é".encode())
        await http.get("/")

    assert [request.headers.get("content-length") for request in server.requests] == ["0", "2", None]
    for request in server.requests:
        assert request.headers["host"] == f"127.0.0.1:{server.port}"
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["user-agent"].startswith("gatepost/")


@pytest.mark.parametrize(
    ("path", "target"),
    [("", "/v1"), ("?a=b", "/v1?a=b"), ("/a#b", "/v1/a"), ("/é?é#x", "/v1/%C3%A9?%C3%A9"), ("//a", "/v1//a")],
)
async def test_the_path_follows_that_of_the_base_url(path, target):
    async with RawServer(answering) as server, connect(f"{server.url}/v1/") as http:
        await http.post(path)

    assert [request.target for request in server.requests] == [target]


@pytest.mark.parametrize(
    "path", ["@other.example/", ".other.example/", ":1/", "é", "@other.example/é", ".other.example/é", ":é/"]
)
async def test_no_path_leads_to_another_host(path):
    async with RawServer(answering) as server, connect(server.url) as http:
        await http.post(path)

    assert [request.target for request in server.requests] == ["/" + quote(path, safe="/@:")]


def names(*answers):
    """Return a resolver with these answers in turn, and the list of what it was asked for."""
    left, queries = list(answers), []

    async def resolve(host):
        queries.append(host)
        await asyncio.sleep(0)
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return resolve, queries


async def get(pool: Pool, origin: Origin) -> int:
    request = Request("GET", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 100)
    return (await pool.exchange(origin, request, pool.deadline(30.0))).status


async def test_lookups_of_a_name_at_the_same_time_are_one():
    resolve, queries = names(["127.0.0.1"])
    async with RawServer(answering) as server:
        pool = Pool(Dialer(resolve=resolve), 8)
        origin = Origin(tls=False, host="provider.example", port=server.port)
        assert await asyncio.gather(*(get(pool, origin) for _ in range(8))) == [202] * 8
        await pool.close()

    assert queries == ["provider.example"]


@pytest.mark.parametrize("failure", [OSError(), UnicodeError(), []])
async def test_a_name_without_an_address_is_looked_up_again(failure):
    resolve, queries = names(failure, ["127.0.0.1"], ["127.0.0.1"])
    async with RawServer(answering) as server:
        pool = Pool(Dialer(resolve=resolve), 8)
        origin = Origin(tls=False, host="provider.example", port=server.port)
        with pytest.raises(NoConnection) as raised:
            await get(pool, origin)
        assert raised.value.kind == "resolve"
        if failure:
            assert await get(pool, origin) == 202
            assert len(queries) == 2
        await pool.close()


async def test_the_next_address_is_tried():
    resolve, _ = names(["127.0.0.77", "127.0.0.1"])
    async with RawServer(answering) as server:
        pool = Pool(Dialer(resolve=resolve), 8)
        assert await get(pool, Origin(tls=False, host="provider.example", port=server.port)) == 202
        await pool.close()


async def test_no_address_is_connected_to_where_one_is_refused():
    resolve, _ = names(["127.0.0.1", "127.0.0.77"])
    async with RawServer(answering) as server:
        pool = Pool(Dialer(resolve=resolve, may_connect=lambda address: address == "127.0.0.1"), 8)
        with pytest.raises(NoConnection) as raised:
            await get(pool, Origin(tls=False, host="provider.example", port=server.port))
        await pool.close()

    assert raised.value.kind == "refused"
    assert server.connections == 0


async def test_nothing_leaves_after_the_deadline():
    async with RawServer(answering) as server:
        pool = Pool(Dialer(), 8)
        origin = Origin(tls=False, host="127.0.0.1", port=server.port)
        await get(pool, origin)
        with pytest.raises(NoConnection) as raised:
            await pool.exchange(origin, Request("POST", b"POST / HTTP/1.1\r\n\r\n", 100), pool.deadline(0.0))
        await pool.close()

    assert raised.value.kind == "timeout"
    assert len(server.requests) == 1


async def test_a_request_is_not_later_than_its_deadline():
    over = asyncio.Event()

    async def hang(connection: Connection) -> None:
        await connection.read()
        await forever()

    async with RawServer(hang) as server:
        pool = Pool(Dialer(), 8)
        deadline = pool.deadline(0.25)
        request = Request("POST", b"POST / HTTP/1.1\r\n\r\n", 100)
        origin = Origin(tls=False, host="127.0.0.1", port=server.port)
        sending = asyncio.create_task(pool.exchange(origin, request, deadline))
        # Timers end in their order, however late a busy machine is.
        asyncio.get_running_loop().call_at(deadline + 0.005, over.set)
        await over.wait()
        assert sending.done()
        assert sending.exception() is not None
        await pool.close()


async def test_connections_to_two_servers_are_not_mixed_up():
    async def other(connection: Connection) -> None:
        while await connection.read():
            await connection.write(answer(418))

    async with RawServer(answering) as one, RawServer(other) as two:
        pool = Pool(Dialer(), 8)
        for _ in range(3):
            assert await get(pool, Origin(tls=False, host="127.0.0.1", port=one.port)) == 202
            assert await get(pool, Origin(tls=False, host="127.0.0.1", port=two.port)) == 418
        await pool.close()

    assert (one.connections, two.connections) == (1, 1)


@pytest.mark.parametrize(
    ("origin", "authority"),
    [
        (Origin(tls=True, host="a.example", port=443), "a.example"),
        (Origin(tls=False, host="a.example", port=443), "a.example:443"),
        (Origin(tls=False, host="::1", port=80), "[::1]"),
        (Origin(tls=True, host="::1", port=8443), "[::1]:8443"),
    ],
)
def test_a_server_is_named_as_in_its_url(origin, authority):
    assert origin.authority == authority
