import asyncio

import pytest

from gatepost.errors import StoreBusy
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import ReportedEvents, SendResult
from gatepost.outbox.driver_errors import Lost
from gatepost.outbox.states import State


def outcome(claim, state=State.SENT, **fields):
    return SendResult(id=claim.id, attempt=claim.attempt, state=state, **fields)


def told(view):
    return [one.status for one in view.statuses]


async def test_a_claim_brings_all_that_a_sender_needs(store, new, clock):
    message = new(preview="ref", content=bytes(range(256)) * 100, lifetime=600)
    await store.put(message)
    clock.advance(60)

    (claim,) = await store.claim(Channel.EMAIL, 1, 30)

    assert (claim.id, claim.client, claim.channel) == (message.id, "brand", Channel.EMAIL)
    assert (claim.ext_user_id, claim.preview, claim.content) == ("anna", "ref", message.content)
    assert (claim.attempt, claim.lifetime) == (1, 540)


async def test_the_longest_due_go_first(store, new, clock):
    ids = []
    for n in range(6):
        message = new(f"uid-{n}")
        await store.put(message)
        ids.append(message.id)
        clock.advance(1)

    claimed = [{claim.id for claim in await store.claim(Channel.EMAIL, 2, 30)} for _ in range(4)]

    assert claimed == [set(ids[:2]), set(ids[2:4]), set(ids[4:]), set()]


async def test_how_many_are_claimed_is_asked_when_the_transaction_begins(store, new):
    """More may be wanted by then than when the claim began to wait for it."""
    await asyncio.gather(*(store.put(new(f"uid-{n}")) for n in range(5)))
    wanted = 0

    claiming = asyncio.create_task(store.claim(Channel.EMAIL, lambda: wanted, 30))
    await asyncio.sleep(0)
    wanted = 3

    assert len(await claiming) == 3


async def test_nothing_is_claimed_twice(store, new):
    await asyncio.gather(*(store.put(new(f"uid-{n}")) for n in range(50)))

    hauls = await asyncio.gather(*(store.claim(Channel.EMAIL, 7, 30) for _ in range(10)))

    ids = [claim.id for haul in hauls for claim in haul]
    assert max(len(haul) for haul in hauls) == 7
    assert len(ids) == len(set(ids)) == 50


async def test_each_channel_is_claimed_for_itself(store, new):
    await store.put(new())
    await store.put(new(channel=Channel.SMS))

    (claim,) = await store.claim(Channel.SMS, 10, 30)

    assert claim.channel is Channel.SMS
    assert await store.claim(Channel.SMS, 10, 30) == []
    assert len(await store.claim(Channel.EMAIL, 10, 30)) == 1


async def test_what_is_not_due_yet_is_left_alone(store, hold, clock):
    claim = await hold(store)
    await store.finish(outcome(claim, State.QUEUED, delay=60))

    clock.advance(59.999)
    assert await store.claim(Channel.EMAIL, 1, 30) == []
    clock.advance(0.001)
    (again,) = await store.claim(Channel.EMAIL, 1, 30)
    assert (again.id, again.attempt, again.content) == (claim.id, 2, claim.content)


async def test_a_message_whose_time_is_up_may_be_claimed_and_says_so(store, new, clock):
    await store.put(new(lifetime=10))
    clock.advance(15)

    (claim,) = await store.claim(Channel.EMAIL, 1, 30)

    assert claim.lifetime == -5


async def test_a_receipt_ends_a_message_and_is_told(store, hold, look, clock):
    claim = await hold(store)
    clock.advance(1)

    assert await store.finish(outcome(claim, instance="relay", provider_id="p-1"))

    view = await look(store, claim.id)
    assert (view.state, view.due_at, view.ended_at) == ("sent", None, clock.now)
    assert (view.instance, view.provider_id) == ("relay", "p-1")
    assert told(view) == ["accepted"]


async def test_a_refusal_ends_a_message_and_is_told_with_its_code(store, hold, look):
    claim = await hold(store)

    assert await store.finish(outcome(claim, State.REJECTED, reason="no such user", code="550"))

    view = await look(store, claim.id)
    assert (view.state, view.due_at, view.reason, view.code) == ("rejected", None, "no such user", "550")
    assert [(one.status, one.code) for one in view.statuses] == [("rejected", "550")]


async def test_a_failure_ends_a_message_and_is_told(store, hold, look):
    claim = await hold(store)

    assert await store.finish(outcome(claim, State.FAILED, reason="its lifetime ended"))

    view = await look(store, claim.id)
    assert (view.state, view.due_at) == ("failed", None)
    assert told(view) == ["failed"]


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN])
async def test_what_goes_on_is_not_told_and_has_a_due_time(store, hold, look, clock, state):
    claim = await hold(store)

    assert await store.finish(outcome(claim, state, delay=90, reason="why", instance="relay"))

    view = await look(store, claim.id)
    assert (view.state, view.due_at, view.ended_at) == (state, clock.now + 90, None)
    assert (view.reason, view.instance, view.content_kept, told(view)) == ("why", "relay", True, [])


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN])
async def test_no_pause_reaches_beyond_the_lifetime(store, hold, look, clock, state):
    claim = await hold(store, lifetime=60)
    await store.finish(outcome(claim, state, delay=3600))

    assert (await look(store, claim.id)).due_at == clock.now + 60


