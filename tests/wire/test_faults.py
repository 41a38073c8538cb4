"""What each fault of a connection means for a request, and that no POST is ever sent twice."""

import asyncio
import socket
import ssl

import pytest
import trustme

from gatepost import wire
from gatepost.errors import Unavailable, Uncertain
from gatepost.testing.conformance.harness import closed_port
from wire.raw_server import Connection, RawServer, answer, answering, forever


@pytest.fixture(scope="session")
def anyio_backend(either_loop):
    return either_loop


TIMEOUT = 0.5
"""Seconds: only for the faults that end by it, before anything leaves."""

ANSWER_TIMEOUT = 5.0
"""Seconds in which a busy machine has sent a request, whose answer does not come."""

READING = ("GET", "HEAD")
SENDING = ("POST", "PUT", "PATCH", "DELETE", "GET that sends")


async def close_at_first_byte(connection: Connection) -> None:
    await connection.reader.read(1)


async def reset_at_first_byte(connection: Connection) -> None:
    await connection.reader.read(1)
    connection.reset()


async def close_after_head(connection: Connection) -> None:
    await connection.read_head()


async def close_after_body(connection: Connection) -> None:
    await connection.read()


async def reset_after_body(connection: Connection) -> None:
    await connection.read()
    connection.reset()


async def no_answer(connection: Connection) -> None:
    await connection.read()
    await forever()


async def garbage(connection: Connection) -> None:
    await connection.read()
    await connection.write(b"220 mail.example ESMTP\r\n")


async def chunk_without_end(connection: Connection) -> None:
    await connection.read()
    await connection.write(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")


async def body_that_stalls(connection: Connection) -> None:
    await connection.read()
    await connection.write(answer(body=b"x" * 100)[:-50])
    await forever()


AFTER_CONNECTING = [
    close_at_first_byte,
    reset_at_first_byte,
    close_after_head,
    close_after_body,
    reset_after_body,
    garbage,
    chunk_without_end,
]


def connect(url: str, **more) -> wire.Http:
    return wire.connect(url, **{"timeout": 30.0, "connections": 4, **more})


async def send(http: wire.Http, method: str = "POST", body: bytes = b"{}") -> wire.Reply:
    if method == "GET that sends":
        return await http.request("GET", "/v1/messages?to=447700900123&text=Hello", sends=True)
    return await http.request(
        method, "/v1/messages", body=body if method in {"POST", "PUT", "PATCH"} else None
    )


@pytest.mark.parametrize("method", SENDING)
@pytest.mark.parametrize("fault", AFTER_CONNECTING)
async def test_a_request_that_was_lost_is_uncertain_and_left_once(fault, method):
    async with RawServer(fault) as server, connect(server.url) as http:
        with pytest.raises(Uncertain) as raised:
            await send(http, method)
    # No error keeps the URL: a number and a text stand in that of a GET that sends.
    assert "447700900123" not in repr(raised.value)
    assert raised.value.__context__ is None

    assert len(server.requests) <= 1


@pytest.mark.parametrize("fault", [no_answer, body_that_stalls])
async def test_a_request_without_an_answer_in_time_is_lost(fault):
    """Several at a time, because each takes the whole time."""
    methods = [*SENDING, "GET"]
    async with (
        RawServer(fault) as server,
        connect(server.url, timeout=ANSWER_TIMEOUT, connections=len(methods)) as http,
    ):
        errors = await asyncio.gather(*(send(http, one) for one in methods), return_exceptions=True)

    assert [type(one) for one in errors] == [Uncertain] * len(SENDING) + [Unavailable]
    assert not any("447700900123" in repr(one) for one in errors)
    assert [one.__context__ for one in errors] == [None] * len(errors)
    assert len(server.requests) == len(methods)


@pytest.mark.parametrize("fault", AFTER_CONNECTING)
async def test_a_lost_request_that_only_reads_is_unavailable(fault):
    async with RawServer(fault) as server, connect(server.url) as http:
        with pytest.raises(Unavailable):
            await send(http, "GET")


async def test_every_cut_of_the_answer_is_uncertain():
    whole = answer(202, b'{"id": 7}', "X-Message-Id: abc")
    cuts = iter(range(len(whole)))

    async def cut(connection: Connection) -> None:
        await connection.read()
        await connection.write(whole[: next(cuts)])

    async with RawServer(cut) as server, connect(server.url) as http:
        for _ in range(len(whole)):
            with pytest.raises(Uncertain):
                await send(http)

    assert server.connections == len(server.requests) == len(whole)


@pytest.mark.parametrize("method", [*READING, *SENDING])
async def test_a_refused_connection_is_unavailable(method):
    with closed_port() as port:
        async with connect(f"http://127.0.0.1:{port}") as http:
            with pytest.raises(Unavailable):
                await send(http, method)


async def test_a_connection_that_is_never_accepted_is_unavailable():
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        socket.create_connection(full.getsockname()),
    ):
        async with connect(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=TIMEOUT) as http:
            with pytest.raises(Unavailable):
                await send(http)


