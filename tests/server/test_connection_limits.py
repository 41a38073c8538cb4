"""Slow, silent and many connections, at a gateway in this process."""

import asyncio
import os
import signal
import struct
from contextlib import asynccontextmanager, suppress
from socket import SO_LINGER, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET, socket

import pytest

from fuzz import gateway
from fuzz.driver import take_answer
from fuzz.gateway import message, request
from gatepost.app import load
from gatepost.body_limit import BodyLimit
from gatepost.intake.accept import Acceptance
from gatepost.server import admin_connection
from gatepost.server.connection_limits import ConnectionLimits
from gatepost.server.http_server import HttpServer
from gatepost.server.parsing import MIN_REQUEST_BYTES
from gatepost.server.process import serve
from gatepost.server.protocol import MAX_PIPELINED, MAX_PIPELINED_BYTES, Connection

TEST_TIMEOUT = 60.0
"""Seconds that a test waits at most; a busy machine is slow."""

each_loop = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"]
)
"""Runs a test on both event loops; a gateway uses uvloop where it is installed."""


@pytest.fixture
def short_timeout(monkeypatch):
    monkeypatch.setattr("gatepost.server.protocol.CLIENT_TIMEOUT", 1.0)


@asynccontextmanager
async def serving(folder):
    """Run a gateway and yield its address; at the end stop it with SIGTERM and wait for that."""
    settings, instances = load(gateway.write(folder))
    listening = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(settings, instances, on_listening=listening.set_result))
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    host, _, port = listening.result().removeprefix("http://").partition(":")
    yield host, int(port)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0


@pytest.fixture
async def address(tmp_path):
    async with serving(tmp_path) as found:
        yield found


@asynccontextmanager
async def connected(address):
    reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(TEST_TIMEOUT):
            yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def answer(reader):
    came = bytearray()
    while (found := take_answer(came)) is None:
        chunk = await reader.read(65536)
        assert chunk, bytes(came)
        came += chunk
    return found


async def answers(reader, count):
    """Read this many answers, which may arrive together."""
    found, came = [], bytearray()
    while len(found) < count:
        while (one := take_answer(came)) is not None:
            found.append(one)
        if len(found) < count:
            chunk = await reader.read(65536)
            assert chunk, bytes(came)
            came += chunk
    assert not came
    return found


async def code_of_a_message(address):
    async with connected(address) as (reader, writer):
        writer.write(request(body=message()))
        return (await answer(reader)).code


async def wait_until_closed(reader):
    """Read until the other side closes or resets the connection."""
    with suppress(ConnectionError):
        while await reader.read(65536):
            pass


async def send_slowly(writer, data):
    """Write the data again and again, until the other side closes the connection."""
    with suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0.01)


async def send_slowly_until_closed(address, begin, data, *, accepts=None):
    async with connected(address) as (reader, writer):
        writer.write(begin)
        if accepts is not None:
            assert accepts(await answer(reader))
        sending = asyncio.create_task(send_slowly(writer, data))
        await wait_until_closed(reader)
        await sending


async def test_a_silent_connection_is_closed(short_timeout, address):
    async with connected(address) as (reader, _):
        await wait_until_closed(reader)


@pytest.mark.parametrize(
    ("begin", "data"),
    [
        (b"", b"\n"),
        (b"P", b"O"),
        (b"POST /email HTTP/1.1\r\nX: ", b"x"),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n"),
    ],
    ids=["empty lines", "a method", "a header", "headers"],
)
async def test_a_connection_with_a_slow_head_is_closed(short_timeout, address, begin, data):
    await send_slowly_until_closed(address, begin, data)


async def test_a_connection_with_a_slow_second_head_is_closed(short_timeout, address):
    await send_slowly_until_closed(
        address, request(body=message()) + b"POST /em", b"a", accepts=lambda it: it.code == 1
    )


