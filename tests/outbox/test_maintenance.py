import asyncio

import pytest
from sqlalchemy import func, select

from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import CallbackResult, ReportedEvents, SendResult, maintenance
from gatepost.outbox.schema import contents, messages, statuses
from gatepost.outbox.states import State

HOUR, YEAR = 3600.0, 365 * 86_400.0


def outcome(claim, state=State.SENT, **fields):
    return SendResult(id=claim.id, attempt=claim.attempt, state=state, **fields)


def told(view):
    return [one.status for one in view.statuses]


async def settle(outbox):
    """Sweep until nothing is left to do; it must come to an end."""
    for _ in range(50):
        if not (await outbox.sweep()).moved:
            return
    pytest.fail("sweeping never ends")


async def test_a_sweep_with_nothing_to_do_moves_nothing(store, new, hold):
    assert (await store.sweep()).moved == 0
    await hold(store)
    await store.put(new("uid-2"))
    assert (await store.sweep()).moved == 0


async def test_a_lost_sender_leaves_its_message_uncertain(store, hold, look, clock):
    claim = await hold(store, lease=30)
    clock.advance(30)

    assert (await store.sweep()).orphaned == 1

    view = await look(store, claim.id)
    assert (view.state, view.reason) == ("uncertain", "the sender was lost")
    assert (view.due_at, view.ended_at, view.content_kept, told(view)) == (clock.now + 120, None, True, [])
    assert await store.claim(Channel.EMAIL, 1, 30) == []


async def test_an_uncertain_message_is_sent_again_when_no_report_came(store, hold, clock):
    claim = await hold(store)
    await store.finish(outcome(claim, State.UNCERTAIN, delay=120))
    clock.advance(119)
    assert (await store.sweep()).moved == 0
    store.arrived[Channel.EMAIL].clear()
    clock.advance(1)

    assert (await store.sweep()).resent == 1

    assert store.arrived[Channel.EMAIL].is_set()
    (again,) = await store.claim(Channel.EMAIL, 1, 30)
    assert (again.id, again.attempt, again.content) == (claim.id, 2, claim.content)


async def test_an_uncertain_message_is_held_if_the_operator_wants_to_decide(place, hold, look, clock):
    async with place.opened(hold=True) as store:
        claim = await hold(store, lifetime=HOUR)
        expires_at = clock.now + HOUR
        await store.finish(outcome(claim, State.UNCERTAIN, delay=120))
        clock.advance(120)

        swept = await store.sweep()

        assert (swept.held, swept.resent) == (1, 0)
        view = await look(store, claim.id)
        assert (view.state, view.due_at, view.content_kept) == ("held", expires_at, True)
        assert await store.claim(Channel.EMAIL, 1, 30) == []
        clock.advance(HOUR - 120)
        await settle(store)
        view = await look(store, claim.id)
        assert (view.state, told(view)) == ("failed", ["failed"])


async def test_a_report_settles_an_uncertain_message(store, hold, look, clock):
    claim = await hold(store)
    await store.finish(outcome(claim, State.UNCERTAIN, delay=120))
    await store.record(
        ReportedEvents(instance="relay", events=[StatusEvent(status=Status.DELIVERED, message_id=claim.id)])
    )
    clock.advance(HOUR)

    await settle(store)

    view = await look(store, claim.id)
    assert (view.state, told(view)) == ("sent", ["accepted", "delivered"])


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN])
async def test_a_message_fails_when_its_lifetime_ends(store, hold, look, clock, state):
    claim = await hold(store, lifetime=60)
    await store.finish(outcome(claim, state, delay=HOUR))
    store.reported.clear()
    clock.advance(60)

    assert (await store.sweep()).failed == 1

    view = await look(store, claim.id)
    assert (view.state, view.due_at, view.ended_at) == ("failed", None, clock.now)
    assert told(view) == ["failed"]
    assert view.content_kept
    assert store.reported.is_set()
    assert len(await store.claim_callbacks(1, 30)) == 1