async def test_a_message_put_back_after_its_lifetime_has_failed(store, hold, look, clock):
    claim = await hold(store, lifetime=60)
    clock.advance(60)

    assert await store.finish(outcome(claim, State.QUEUED, delay=5, reason="busy"))

    view = await look(store, claim.id)
    assert (view.state, view.due_at, view.reason) == ("failed", None, "busy")
    assert told(view) == ["failed"]


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN, State.FAILED])
async def test_content_that_an_outcome_brings_is_what_the_next_try_gets(store, hold, clock, state):
    claim = await hold(store)
    await store.finish(outcome(claim, state, content=b"with its text"))

    clock.advance(1)
    await store.sweep()
    await store.retry(claim.id, {Channel.EMAIL: 60.0})
    (again,) = await store.claim(Channel.EMAIL, 1, 30)

    assert (again.id, again.content) == (claim.id, b"with its text")


async def test_the_content_of_an_outcome_that_came_too_late_is_not_stored(store, hold):
    old = await hold(store)
    await store.finish(outcome(old, State.QUEUED))
    (claim,) = await store.claim(Channel.EMAIL, 1, 30)

    # Together: both are in one transaction.
    await asyncio.gather(
        store.finish(outcome(claim, State.QUEUED)),
        store.finish(outcome(old, State.QUEUED, content=b"late")),
    )

    (again,) = await store.claim(Channel.EMAIL, 1, 30)
    assert again.content == old.content


@pytest.mark.parametrize("state", [State.SENT, State.REJECTED])
async def test_erased_content_does_not_come_back_with_an_outcome(store, hold, look, state):
    claim = await hold(store)

    await store.finish(outcome(claim, state, content=b"with its text"))

    assert not (await look(store, claim.id)).content_kept


@pytest.mark.parametrize("state", [one for one in State if one not in {State.SENDING, State.HELD}])
async def test_the_outcome_of_an_earlier_attempt_changes_nothing(store, hold, look, clock, state):
    old = await hold(store)
    await store.finish(outcome(old, State.QUEUED))
    (claim,) = await store.claim(Channel.EMAIL, 1, 30)
    before = await look(store, claim.id)

    assert not await store.finish(outcome(old, state, reason="late"))

    assert await look(store, claim.id) == before
    assert await store.finish(outcome(claim))


@pytest.mark.parametrize("state", [one for one in State if one not in {State.SENDING, State.HELD}])
async def test_the_outcome_of_another_holder_changes_nothing(place, hold, look, state):
    async with place.opened() as outbox:
        claim = await hold(outbox)
    async with place.opened() as outbox:
        before = await look(outbox, claim.id)

        assert not await outbox.finish(outcome(claim, state, reason="late"))

        assert await look(outbox, claim.id) == before


@pytest.mark.parametrize("first", [State.SENT, State.REJECTED, State.FAILED, State.QUEUED, State.UNCERTAIN])
@pytest.mark.parametrize("then", [State.REJECTED, State.FAILED, State.QUEUED, State.UNCERTAIN])
@pytest.mark.parametrize("together", [False, True])
async def test_a_claim_ends_once(store, hold, look, first, then, together):
    claim = await hold(store)
    one, other = outcome(claim, first, reason="first"), outcome(claim, then, reason="then")

    if together:
        kept = await asyncio.gather(store.finish(one), store.finish(other))
    else:
        kept = [await store.finish(one), await store.finish(other)]

    assert kept == [True, False]
    view = await look(store, claim.id)
    assert (view.state, view.reason, view.content_kept) == (
        first,
        "first",
        first not in {State.SENT, State.REJECTED},
    )


async def test_an_outcome_about_nothing_we_know_changes_nothing(store):
    assert not await store.finish(SendResult(id="nobody", attempt=1, state=State.SENT))


@pytest.mark.parametrize("hold_policy", [False, True])
@pytest.mark.parametrize("wait", [0, 31, 31 + 121, 90_000], ids=["held", "lapsed", "over", "expired"])
async def test_a_receipt_counts_until_somebody_claims_again(place, hold, look, clock, wait, hold_policy):
    async with place.opened(hold=hold_policy) as store:
        claim = await hold(store, lease=30)
        clock.advance(min(wait, 31))
        await store.sweep()
        clock.advance(max(0, wait - 31))
        while (await store.sweep()).moved:
            pass
        failed = wait == 90_000

        assert await store.finish(outcome(claim, provider_id="p-1"))

        view = await look(store, claim.id)
        assert (view.state, view.due_at, view.provider_id) == ("sent", None, "p-1")
        assert not view.content_kept
        # Accepted is never told after another status.
        assert told(view) == (["failed"] if failed else ["accepted"])
        assert await store.claim(Channel.EMAIL, 1, 30) == []