async def test_a_slow_body_is_refused_with_5_and_the_connection_closed(short_timeout, address, monkeypatch):
    monkeypatch.setattr("gatepost.web.body.BODY_TIMEOUT", 0.2)
    begin = request(body=message()).replace(b"Content-Length: ", b"Content-Length: 1") + b" "
    await send_slowly_until_closed(address, begin, b" ", accepts=lambda it: it.code == 5)


@pytest.mark.parametrize("secret", [b"wrong", b""])
async def test_a_connection_that_sends_an_unread_body_is_closed(short_timeout, address, secret):
    begin = request(body=b"", secret=secret).replace(b"Length: 0", b"Length: 1000000000")
    await send_slowly_until_closed(address, begin, b"x" * 1000, accepts=lambda it: it.code == 3)


def is_public(limits):
    """Return whether these are the limits of the public listener, and not those of the socket for commands."""
    return limits.max_connections != admin_connection.MAX_CONNECTIONS


@pytest.fixture
def limits(monkeypatch):
    """A list that holds the server's ConnectionLimits once the server runs."""
    found = []
    abort_expired = ConnectionLimits.abort_expired

    def recorded(self, now):
        if is_public(self):
            found[:] = [self]
        abort_expired(self, now)

    monkeypatch.setattr(ConnectionLimits, "abort_expired", recorded)
    return found


@asynccontextmanager
async def client_that_reads_nothing(address, limits):
    """Yield the server's side of a connection, a function that sends a request, and the socket."""
    loop = asyncio.get_running_loop()
    with socket() as client:
        client.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
        client.setblocking(False)  # noqa: FBT003  the library's own
        async with asyncio.timeout(TEST_TIMEOUT):
            await loop.sock_connect(client, address)
            while not (limits and limits[0].connections):  # noqa: ASYNC110  uvicorn has no event for it
                await asyncio.sleep(0.01)
            (served,) = limits[0].connections
            served.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)

            async def ask(headers=b""):
                """Send a request, and wait until it is answered or writing is paused."""
                answered = limits[0].total_requests
                await loop.sock_sendall(client, b"GET /metrics HTTP/1.1\r\nHost: x\r\n%s\r\n" % headers)
                while limits[0].total_requests == answered and not served.flow.write_paused:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

            yield served, ask, client
            while limits[0].connections:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@each_loop
async def test_a_client_that_reads_no_answers_is_disconnected(short_timeout, limits, address):
    """The answers to a client that sends requests and reads nothing are not buffered without limit."""
    async with client_that_reads_nothing(address, limits) as (served, ask, _):
        while not served.flow.write_paused:
            await ask()


@each_loop
async def test_further_requests_do_not_extend_the_deadline_for_reading_answers(
    short_timeout, limits, address
):
    async with client_that_reads_nothing(address, limits) as (served, ask, _):
        while not served.flow.write_paused:
            await ask()
        with suppress(ConnectionError):
            await ask()


@each_loop
async def test_a_client_that_reads_no_answers_and_asks_to_close_is_disconnected(
    short_timeout, limits, address
):
    """The bytes that the system's buffers do not take are few, and writing is not paused for them."""
    async with client_that_reads_nothing(address, limits) as (served, ask, _):
        while not served.transport.get_write_buffer_size():
            await ask()
        await ask(b"Connection: close\r\n")
        assert not served.flow.write_paused


@each_loop
@pytest.mark.parametrize(
    "headers", [b"", b"Connection: upgrade\r\nUpgrade: x\r\n"], ids=["requests", "upgrades"]
)
async def test_few_of_many_pipelined_requests_wait_and_reading_pauses(
    short_timeout, limits, address, monkeypatch, headers
):
    waiting, buffered = [], []
    parse_received = Connection._parse_received

    def recorded(self):
        buffered.append(len(self._received))
        parse_received(self)
        waiting.append(len(self.pipeline))

    monkeypatch.setattr(Connection, "_parse_received", recorded)
    requests = b"GET /health/live HTTP/1.1\r\nHost: x\r\n%s\r\n" % headers * 10_000
    async with client_that_reads_nothing(address, limits) as (_, _, client):
        with suppress(ConnectionError):
            while True:
                await asyncio.get_running_loop().sock_sendall(client, requests)
    assert max(waiting) == MAX_PIPELINED
    # The bytes that the system held when reading was paused; the answers let in no more.
    assert max(buffered) < 300_000