async def test_an_unknown_host_is_unavailable():
    async with connect("http://provider.invalid") as http:
        with pytest.raises(Unavailable):
            await send(http)


async def test_waiting_for_a_free_connection_is_unavailable():
    read = asyncio.Event()

    async def busy(connection: Connection) -> None:
        await connection.read()
        read.set()
        await forever()

    async with RawServer(busy) as server, connect(server.url, connections=1) as http:
        first = asyncio.create_task(send(http))
        await read.wait()
        with pytest.raises(Unavailable):
            # As a request whose time was spent on waiting for a token; otherwise the first would end earlier.
            await http._send(
                "POST", "/", b"{}", None, asyncio.get_running_loop().time() + TIMEOUT, sends=True
            )
        first.cancel()
        await asyncio.wait([first])

    assert len(server.requests) == 1


async def test_a_cancelled_send_frees_its_connection():
    read = asyncio.Event()

    async def first_hangs(connection: Connection) -> None:
        await connection.read()
        if server.connections == 1:
            read.set()
            await forever()
        await connection.write(answer())

    async with RawServer(first_hangs) as server, connect(server.url, connections=1) as http:
        first = asyncio.create_task(send(http))
        await read.wait()
        first.cancel()
        assert (await send(http)).status == 202

    assert first.cancelled()
    assert [request.method for request in server.requests] == ["POST", "POST"]


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_an_untrusted_certificate_is_unavailable(tls):
    async with RawServer(answering, tls=tls) as server, connect(server.url) as http:
        with pytest.raises(Unavailable):
            await send(http)

    assert server.requests == []


async def test_a_server_without_tls_is_unavailable():
    async def greet(connection: Connection) -> None:
        await connection.write(b"220 mail.example ESMTP\r\n")
        await connection.reader.read()

    async with RawServer(greet) as server, connect(server.url.replace("http:", "https:")) as http:
        with pytest.raises(Unavailable):
            await send(http)

    assert server.requests == []


async def test_a_handshake_that_hangs_is_unavailable():
    async def hang(_connection: Connection) -> None:
        await forever()

    url = "https://127.0.0.1:{port}"
    async with RawServer(hang) as server, connect(url.format(port=server.port), timeout=TIMEOUT) as http:
        with pytest.raises(Unavailable):
            await send(http)


@pytest.mark.parametrize("close", ["close", "reset"])
@pytest.mark.parametrize("method", SENDING)
async def test_a_kept_connection_that_the_server_closes_costs_no_second_request(method, close):
    """The server closes when the next request has arrived: the worst moment."""

    async def once(connection: Connection) -> None:
        if await connection.read():
            await connection.write(answer())
        if await connection.read_head() and close == "reset":
            connection.reset()

    async with RawServer(once) as server, connect(server.url, connections=1) as http:
        await send(http, method)
        with pytest.raises(Uncertain):
            await send(http, method)

    assert [request.method for request in server.requests] == [method.split()[0]] * 2


async def test_a_connection_that_was_closed_while_idle_is_not_used():
    closed = asyncio.Event()

    async def once(connection: Connection) -> None:
        await connection.read()
        await connection.write(answer())
        connection.writer.close()
        await connection.writer.wait_closed()
        closed.set()

    async with RawServer(once) as server, connect(server.url, connections=1) as http:
        await send(http)
        await closed.wait()
        await asyncio.sleep(0)
        assert (await send(http)).status == 202

    assert len(server.requests) == server.connections == 2


async def test_a_large_body_that_the_server_does_not_read_is_uncertain():
    async with RawServer(close_after_head) as server, connect(server.url) as http:
        with pytest.raises(Uncertain):
            await send(http, body=b"x" * 3_000_000)

    assert len(server.requests) == 1


@pytest.mark.parametrize("method", [*READING, *SENDING])
async def test_no_redirect_is_followed(method):
    async def elsewhere(connection: Connection) -> None:
        await connection.read()
        await connection.write(answer(307, b"", f"Location: {server.url}/elsewhere"))

    async with RawServer(elsewhere) as server, connect(server.url) as http:
        assert (await send(http, method)).status == 307

    assert len(server.requests) == 1