async def test_what_is_being_sent_is_not_given_up_before_its_sender_is_lost(store, hold, look, clock):
    claim = await hold(store, lifetime=60, lease=600)
    clock.advance(599)
    assert (await store.sweep()).moved == 0
    clock.advance(1)

    await settle(store)

    assert (await look(store, claim.id)).state == "failed"
    assert not await store.finish(outcome(claim, State.QUEUED))


async def test_more_than_one_sweeps_worth_is_swept_in_the_end(store, new, clock):
    number = 2 * maintenance.MOST + 7
    many = [new(f"uid-{n}", lifetime=60) for n in range(number)]
    await asyncio.gather(*(store.put(message) for message in many))
    clock.advance(60)

    first = await store.sweep()
    await settle(store)

    assert first.failed == maintenance.MOST
    assert len(await store.claim_callbacks(10_000, 30)) == number


async def test_a_restart_takes_back_what_was_in_hand(place, hold, new, look, clock):
    async with place.opened() as outbox:
        sending = await hold(outbox, "sending", lease=1000)
        sent = await hold(outbox, "sent")
        await outbox.finish(outcome(sent))
        (call,) = await outbox.claim_callbacks(1, 1000)
        waiting = new("waiting")
        await outbox.put(waiting)
    async with place.opened() as outbox:
        view = await look(outbox, sending.id)
        assert (view.state, view.due_at) == ("uncertain", clock.now + 120)
        (again,) = await outbox.claim_callbacks(9, 30)
        assert (again.seq, again.message_id, again.attempt) == (call.seq, sent.id, 2)
        assert [one.id for one in await outbox.claim(Channel.EMAIL, 9, 30)] == [waiting.id]
        assert not await outbox.finish_callback(
            CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
        )


@pytest.mark.parametrize("jump", [-YEAR, -HOUR, HOUR, YEAR])
@pytest.mark.parametrize("hold_policy", [False, True])
async def test_no_jump_of_the_clock_strands_a_message(place, new, look, clock, jump, hold_policy):
    async with place.opened(hold=hold_policy) as store:
        claims = {}
        for name in ("sending", "paused", "uncertain", "held"):
            message = new(name, lifetime=4 * HOUR)
            await store.put(message)
            (claims[name],) = await store.claim(Channel.EMAIL, 1, 30)
        await store.finish(outcome(claims["held"], State.UNCERTAIN, delay=0))
        await store.sweep()
        await store.finish(outcome(claims["paused"], State.QUEUED, delay=900))
        await store.finish(outcome(claims["uncertain"], State.UNCERTAIN, delay=120))
        fresh = new("fresh", lifetime=4 * HOUR)
        await store.put(fresh)
        ids = [fresh.id, *(claim.id for claim in claims.values())]

        clock.advance(jump)
        await settle(store)

        for identity in ids:
            view = await look(store, identity)
            if view.state == "failed":
                assert jump == YEAR
                assert told(view) == ["failed"]
            else:
                # A lease may be a day, a lifetime is what it was; a jump of less is waited out.
                longest = {"sending": maintenance.LONGEST_LEASE, "held": 5 * HOUR, "uncertain": 120}
                assert view.due_at - clock.now <= longest.get(view.state, HOUR)
        # Two days on, whatever the clock had done: each has been sent again, or has failed.
        for _ in range(48):
            clock.advance(HOUR)
            await settle(store)
        views = [await look(store, identity) for identity in ids]
        assert [view.state for view in views] == ["failed"] * 5
        assert [told(view) for view in views] == [["failed"]] * 5


async def test_a_jump_back_wakes_the_senders(store, hold, clock):
    claim = await hold(store)
    await store.finish(outcome(claim, State.QUEUED, delay=900))
    store.arrived[Channel.EMAIL].clear()

    clock.advance(-YEAR)
    assert (await store.sweep()).pulled_in >= 1

    assert store.arrived[Channel.EMAIL].is_set()
    (again,) = await store.claim(Channel.EMAIL, 1, 30)
    # It is worth sending for as long as it was when it came.
    assert again.lifetime == 86_400


