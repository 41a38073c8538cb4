"""A route with SendGrid first and a mail server second: the result of each failure of SendGrid."""

import socket

import pytest

from gatepost.outbox import polling
from gatepost.testing import emulator

ROUTE = ["sendgrid-main", "relay"]
UNCERTAIN_WAIT = 0.3
"""Seconds that a message waits for a report: long enough for a test to see it wait."""


@pytest.fixture
def short_wait(deployment, sendgrid, deadlines_pass):
    """Let a message with a lost answer wait only a moment for a report."""
    deployment.tables["delivery"]["uncertain_wait"] = UNCERTAIN_WAIT


UNAVAILABLE = {
    "429": emulator.answer(429),
    "429 with Retry-After": emulator.answer(429, {"Retry-After": "3600"}),
    "500": emulator.answer(500),
    "503": emulator.answer(503),
    "401": emulator.answer(401),
    "redirect": emulator.answer(307, {"Location": "/elsewhere"}),
}


@pytest.mark.parametrize("failure", UNAVAILABLE)
async def test_an_unavailable_message_goes_to_the_next_instance_at_once(
    deployment, sendgrid, mailboxes, failure
):
    sendgrid.failure = UNAVAILABLE[failure]
    async with deployment.running(email=ROUTE) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        await gateway.settled()
    assert (sendgrid.sends(message), mailboxes.sends(message)) == (0, 1)
    assert len(sendgrid.requests) == 1


async def test_without_a_connection_a_message_goes_to_the_next_instance_at_once(
    deployment, sendgrid, mailboxes
):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        deployment.tables["plugins.sendgrid-main"]["base_url"] = url
        async with deployment.running(email=ROUTE) as gateway:
            message = await deployment.email()
            await deployment.hears(message, "accepted")
            await gateway.settled()
    assert mailboxes.sends(message) == 1


async def test_a_rejected_message_goes_to_no_other_instance(deployment, sendgrid, mailboxes):
    sendgrid.failure = emulator.answer(400)
    async with deployment.running(email=ROUTE) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "rejected")
        await gateway.settled()
    assert len(sendgrid.requests) == 1
    assert not mailboxes.mails


LOST = {
    "closed before the body": (emulator.close_before_body(), False),
    "closed after the body, not taken": (emulator.close_after_body(taken=False), False),
    "closed after the body, taken": (emulator.close_after_body(taken=True), True),
    "silence, not taken": (emulator.hang(taken=False), False),
    "silence, taken": (emulator.hang(taken=True), True),
    "half an answer": (emulator.stall(), True),
    "an answer that drips": (emulator.drip(0.5), True),
}


@pytest.mark.parametrize("failure", LOST)
async def test_after_a_lost_answer_and_a_wait_the_whole_route_is_tried(
    deployment, sendgrid, mailboxes, short_wait, failure
):
    planned, taken = LOST[failure]
    sendgrid.plan(planned)
    async with deployment.running(email=ROUTE) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        await gateway.settled()
        assert (await gateway.metrics())["gatepost_sends_total", "uncertain", "sendgrid-main"] == 1
    # The first instance is tried again, not the second: it works.
    assert sendgrid.sends(message) == 1 + taken
    assert not mailboxes.mails


async def test_after_the_wait_the_second_instance_gets_a_message_that_the_first_refuses(
    deployment, sendgrid, mailboxes, short_wait
):
    sendgrid.plan(emulator.close_after_body(taken=False))
    sendgrid.failure = emulator.answer(503)
    async with deployment.running(email=ROUTE) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        await gateway.settled()
    assert (sendgrid.sends(message), mailboxes.sends(message)) == (0, 1)


@pytest.mark.parametrize("kind", ["processed", "deferred", "delivered"])
async def test_a_report_proves_that_a_message_with_a_lost_answer_was_sent(
    deployment, sendgrid, mailboxes, kind
):
    deployment.tables["delivery"]["uncertain_wait"] = 3600
    sendgrid.plan(emulator.close_after_body(taken=True))
    async with deployment.running(email=ROUTE) as gateway:
        message = await deployment.email()
        await gateway.waits("email", "uncertain")
        assert deployment.crm.attempts == []
        assert await sendgrid.report([sendgrid.event(kind, sendgrid.taken[0])]) == [200]
        await deployment.hears(message, "accepted", *(["delivered"] if kind == "delivered" else []))
        await gateway.settled()
    assert (sendgrid.sends(message), len(mailboxes.mails)) == (1, 0)


async def test_a_held_message_is_not_sent_again_and_fails_when_its_lifetime_ends(
    deployment, sendgrid, mailboxes, short_wait
):
    deployment.tables["delivery"] |= {"uncertain": "hold", "email_lifetime": 3600}
    sendgrid.failure = emulator.close_after_body(taken=False)
    async with deployment.running(email=ROUTE) as gateway:
        message = await deployment.email()
        await gateway.waits("email", "held")
        assert deployment.crm.attempts == []
    assert len(sendgrid.requests) == 1
    assert not mailboxes.mails
    deployment.tables["delivery"] |= {"email_lifetime": 0.5}
    async with deployment.running(email=ROUTE) as gateway:
        other = await deployment.email()
        await deployment.hears(other, "failed")
        figures = await gateway.metrics()
        assert figures["gatepost_queue_messages", "email", "held"] == 1
        assert deployment.crm.statuses_of(message) == []


