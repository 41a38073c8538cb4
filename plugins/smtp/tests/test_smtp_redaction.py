"""The recipient and the password are in no log, error or repr."""

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
from gatepost_smtp.transaction import Envelope

RECIPIENT = "canary.private+name@post.example"
PASSWORD = "canary-password"
PRIVATE_TEXTS = [
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
    # Another test may have configured this logger for a higher level.
    caplog.set_level(logging.DEBUG, logger="asyncio")
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    # The loop then logs every step of every task as slow, with all that it knows of it.
    before, loop.slow_callback_duration = loop.slow_callback_duration, 0.0
    yield caplog
    loop.set_debug(False)
    loop.slow_callback_duration = before


@pytest.mark.parametrize(("kind", "stage"), FAULTS)
async def test_nothing_of_the_recipient_is_logged_or_raised(
    sink, connected, an_email, debugging, kind, stage
):
    sink.extensions.append("AUTH PLAIN")
    if kind == "answer":
        sink.answer(stage, f"550 <{RECIPIENT}> {PASSWORD}")
    elif stage == "RSET":
        sink.answer("RCPT", f"450 4.2.1 {RECIPIENT}")
    if kind != "answer":
        getattr(sink, kind)(stage)
    message = an_email(recipient=RECIPIENT)
    output = ""
    credentials = {"username": "gatepost", "password": Secret(PASSWORD)}
    async with connected(sink.port, **credentials) as relay:
        for hook in (relay.send_email(message), relay.send_email(message), relay.ping()):
            try:
                await hook
            except SendError as error:
                output += "".join(traceback.format_exception(error)) + repr(error) + error.code + error.reason
        output += repr(relay) + repr(vars(relay))
    gc.collect()  # an exception that was never retrieved is logged when its future is collected

    output += "".join(record.getMessage() + str(record.__dict__) for record in debugging.records)
    assert "Executing" in output
    for text in PRIVATE_TEXTS:
        assert text not in output


def test_settings_and_envelope_have_a_safe_repr():
    settings = Settings(host="relay", username="gatepost", password=Secret(PASSWORD))
    envelope = Envelope("an-id", "news@amazing.example", RECIPIENT, configured_sender=False)

    assert "canary" not in f"{settings!r} {envelope!r} {envelope}"


async def test_a_password_in_clear_text_is_logged(sink, connected):
    with structlog.testing.capture_logs() as logged:
        async with connected(sink.port, username="gatepost", password=Secret(PASSWORD)):
            pass

    [record] = logged
    assert record["log_level"] == "warning"
    assert record["event"] == "password_in_clear_text"
    assert PASSWORD not in str(record)
