import asyncio

import pytest
from sqlalchemy import func, select

from claiming import claim_callbacks, claim_due, finish_callback, result_of
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import CallbackResult, ReportedEvents, SendResult, due_rows
from gatepost.outbox.schema import contents, messages, statuses
from gatepost.outbox.states import State
from statements import executed

HOUR, YEAR = 3600.0, 365 * 86_400.0


def status_names(view):
    return [one.status for one in view.statuses]


async def sweep_all(outbox):
    """Sweep until nothing changes; this must end after a few sweeps."""
    for _ in range(50):
        if not (await outbox.sweep()).changes:
            return
    pytest.fail("the sweep never ends")


async def test_a_sweep_without_due_rows_changes_nothing(store, new, put_and_claim):
    assert (await store.sweep()).changes == 0
    await put_and_claim(store)
    await store.put(new("uid-2"))
    assert (await store.sweep()).changes == 0


async def test_a_sweep_without_due_rows_asks_once(store, put_and_claim):
    await put_and_claim(store)
    statements = executed(store._database.engine)

    assert (await store.sweep()).changes == 0

    assert len([one for one in statements if "messages" in one.text]) == 1


async def test_a_message_whose_lease_ended_is_uncertain(store, put_and_claim, view_of, clock):
    claim = await put_and_claim(store, lease=30)
    clock.advance(30)

    assert (await store.sweep()).expired_claims == 1

    view = await view_of(store, claim.id)
    assert (view.state, view.reason) == ("uncertain", "the process that was sending it was lost")
    assert (view.due_at, view.ended_at, view.has_content, status_names(view)) == (
        clock.now + 120,
        None,
        True,
        [],
    )
    assert await claim_due(store, Channel.EMAIL, 1, 30) == []


async def test_an_uncertain_message_without_a_report_is_queued_again(store, put_and_claim, clock):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim, State.UNCERTAIN, delay=120))
    clock.advance(119)
    assert (await store.sweep()).changes == 0
    store.queue_signals.take()
    clock.advance(1)

    assert (await store.sweep()).requeued == 1

    assert store.queue_signals.take() == (set(), True)
    (again,) = await claim_due(store, Channel.EMAIL, 1, 30)
    assert (again.id, again.attempt, again.content) == (claim.id, 2, claim.content)


async def test_an_uncertain_message_is_held_if_the_policy_says_so(place, put_and_claim, view_of, clock):
    async with place.opened(hold_uncertain=True) as store:
        claim = await put_and_claim(store, lifetime=HOUR)
        expires_at = clock.now + HOUR
        await store.finish(result_of(claim, State.UNCERTAIN, delay=120))
        clock.advance(120)

        result = await store.sweep()

        assert (result.held, result.requeued) == (1, 0)
        view = await view_of(store, claim.id)
        assert (view.state, view.due_at, view.has_content) == ("held", expires_at, True)
        assert await claim_due(store, Channel.EMAIL, 1, 30) == []
        clock.advance(HOUR - 120)
        await sweep_all(store)
        view = await view_of(store, claim.id)
        assert (view.state, status_names(view)) == ("failed", ["failed"])


async def test_a_report_ends_an_uncertain_message(store, put_and_claim, view_of, clock):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim, State.UNCERTAIN, delay=120))
    await store.record(
        ReportedEvents(instance="relay", events=[StatusEvent(status=Status.DELIVERED, message_id=claim.id)])
    )
    clock.advance(HOUR)

    await sweep_all(store)

    view = await view_of(store, claim.id)
    assert (view.state, status_names(view)) == ("sent", ["accepted", "delivered"])


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN])
async def test_a_message_fails_when_its_lifetime_ends(store, put_and_claim, view_of, clock, state):
    claim = await put_and_claim(store, lifetime=60)
    await store.finish(result_of(claim, state, delay=HOUR))
    store.callbacks_due.clear()
    clock.advance(60)

    assert (await store.sweep()).failed == 1

    view = await view_of(store, claim.id)
    assert (view.state, view.due_at, view.ended_at) == ("failed", None, clock.now)
    assert status_names(view) == ["failed"]
    assert view.has_content
    assert store.callbacks_due.is_set()
    assert len(await claim_callbacks(store, 1, 30)) == 1


