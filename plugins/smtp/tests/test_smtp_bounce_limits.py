"""What a client of the bounce listener can't do: fill the memory, stay for ever, block, hide, or stop the gateway."""

import asyncio
import contextlib
import tracemalloc

import pytest

from gatepost_smtp import bounce_session
from gatepost_smtp.addresses import return_path
from gatepost_smtp.testing.bounces import BounceClient

ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"
ADDRESS = return_path(ID, "bounces.example", "a shared secret")
FIELDS = (
    "Content-Type: multipart/report; boundary=limit\r\n\r\n--limit\r\nContent-Type: message/delivery-status\r\n\r\n"
    "Reporting-MTA: dns; mx.example\r\n\r\nFinal-Recipient: rfc822; ann@post.example\r\nAction: failed\r\n\r\n--limit"
)
FAILED = [("failed", ID, "")]


async def send_large(client, chunk, count):
    """Send a mail of this many chunks, and return the code of the reply."""
    await client.begin(ADDRESS)
    client.writer.write(FIELDS.encode())
    for _ in range(count):
        client.writer.write(chunk)
        await client.writer.drain()
    return await client.end("")


@pytest.mark.parametrize("line", [b"x" * 76 + b"\r\n", b"\r\n", b"x", b"\r", b"\r\n.."])
async def test_a_mail_of_50_megabytes_is_read_and_not_stored(recorder, listener, line):
    chunk = line * (2**16 // len(line))
    async with BounceClient.connected(listener) as client:
        tracemalloc.start()
        try:
            assert await send_large(client, chunk, 800) == 250
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert recorder.events == FAILED
    assert peak < 8 * 2**20


async def test_a_mail_beyond_the_announced_size_is_refused_for_good(recorder, listener):
    async with BounceClient.connected(listener) as client:
        assert await send_large(client, b"x" * 2**16, 1024) == 552
        assert await client.command(f"MAIL FROM:<> SIZE={64 * 2**20 + 1}") == 552
        assert await client.command(f"MAIL FROM:<> size={64 * 2**20} BODY=8BITMIME SMTPUTF8") == 250

    assert recorder.reports == []


async def test_the_extensions_are_those_that_it_has(listener):
    async with BounceClient.connected(listener) as client:
        assert await client.reader.readline() == b"220 bounces.example ESMTP\r\n"
        client.writer.write(b"EHLO mx.example\r\nQUIT\r\n")
        lines = (await client.rest()).decode().splitlines()

    assert [line[4:] for line in lines] == [
        *("bounces.example", "PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"),
        *("SIZE 67108864", "2.0.0 bye"),
    ]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("HELO mx.example", 250),
        ("helo", 501),
        ("EHLO", 501),
        ("NOOP anything", 250),
        ("RSET", 250),
        ("MAIL FROM:<a@b.example>", 503),
        ("RCPT TO:<a@b.example>", 503),
        ("DATA", 503),
        ("DATA now", 501),
        ("STARTTLS", 502),
        ("VRFY ann", 502),
        ("EXPN ann", 502),
        ("AUTH PLAIN AGFubgBhbm4=", 502),
        ("HELP", 502),
        ("BDAT 5 LAST", 502),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2", 502),
        ("", 502),
        ("\0\xff", 502),
        ("NOOP\nNOOP", 502),
    ],
)
async def test_each_command_has_its_answer(listener, command, code):
    async with BounceClient.connected(listener) as client:
        assert await client.reply() == 220
        assert await client.command(command) == code


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("MAIL", 501),
        ("MAIL FROM:a@b.example", 501),
        ("MAIL TO:<a@b.example>", 501),
        ("MAIL FROM:<> SIZE=x", 501),
        ("MAIL FROM:<> SIZE", 501),
        ("MAIL FROM:<> BODY=BINARYMIME", 501),
        ("MAIL FROM:<> RET=HDRS", 555),
        ("MAIL FROM:<\n>", 501),
        ("mail from: <>", 250),
        ('MAIL FROM:<"a b>"@b.example>', 250),
    ],
)
async def test_each_sender_has_its_answer(listener, command, code):
    async with BounceClient.connected(listener) as client:
        await client.reply()
        await client.command("EHLO mx.example")
        assert await client.command(command) == code


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"RCPT TO:<{ADDRESS}> NOTIFY=NEVER", 555),
        (f"RCPT TO:{ADDRESS}", 501),
        (f"RCPT FROM:<{ADDRESS}>", 501),
        (f"rcpt to: <{ADDRESS}>", 250),
        ("MAIL FROM:<>", 503),
    ],
)
async def test_each_recipient_has_its_answer(listener, command, code):
    async with BounceClient.connected(listener) as client:
        await client.begin()
        assert await client.command(command) == code


SMUGGLED = f"MAIL FROM:<>\r\nRCPT TO:<{ADDRESS}>\r\nDATA\r\n{FIELDS}"


@pytest.mark.parametrize(
    "end", ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n\0.\r\n", "\n..\r\n"]
)
async def test_only_the_standard_end_of_a_mail_ends_it(recorder, listener, end):
    async with BounceClient.connected(listener) as client:
        await client.begin(ADDRESS)
        assert await client.end(f"Subject: one{end}{SMUGGLED}") == 250
        assert await client.command("QUIT") == 221

    assert recorder.ignored == ["no_report"]


