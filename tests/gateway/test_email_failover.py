"""SendGrid first, a mail server second: what each fault of the first one leads to, as Smartico hears it."""

import socket

import pytest

from gatepost.delivery import worker as delivery_worker
from gatepost.testing import emulator

ROUTE = ["sendgrid-main", "relay"]
KEPT = 0.3
"""Seconds that a message waits for a report here: long enough that a test can see it wait."""


@pytest.fixture
def impatient(deployment, sendgrid, deadlines_pass):
    """A lost answer has a moment to be cleared up."""
    deployment.tables["delivery"]["uncertain_wait"] = KEPT


MOVED_ON = {
    "429": emulator.answer(429),
    "429 with Retry-After": emulator.answer(429, {"Retry-After": "3600"}),
    "500": emulator.answer(500),
    "503": emulator.answer(503),
    "401": emulator.answer(401),
    "redirect": emulator.answer(307, {"Location": "/elsewhere"}),
}


@pytest.mark.parametrize("fault", MOVED_ON)
async def test_what_was_surely_not_taken_goes_to_the_next_at_once(deployment, sendgrid, mailboxes, fault):
    sendgrid.failure = MOVED_ON[fault]
    async with deployment.running(email=ROUTE) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        await gateway.settled()
    assert (sendgrid.sends(message), mailboxes.sends(message)) == (0, 1)
    assert len(sendgrid.requests) == 1


async def test_a_connection_that_never_came_about_goes_to_the_next_at_once(deployment, sendgrid, mailboxes):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        deployment.tables["plugins.sendgrid-main"]["base_url"] = url
        async with deployment.running(email=ROUTE) as gateway:
            message = await deployment.email()
            await deployment.hears(message, "accepted")
            await gateway.settled()
    assert mailboxes.sends(message) == 1


async def test_what_was_rejected_is_offered_to_nobody_else(deployment, sendgrid, mailboxes):
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


@pytest.mark.parametrize("fault", LOST)
async def test_a_lost_answer_waits_and_then_the_whole_route_is_tried(
    deployment, sendgrid, mailboxes, impatient, fault
):
    planned, taken = LOST[fault]
    sendgrid.plan(planned)
    async with deployment.running(email=ROUTE) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        await gateway.settled()
        assert (await gateway.metrics())["gatepost_sends_total", "uncertain", "sendgrid-main"] == 1
    # The first of the route again, and not the second: it works.
    assert sendgrid.sends(message) == 1 + taken
    assert not mailboxes.mails


async def test_after_the_wait_the_second_gets_what_the_first_does_not_take(
    deployment, sendgrid, mailboxes, impatient
):
    sendgrid.plan(emulator.close_after_body(taken=False))
    sendgrid.failure = emulator.answer(503)
    async with deployment.running(email=ROUTE) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        await gateway.settled()
    assert (sendgrid.sends(message), mailboxes.sends(message)) == (0, 1)


@pytest.mark.parametrize("kind", ["processed", "deferred", "delivered"])
async def test_a_report_proves_that_a_lost_answer_was_a_yes(deployment, sendgrid, mailboxes, kind):
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


async def test_what_is_held_is_not_sent_again_and_fails_when_its_lifetime_ends(
    deployment, sendgrid, mailboxes, impatient
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


async def test_a_report_frees_what_is_held(deployment, sendgrid, mailboxes, impatient):
    deployment.tables["delivery"]["uncertain"] = "hold"
    sendgrid.plan(emulator.close_after_body(taken=True))
    async with deployment.running(email=ROUTE) as gateway:
        message = await deployment.email()
        await gateway.waits("email", "held")
        await sendgrid.report([sendgrid.event("open", sendgrid.taken[0])])
        await deployment.hears(message, "accepted", "opened")
        await gateway.settled()
    assert sendgrid.sends(message) == 1


async def test_nobody_takes_it_until_its_lifetime_ends(deployment, sendgrid, mailboxes):
    deployment.tables["delivery"]["email_lifetime"] = 0.5
    sendgrid.failure = emulator.answer(503)
    deployment.tables["plugins.relay"]["password"] = "wrong"
    async with deployment.running(email=ROUTE) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "failed")
        await gateway.settled()
    assert sendgrid.sends(message) + len(mailboxes.mails) == 0


