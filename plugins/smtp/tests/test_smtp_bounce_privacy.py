"""Whatever is sent to the bounce listener: no address is logged or reported, and nothing fails."""

import asyncio
import gc
import logging

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gatepost_smtp.addresses import return_path
from gatepost_smtp.testing.bounces import BounceClient

ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"
ADDRESS = return_path(ID, "bounces.example", "a shared secret")
CANARY = "canary.private@post.example"
MAIL = (
    f"From: {CANARY}\r\nTo: {CANARY}\r\nContent-Type: multipart/report; boundary=limit\r\n\r\n"
    f"--limit\r\n\r\n{CANARY}\r\n--limit\r\nContent-Type: message/delivery-status\r\n\r\nX: {CANARY}\r\n\r\n"
    f"Final-Recipient: rfc822; {CANARY}\r\nAction: failed\r\nStatus: {CANARY}\r\nDiagnostic-Code: smtp; {CANARY}\r\n"
)


@pytest.fixture
async def failures():
    """What the event loop reports: exceptions that nothing has caught."""
    loop = asyncio.get_running_loop()
    failures = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    yield failures
    loop.set_exception_handler(None)


@pytest.fixture
async def debugging(caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="asyncio")
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    # The loop then logs every step of every task as slow, with all that it knows of it.
    before, loop.slow_callback_duration = loop.slow_callback_duration, 0.0
    with structlog.testing.capture_logs() as logged:
        yield lambda: str(logged) + "".join(one.getMessage() + str(one.__dict__) for one in caplog.records)
    loop.set_debug(False)
    loop.slow_callback_duration = before


async def test_no_address_is_logged_or_reported(recorder, listener, debugging):
    async with BounceClient.connected(listener) as client:
        assert await client.begin(CANARY, ADDRESS, sender=CANARY) == [550, 250, 354]
        assert await client.end(MAIL) == 250
        for command in (f"VRFY {CANARY}", f"{CANARY}", f"RCPT TO:<{CANARY}>", f"MAIL FROM:{CANARY}"):
            assert await client.command(command) >= 500
        recorder.running = False
        await client.command(f"MAIL FROM:<{CANARY}>")
        await client.command(f"RCPT TO:<{ADDRESS}>")
        await client.command("DATA")
        assert await client.end(MAIL) == 451
        await client.command(f"MAIL FROM:<{CANARY}>")
        client.writer.transport.abort()
    await asyncio.sleep(0.05)
    gc.collect()

    output = debugging()
    assert "Executing" in output
    assert "canary" not in output + str(recorder.reports)
    assert recorder.events == [("failed", ID, "")]


async def test_no_reply_quotes_the_client(listener):
    async with BounceClient.connected(listener) as client:
        lines = (
            f"{CANARY}",
            f"EHLO {CANARY}",
            f"MAIL FROM:<{CANARY}>",
            f"RCPT TO:<{CANARY}>",
            f"VRFY {CANARY}",
        )
        client.writer.write("\r\n".join((*lines, "QUIT", "")).encode())
        assert b"canary" not in await client.rest()


async def test_a_defect_is_logged_and_costs_one_connection(recorder, listener):
    with structlog.testing.capture_logs() as logged:
        async with BounceClient.connected(listener) as client:
            await client.begin(ADDRESS)
            recorder.gate = None
            assert await client.end(MAIL) == 0
    recorder.gate = asyncio.Event()
    recorder.gate.set()
    async with BounceClient.connected(listener) as client:
        await client.begin(ADDRESS)
        assert await client.end(MAIL) == 250

    assert [one["event"] for one in logged if one["log_level"] == "error"] == ["bounce_session_failed"]


COMMANDS = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            *(b"EHLO a", b"HELO a", b"STARTTLS", b"MAIL FROM:<>", b"RSET", b"NOOP", b"QUIT", b"DATA", b"."),
            *(f"RCPT TO:<{ADDRESS}>".encode(), b"RCPT TO:<postmaster>", MAIL.encode()),
        ]
    ),
)
LINE_ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b""])
ENDS = st.sampled_from(["close", "abort", "eof"])


@given(
    data=st.lists(st.tuples(COMMANDS, LINE_ENDS), max_size=12).map(
        lambda pairs: b"".join(command + end for command, end in pairs)
    ),
    end=ENDS,
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_bytes_make_it_fail_or_log(listener, failures, caplog, data, end):
    with structlog.testing.capture_logs() as logged:
        async with BounceClient.connected(listener) as client:
            client.writer.write(data)
            if end == "abort":
                client.writer.transport.abort()
            elif end == "eof":
                client.writer.write_eof()
                await client.rest()
        async with BounceClient.connected(listener) as client:
            assert await client.reply() == 220

    assert [one for one in logged if one["event"] != "bounces_listening"] == []
    assert failures == []
    assert caplog.records == []


HEADERS = st.sampled_from(
    [
        *(
            "From: MAILER-DAEMON",
            "X-Failed-Recipients: a@b",
            "Auto-Submitted: x",
            "Content-Type: text/plain; charset=\xff",
            "Content-Type: text/plain; charset*=utf-8''x",
        ),
        *(
            "Content-Type: multipart/report; boundary=a",
            "Content-Type: message/rfc822",
            "Content-Type: message/delivery-status",
        ),
        *(
            "Content-Transfer-Encoding: base64",
            "Content-Type: message/feedback-report",
            "Feedback-Type: abuse",
            "Action: failed",
        ),
        *(
            "--a",
            "--a--",
            "",
            "",
            "X-HmXmrOriginalRecipient: a",
            "=?utf-8?q?=ff?=",
            "Status: 5.1.1",
            "Content-Type: \0; =",
        ),
    ]
)


@given(
    lines=st.lists(st.one_of(HEADERS, st.text(max_size=40)), max_size=30),
    address=st.sampled_from([ADDRESS, "postmaster"]),
)
@example(
    lines=["From: MAILER-DAEMON", "Content-Type: text/plain; charset*=utf-8''x", "", "\xe4"], address=ADDRESS
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_mail_is_accepted_and_reported(recorder, listener, failures, lines, address):
    recorder.reports.clear()
    mail = "\r\n".join(lines).encode("utf-8", "replace").replace(b"\n.", b"\n")
    with structlog.testing.capture_logs() as logged:
        async with BounceClient.connected(listener) as client:
            await client.begin(address)
            assert await client.end(mail) == 250

    assert [one for one in logged if one["event"] != "bounces_listening"] == []
    assert failures == []
    [report] = recorder.reports
    assert len(report.events) + sum(report.ignored.values()) >= 1
    assert all(event.message_id == ID for event in report.events)