async def test_a_mail_may_arrive_in_any_pieces(recorder, listener):
    async with BounceClient.connected(listener) as client:
        await client.begin(ADDRESS)
        for byte in f"{FIELDS}\r\n.\r\nQUIT\r\n".encode():
            client.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.rest()).startswith(b"250 2.0.0 ")

    assert recorder.events == FAILED


async def test_commands_may_be_sent_together(recorder, listener):
    mail = f"MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<{ADDRESS}>\r\nDATA\r\n{FIELDS}\r\n.\r\n"
    async with BounceClient.connected(listener) as client:
        client.writer.write(f"EHLO mx.example\r\n{mail}{mail}QUIT\r\n".encode())
        codes = [line[:4] for line in (await client.rest()).decode().splitlines()]

    once = ["250 ", "550 ", "250 ", "354 ", "250 "]
    assert [code for code in codes if code[3] == " "] == ["220 ", "250 ", *once, *once, "221 "]
    assert recorder.events == 2 * FAILED


async def test_a_line_without_an_end_ends_the_connection(listener):
    async with BounceClient.connected(listener) as client:
        await client.reply()
        client.writer.write(b"NOOP " + b"x" * 995 + b"\r\n")
        assert await client.reply() == 250
        client.writer.write(b"x" * 1001)
        assert await client.rest() == b"500 5.5.2 the line is too long\r\n"


async def test_errors_and_commands_are_counted(listener):
    async with BounceClient.connected(listener) as client:
        client.writer.write(b"odd\r\n" * 50)
        replies = (await client.rest()).decode().splitlines()
        assert len(replies) == 1 + 10 + 1
        assert replies[-1].startswith("421 ")
    async with BounceClient.connected(listener) as client:
        client.writer.write(b"NOOP\r\n" * 5000)
        replies = (await client.rest()).decode().splitlines()
        assert len(replies) == 1 + 1000 + 1
        assert replies[-1].startswith("421 ")


async def test_a_client_that_sends_many_commands_leaves_others_their_turn(listener, monkeypatch):
    """Each command is a turn of the event loop."""
    turn, turns_of_commands = 0, []

    async def noop(_session, _argument):
        turns_of_commands.append(turn)
        return "250 2.0.0 ok"

    monkeypatch.setattr(bounce_session.BounceSession, "_noop", noop)
    async with BounceClient.connected(listener) as client:
        await client.reply()
        client.writer.write(b"NOOP\r\n" * 900)
        while len(turns_of_commands) < 900:
            await asyncio.sleep(0)
            turn += 1

    assert len(set(turns_of_commands)) > 800


async def test_a_silent_client_is_disconnected(listener, set_ahead):
    async with BounceClient.connected(listener) as client:
        await client.reply()
        set_ahead(301)
        assert await client.rest() == b"421 4.4.2 timeout\r\n"


async def test_a_mail_that_stops_is_given_up(recorder, listener, set_ahead):
    async with BounceClient.connected(listener) as client:
        await client.begin(ADDRESS)
        client.writer.write(FIELDS.encode())
        await client.writer.drain()
        await asyncio.sleep(0.05)
        set_ahead(301)
        assert await client.rest() == b"421 4.4.2 timeout\r\n"

    assert recorder.reports == []


async def test_a_client_that_goes_on_for_ever_is_disconnected(listener, set_ahead):
    async with BounceClient.connected(listener) as client:
        await client.reply()
        for _ in range(3):
            set_ahead(299)
            assert await client.command("NOOP") == 250
        set_ahead(299)
        assert await client.command("NOOP") == 421


async def test_a_client_that_reads_nothing_is_disconnected(listener, monkeypatch, set_ahead):
    """Its connection must end although what it was sent can't leave."""
    monkeypatch.setattr(bounce_session, "MAX_COMMANDS", 10**9)

    written = 0

    async def write():
        nonlocal written
        while True:
            client.writer.write(b"NOOP\r\n" * 1000)
            await client.writer.drain()
            written += 1

    async with BounceClient.connected(listener) as client:
        client.writer.transport.pause_reading()
        writing = asyncio.create_task(write())
        before = -1
        while written != before:
            before = written
            await asyncio.sleep(0.5)
        disconnected = set()
        # More than once: a busy machine may only seem to have stopped.
        for _ in range(60):
            set_ahead(301)
            disconnected, _ = await asyncio.wait({writing}, timeout=0.5)
            if disconnected:
                break
        client.writer.transport.abort()
        with pytest.raises(ConnectionResetError):
            await writing

    assert disconnected


async def hold(stack, port, address, count):
    """Open connections from this address, and return them."""
    connections = []
    for _ in range(count):
        client = BounceClient(*await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0)))
        stack.push_async_callback(client.writer.wait_closed)
        stack.callback(client.writer.close)
        connections.append(client)
    return connections


async def test_an_address_has_a_number_of_connections_and_all_have(listener):
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(BounceClient.connected(listener))
        first = await hold(stack, listener, "127.0.0.2", 21)
        assert [await client.reply() for client in first] == [*(20 * [220]), 421]
        assert await first[0].command("QUIT") == 221
        await first[0].rest()
        assert [await client.reply() for client in await hold(stack, listener, "127.0.0.2", 1)] == [220]
        for number in range(3, 6):
            await hold(stack, listener, f"127.0.0.{number}", 20)
        last = await hold(stack, listener, "127.0.0.6", 20)
        assert [await client.reply() for client in last] == [*(19 * [220]), 421]
