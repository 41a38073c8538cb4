"""Callers who take their time, and crowds of them: at a gateway in this process, whose clock is set ahead."""

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
from gatepost.server.process import _Uvicorn, serve
from gatepost.server.protocol import PIPELINED, PIPELINED_BYTES, SHORTEST, Connection, Connections

PATIENCE = 60.0
"""Seconds that a test waits for what must come; a busy machine takes its time."""


each_loop = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"]
)
"""A gateway runs on uvloop where there is one."""


@pytest.fixture
def brisk(monkeypatch):
    monkeypatch.setattr("gatepost.server.protocol.HEAD_DEADLINE", 1.0)


@asynccontextmanager
async def serving(folder):
    """A gateway; yields its address. On the way out it is told to stop, and has stopped."""
    settings, instances = load(gateway.write(folder))
    listening = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(settings, instances, listening=listening.set_result))
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
        async with asyncio.timeout(PATIENCE):
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
    """So many, which may come together."""
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


async def asked(address):
    async with connected(address) as (reader, writer):
        writer.write(request(body=message()))
        return (await answer(reader)).code


async def end(reader):
    """Read until the other side ends it; how is not said."""
    with suppress(ConnectionError):
        while await reader.read(65536):
            pass


async def dripping(writer, byte):
    """Write without end, until the other side ends it."""
    with suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(byte)
            await writer.drain()
            await asyncio.sleep(0.01)


async def drip_until_cut(address, begin, byte, *, wants=None):
    async with connected(address) as (reader, writer):
        writer.write(begin)
        if wants is not None:
            assert wants(await answer(reader))
        drip = asyncio.create_task(dripping(writer, byte))
        await end(reader)
        await drip


async def test_who_says_nothing_is_cut_off(brisk, address):
    async with connected(address) as (reader, _):
        await end(reader)


@pytest.mark.parametrize(
    ("begin", "byte"),
    [
        (b"", b"\n"),
        (b"P", b"O"),
        (b"POST /email HTTP/1.1\r\nX: ", b"x"),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n"),
    ],
    ids=["empty lines", "a method", "a header", "headers"],
)
async def test_a_head_that_drips_is_cut_off(brisk, address, begin, byte):
    await drip_until_cut(address, begin, byte)


async def test_a_second_head_that_drips_is_cut_off(brisk, address):
    await drip_until_cut(address, request(body=message()) + b"POST /em", b"a", wants=lambda it: it.code == 1)


async def test_a_body_that_drips_is_5_and_then_cut_off(brisk, address, monkeypatch):
    monkeypatch.setattr("gatepost.web.routes.BODY_DEADLINE", 0.2)
    begin = request(body=message()).replace(b"Content-Length: ", b"Content-Length: 1") + b" "
    await drip_until_cut(address, begin, b" ", wants=lambda it: it.code == 5)


@pytest.mark.parametrize("secret", [b"wrong", b""])
async def test_a_body_that_nobody_reads_is_cut_off(brisk, address, secret):
    begin = request(body=b"", secret=secret).replace(b"Length: 0", b"Length: 1000000000")
    await drip_until_cut(address, begin, b"x" * 1000, wants=lambda it: it.code == 3)


@pytest.fixture
def seen(monkeypatch):
    """The server's connections, once it runs."""
    found = []
    sweep = Connections.sweep

    def noted(self, now):
        found[:] = [self]
        sweep(self, now)

    monkeypatch.setattr(Connections, "sweep", noted)
    return found


@asynccontextmanager
async def greedy(address, seen):
    """Somebody who asks and reads nothing: the server's side of that connection, how to ask, and the socket."""
    loop = asyncio.get_running_loop()
    with socket() as asking:
        asking.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
        asking.setblocking(False)  # noqa: FBT003  the library's own
        async with asyncio.timeout(PATIENCE):
            await loop.sock_connect(asking, address)
            while not (seen and seen[0].connections):  # noqa: ASYNC110  uvicorn tells nobody
                await asyncio.sleep(0.01)
            (served,) = seen[0].connections
            served.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)

            async def ask(headers=b""):
                """Ask once more; returns when that has been answered, or nobody takes the answers any more."""
                answered = seen[0].total_requests
                await loop.sock_sendall(asking, b"GET /metrics HTTP/1.1\r\nHost: x\r\n%s\r\n" % headers)
                while seen[0].total_requests == answered and not served.flow.write_paused:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

            yield served, ask, asking
            while seen[0].connections:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@each_loop