async def test_a_claimed_message_does_not_fail_before_its_lease_ends(store, put_and_claim, view_of, clock):
    claim = await put_and_claim(store, lifetime=60, lease=600)
    clock.advance(599)
    assert (await store.sweep()).changes == 0
    clock.advance(1)

    await sweep_all(store)

    assert (await view_of(store, claim.id)).state == "failed"
    assert not await store.finish(result_of(claim, State.QUEUED))


async def test_repeated_sweeps_change_everything_that_is_due(store, new, clock):
    number = 2 * due_rows.SWEEP_BATCH + 7
    many = [new(f"uid-{n}", lifetime=60) for n in range(number)]
    await asyncio.gather(*(store.put(message) for message in many))
    clock.advance(60)

    first = await store.sweep()
    await sweep_all(store)

    assert first.failed == due_rows.SWEEP_BATCH
    assert len(await claim_callbacks(store, 10_000, 30)) == number


async def test_a_restart_ends_every_claim(place, put_and_claim, new, view_of, clock):
    async with place.opened() as outbox:
        sending = await put_and_claim(outbox, "sending", lease=1000)
        sent = await put_and_claim(outbox, "sent")
        await outbox.finish(result_of(sent))
        (call,) = await claim_callbacks(outbox, 1, 1000)
        waiting = new("waiting")
        await outbox.put(waiting)
    async with place.opened() as outbox:
        view = await view_of(outbox, sending.id)
        assert (view.state, view.due_at) == ("uncertain", clock.now + 120)
        (again,) = await claim_callbacks(outbox, 9, 30)
        assert (again.seq, again.message_id, again.attempt) == (call.seq, sent.id, 2)
        assert [one.id for one in await claim_due(outbox, Channel.EMAIL, 9, 30)] == [waiting.id]
        assert not await finish_callback(
            outbox, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
        )


@pytest.mark.parametrize("jump", [-YEAR, -HOUR, HOUR, YEAR])
@pytest.mark.parametrize("hold_uncertain", [False, True])
async def test_every_message_ends_after_a_jump_of_the_clock(place, new, view_of, clock, jump, hold_uncertain):
    async with place.opened(hold_uncertain=hold_uncertain) as store:
        claims = {}
        for name in ("sending", "paused", "uncertain", "held"):
            message = new(name, lifetime=4 * HOUR)
            await store.put(message)
            (claims[name],) = await claim_due(store, Channel.EMAIL, 1, 30)
        await store.finish(result_of(claims["held"], State.UNCERTAIN, delay=0))
        await store.sweep()
        await store.finish(result_of(claims["paused"], State.QUEUED, delay=900))
        await store.finish(result_of(claims["uncertain"], State.UNCERTAIN, delay=120))
        fresh = new("fresh", lifetime=4 * HOUR)
        await store.put(fresh)
        ids = [fresh.id, *(claim.id for claim in claims.values())]

        clock.advance(jump)
        await sweep_all(store)

        for identity in ids:
            view = await view_of(store, identity)
            if view.state == "failed":
                assert jump == YEAR
                assert status_names(view) == ["failed"]
            else:
                # The longest lease is a day, and a lifetime keeps its length; a smaller jump is not corrected.
                longest = {"sending": due_rows.MAX_LEASE, "held": 5 * HOUR, "uncertain": 120}
                assert view.due_at - clock.now <= longest.get(view.state, HOUR)
        # After two days each message must have failed, whatever the clock did.
        for _ in range(48):
            clock.advance(HOUR)
            await sweep_all(store)
        views = [await view_of(store, identity) for identity in ids]
        assert [view.state for view in views] == ["failed"] * 5
        assert [status_names(view) for view in views] == [["failed"]] * 5


async def test_a_clock_set_back_makes_messages_due(store, put_and_claim, clock):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim, State.QUEUED, delay=900))
    store.queue_signals.take()

    clock.advance(-YEAR)
    assert (await store.sweep()).clock_corrections >= 1

    assert store.queue_signals.take() == (set(), True)
    (again,) = await claim_due(store, Channel.EMAIL, 1, 30)
    # Its lifetime is as long as it was at first.
    assert again.lifetime == 86_400