async def test_a_living_sender_keeps_its_claim_through_a_jump_back(store, hold, clock):
    claim = await hold(store, lease=30)
    clock.advance(-YEAR)
    await settle(store)

    await store.renew(claim, 30)
    clock.advance(29)
    assert (await store.sweep()).orphaned == 0
    assert await store.finish(outcome(claim))


async def test_a_sender_caught_by_a_jump_ahead_still_brings_its_receipt(store, hold, look, clock):
    claim = await hold(store, lease=30)
    clock.advance(HOUR)
    await settle(store)
    await store.renew(claim, 30)

    assert await store.finish(outcome(claim))
    assert (await look(store, claim.id)).state == "sent"
    assert await store.claim(Channel.EMAIL, 1, 30) == []


@pytest.mark.parametrize("jump", [-YEAR, -HOUR, HOUR, YEAR])
async def test_no_jump_of_the_clock_strands_a_call(store, hold, clock, jump):
    for uid in ("lost", "later"):
        await store.finish(outcome(await hold(store, uid)))
    lost, later = await store.claim_callbacks(2, 45)
    await store.finish_callback(
        CallbackResult(seq=later.seq, attempt=later.attempt, acknowledged=False, retry_in=10 * HOUR)
    )

    clock.advance(jump)
    await settle(store)
    found = {call.seq for call in await store.claim_callbacks(9, 45)}
    for _ in range(26):
        clock.advance(HOUR)
        await settle(store)
        found |= {call.seq for call in await store.claim_callbacks(9, 45)}

    assert found == {lost.seq, later.seq}


async def test_a_call_that_is_far_off_by_rights_is_not_pulled_in(store, hold, clock):
    await store.finish(outcome(await hold(store)))
    (call,) = await store.claim_callbacks(1, 45)
    await store.finish_callback(
        CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=False, retry_in=12 * HOUR)
    )

    assert (await store.sweep()).calls == 0
    assert await store.claim_callbacks(1, 45) == []


async def everything(store, identity):
    """What the three tables hold of a message."""

    def count(connection):
        return [
            connection.execute(select(func.count()).where(column == identity)).scalar_one()
            for column in (messages.c.id, contents.c.message_id, statuses.c.message_id)
        ]

    return await store._database.transact(count)


async def test_what_ended_is_forgotten_after_the_retention_and_not_before(place, hold, new, look, clock):
    async with place.opened(retention=1000) as store:
        claim = await hold(store)
        await store.finish(outcome(claim, State.FAILED))
        (call,) = await store.claim_callbacks(1, 45)
        await store.finish_callback(CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True))
        assert await everything(store, claim.id) == [1, 1, 1]
        clock.advance(999)
        assert await store.prune() == 0
        clock.advance(1)

        assert await store.prune() == 1

        assert await everything(store, claim.id) == [0, 0, 0]
        anew = new()
        assert (await store.put(anew)).id == anew.id


@pytest.mark.parametrize("ending", ["acknowledged", "dead"])
async def test_nothing_is_forgotten_while_smartico_does_not_know(place, hold, look, clock, ending):
    async with place.opened(retention=1000) as store:
        claim = await hold(store)
        await store.finish(outcome(claim))
        await store.record(
            ReportedEvents(
                instance="relay", events=[StatusEvent(status=Status.DELIVERED, message_id=claim.id)]
            )
        )
        clock.advance(5000)
        for _ in range(2):
            assert await store.prune() == 0
            (call,) = await store.claim_callbacks(1, 45)
            assert await store.prune() == 0
            await store.finish_callback(
                CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=ending == "acknowledged")
            )

        assert await store.prune() == 1
        assert await everything(store, claim.id) == [0, 0, 0]


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN, State.SENDING])
async def test_nothing_is_forgotten_before_its_end(place, hold, clock, state):
    async with place.opened(retention=1000) as store:
        claim = await hold(store, lifetime=YEAR)
        if state is not State.SENDING:
            await store.finish(outcome(claim, state, delay=900))
        clock.advance(YEAR / 2)

        assert await store.prune() == 0