async def test_who_does_not_take_the_answers_is_cut_off(brisk, seen, address):
    """It asks and asks, and reads nothing: what is said to it is not kept for ever."""
    async with greedy(address, seen) as (served, ask, _):
        while not served.flow.write_paused:
            await ask()


@each_loop
async def test_who_does_not_take_the_answers_gets_no_time_by_asking_for_more(brisk, seen, address):
    async with greedy(address, seen) as (served, ask, _):
        while not served.flow.write_paused:
            await ask()
        with suppress(ConnectionError):
            await ask()


@each_loop
async def test_who_takes_no_answers_and_wants_to_close_is_cut_off(brisk, seen, address):
    """What the system has no room for any more is little, and nothing waits for it."""
    async with greedy(address, seen) as (served, ask, _):
        while not served.transport.get_write_buffer_size():
            await ask()
        await ask(b"Connection: close\r\n")
        assert not served.flow.write_paused


@each_loop
@pytest.mark.parametrize(
    "headers", [b"", b"Connection: upgrade\r\nUpgrade: x\r\n"], ids=["requests", "upgrades"]
)
async def test_of_an_endless_row_of_requests_few_wait_and_the_caller_is_held_back(
    brisk, seen, address, monkeypatch, headers
):
    waiting, kept = [], []
    read_on = Connection._read_on

    def noted(self):
        kept.append(len(self._unread))
        read_on(self)
        waiting.append(len(self.pipeline))

    monkeypatch.setattr(Connection, "_read_on", noted)
    row = b"GET /health/live HTTP/1.1\r\nHost: x\r\n%s\r\n" % headers * 10_000
    async with greedy(address, seen) as (_, _, asking):
        with suppress(ConnectionError):
            while True:
                await asyncio.get_running_loop().sock_sendall(asking, row)
    assert max(waiting) == PIPELINED
    # What the system had at hand when reading was paused, not what each answer lets in.
    assert max(kept) < 300_000


@each_loop
async def test_of_an_endless_row_of_large_bodies_few_wait(brisk, seen, address, monkeypatch):
    """Of requests of whom nobody knows whose they are."""
    waiting = []
    read_on = Connection._read_on

    def noted(self):
        read_on(self)
        waiting.append(sum(len(cycle.body) for cycle, _ in self.pipeline))

    monkeypatch.setattr(Connection, "_read_on", noted)
    row = request("/nowhere", body=b"x" * 60_000) * 40
    async with greedy(address, seen) as (_, _, asking):
        with suppress(ConnectionError):
            while True:
                await asyncio.get_running_loop().sock_sendall(asking, row)
    # What was read at once may stand in one piece behind the last of them.
    assert PIPELINED_BYTES < max(waiting) < PIPELINED_BYTES + 300_000


@pytest.fixture
def limit(monkeypatch):
    """The gateway's, for the bodies of messages: small enough to be reached by three."""
    made = BodyLimit(150_000)
    monkeypatch.setattr("gatepost.app.BodyLimit", lambda _most: made)
    return made


@each_loop
async def test_all_unfinished_bodies_together_have_a_limit(limit, address):
    whole = request(body=b"x" * 60_000)
    head, body = whole[:-60_000], whole[-60_000:]
    async with (
        connected(address) as (first, begun),
        connected(address) as (second, begun_too),
        connected(address) as (reader, writer),
        connected(address) as (stranger, strange),
    ):
        for one in (begun, begun_too):
            one.write(whole[:-1])
        while limit.used < 2 * 59_999:  # noqa: ASYNC110  nobody could tell it
            await asyncio.sleep(0.01)

        # As soon as it says how large it is, and not when it has sent all that.
        writer.write(head)
        assert (await answer(reader)).code == 12
        assert limit.used == 2 * 59_999
        strange.write(request(body=body, secret=b"wrong")[:-60_000])
        assert (await answer(stranger)).code == 3
        assert await asked(address) == 1

        begun.write(b"x")
        assert (await answer(first)).code == 5
        assert await larger(address, whole) == 5
        begun_too.write(b"x")
        assert (await answer(second)).code == 5
    assert limit.used == 0


async def larger(address, data):
    async with connected(address) as (reader, writer):
        writer.write(data)
        return (await answer(reader)).code