async def test_a_claim_can_be_renewed_after_the_clock_was_set_back(store, put_and_claim, clock):
    claim = await put_and_claim(store, lease=30)
    clock.advance(-YEAR)
    await sweep_all(store)

    await store.renew(claim, 30)
    clock.advance(29)
    assert (await store.sweep()).expired_claims == 0
    assert await store.finish(result_of(claim))


async def test_a_receipt_counts_after_the_clock_was_set_ahead(store, put_and_claim, view_of, clock):
    claim = await put_and_claim(store, lease=30)
    clock.advance(HOUR)
    await sweep_all(store)
    await store.renew(claim, 30)

    assert await store.finish(result_of(claim))
    assert (await view_of(store, claim.id)).state == "sent"
    assert await claim_due(store, Channel.EMAIL, 1, 30) == []


@pytest.mark.parametrize("jump", [-YEAR, -HOUR, HOUR, YEAR])
async def test_every_callback_is_made_after_a_jump_of_the_clock(store, put_and_claim, clock, jump):
    for uid in ("claimed", "waiting"):
        await store.finish(result_of(await put_and_claim(store, uid)))
    claimed, waiting = await claim_callbacks(store, 2, 45)
    await finish_callback(
        store,
        CallbackResult(seq=waiting.seq, attempt=waiting.attempt, acknowledged=False, retry_in=10 * HOUR),
    )

    clock.advance(jump)
    await sweep_all(store)
    found = {call.seq for call in await claim_callbacks(store, 9, 45)}
    for _ in range(26):
        clock.advance(HOUR)
        await sweep_all(store)
        found |= {call.seq for call in await claim_callbacks(store, 9, 45)}

    assert found == {claimed.seq, waiting.seq}


async def test_a_long_callback_pause_is_not_corrected(store, put_and_claim, clock):
    await store.finish(result_of(await put_and_claim(store)))
    (call,) = await claim_callbacks(store, 1, 45)
    await finish_callback(
        store, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=False, retry_in=12 * HOUR)
    )

    assert (await store.sweep()).callbacks == 0
    assert await claim_callbacks(store, 1, 45) == []


async def row_counts(store, identity):
    """Return how many rows the three tables have of a message."""

    def count(connection):
        return [
            connection.execute(select(func.count()).where(column == identity)).scalar_one()
            for column in (messages.c.id, contents.c.message_id, statuses.c.message_id)
        ]

    return await store._database.transact(count)


async def test_an_ended_message_is_deleted_after_the_retention(place, put_and_claim, new, view_of, clock):
    async with place.opened(retention=1000) as store:
        claim = await put_and_claim(store)
        await store.finish(result_of(claim, State.FAILED))
        (call,) = await claim_callbacks(store, 1, 45)
        await finish_callback(store, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True))
        assert await row_counts(store, claim.id) == [1, 1, 1]
        clock.advance(999)
        assert await store.prune() == 0
        clock.advance(1)

        assert await store.prune() == 1

        assert await row_counts(store, claim.id) == [0, 0, 0]
        repeated = new()
        assert (await store.put(repeated)).id == repeated.id


@pytest.mark.parametrize("ending", ["acknowledged", "dead"])
async def test_no_message_is_deleted_before_its_callbacks_are_finished(
    place, put_and_claim, view_of, clock, ending
):
    async with place.opened(retention=1000) as store:
        claim = await put_and_claim(store)
        await store.finish(result_of(claim))
        await store.record(
            ReportedEvents(
                instance="relay", events=[StatusEvent(status=Status.DELIVERED, message_id=claim.id)]
            )
        )
        clock.advance(5000)
        for _ in range(2):
            assert await store.prune() == 0
            (call,) = await claim_callbacks(store, 1, 45)
            assert await store.prune() == 0
            await finish_callback(
                store,
                CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=ending == "acknowledged"),
            )

        assert await store.prune() == 1
        assert await row_counts(store, claim.id) == [0, 0, 0]


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN, State.SENDING])
async def test_no_message_is_deleted_before_its_end(place, put_and_claim, clock, state):
    async with place.opened(retention=1000) as store:
        claim = await put_and_claim(store, lifetime=YEAR)
        if state is not State.SENDING:
            await store.finish(result_of(claim, state, delay=900))
        clock.advance(YEAR / 2)

        assert await store.prune() == 0


