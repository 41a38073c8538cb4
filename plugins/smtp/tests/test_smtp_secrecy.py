"""Who a mail goes to, and the password, are in no log, error or repr, whatever happens."""

import asyncio
import base64
import gc
import logging
import traceback

import pytest
import structlog

from gatepost.errors import SendError
from gatepost.model import Secret
from gatepost_smtp import Settings
from gatepost_smtp.dialogue import Envelope

RECIPIENT = "canary.telling+name@post.example"
PASSWORD = "canary-password"
TELLING = [
    "canary",
    base64.b64encode(RECIPIENT.encode()).decode(),
    base64.b64encode(PASSWORD.encode()).decode(),
]

FAULTS = [
    (kind, stage)
    for kind in ("answer", "hang_up", "stall")
    for stage in ("connect", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "BODY", "END", "RSET")
]


@pytest.fixture
async def debugging(caplog):
    caplog.set_level(logging.DEBUG)
    # A gateway that was set up in this process before leaves it at what concerns an operator.
    caplog.set_level(logging.DEBUG, logger="asyncio")
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    # Every step of every task counts as slow, and is logged with what the loop knows of it.
    before, loop.slow_callback_duration = loop.slow_callback_duration, 0.0
    yield caplog
    loop.set_debug(False)
    loop.slow_callback_duration = before


@pytest.mark.parametrize(("kind", "stage"), FAULTS)
async def test_nothing_is_told_of_the_recipient(sink, connected, an_email, debugging, kind, stage):
    sink.extensions.append("AUTH PLAIN")
    if kind == "answer":
        sink.answer(stage, f"550 <{RECIPIENT}> {PASSWORD}")
    elif stage == "RSET":
        sink.answer("RCPT", f"450 4.2.1 {RECIPIENT}")
    if kind != "answer":
        getattr(sink, kind)(stage)
    message = an_email(recipient=RECIPIENT)
    told = ""
    credentials = {"username": "gatepost", "password": Secret(PASSWORD)}
    async with connected(sink.port, **credentials) as relay:
        for hook in (relay.send_email(message), relay.send_email(message), relay.ping()):
            try:
                await hook
            except SendError as error:
                told += "".join(traceback.format_exception(error)) + repr(error) + error.code + error.reason
        told += repr(relay) + repr(vars(relay))
    gc.collect()  # futures that nobody asked report when they go

    told += "".join(record.getMessage() + str(record.__dict__) for record in debugging.records)
    assert "Executing" in told
    for text in TELLING:
        assert text not in told


def test_neither_settings_nor_envelope_show_what_they_hold():
    settings = Settings(host="relay", username="gatepost", password=Secret(PASSWORD))
    envelope = Envelope("an-id", "news@amazing.example", RECIPIENT, own_sender=False)

    assert "canary" not in f"{settings!r} {envelope!r} {envelope}"


async def test_a_password_in_clear_text_is_warned_of(sink, connected):
    with structlog.testing.capture_logs() as logged:
        async with connected(sink.port, username="gatepost", password=Secret(PASSWORD)):
            pass

    [record] = logged
    assert record["log_level"] == "warning"
    assert "clear text" in record["event"]
    assert PASSWORD not in str(record)
