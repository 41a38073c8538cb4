"""What an ASGI application sends becomes one valid answer."""

import asyncio
import tracemalloc

import pytest
import structlog

from gatepost.server import exchange as exchanges
from gatepost.server.exchange import Exchange
from gatepost.server.flow_control import FlowControl
from gatepost.web.body import BODY_ARRIVED


class Recorder(asyncio.Transport):
    """A connection that keeps what is written to it."""

    def __init__(self):
        super().__init__()
        self.written = []
        self.is_closed = False

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.is_closed = True

    def is_closing(self):
        return self.is_closed


class Owner:
    """What an Exchange needs of its connection."""

    default_headers = ((b"date", b"today"),)

    def __init__(self):
        self.transport = Recorder()
        self.flow = FlowControl(self.transport)
        self.ended = 0

    def end_exchange(self):
        self.ended += 1


@pytest.fixture
def logged(monkeypatch):
    with structlog.testing.capture_logs() as entries:
        monkeypatch.setattr(exchanges, "_log", structlog.get_logger())
        yield entries


async def answered(*messages, method="GET"):
    """The connection after an application has sent these messages."""
    owner = Owner()

    async def app(_scope, _receive, send):
        for message in messages:
            await send(message)

    scope = {"type": "http", "method": method, "extensions": {}}
    await Exchange(owner, scope, keep_alive=True, expects_continue=False).run(app)
    return owner


def start(*headers, status=200):
    return {"type": "http.response.start", "status": status, "headers": headers}


def piece(data, *, more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


async def test_head_and_body_are_written_together():
    owner = await answered(start((b"content-length", b"2")), piece(b"ok"))

    assert owner.transport.written == [b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 2\r\n\r\nok"]
    assert owner.ended == 1


async def test_a_body_without_a_length_is_sent_in_chunks():
    owner = await answered(start(), piece(b"one", more=True), piece(b""))

    head, _, first = owner.transport.written[0].partition(b"\r\n\r\n")
    assert head.endswith(b"\r\ntransfer-encoding: chunked")
    assert first + b"".join(owner.transport.written[1:]) == b"3\r\none\r\n0\r\n\r\n"


async def test_an_answer_to_head_has_no_body():
    owner = await answered(start((b"content-length", b"2")), piece(b"ok"), method="HEAD")

    assert b"".join(owner.transport.written).endswith(b"content-length: 2\r\n\r\n")


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b"])
async def test_a_control_character_in_a_header_makes_the_answer_a_500(value):
    owner = await answered(start((b"x-text", value), (b"content-length", b"0")), piece(b""))

    (written,) = owner.transport.written
    assert written.startswith(b"HTTP/1.1 500 ")
    assert owner.transport.is_closed


async def test_an_answer_of_an_invalid_head_leaves_nothing_in_the_500():
    owner = await answered(start((b"x-text", b"a\nb")), piece(b"ok"))

    head, _, body = b"".join(owner.transport.written).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"content-length: 0" in head
    assert body == b""


@pytest.mark.parametrize("body", [b"o", b"okay"])
async def test_a_body_of_another_length_than_stated_closes_the_connection(body):
    owner = await answered(start((b"content-length", b"2")), piece(body))

    assert owner.transport.is_closed
    assert owner.transport.written == []


async def test_a_body_in_tiny_pieces_takes_little_more_memory_than_its_bytes():
    exchange = Exchange(Owner(), {}, keep_alive=True, expects_continue=False)
    pieces = (number.to_bytes(2) for number in range(20_000))
    tracemalloc.start()
    try:
        for piece_of_body in pieces:
            exchange.add(piece_of_body)
        memory, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert memory < 3 * 40_000


async def test_an_application_that_answers_nothing_gets_a_500():
    owner = await answered()

    assert owner.transport.written[0].startswith(b"HTTP/1.1 500 ")
    assert owner.transport.is_closed


async def test_a_request_that_a_stop_cancels_is_answered_with_503(logged):
    owner = Owner()
    begun = asyncio.Event()

    async def app(_scope, _receive, _send):
        begun.set()
        await asyncio.Event().wait()

    scope = {"type": "http", "method": "POST", "extensions": {}}
    task = asyncio.create_task(Exchange(owner, scope, keep_alive=True, expects_continue=False).run(app))
    await begun.wait()
    task.cancel()
    await task

    assert owner.transport.written[0].startswith(b"HTTP/1.1 503 ")
    assert owner.transport.is_closed
    assert logged == []


async def test_a_request_that_waited_for_something_cancelled_is_an_error_in_the_log(logged):
    owner = Owner()

    async def app(_scope, _receive, _send):
        shared = asyncio.get_running_loop().create_future()
        shared.cancel()
        await shared

    scope = {"type": "http", "method": "POST", "extensions": {}}
    await Exchange(owner, scope, keep_alive=True, expects_continue=False).run(app)

    assert owner.transport.written[0].startswith(b"HTTP/1.1 500 ")
    assert [entry["event"] for entry in logged] == ["internal_error"]


async def test_after_a_body_was_taken_at_once_only_a_disconnect_is_received():
    owner = Owner()
    exchange = Exchange(
        owner, {"type": "http", "method": "POST", "extensions": {}}, keep_alive=True, expects_continue=True
    )
    exchange.add(b"one")
    assert BODY_ARRIVED not in exchange.scope["extensions"]
    exchange.add(b"two")
    exchange.end_body()

    assert exchange.scope["extensions"][BODY_ARRIVED]() == b"onetwo"
    receiving = asyncio.create_task(exchange.receive())
    await asyncio.sleep(0)
    assert not receiving.done()
    exchange.disconnect()
    assert await receiving == {"type": "http.disconnect"}
    # The body is here, so that the client is not told to send it.
    assert owner.transport.written == []


async def test_of_a_body_that_was_begun_by_messages_the_rest_is_taken_at_once():
    exchange = Exchange(
        Owner(), {"type": "http", "method": "POST", "extensions": {}}, keep_alive=True, expects_continue=False
    )
    exchange.add(b"one")
    assert (await exchange.receive())["body"] == b"one"
    exchange.add(b"two")
    exchange.end_body()

    assert exchange.scope["extensions"][BODY_ARRIVED]() == b"two"
