"""Lost connections, silent servers, cancelled sends, and connections that are never shared."""

import asyncio

import pytest

from gatepost.errors import Unavailable, Uncertain
from gatepost.model import Receipt
from gatepost_smtp.deadline import MAX_WAIT_SHARE, Deadline
from gatepost_smtp.mime import Mail
from gatepost_smtp.transaction import Envelope, send

BEFORE = ["connect", "EHLO", "MAIL", "RCPT", "DATA"]
AFTER = ["BODY", "END"]


@pytest.fixture(params=[True, False], ids=["pipelining", "one by one"])
def pipelining(request):
    return request.param


@pytest.mark.parametrize("stage", BEFORE)
async def test_a_connection_lost_before_the_mail_is_sent_is_unavailable(sink, relay, an_email, stage):
    sink.hang_up(stage)

    with pytest.raises(Unavailable):
        await relay.send_email(an_email())

    assert sink.sessions == 1


@pytest.mark.parametrize("stage", AFTER)
async def test_a_connection_lost_after_the_mail_was_sent_is_uncertain_without_a_repeat(
    sink, relay, an_email, stage
):
    sink.hang_up(stage)

    with pytest.raises(Uncertain):
        await relay.send_email(an_email())

    assert sink.sessions == 1
    assert sink.commands.count(b"DATA\r\n") == 1


@pytest.mark.parametrize("stage", AFTER)
async def test_a_reused_connection_lost_after_the_mail_was_sent_is_uncertain(sink, relay, an_email, stage):
    await relay.send_email(an_email())
    sink.hang_up(stage)

    with pytest.raises(Uncertain):
        await relay.send_email(an_email())

    assert sink.sessions == 1
    assert sink.commands.count(b"DATA\r\n") == 2


@pytest.mark.parametrize("stage", BEFORE)
async def test_silence_before_the_mail_is_sent_is_unavailable(sink, relay, an_email, stage):
    sink.stall(stage)

    with pytest.raises(Unavailable):
        await relay.send_email(an_email())


@pytest.mark.parametrize("stage", AFTER)
async def test_silence_after_the_mail_was_sent_is_uncertain(sink, relay, an_email, stage):
    sink.stall(stage)

    with pytest.raises(Uncertain, match="in time"):
        await relay.send_email(an_email())


async def test_all_steps_share_one_deadline(sink, connected, an_email):
    # Each step takes a second per byte. One step would end in time; five together must not.
    for stage in BEFORE:
        sink.drip(stage, {"connect": "220 a", "DATA": "354 a"}.get(stage, "250 a"))
    async with connected(sink.port, timeout=16) as relay:
        with pytest.raises(Unavailable, match="in time"):
            await relay.send_email(an_email())

    assert not sink.mails


async def test_the_deadline_of_one_mail_does_not_end_the_next_one(sink, connected, an_email, set_ahead):
    async with connected(sink.port, timeout=20) as relay:
        await relay.send_email(an_email())
        set_ahead(15)
        sink.wait_at("END")
        sink.reached["END"].clear()
        sending = asyncio.create_task(relay.send_email(an_email()))
        await sink.reached["END"].wait()
        # The first mail's time is over, and the second one has twelve seconds left.
        set_ahead(8)
        await asyncio.sleep(0.01)
        sink.gate.set()
        await sending

    assert len(sink.mails) == 2
    assert sink.sessions == 1


async def test_without_a_server_the_relay_is_unavailable(sink, connected, an_email, closed_port):
    async with connected(closed_port) as relay:
        with pytest.raises(Unavailable, match="ConnectionRefusedError"):
            await relay.send_email(an_email())
        with pytest.raises(Unavailable):
            await relay.ping()


async def test_an_unknown_host_name_is_unavailable(connected, an_email):
    async with connected(2525, host="relay.invalid") as relay:
        with pytest.raises(Unavailable, match="name can't be resolved"):
            await relay.send_email(an_email())


async def test_an_idle_connection_that_the_server_closed_loses_no_mail(sink, relay, an_email):
    for _ in range(3):
        await relay.send_email(an_email())
        sink.close_all_sessions()

    assert len(sink.mails) == 3
    assert sink.sessions == 3


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
async def test_a_reused_connection_lost_before_the_mail_is_replaced_once(sink, relay, an_email, stage):
    await relay.send_email(an_email())
    sink.hang_up(stage, times=1)

    await relay.send_email(an_email())

    assert len(sink.mails) == 2
    assert sink.sessions == 2