@each_loop
async def test_few_of_many_pipelined_large_bodies_wait(short_timeout, limits, address, monkeypatch):
    """Their client is not authenticated yet."""
    waiting = []
    parse_received = Connection._parse_received

    def recorded(self):
        parse_received(self)
        waiting.append(sum(len(one.body) for one in self.pipeline))

    monkeypatch.setattr(Connection, "_parse_received", recorded)
    requests = request("/nowhere", body=b"x" * 60_000) * 40
    async with client_that_reads_nothing(address, limits) as (_, _, client):
        with suppress(ConnectionError):
            while True:
                await asyncio.get_running_loop().sock_sendall(client, requests)
    # The bytes of one read may follow the last of them in one piece.
    assert MAX_PIPELINED_BYTES < max(waiting) < MAX_PIPELINED_BYTES + 300_000


@pytest.fixture
def limit(monkeypatch):
    """The gateway's limit for the bodies of messages, small enough for three requests to reach it."""
    small = BodyLimit(150_000)
    monkeypatch.setattr("gatepost.generation.BodyLimit", lambda _limit: small)
    return small


@each_loop
async def test_all_unfinished_bodies_share_a_limit(limit, address):
    whole = request(body=b"x" * 60_000)
    head, body = whole[:-60_000], whole[-60_000:]
    async with (
        connected(address) as (first_reader, first_writer),
        connected(address) as (second_reader, second_writer),
        connected(address) as (reader, writer),
        connected(address) as (unauthenticated_reader, unauthenticated_writer),
    ):
        for one in (first_writer, second_writer):
            one.write(whole[:-1])
        while limit.used < 2 * 59_999:  # noqa: ASYNC110  BodyLimit has no event for it
            await asyncio.sleep(0.01)

        # It is refused by its Content-Length, before the body arrives.
        writer.write(head)
        assert (await answer(reader)).code == 12
        assert limit.used == 2 * 59_999
        unauthenticated_writer.write(request(body=body, secret=b"wrong")[:-60_000])
        assert (await answer(unauthenticated_reader)).code == 3
        assert await code_of_a_message(address) == 1

        first_writer.write(b"x")
        assert (await answer(first_reader)).code == 5
        assert await code_of(address, whole) == 5
        second_writer.write(b"x")
        assert (await answer(second_reader)).code == 5
    assert limit.used == 0


async def code_of(address, data):
    async with connected(address) as (reader, writer):
        writer.write(data)
        return (await answer(reader)).code


async def test_a_chunked_body_is_refused_when_it_exceeds_the_shared_limit(limit, address):
    whole = request(body=b"x" * 60_000)
    async with (
        connected(address) as (first_reader, first_writer),
        connected(address) as (second_reader, second_writer),
    ):
        for one in (first_writer, second_writer):
            one.write(whole[:-1])
        while limit.used < 2 * 59_999:  # noqa: ASYNC110  BodyLimit has no event for it
            await asyncio.sleep(0.01)

        without_length = request("/email", b"Transfer-Encoding: chunked", body=b"")
        chunks = b"9000\r\n" + b"x" * 0x9000 + b"\r\n"
        assert await code_of(address, without_length.replace(b"Content-Length: 0\r\n", b"") + chunks) == 12

        for reader, writer in ((first_reader, first_writer), (second_reader, second_writer)):
            writer.write(b"x")
            assert (await answer(reader)).code == 5
    assert limit.used == 0


