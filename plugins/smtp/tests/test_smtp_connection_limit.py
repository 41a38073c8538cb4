"""A relay that allows fewer connections than are configured."""

import asyncio

import pytest
import structlog

from gatepost.errors import Unavailable
from gatepost.model import Receipt
from gatepost_smtp import connections, places
from gatepost_smtp.places import Places


async def send(relay, an_email, count):
    """What became of so many mails, all handed over at once."""
    sends = (relay.send_email(an_email()) for _ in range(count))
    return await asyncio.gather(*sends, return_exceptions=True)


@pytest.fixture
def no_second_try(monkeypatch):
    """The relay is not asked for more connections while the test runs."""
    monkeypatch.setattr(places, "FIRST_PAUSE", 3600.0)


@pytest.mark.usefixtures("no_second_try")
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
async def test_a_small_limit_costs_no_mail(sink, connected, an_email, stage, refusal):
    sink.allows, sink.refuses_at, sink.refusal = 2, stage, refusal
    async with connected(sink.port, connections=8) as relay:
        outcomes = [outcome for _ in range(4) for outcome in await send(relay, an_email, 16)]

    assert outcomes == [Receipt()] * 64
    assert len(sink.mails) == 64
    assert sink.sessions == 2 + sink.refused
    assert sink.refused == 6


@pytest.mark.usefixtures("no_second_try")
async def test_other_clients_may_take_all_connections_but_one(sink, connected, an_email):
    sink.allows = 1
    async with connected(sink.port, connections=8) as relay:
        outcomes = await send(relay, an_email, 32)

    assert outcomes == [Receipt()] * 32
    assert sink.sessions - sink.refused == 1


async def test_a_connection_that_is_left_makes_room_for_the_next(sink, connected, an_email, monkeypatch):
    monkeypatch.setattr(connections, "MAX_MAILS", 1)
    sink.allows, sink.lingers = 2, 0.01
    async with connected(sink.port, connections=2) as relay:
        outcomes = await send(relay, an_email, 20)

    assert outcomes == [Receipt()] * 20
    assert (sink.sessions, sink.refused) == (20, 0)


async def test_a_relay_that_allows_more_again_gets_more(sink, connected, an_email, monkeypatch):
    monkeypatch.setattr(places, "FIRST_PAUSE", 0.0)
    sink.allows = 2
    async with connected(sink.port, connections=8) as relay:
        await send(relay, an_email, 16)
        sink.allows = 8
        sink.wait_at("DATA")
        sending = asyncio.create_task(send(relay, an_email, 16))
        while sink.open < 8:  # noqa: ASYNC110  whatever it takes: a relay that gets no more hangs here
            await asyncio.sleep(0.001)
        sink.gate.set()
        outcomes = await sending

    assert outcomes == [Receipt()] * 16


@pytest.mark.usefixtures("no_second_try")
async def test_a_mail_that_gets_none_of_the_few_connections_says_nothing_about_the_relay(
    sink, connected, an_email
):
    sink.allows = 1
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
async def test_without_any_connection_it_is_the_relay_that_is_down(
    sink, connected, an_email, closed_port, trouble
):
    sink.stall("connect")
    port = closed_port if trouble == "refused" else sink.port
    async with connected(port, connections=4, timeout=0.5) as relay:
        outcomes = await send(relay, an_email, 8)

    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 8
    assert not any(outcome.message_only for outcome in outcomes)


@pytest.mark.usefixtures("no_second_try")
async def test_after_an_outage_all_connections_are_used_again(sink, connected, an_email):
    sink.hang_up("connect")
    async with connected(sink.port, connections=8) as relay:
        outcomes = await send(relay, an_email, 8)
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 8
        assert sink.sessions == 8
        sink.recover()
        sink.wait_at("DATA")
        sending = asyncio.create_task(send(relay, an_email, 16))
        while sink.open < 8:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.001)
        sink.gate.set()
        outcomes = await sending

    assert outcomes == [Receipt()] * 16


async def test_the_operator_is_told_the_limit_once(sink, connected, an_email, monkeypatch):
    monkeypatch.setattr(places, "FIRST_PAUSE", 0.0)
    sink.allows = 2
    with structlog.testing.capture_logs() as logged:
        async with connected(sink.port, connections=3) as relay:
            for _ in range(3):
                await send(relay, an_email, 8)

    [record] = logged
    assert record["log_level"] == "warning"
    assert "only 2 of 3 connections" in record["event"]
    assert "421 4.7.0" in record["event"]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def refuse_whenever_asked(clock, taken, seconds):
    """Ask for a place every tenth of a second, refuse what is more than two; the times at which that was."""
    refusals = []
    for tick in range(seconds * 10):
        clock.now = tick / 10
        if taken.is_try_due():
            taken.try_another()
        try:
            async with asyncio.timeout(0):
                await taken.take()
        except TimeoutError:
            continue
        refusals.append(clock.now)
        taken.withhold(2)
    return refusals


async def test_tries_in_vain_become_rare():
    clock = Clock()
    taken = Places(3, clock)
    for _ in range(2):
        await taken.take()
    taken.opened(2)

    refusals = await refuse_whenever_asked(clock, taken, 300)

    assert refusals == pytest.approx([0, 1, 3, 7, 15, 31, 63, 123, 183, 243], abs=0.2)


async def test_a_limit_that_fell_for_a_moment_is_tried_again_soon():
    clock = Clock()
    taken = Places(3, clock)
    for _ in range(2):
        await taken.take()
    await refuse_whenever_asked(clock, taken, 60)

    taken.withhold(1)  # one of the two was closed, and the relay had not noticed it yet
    clock.now += 1.1
    assert taken.is_try_due()
    taken.try_another()
    async with asyncio.timeout(0):
        await taken.take()