async def test_a_report_ends_the_hold_of_a_message(deployment, sendgrid, mailboxes, short_wait):
    deployment.tables["delivery"]["uncertain"] = "hold"
    sendgrid.plan(emulator.close_after_body(taken=True))
    async with deployment.running(email=ROUTE) as gateway:
        message = await deployment.email()
        await gateway.waits("email", "held")
        await sendgrid.report([sendgrid.event("open", sendgrid.taken[0])])
        await deployment.hears(message, "accepted", "opened")
        await gateway.settled()
    assert sendgrid.sends(message) == 1


async def test_a_message_that_no_instance_takes_fails_when_its_lifetime_ends(deployment, sendgrid, mailboxes):
    deployment.tables["delivery"]["email_lifetime"] = 0.5
    sendgrid.failure = emulator.answer(503)
    deployment.tables["plugins.relay"]["password"] = "wrong"
    async with deployment.running(email=ROUTE) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "failed")
        await gateway.settled()
    assert sendgrid.sends(message) + len(mailboxes.mails) == 0


async def test_an_instance_that_keeps_failing_rests(deployment, sendgrid, mailboxes, monkeypatch):
    monkeypatch.setattr("gatepost.throttle.FIRST_REST", 3600.0)
    monkeypatch.setattr("gatepost.throttle.MAX_REST", 3600.0)
    rests = _Rests()
    monkeypatch.setattr("gatepost.throttle.SystemRandom", lambda: rests)
    sendgrid.failure = emulator.answer(503)
    async with deployment.running(email=ROUTE) as gateway:
        for _ in range(8):
            await deployment.hears(await deployment.email(), "accepted")
        # After five failures in a row it gets no more messages.
        assert (len(sendgrid.requests), len(mailboxes.mails)) == (5, 8)
        _, ready = await gateway.get("/health/ready")
        assert ready["ready"]
        assert ready["instances"]["sendgrid-main"]["state"] == "resting"
        assert ready["instances"]["relay"]["state"] == "usable"


async def test_a_successful_probe_ends_the_rest_of_an_instance(deployment, sendgrid, mailboxes, monkeypatch):
    rests = _Rests(0.0)
    monkeypatch.setattr("gatepost.throttle.SystemRandom", lambda: rests)
    sendgrid.plan(*[emulator.answer(503)] * 6)
    async with deployment.running(email=ROUTE) as gateway:
        for _ in range(6):
            await deployment.hears(await deployment.email(), "accepted")
        # Five failures and a failed probe; the next probe shows that it works again.
        probe = await deployment.email()
        await deployment.hears(probe, "accepted")
        _, ready = await gateway.get("/health/ready")
        assert ready["instances"]["sendgrid-main"]["state"] == "usable"
    assert (sendgrid.sends(probe), len(mailboxes.mails)) == (1, 6)


async def test_after_a_retry_after_the_instance_rests_and_gets_no_messages(deployment, sendgrid, mailboxes):
    sendgrid.plan(emulator.answer(429, {"Retry-After": "3600"}))
    async with deployment.running(email=ROUTE):
        for _ in range(5):
            await deployment.hears(await deployment.email(), "accepted")
    assert (len(sendgrid.requests), len(mailboxes.mails)) == (1, 5)


async def test_rejected_recipients_start_no_rest(deployment, sendgrid, mailboxes):
    sendgrid.plan(*[emulator.answer(400)] * 8)
    async with deployment.running(email=ROUTE):
        for _ in range(8):
            await deployment.hears(await deployment.email(), "rejected")
        valid = await deployment.email()
        await deployment.hears(valid, "accepted")
    assert (sendgrid.sends(valid), len(mailboxes.mails)) == (1, 0)


async def test_a_busy_instance_is_waited_for_without_a_busy_loop(
    deployment, sendgrid, mailboxes, monkeypatch
):
    waits = 0
    original = polling.wait_for

    async def counted(event, seconds):
        nonlocal waits
        waits += 1
        await original(event, seconds)

    monkeypatch.setattr(polling, "wait_for", counted)
    monkeypatch.setattr(polling, "POLL_INTERVAL", 60.0)
    deployment.tables["plugins.sendgrid-main"] |= {"concurrency": 2}
    sendgrid.failure = emulator.delay(0.5)
    async with deployment.running(email=ROUTE) as gateway:
        ids = [await deployment.email() for _ in range(4)]
        for message in ids:
            await deployment.hears(message, "accepted")
        await gateway.settled()
    assert sendgrid.max_concurrent == 2
    assert not mailboxes.mails
    assert waits < 100


class _Rests:
    """Makes each rest ``share`` of the longest that it can be, instead of a random length."""

    def __init__(self, share: float = 1.0) -> None:
        self.share = share

    def uniform(self, low: float, high: float) -> float:
        return low + self.share * (high - low)