async def test_a_message_without_callbacks_is_forgotten_too(place, hold, look, clock):
    async with place.opened(retention=1000) as store:
        claim = await hold(store, callback_url="")
        await store.finish(outcome(claim))
        clock.advance(1000)

        assert await store.prune() == 1
        assert await everything(store, claim.id) == [0, 0, 0]


async def test_forgetting_goes_in_small_steps_the_oldest_first(place, new, clock):
    number = maintenance.MOST + 50
    async with place.opened(retention=1000) as store:
        last = new("last", callback_url="")
        many = [new(f"uid-{n}", callback_url="") for n in range(number - 1)]
        await asyncio.gather(*(store.put(one) for one in many))
        claims = await store.claim(Channel.EMAIL, number, 30)
        await asyncio.gather(*(store.finish(outcome(claim)) for claim in claims))
        clock.advance(1)
        await store.put(last)
        (claim,) = await store.claim(Channel.EMAIL, 1, 30)
        await store.finish(outcome(claim))
        clock.advance(1000)

        assert await store.prune() == maintenance.MOST
        assert await store.find("brand", Channel.EMAIL, "last")
        assert await store.prune() == 50
        assert await store.prune() == 0
        assert await store.find("brand", Channel.EMAIL, "last") is None


async def test_depth_counts_what_waits_and_for_how_long(store, hold, new, clock):
    sent = await hold(store, "sent")
    await store.finish(outcome(sent))
    await hold(store, "sending", channel=Channel.SMS)
    await store.put(new("a"))
    clock.advance(7)
    await store.put(new("b"))
    await store.finish(outcome(await hold(store, "c", channel=Channel.SMS), State.QUEUED, delay=60))

    depth = await store.depth()

    assert depth.messages == {("email", "queued"): 2, ("sms", "sending"): 1, ("sms", "queued"): 1}
    assert depth.oldest == {"email": 7, "sms": 0}
    assert depth.callbacks == {"queued": 1}
    await store.claim_callbacks(1, 30)
    assert (await store.depth()).callbacks == {"calling": 1}


async def test_what_was_never_tried_does_not_wait_for_a_clock_that_jumped_back(store, new, clock):
    """An hour is less than the longest pause, but whoever was not tried yet has no pause."""
    message = new()
    clock.advance(3600)
    await store.put(message)
    event = StatusEvent(status=Status.DELIVERED, message_id=message.id)
    clock.advance(-3600)
    assert await store.claim(Channel.EMAIL, 1, 30) == []

    assert (await store.sweep()).pulled_in == 1
    assert [claim.id for claim in await store.claim(Channel.EMAIL, 1, 30)] == [message.id]

    clock.advance(3600)
    await store.record(ReportedEvents(instance="i", events=[event]))
    clock.advance(-3600)
    assert await store.claim_callbacks(1, 30) == []

    assert (await store.sweep()).calls == 1
    assert len(await store.claim_callbacks(1, 30)) == 1


async def test_a_message_whose_answers_are_lost_is_sent_again_but_once(place, new, clock):
    """A relay that takes every mail and answers too late must not be given the same one all day."""
    async with place.opened(uncertain_wait=0.0) as store:
        message = new()
        await store.put(message)
        sent = 0
        for _ in range(5):
            for claim in await store.claim(Channel.EMAIL, 1, 30.0):
                sent += 1
                await store.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.UNCERTAIN))
            await store.sweep()
        assert sent == 2
        assert (await store.sweep()).moved == 0
        (waiting,) = (await store.depth()).messages
        assert waiting == ("email", "held")
