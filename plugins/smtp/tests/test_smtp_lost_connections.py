"""Servers that hang up, stall and drip; callers that give up; connections that are never shared."""

import asyncio

import pytest

from gatepost.errors import Unavailable, Uncertain
from gatepost.model import Receipt
from gatepost_smtp.connections import PATIENCE, Deadline
from gatepost_smtp.dialogue import Envelope, deliver
from gatepost_smtp.mime import Mail

BEFORE = ["connect", "EHLO", "MAIL", "RCPT", "DATA"]
AFTER = ["BODY", "END"]


@pytest.mark.parametrize("stage", BEFORE)
async def test_lost_before_the_mail_is_out_is_unavailable(sink, relay, an_email, stage):
    sink.hang_up(stage)

    with pytest.raises(Unavailable):
        await relay.send_email(an_email())

    assert sink.sessions == 1


@pytest.mark.parametrize("stage", AFTER)
async def test_lost_after_the_mail_was_out_is_uncertain_and_not_repeated(sink, relay, an_email, stage):
    sink.hang_up(stage)

    with pytest.raises(Uncertain):
        await relay.send_email(an_email())

    assert sink.sessions == 1
    assert sink.commands.count(b"DATA\r\n") == 1


@pytest.mark.parametrize("stage", AFTER)
async def test_lost_after_the_mail_was_out_is_uncertain_on_a_kept_connection_too(
    sink, relay, an_email, stage
):
    await relay.send_email(an_email())
    sink.hang_up(stage)

    with pytest.raises(Uncertain):
        await relay.send_email(an_email())

    assert sink.sessions == 1
    assert sink.commands.count(b"DATA\r\n") == 2


@pytest.mark.parametrize("stage", BEFORE)
async def test_silence_before_the_mail_is_out_is_unavailable(sink, relay, an_email, stage):
    sink.stall(stage)

    with pytest.raises(Unavailable):
        await relay.send_email(an_email())


@pytest.mark.parametrize("stage", AFTER)
async def test_silence_after_the_mail_was_out_is_uncertain(sink, relay, an_email, stage):
    sink.stall(stage)

    with pytest.raises(Uncertain, match="in time"):
        await relay.send_email(an_email())


async def test_the_deadline_holds_for_all_steps_together(sink, connected, an_email):
    # Each step takes a second a byte and would end in time by itself; five of them must not.
    for stage in BEFORE:
        sink.drip(stage, {"connect": "220 a", "DATA": "354 a"}.get(stage, "250 a"))
    async with connected(sink.port, timeout=16) as relay:
        with pytest.raises(Unavailable, match="in time"):
            await relay.send_email(an_email())

    assert not sink.mails


async def test_no_server_at_all_is_unavailable(sink, connected, an_email, closed_port):
    async with connected(closed_port) as relay:
        with pytest.raises(Unavailable, match="ConnectionRefusedError"):
            await relay.send_email(an_email())
        with pytest.raises(Unavailable):
            await relay.ping()


async def test_a_name_that_does_not_exist_is_unavailable(connected, an_email):
    async with connected(2525, host="relay.invalid") as relay:
        with pytest.raises(Unavailable, match="name can't be resolved"):
            await relay.send_email(an_email())


async def test_a_server_that_hung_up_on_the_idle_connection_costs_no_mail(sink, relay, an_email):
    for _ in range(3):
        await relay.send_email(an_email())
        sink.drop_everybody()

    assert len(sink.mails) == 3
    assert sink.sessions == 3


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
async def test_a_kept_connection_lost_before_the_mail_was_out_is_replaced_once(sink, relay, an_email, stage):
    await relay.send_email(an_email())
    sink.hang_up(stage, times=1)

    await relay.send_email(an_email())

    assert len(sink.mails) == 2
    assert sink.sessions == 2


async def test_a_kept_connection_that_is_closed_with_421_is_replaced(sink, relay, an_email):
    await relay.send_email(an_email())
    sink.hang_up("MAIL", times=1, after="421 4.4.2 you were silent too long")

    await relay.send_email(an_email())

    assert len(sink.mails) == 2


async def test_a_kept_connection_gone_silent_leaves_time_for_another(sink, connected, an_email):
    async with connected(sink.port, timeout=600) as relay:
        await relay.send_email(an_email())
        sink.stall("MAIL", times=1, seconds=200)
        await relay.send_email(an_email())

    assert len(sink.mails) == 2
    assert sink.sessions == 2


