"""A relay that allows fewer connections than are configured."""

import asyncio

import pytest
import structlog

from gatepost.errors import Unavailable
from gatepost.model import Receipt
from gatepost_smtp import connection_limit, mail_limit
from gatepost_smtp.connection_limit import ConnectionLimit


async def send(relay, an_email, count):
    """Send ``count`` mails at once and return their outcomes."""
    sends = (relay.send_email(an_email()) for _ in range(count))
    return await asyncio.gather(*sends, return_exceptions=True)


@pytest.fixture
def no_retry(monkeypatch):
    """Try no further connection after a refusal while the test runs."""
    monkeypatch.setattr(connection_limit, "MIN_RETRY_DELAY", 3600.0)


@pytest.mark.usefixtures("no_retry")
@pytest.mark.parametrize(
    ("stage", "refusal"),
    [
        ("connect", "421 4.7.0 too many connections from you"),
        ("connect", "554 5.7.0 too many connections from you"),
        ("connect", ""),
        ("EHLO", "421 4.3.2 too many"),
        ("EHLO", "450 4.7.0 busy"),
        ("EHLO", ""),
    ],
)
async def test_a_small_limit_loses_no_mail(sink, connected, an_email, stage, refusal):
    sink.max_sessions, sink.refusal_stage, sink.refusal = 2, stage, refusal
    async with connected(sink.port, connections=8) as relay:
        outcomes = [outcome for _ in range(4) for outcome in await send(relay, an_email, 16)]

    assert outcomes == [Receipt()] * 64
    assert len(sink.mails) == 64
    assert sink.sessions == 2 + sink.refused
    assert sink.refused == 6


@pytest.mark.usefixtures("no_retry")
async def test_one_connection_is_enough_for_all_mails(sink, connected, an_email):
    sink.max_sessions = 1
    async with connected(sink.port, connections=8) as relay:
        outcomes = await send(relay, an_email, 32)

    assert outcomes == [Receipt()] * 32
    assert sink.sessions - sink.refused == 1


async def test_a_closed_connection_makes_room_for_the_next(sink, connected, an_email, monkeypatch):
    monkeypatch.setattr(mail_limit, "MAX_MAILS", 1)
    sink.max_sessions, sink.quit_delay = 2, 0.01
    async with connected(sink.port, connections=2) as relay:
        outcomes = await send(relay, an_email, 20)

    assert outcomes == [Receipt()] * 20
    assert (sink.sessions, sink.refused) == (20, 0)


async def test_a_higher_limit_is_used(sink, connected, an_email, monkeypatch):
    monkeypatch.setattr(connection_limit, "MIN_RETRY_DELAY", 0.0)
    sink.max_sessions = 2
    async with connected(sink.port, connections=8) as relay:
        await send(relay, an_email, 16)
        sink.max_sessions = 8
        sink.wait_at("DATA")
        sending = asyncio.create_task(send(relay, an_email, 16))
        while sink.open < 8:  # noqa: ASYNC110  without new connections the test hangs here
            await asyncio.sleep(0.001)
        sink.gate.set()
        outcomes = await sending

    assert outcomes == [Receipt()] * 16


@pytest.mark.usefixtures("no_retry")
async def test_a_mail_without_a_connection_does_not_count_against_the_relay(sink, connected, an_email):
    sink.max_sessions = 1
    sink.wait_at("END")
    async with connected(sink.port, connections=2, timeout=1) as relay:
        first = asyncio.create_task(relay.send_email(an_email()))
        await sink.reached["END"].wait()
        with pytest.raises(Unavailable, match="none of the 1 connections") as caught:
            await relay.send_email(an_email())
        sink.gate.set()
        await first

    assert caught.value.message_only
    assert len(sink.mails) == 1


@pytest.mark.parametrize("trouble", ["refused", "silent"])
async def test_without_any_connection_the_relay_is_down(sink, connected, an_email, closed_port, trouble):
    sink.stall("connect")
    port = closed_port if trouble == "refused" else sink.port
    async with connected(port, connections=4, timeout=0.5) as relay:
        outcomes = await send(relay, an_email, 8)

    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 8
    assert not any(outcome.message_only for outcome in outcomes)


@pytest.mark.usefixtures("no_retry")
async def test_after_an_outage_all_connections_are_used_again(sink, connected, an_email):
    sink.hang_up("connect")
    async with connected(sink.port, connections=8) as relay:
        outcomes = await send(relay, an_email, 8)
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 8
        assert sink.sessions == 8
        sink.clear_faults()
        sink.wait_at("DATA")
        sending = asyncio.create_task(send(relay, an_email, 16))
        while sink.open < 8:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.001)
        sink.gate.set()
        outcomes = await sending

    assert outcomes == [Receipt()] * 16


async def test_the_limit_is_logged_once(sink, connected, an_email, monkeypatch):
    monkeypatch.setattr(connection_limit, "MIN_RETRY_DELAY", 0.0)
    sink.max_sessions = 2
    with structlog.testing.capture_logs() as logged:
        async with connected(sink.port, connections=3) as relay:
            for _ in range(3):
                await send(relay, an_email, 8)

    [record] = logged
    assert record["log_level"] == "warning"
    assert "only 2 of 3 connections" in record["problem"]
    assert "421 4.7.0" in record["problem"]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def refusal_times(clock, limit, seconds):
    """Try to acquire a slot every tenth of a second, withhold each, and return the times."""
    refusals = []
    for tick in range(seconds * 10):
        clock.now = tick / 10
        if limit.is_retry_due():
            limit.retry()
        try:
            async with asyncio.timeout(0):
                await limit.acquire()
        except TimeoutError:
            continue
        refusals.append(clock.now)
        limit.withhold(2)
    return refusals


async def test_the_delay_between_refusals_grows():
    clock = Clock()
    limit = ConnectionLimit(3, clock)
    for _ in range(2):
        await limit.acquire()
    limit.record_open(2)

    refusals = await refusal_times(clock, limit, 300)

    assert refusals == pytest.approx([0, 1, 3, 7, 15, 31, 63, 123, 183, 243], abs=0.2)


async def test_a_lower_limit_is_retried_soon():
    clock = Clock()
    limit = ConnectionLimit(3, clock)
    for _ in range(2):
        await limit.acquire()
    await refusal_times(clock, limit, 60)

    limit.withhold(1)  # one of the two was closed, and the relay had not noticed it yet
    clock.now += 1.1
    assert limit.is_retry_due()
    limit.retry()
    async with asyncio.timeout(0):
        await limit.acquire()


@pytest.mark.usefixtures("no_retry")
async def test_a_limit_is_logged_when_a_mail_went_on_after_the_refusal(sink, connected, an_email):
    """A relay that refuses connections and mails alike has no limit on connections."""
    sink.max_sessions = 1
    sink.wait_at("END")
    with structlog.testing.capture_logs() as logged:
        async with connected(sink.port, connections=2) as relay:
            first = asyncio.create_task(relay.send_email(an_email()))
            await sink.reached["END"].wait()
            second = asyncio.create_task(relay.send_email(an_email()))
            while not sink.refused:  # noqa: ASYNC110  the sink has no event for it
                await asyncio.sleep(0.001)
            sink.gate.set()
            await first
            before = [record["event"] for record in logged]
            await second

    assert before == []
    assert [record["event"] for record in logged] == ["relay_limits_connections"]