@each_loop
async def test_a_body_of_many_lines_is_not_parsed_line_by_line(address, monkeypatch):
    """Neither one body nor many pipelined ones: that would block the event loop for a third of a second."""
    parsed = 0
    parse = Connection._parse

    def counted(self, data):
        nonlocal parsed
        parsed += 1
        return parse(self, data)

    monkeypatch.setattr(Connection, "_parse", counted)
    lines = request("/nowhere", body=b"\n" * 60_000)
    async with connected(address) as (reader, writer):
        for count in (1, 40):
            writer.write(lines * count)
            assert [one.status for one in await answers(reader, count)] == [404] * count
    assert parsed < 41 * 60_000 / (4 * MIN_REQUEST_BYTES)


@each_loop
async def test_invalid_bytes_after_many_requests_suppress_no_answer(address, monkeypatch):
    accept = Acceptance.accept

    async def slow_accept(*arguments):
        await asyncio.sleep(0.002)
        return await accept(*arguments)

    monkeypatch.setattr(Acceptance, "accept", slow_accept)
    loop = asyncio.get_running_loop()
    with socket() as client:
        client.setblocking(False)  # noqa: FBT003  the library's own
        await loop.sock_connect(client, address)
        data = request(body=message()) * 20 + b"\x16\x03 nonsense\r\n\r\n" + b"j" * 300_000
        await loop.sock_sendall(client, data)
        # The client reads late, when the gateway has already closed the connection.
        await asyncio.sleep(0.3)
        came = bytearray()
        while chunk := await loop.sock_recv(client, 1000):
            came += chunk
    assert [take_answer(came).code for _ in range(20)] == [1] * 20
    assert not came


@each_loop
async def test_a_shutdown_reads_pipelined_requests_for_a_limited_time(tmp_path, monkeypatch):
    monkeypatch.setattr("gatepost.server.connection_limits.READ_GRACE", 0.2)
    begun = asyncio.Event()

    async def slow_accept(*_):
        begun.set()
        await asyncio.sleep(0.005)
        return b"{}"

    monkeypatch.setattr(Acceptance, "accept", slow_accept)
    async with serving(tmp_path) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(request(body=message()) * 2_000)
        await begun.wait()
    found = []
    came = bytearray(await reader.read())
    while one := take_answer(came):
        found.append(one)
    writer.close()
    assert not came
    assert MAX_PIPELINED < len(found) < 2_000
    assert {one.status for one in found} == {200}
    assert [b"\nconnection: close\r" in one.head for one in found] == [False] * (len(found) - 1) + [True]


async def test_an_idle_connection_outlives_the_client_timeout(short_timeout, address):
    async with connected(address) as (reader, writer):
        writer.write(request(body=message()))
        assert (await answer(reader)).code == 1
        async with connected(address) as (silent, _):
            await wait_until_closed(silent)
        writer.write(request(body=message()))
        assert (await answer(reader)).code == 1


async def test_an_idle_connection_is_closed_after_the_idle_timeout(address, monkeypatch):
    monkeypatch.setattr("gatepost.server.protocol.IDLE_TIMEOUT", 0.3)
    async with connected(address) as (reader, writer):
        writer.write(request(body=message()))
        assert (await answer(reader)).code == 1
        await wait_until_closed(reader)


async def test_a_slow_handler_has_no_deadline(short_timeout, address, monkeypatch):
    """The timeout is for the client, not for the gateway's own work."""
    go_on = asyncio.Event()

    async def slow_accept(*_):
        await go_on.wait()
        return b"{}"

    monkeypatch.setattr(Acceptance, "accept", slow_accept)
    async with connected(address) as (reader, writer):
        writer.write(request(body=message()))
        async with connected(address) as (silent, _):
            await wait_until_closed(silent)
        go_on.set()
        assert (await answer(reader)).body == b"{}"