async def test_a_server_that_always_hangs_up_is_tried_once_more_and_no_further(sink, relay, an_email):
    await relay.send_email(an_email())
    sink.hang_up("RCPT")

    with pytest.raises(Unavailable):
        await relay.send_email(an_email())

    assert sink.sessions == 2


@pytest.mark.parametrize("stage", ["connect", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "END"])
async def test_after_a_cancelled_send_the_next_mail_goes_to_one_person(sink, relay, an_email, stage):
    sink.wait_at(stage)
    first = asyncio.create_task(relay.send_email(an_email(recipient="first@post.example")))
    await sink.reached[stage].wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    sink.gate.set()

    await relay.send_email(an_email(recipient="second@post.example"))

    received = sink.mails[-1]
    assert [line.split(b">")[0] for line in received.recipients] == [b"RCPT TO:<second@post.example"]
    assert sink.sessions == 2


async def test_a_mail_that_was_given_up_half_way_is_not_completed_afterwards(sink, connected):
    sink.wait_at("BODY")
    content = b"Subject: long\r\n\r\n" + b"too much for what sockets hold\r\n" * 600_000
    envelope = Envelope("an-id", "news@amazing.example", "ann@post.example", own_sender=False)
    async with connected(sink.port) as relay:
        deadline = Deadline(60)
        sending = asyncio.create_task(
            relay._connections.use(
                lambda connection: deliver(connection, envelope, Mail(content, utf8=False), deadline),
                deadline,
            )
        )
        await sink.reached["BODY"].wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        sink.gate.set()
        await sink.everybody_gone()

    assert not sink.mails


async def test_never_more_connections_than_allowed(sink, connected, an_email):
    sink.wait_at("DATA")
    async with connected(sink.port, connections=3) as relay, asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(relay.send_email(an_email()))
        await sink.reached["DATA"].wait()
        sink.gate.set()

    assert len(sink.mails) == 20
    assert sink.most_open <= 3
    assert sink.sessions <= 3


async def test_who_finds_no_free_connection_in_time_is_unavailable(sink, connected, an_email):
    async with connected(sink.port, connections=1, timeout=0.1) as relay, asyncio.TaskGroup() as group:
        held, release = asyncio.Event(), asyncio.Event()

        async def hold(connection):
            held.set()
            await release.wait()

        group.create_task(relay._connections.use(hold, Deadline(60)))
        await held.wait()
        with pytest.raises(Unavailable, match="none of the 1 connections") as caught:
            await relay.send_email(an_email())
        release.set()

    assert caught.value.message_only
    assert not sink.mails


async def test_a_crowd_at_a_slow_relay_leaves_nobody_in_doubt(sink, connected, an_email, set_ahead):
    """Those without a connection give up while the others still have time to hear the answer."""
    sink.wait_at("END")
    async with connected(sink.port, timeout=600) as relay:
        mails = {asyncio.create_task(relay.send_email(an_email())) for _ in range(16)}
        crowd = set(mails)
        while sink.commands.count(b"DATA\r\n") < 8:  # noqa: ASYNC110  the sink tells nobody
            await asyncio.sleep(0.001)
        set_ahead(600 * PATIENCE)
        while len(mails) > 8:
            done, mails = await asyncio.wait(mails, return_when=asyncio.FIRST_COMPLETED)
            refusals = [mail.exception() for mail in done]
            assert [type(error) for error in refusals] == [Unavailable] * len(done)
            assert all(error.message_only for error in refusals)
        sink.gate.set()
        ended = await asyncio.gather(*crowd, return_exceptions=True)

    assert ended.count(Receipt()) == len(sink.mails) == 8
    assert sink.sessions == 8


async def test_a_mail_is_not_begun_with_little_time_left(sink, connected, an_email):
    sink.drip("connect", "220 slowly")
    async with connected(sink.port, timeout=20) as relay:
        with pytest.raises(Unavailable, match="in time") as caught:
            await relay.send_email(an_email())

    assert not caught.value.message_only
    assert not [line for line in sink.commands if line.startswith(b"MAIL")]


async def test_a_cancelled_wait_for_a_connection_takes_none(sink, connected, an_email):
    sink.wait_at("RCPT")
    async with connected(sink.port, connections=1) as relay:
        first = asyncio.create_task(relay.send_email(an_email()))
        await sink.reached["RCPT"].wait()
        second = asyncio.create_task(relay.send_email(an_email()))
        await asyncio.sleep(0)
        second.cancel()
        sink.gate.set()
        await first
        await relay.send_email(an_email())
        with pytest.raises(asyncio.CancelledError):
            await second

    assert len(sink.mails) == 2
    assert sink.sessions == 1