async def test_a_body_that_does_not_say_how_large_it_is_is_refused_when_it_grows_over(limit, address):
    whole = request(body=b"x" * 60_000)
    async with connected(address) as (first, begun), connected(address) as (second, begun_too):
        for one in (begun, begun_too):
            one.write(whole[:-1])
        while limit.used < 2 * 59_999:  # noqa: ASYNC110  nobody could tell it
            await asyncio.sleep(0.01)

        unmeasured = request("/email", b"Transfer-Encoding: chunked", body=b"")
        chunks = b"9000\r\n" + b"x" * 0x9000 + b"\r\n"
        assert await larger(address, unmeasured.replace(b"Content-Length: 0\r\n", b"") + chunks) == 12

        for reader, writer in ((first, begun), (second, begun_too)):
            writer.write(b"x")
            assert (await answer(reader)).code == 5
    assert limit.used == 0


@each_loop
async def test_a_body_of_many_lines_is_not_parsed_line_by_line(address, monkeypatch):
    """Neither alone nor where only a few more may wait: that would hold the loop for a third of a second."""
    parsed = 0
    parse = Connection._parse

    def noted(self, data):
        nonlocal parsed
        parsed += 1
        parse(self, data)

    monkeypatch.setattr(Connection, "_parse", noted)
    lines = request("/nowhere", body=b"\n" * 60_000)
    async with connected(address) as (reader, writer):
        for row in (1, 40):
            writer.write(lines * row)
            assert [one.status for one in await answers(reader, row)] == [404] * row
    assert parsed < 41 * 60_000 / (4 * SHORTEST)


@each_loop
async def test_nonsense_behind_many_requests_takes_no_answer_with_it(address, monkeypatch):
    take = Acceptance.take

    async def slowly(*arguments):
        await asyncio.sleep(0.002)
        return await take(*arguments)

    monkeypatch.setattr(Acceptance, "take", slowly)
    loop = asyncio.get_running_loop()
    with socket() as asking:
        asking.setblocking(False)  # noqa: FBT003  the library's own
        await loop.sock_connect(asking, address)
        row = request(body=message()) * 20 + b"\x16\x03 nonsense\r\n\r\n" + b"j" * 300_000
        await loop.sock_sendall(asking, row)
        # It reads late, when the other side has long closed.
        await asyncio.sleep(0.3)
        came = bytearray()
        while chunk := await loop.sock_recv(asking, 1000):
            came += chunk
    assert [take_answer(came).code for _ in range(20)] == [1] * 20
    assert not came


@each_loop
async def test_at_a_stop_a_row_of_requests_is_taken_in_for_a_while_only(tmp_path, monkeypatch):
    monkeypatch.setattr("gatepost.server.protocol.LAST_TAKEN", 0.2)
    begun = asyncio.Event()

    async def slowly(*_):
        begun.set()
        await asyncio.sleep(0.005)
        return b"{}"

    monkeypatch.setattr(Acceptance, "take", slowly)
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
    assert PIPELINED < len(found) < 2_000
    assert {one.status for one in found} == {200}
    assert [b"\nconnection: close\r" in one.head for one in found] == [False] * (len(found) - 1) + [True]


async def test_a_kept_connection_outlives_the_deadline_of_a_head(brisk, address):
    async with connected(address) as (reader, writer):
        writer.write(request(body=message()))
        assert (await answer(reader)).code == 1
        async with connected(address) as (silent, _):
            await end(silent)
        writer.write(request(body=message()))
        assert (await answer(reader)).code == 1


async def test_a_kept_connection_ends_at_last(address, monkeypatch):
    monkeypatch.setattr("gatepost.server.protocol.IDLE_DEADLINE", 0.3)
    async with connected(address) as (reader, writer):
        writer.write(request(body=message()))
        assert (await answer(reader)).code == 1
        await end(reader)


async def test_a_slow_answer_is_waited_for(brisk, address, monkeypatch):
    """The deadline is for callers, not for the gateway's own work."""
    go_on = asyncio.Event()

    async def slowly(*_):
        await go_on.wait()
        return b"{}"

    monkeypatch.setattr("gatepost.intake.accept.Acceptance.take", slowly)
    async with connected(address) as (reader, writer):
        writer.write(request(body=message()))
        async with connected(address) as (silent, _):
            await end(silent)
        go_on.set()
        assert (await answer(reader)).body == b"{}"