async def test_an_instance_that_keeps_failing_rests_and_a_probe_wakes_it(
    deployment, sendgrid, mailboxes, monkeypatch
):
    monkeypatch.setattr("gatepost.throttle.FIRST_REST", 3600.0)
    monkeypatch.setattr("gatepost.throttle.LONGEST_REST", 3600.0)
    rests = _Rests()
    monkeypatch.setattr("gatepost.throttle.SystemRandom", lambda: rests)
    sendgrid.failure = emulator.answer(503)
    async with deployment.running(email=ROUTE) as gateway:
        for _ in range(8):
            await deployment.hears(await deployment.email(), "accepted")
        # Five in a row, and from then on nobody asks it.
        assert (len(sendgrid.requests), len(mailboxes.mails)) == (5, 8)
        _, ready = await gateway.get("/health/ready")
        assert ready["ready"]
        assert ready["instances"]["sendgrid-main"]["state"] == "resting"
        assert ready["instances"]["relay"]["state"] == "usable"


async def test_a_probe_wakes_what_rested(deployment, sendgrid, mailboxes, monkeypatch):
    rests = _Rests(0.0)
    monkeypatch.setattr("gatepost.throttle.SystemRandom", lambda: rests)
    sendgrid.plan(*[emulator.answer(503)] * 6)
    async with deployment.running(email=ROUTE) as gateway:
        for _ in range(6):
            await deployment.hears(await deployment.email(), "accepted")
        # Five failures, and the first probe's; the next probe shows that it works again.
        woken = await deployment.email()
        await deployment.hears(woken, "accepted")
        _, ready = await gateway.get("/health/ready")
        assert ready["instances"]["sendgrid-main"]["state"] == "usable"
    assert (sendgrid.sends(woken), len(mailboxes.mails)) == (1, 6)


async def test_retry_after_rests_the_instance_and_nobody_asks_it_meanwhile(deployment, sendgrid, mailboxes):
    sendgrid.plan(emulator.answer(429, {"Retry-After": "3600"}))
    async with deployment.running(email=ROUTE):
        for _ in range(5):
            await deployment.hears(await deployment.email(), "accepted")
    assert (len(sendgrid.requests), len(mailboxes.mails)) == (1, 5)


async def test_bad_recipients_never_make_an_instance_rest(deployment, sendgrid, mailboxes):
    sendgrid.plan(*[emulator.answer(400)] * 8)
    async with deployment.running(email=ROUTE):
        for _ in range(8):
            await deployment.hears(await deployment.email(), "rejected")
        good = await deployment.email()
        await deployment.hears(good, "accepted")
    assert (sendgrid.sends(good), len(mailboxes.mails)) == (1, 0)


async def test_what_is_busy_is_waited_for_and_not_turned_in_circles(
    deployment, sendgrid, mailboxes, monkeypatch
):
    turns = 0
    original = delivery_worker._wait

    async def counted(event, seconds):
        nonlocal turns
        turns += 1
        await original(event, seconds)

    monkeypatch.setattr(delivery_worker, "_wait", counted)
    monkeypatch.setattr(delivery_worker, "POLL", 60.0)
    deployment.tables["plugins.sendgrid-main"] |= {"concurrency": 2}
    sendgrid.failure = emulator.delay(0.5)
    async with deployment.running(email=ROUTE) as gateway:
        ids = [await deployment.email() for _ in range(4)]
        for message in ids:
            await deployment.hears(message, "accepted")
        await gateway.settled()
    assert sendgrid.max_concurrent == 2
    assert not mailboxes.mails
    assert turns < 100


class _Rests:
    """Instead of chance: every rest is as long as it can be, or ``share`` of that."""

    def __init__(self, share: float = 1.0) -> None:
        self.share = share

    def uniform(self, low: float, high: float) -> float:
        return low + self.share * (high - low)