async def test_a_reused_connection_closed_with_421_is_replaced(sink, relay, an_email):
    await relay.send_email(an_email())
    sink.hang_up("MAIL", times=1, after="421 4.4.2 you were silent too long")

    await relay.send_email(an_email())

    assert len(sink.mails) == 2


async def test_a_silent_reused_connection_leaves_time_for_another(sink, connected, an_email):
    async with connected(sink.port, timeout=600) as relay:
        await relay.send_email(an_email())
        sink.stall("MAIL", times=1, seconds=200)
        await relay.send_email(an_email())

    assert len(sink.mails) == 2
    assert sink.sessions == 2


async def test_a_mail_is_tried_over_two_connections_at_most(sink, relay, an_email):
    await relay.send_email(an_email())
    sink.hang_up("RCPT")

    with pytest.raises(Unavailable):
        await relay.send_email(an_email())

    assert sink.sessions == 2


@pytest.mark.parametrize("stage", ["connect", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "END"])
async def test_after_a_cancelled_send_the_next_mail_has_one_recipient(sink, relay, an_email, stage):
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


async def test_a_cancelled_mail_is_never_completed(sink, connected):
    sink.wait_at("BODY")
    content = b"Subject: long\r\n\r\n" + b"too much for what sockets hold\r\n" * 600_000
    envelope = Envelope("an-id", "news@amazing.example", "ann@post.example", configured_sender=False)
    async with connected(sink.port) as relay:
        deadline = Deadline(60)
        sending = asyncio.create_task(
            relay._pool.run(
                lambda connection: send(connection, envelope, Mail(content, utf8=False), deadline),
                deadline,
            )
        )
        await sink.reached["BODY"].wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        sink.gate.set()
        await sink.wait_for_all_sessions()

    assert not sink.mails


async def test_the_number_of_connections_is_limited(sink, connected, an_email):
    sink.wait_at("DATA")
    async with connected(sink.port, connections=3) as relay, asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(relay.send_email(an_email()))
        await sink.reached["DATA"].wait()
        sink.gate.set()

    assert len(sink.mails) == 20
    assert sink.max_open <= 3
    assert sink.sessions <= 3


async def test_a_send_without_a_free_connection_is_unavailable(sink, connected, an_email):
    async with connected(sink.port, connections=1, timeout=0.1) as relay, asyncio.TaskGroup() as group:
        started, release = asyncio.Event(), asyncio.Event()

        async def hold(connection):
            started.set()
            await release.wait()

        group.create_task(relay._pool.run(hold, Deadline(60)))
        await started.wait()
        with pytest.raises(Unavailable, match="none of the 1 connections") as caught:
            await relay.send_email(an_email())
        release.set()

    assert caught.value.message_only
    assert not sink.mails


async def test_waiting_sends_end_before_those_with_a_connection(sink, connected, an_email, set_ahead):
    """Sends without a connection give up while the others still have time to get their answers."""
    sink.wait_at("END")
    async with connected(sink.port, timeout=600) as relay:
        mails = {asyncio.create_task(relay.send_email(an_email())) for _ in range(16)}
        all_mails = set(mails)
        while sink.commands.count(b"DATA\r\n") < 8:  # noqa: ASYNC110  the sink has no event for it
            await asyncio.sleep(0.001)
        set_ahead(600 * MAX_WAIT_SHARE)
        while len(mails) > 8:
            done, mails = await asyncio.wait(mails, return_when=asyncio.FIRST_COMPLETED)
            refusals = [mail.exception() for mail in done]
            assert [type(error) for error in refusals] == [Unavailable] * len(done)
            assert all(error.message_only for error in refusals)
        sink.gate.set()
        ended = await asyncio.gather(*all_mails, return_exceptions=True)

    assert ended.count(Receipt()) == len(sink.mails) == 8
    assert sink.sessions == 8


async def test_a_mail_is_not_started_with_little_time_left(sink, connected, an_email):
    sink.drip("connect", "220 slowly")
    async with connected(sink.port, timeout=20) as relay:
        with pytest.raises(Unavailable, match="in time") as caught:
            await relay.send_email(an_email())

    assert not caught.value.message_only
    assert not [line for line in sink.commands if line.startswith(b"MAIL")]


async def test_a_cancelled_wait_takes_no_connection(sink, connected, an_email):
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