@each_loop
async def test_the_handler_finishes_when_the_caller_has_gone(seen, address, monkeypatch):
    """Who hangs up does not know whether it was taken; who asks again must be told so."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    take = Acceptance.take

    async def slowly(*arguments):
        begun.set()
        await go_on.wait()
        return await take(*arguments)

    monkeypatch.setattr(Acceptance, "take", slowly)
    body = message(ext_user_id="anna", email_uid="gone")
    async with asyncio.timeout(PATIENCE):
        _, writer = await asyncio.open_connection(*address)
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        writer.write(request(body=body))
        await begun.wait()
        writer.transport.abort()
        while not seen or seen[0].connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        go_on.set()
        while seen[0].tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    async with connected(address) as (reader, writer):
        writer.write(request(body=message(ext_user_id="anna", email_uid="gone", subject="other")))
        assert (await answer(reader)).code == 9
        writer.write(request(body=body))
        assert (await answer(reader)).code == 0


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr("gatepost.server.process.MOST_CONNECTIONS", 50)


async def test_a_crowd_that_says_nothing_shuts_nobody_out(few, address):
    crowd = [await asyncio.open_connection(*address) for _ in range(300)]
    try:
        assert [await asked(address) for _ in range(5)] == [1] * 5
        gone = [reader for reader, _ in crowd if reader.at_eof() or reader.exception()]
        assert len(gone) >= 200
    finally:
        for _, writer in crowd:
            writer.transport.abort()


async def test_a_crowd_of_kept_connections_shuts_nobody_out(few, address):
    crowd = [await asyncio.open_connection(*address) for _ in range(100)]
    try:
        for reader, writer in crowd[50:]:
            writer.write(request(body=message()))
            assert (await answer(reader)).code == 1
        assert [await asked(address) for _ in range(5)] == [1] * 5
    finally:
        for _, writer in crowd:
            writer.transport.abort()


async def test_callers_who_come_and_go_leave_nothing_behind(seen, address):
    for cut in (0, 5, 40, -1, None):
        for _ in range(5):
            _, writer = await asyncio.open_connection(*address)
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            writer.write(request(body=message())[:cut])
            await writer.drain()
            writer.transport.abort()
    async with asyncio.timeout(PATIENCE):
        while not seen or seen[0].connections or seen[0].tasks:  # noqa: ASYNC110  uvicorn tells nobody
            await asyncio.sleep(0.02)
    assert not seen[0].waiting
    assert not seen[0].idle


@each_loop
async def test_what_comes_in_while_the_doors_close_is_answered(tmp_path, monkeypatch):
    """On connections that are kept, and on some that nobody has accepted yet."""
    crowd = []
    shutdown = _Uvicorn.shutdown

    async def ask_first(server, sockets=None):
        # All of it before the server's loop can look again.
        for number, asking in enumerate(crowd):
            if number >= 20:
                asking.connect(address)
            asking.sendall(request(body=message(ext_user_id="anna", email_uid=f"late {number}")))
        await shutdown(server, sockets)

    monkeypatch.setattr(_Uvicorn, "shutdown", ask_first)
    async with serving(tmp_path) as address:
        crowd += [socket() for _ in range(40)]
        for asking in crowd[:20]:
            asking.connect(address)
        assert await asked(address) == 1
    for asking in crowd:
        with asking:
            came = bytearray()
            while chunk := asking.recv(65536):
                came += chunk
            found = take_answer(came)
            assert found.code == 0
            assert b"\nconnection: close\r" in found.head
            assert not came


@each_loop
@pytest.mark.parametrize("turns", range(1, 4))
async def test_who_is_accepted_in_the_moment_of_closing_is_not_left_waiting(tmp_path, monkeypatch, turns):
    """It connects ``turns`` turns of the loop before the server closes."""
    closing = iter([True] * turns)
    with socket() as late:

        def connect_first(_listening):
            if not closing_begun.is_set():
                closing_begun.set()
                late.connect(address)
            return next(closing, False)

        closing_begun = asyncio.Event()
        monkeypatch.setattr("gatepost.server.process._somebody_waits", connect_first)
        async with serving(tmp_path) as address:
            pass
        late.setblocking(False)  # noqa: FBT003  the library's own
        with suppress(ConnectionError):
            assert late.recv(1) == b""