async def test_a_receipt_after_the_report_adds_only_the_providers_id(store, hold, look, clock):
    claim = await hold(store)
    await store.record(
        ReportedEvents(instance="relay", events=[StatusEvent(status=Status.DELIVERED, message_id=claim.id)])
    )
    ended = (await look(store, claim.id)).ended_at
    clock.advance(5)

    assert await store.finish(outcome(claim, instance="relay", provider_id="p-1"))

    view = await look(store, claim.id)
    assert (view.state, view.provider_id, view.ended_at) == ("sent", "p-1", ended)
    assert told(view) == ["accepted", "delivered"]


@pytest.mark.parametrize("state", [State.REJECTED, State.FAILED, State.QUEUED, State.UNCERTAIN])
async def test_after_the_report_nothing_but_a_receipt_counts(store, hold, look, state):
    claim = await hold(store)
    await store.record(
        ReportedEvents(instance="relay", events=[StatusEvent(status=Status.DELIVERED, message_id=claim.id)])
    )
    before = await look(store, claim.id)

    assert not await store.finish(outcome(claim, state))
    assert await look(store, claim.id) == before


async def test_a_renewed_lease_holds_from_now_on(store, hold, clock):
    claim = await hold(store, lease=30)
    clock.advance(29)
    await store.renew(claim, 30)

    clock.advance(29)
    assert (await store.sweep()).orphaned == 0
    clock.advance(1)
    assert (await store.sweep()).orphaned == 1


async def test_a_lost_claim_can_not_be_renewed(store, hold, look, clock):
    claim = await hold(store, lease=30)
    clock.advance(30)
    await store.sweep()
    before = await look(store, claim.id)

    await store.renew(claim, 30)

    assert await look(store, claim.id) == before


async def test_renewing_an_older_attempt_leaves_the_newer_lease_alone(store, hold, look):
    old = await hold(store)
    await store.finish(outcome(old, State.QUEUED))
    await store.claim(Channel.EMAIL, 1, 30)
    before = await look(store, old.id)

    await store.renew(old, 3600)

    assert await look(store, old.id) == before


async def test_renewing_after_a_restart_is_too_late(place, hold, look):
    async with place.opened() as outbox:
        claim = await hold(outbox)
    async with place.opened() as outbox:
        before = await look(outbox, claim.id)
        await outbox.renew(claim, 3600)
        assert await look(outbox, claim.id) == before


async def test_an_ended_message_is_not_brought_back_by_a_renewal(store, hold, look):
    claim = await hold(store)
    await asyncio.gather(store.finish(outcome(claim)), store.renew(claim, 30))

    view = await look(store, claim.id)
    assert (view.state, view.due_at) == ("sent", None)


async def test_what_was_claimed_without_an_answer_is_given_back(store, new):
    kept, stray = new("kept"), new("stray")
    await store.put(kept)
    (in_hand,) = await store.claim(Channel.EMAIL, 1, 30.0)
    await store.put(stray)
    await store.claim(Channel.EMAIL, 1, 30.0)

    assert await store.give_back(Channel.EMAIL, {in_hand.id}) == 1

    (again,) = await store.claim(Channel.EMAIL, 5, 30.0)
    assert again.id == stray.id
    assert await store.finish(SendResult(id=in_hand.id, attempt=in_hand.attempt, state=State.SENT))


async def test_a_claim_whose_connection_was_lost_is_not_made_twice(store, new, monkeypatch):
    for number in range(4):
        await store.put(new(f"uid-{number}"))
    transact, lost = store._database.transact, [True]

    async def lose_one_answer(work):
        result = await transact(work)
        if lost and lost.pop():
            raise Lost("the connection was lost at its commit")
        return result

    monkeypatch.setattr(store._database, "transact", lose_one_answer)
    with pytest.raises(StoreBusy):
        await store.claim(Channel.EMAIL, 2, 30.0)
    assert await store.give_back(Channel.EMAIL, ()) == 2
    assert len(await store.claim(Channel.EMAIL, 9, 30.0)) == 4


async def test_a_message_whose_time_is_over_keeps_its_last_trouble(store, new, look):
    message = new()
    await store.put(message)
    (claim,) = await store.claim(Channel.EMAIL, 1, 30.0)
    down = {"instance": "relay", "reason": "the relay is down", "code": "451"}
    await store.finish(outcome(claim, State.QUEUED, delay=0.0, **down))
    (claim,) = await store.claim(Channel.EMAIL, 1, 30.0)
    await store.finish(outcome(claim, State.FAILED, reason="its lifetime ended"))

    view = await look(store, message.id)
    assert (view.state, view.instance, view.reason, view.code) == ("failed", *down.values())