async def test_a_message_without_callbacks_is_deleted_too(place, put_and_claim, view_of, clock):
    async with place.opened(retention=1000) as store:
        claim = await put_and_claim(store, callback_url="")
        await store.finish(result_of(claim))
        clock.advance(1000)

        assert await store.prune() == 1
        assert await row_counts(store, claim.id) == [0, 0, 0]


async def test_messages_are_deleted_in_small_batches_the_oldest_first(place, new, clock):
    number = due_rows.SWEEP_BATCH + 50
    async with place.opened(retention=1000) as store:
        last = new("last", callback_url="")
        many = [new(f"uid-{n}", callback_url="") for n in range(number - 1)]
        await asyncio.gather(*(store.put(one) for one in many))
        claims = await claim_due(store, Channel.EMAIL, number, 30)
        await asyncio.gather(*(store.finish(result_of(claim)) for claim in claims))
        clock.advance(1)
        await store.put(last)
        (claim,) = await claim_due(store, Channel.EMAIL, 1, 30)
        await store.finish(result_of(claim))
        clock.advance(1000)

        assert await store.prune() == due_rows.SWEEP_BATCH
        assert await store.find("brand", Channel.EMAIL, "last")
        assert await store.prune() == 50
        assert await store.prune() == 0
        assert await store.find("brand", Channel.EMAIL, "last") is None


async def test_depth_counts_what_waits_and_for_how_long(store, put_and_claim, new, clock):
    sent = await put_and_claim(store, "sent")
    await store.finish(result_of(sent))
    await put_and_claim(store, "sending", channel=Channel.SMS)
    await store.put(new("a"))
    clock.advance(7)
    await store.put(new("b"))
    await store.finish(
        result_of(await put_and_claim(store, "c", channel=Channel.SMS), State.QUEUED, delay=60)
    )

    depth = await store.depth()

    assert depth.messages == {("email", "queued"): 2, ("sms", "sending"): 1, ("sms", "queued"): 1}
    assert depth.oldest == {"email": 7, "sms": 0}
    assert depth.callbacks == {"queued": 1}
    await claim_callbacks(store, 1, 30)
    assert (await store.depth()).callbacks == {"calling": 1}


async def test_an_untried_message_is_due_after_the_clock_was_set_back(store, new, clock):
    """An hour is less than the longest pause, but a message that was never tried has no pause."""
    message = new()
    clock.advance(3600)
    await store.put(message)
    event = StatusEvent(status=Status.DELIVERED, message_id=message.id)
    clock.advance(-3600)
    assert await claim_due(store, Channel.EMAIL, 1, 30) == []

    assert (await store.sweep()).clock_corrections == 1
    assert [claim.id for claim in await claim_due(store, Channel.EMAIL, 1, 30)] == [message.id]

    clock.advance(3600)
    await store.record(ReportedEvents(instance="i", events=[event]))
    clock.advance(-3600)
    assert await claim_callbacks(store, 1, 30) == []

    assert (await store.sweep()).callbacks == 1
    assert len(await claim_callbacks(store, 1, 30)) == 1


async def test_a_message_whose_answers_are_lost_is_sent_twice_then_held(place, new, clock):
    """A relay that takes every mail and answers too late must not get the same one all day."""
    async with place.opened(uncertain_wait=0.0) as store:
        message = new()
        await store.put(message)
        sends = 0
        for _ in range(5):
            for claim in await claim_due(store, Channel.EMAIL, 1, 30.0):
                sends += 1
                await store.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.UNCERTAIN))
            await store.sweep()
        assert sends == 2
        assert (await store.sweep()).changes == 0
        (waiting,) = (await store.depth()).messages
        assert waiting == ("email", "held")