@each_loop
async def test_the_handler_finishes_after_the_client_disconnected(limits, address, monkeypatch):
    """A client that disconnects does not know whether its message was accepted; its repeat must get that answer."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    accept = Acceptance.accept

    async def slow_accept(*arguments):
        begun.set()
        await go_on.wait()
        return await accept(*arguments)

    monkeypatch.setattr(Acceptance, "accept", slow_accept)
    body = message(ext_user_id="anna", email_uid="gone")
    async with asyncio.timeout(TEST_TIMEOUT):
        _, writer = await asyncio.open_connection(*address)
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        writer.write(request(body=body))
        await begun.wait()
        writer.transport.abort()
        while not limits or limits[0].connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        go_on.set()
        while limits[0].tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    async with connected(address) as (reader, writer):
        writer.write(request(body=message(ext_user_id="anna", email_uid="gone", subject="other")))
        assert (await answer(reader)).code == 9
        writer.write(request(body=body))
        assert (await answer(reader)).code == 0


@pytest.fixture
def few_connections(monkeypatch):
    monkeypatch.setattr("gatepost.server.process.MAX_CONNECTIONS", 50)


async def test_many_silent_connections_keep_no_client_out(few_connections, address):
    silent = [await asyncio.open_connection(*address) for _ in range(300)]
    try:
        assert [await code_of_a_message(address) for _ in range(5)] == [1] * 5
        closed = [reader for reader, _ in silent if reader.at_eof() or reader.exception()]
        assert len(closed) >= 200
    finally:
        for _, writer in silent:
            writer.transport.abort()


async def test_many_idle_connections_keep_no_client_out(few_connections, address):
    connections = [await asyncio.open_connection(*address) for _ in range(100)]
    try:
        for reader, writer in connections[50:]:
            writer.write(request(body=message()))
            assert (await answer(reader)).code == 1
        assert [await code_of_a_message(address) for _ in range(5)] == [1] * 5
    finally:
        for _, writer in connections:
            writer.transport.abort()


async def test_closed_connections_leave_no_state(limits, address):
    for cut in (0, 5, 40, -1, None):
        for _ in range(5):
            _, writer = await asyncio.open_connection(*address)
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            writer.write(request(body=message())[:cut])
            await writer.drain()
            writer.transport.abort()
    async with asyncio.timeout(TEST_TIMEOUT):
        while not limits or limits[0].connections or limits[0].tasks:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.02)
    assert not limits[0].waiting
    assert not limits[0].idle


@each_loop
async def test_requests_that_arrive_during_a_shutdown_are_answered(tmp_path, monkeypatch):
    """On idle connections, and on others that the gateway has not accepted yet."""
    clients = []
    shutdown = HttpServer.shutdown

    async def send_first(server, sockets=None):
        # Everything is sent before the server's event loop can read again.
        for number, client in enumerate(clients if is_public(server.server_state) else []):
            if number >= 20:
                client.connect(address)
            client.sendall(request(body=message(ext_user_id="anna", email_uid=f"late {number}")))
        await shutdown(server, sockets)

    monkeypatch.setattr(HttpServer, "shutdown", send_first)
    async with serving(tmp_path) as address:
        clients += [socket() for _ in range(40)]
        for client in clients[:20]:
            client.connect(address)
        assert await code_of_a_message(address) == 1
    for client in clients:
        with client:
            came = bytearray()
            while chunk := client.recv(65536):
                came += chunk
            found = take_answer(came)
            assert found.code == 0
            assert b"\nconnection: close\r" in found.head
            assert not came


@each_loop
@pytest.mark.parametrize("turns", range(1, 4))
async def test_a_connection_accepted_at_the_end_of_a_shutdown_is_closed(tmp_path, monkeypatch, turns):
    """The client connects ``turns`` turns of the event loop before the server closes."""
    closing = iter([True] * turns)
    with socket() as late:

        def connect_first(_listening):
            if not closing_begun.is_set():
                closing_begun.set()
                late.connect(address)
            return next(closing, False)

        closing_begun = asyncio.Event()
        monkeypatch.setattr("gatepost.server.http_server._has_pending_connections", connect_first)
        async with serving(tmp_path) as address:
            pass
        late.setblocking(False)  # noqa: FBT003  the library's own
        with suppress(ConnectionError):
            assert late.recv(1) == b""
