import asyncio

import pytest

from claiming import claim_due, result_of
from gatepost.errors import StoreBusy
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import ReportedEvents, RetryOrder, SendResult
from gatepost.outbox.claims import ClaimRequest
from gatepost.outbox.driver_errors import ConnectionLost
from gatepost.outbox.states import State


def status_names(view):
    return [one.status for one in view.statuses]


async def test_a_claim_has_everything_for_the_send(store, new, clock):
    message = new(preview="ref", content=bytes(range(256)) * 100, lifetime=600)
    await store.put(message)
    clock.advance(60)

    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30)

    assert (claim.id, claim.client, claim.channel) == (message.id, "brand", Channel.EMAIL)
    assert (claim.ext_user_id, claim.preview, claim.content) == ("anna", "ref", message.content)
    assert (claim.attempt, claim.lifetime) == (1, 540)


async def test_the_longest_due_messages_are_claimed_first(store, new, clock):
    ids = []
    for n in range(6):
        message = new(f"uid-{n}")
        await store.put(message)
        ids.append(message.id)
        clock.advance(1)

    claimed = [{claim.id for claim in await claim_due(store, Channel.EMAIL, 2, 30)} for _ in range(4)]

    assert claimed == [set(ids[:2]), set(ids[2:4]), set(ids[4:]), set()]


async def test_the_plan_of_a_claim_is_made_when_the_transaction_begins(store, new):
    """Slots may have become free since the claim began to wait."""
    await asyncio.gather(*(store.put(new(f"uid-{n}")) for n in range(5)))
    (queue,) = await store.due_queues()
    limit = 0

    claiming = asyncio.create_task(store.claim(lambda: [ClaimRequest(queue, limit, 30)]))
    await asyncio.sleep(0)
    limit = 3

    (batch,) = await claiming
    assert len(batch.claims) == 3


async def test_no_message_is_claimed_twice(store, new):
    await asyncio.gather(*(store.put(new(f"uid-{n}")) for n in range(50)))

    answers = await asyncio.gather(*(claim_due(store, Channel.EMAIL, 7, 30) for _ in range(10)))

    ids = [claim.id for answer in answers for claim in answer]
    assert max(len(answer) for answer in answers) == 7
    assert len(ids) == len(set(ids)) == 50


async def test_a_claim_is_for_one_channel(store, new):
    await store.put(new())
    await store.put(new(channel=Channel.SMS))

    (claim,) = await claim_due(store, Channel.SMS, 10, 30)

    assert claim.channel is Channel.SMS
    assert await claim_due(store, Channel.SMS, 10, 30) == []
    assert len(await claim_due(store, Channel.EMAIL, 10, 30)) == 1


async def test_a_message_that_is_not_due_is_not_claimed(store, put_and_claim, clock):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim, State.QUEUED, delay=60))

    clock.advance(59.999)
    assert await claim_due(store, Channel.EMAIL, 1, 30) == []
    clock.advance(0.001)
    (again,) = await claim_due(store, Channel.EMAIL, 1, 30)
    assert (again.id, again.attempt, again.content) == (claim.id, 2, claim.content)


async def test_an_expired_message_is_claimed_with_a_negative_lifetime(store, new, clock):
    await store.put(new(lifetime=10))
    clock.advance(15)

    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30)

    assert claim.lifetime == -5


async def test_a_receipt_ends_a_message_and_records_accepted(store, put_and_claim, view_of, clock):
    claim = await put_and_claim(store)
    clock.advance(1)

    assert await store.finish(result_of(claim, instance="relay", provider_id="p-1"))

    view = await view_of(store, claim.id)
    assert (view.state, view.due_at, view.ended_at) == ("sent", None, clock.now)
    assert (view.instance, view.tries[0].provider_id) == ("relay", "p-1")
    assert status_names(view) == ["accepted"]


async def test_a_rejection_ends_a_message_and_records_its_code(store, put_and_claim, view_of):
    claim = await put_and_claim(store)

    assert await store.finish(result_of(claim, State.REJECTED, reason="no such user", code="550"))

    view = await view_of(store, claim.id)
    assert (view.state, view.due_at, view.reason, view.code) == ("rejected", None, "no such user", "550")
    assert [(one.status, one.code) for one in view.statuses] == [("rejected", "550")]


async def test_a_failure_ends_a_message_and_records_failed(store, put_and_claim, view_of):
    claim = await put_and_claim(store)

    assert await store.finish(result_of(claim, State.FAILED, reason="its lifetime ended"))

    view = await view_of(store, claim.id)
    assert (view.state, view.due_at) == ("failed", None)
    assert status_names(view) == ["failed"]


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN])
async def test_a_message_that_goes_on_has_a_due_time_and_no_status(
    store, put_and_claim, view_of, clock, state
):
    claim = await put_and_claim(store)

    assert await store.finish(result_of(claim, state, delay=90, reason="why", instance="relay"))

    view = await view_of(store, claim.id)
    assert (view.state, view.due_at, view.ended_at) == (state, clock.now + 90, None)
    assert (view.reason, view.instance, view.has_content, status_names(view)) == ("why", "relay", True, [])


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN])
async def test_no_pause_is_longer_than_the_lifetime(store, put_and_claim, view_of, clock, state):
    claim = await put_and_claim(store, lifetime=60)
    await store.finish(result_of(claim, state, delay=3600))

    assert (await view_of(store, claim.id)).due_at == clock.now + 60


async def test_a_message_queued_again_after_its_lifetime_fails(store, put_and_claim, view_of, clock):
    claim = await put_and_claim(store, lifetime=60)
    clock.advance(60)

    assert await store.finish(result_of(claim, State.QUEUED, delay=5, reason="busy"))

    view = await view_of(store, claim.id)
    assert (view.state, view.due_at, view.reason) == ("failed", None, "busy")
    assert status_names(view) == ["failed"]


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN, State.FAILED])
async def test_the_next_try_gets_the_content_of_the_last_result(store, put_and_claim, clock, state):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim, state, content=b"with its text"))

    clock.advance(1)
    await store.sweep()
    await store.retry(RetryOrder([claim.id], "maria", {Channel.EMAIL: 60.0}))
    (again,) = await claim_due(store, Channel.EMAIL, 1, 30)

    assert (again.id, again.content) == (claim.id, b"with its text")


async def test_the_content_of_an_outdated_result_is_not_stored(store, put_and_claim):
    old = await put_and_claim(store)
    await store.finish(result_of(old, State.QUEUED))
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30)

    # Both are in one transaction.
    await asyncio.gather(
        store.finish(result_of(claim, State.QUEUED)),
        store.finish(result_of(old, State.QUEUED, content=b"later")),
    )

    (again,) = await claim_due(store, Channel.EMAIL, 1, 30)
    assert again.content == old.content


@pytest.mark.parametrize("state", [State.SENT, State.REJECTED])
async def test_a_final_result_does_not_store_content(store, put_and_claim, view_of, state):
    claim = await put_and_claim(store)

    await store.finish(result_of(claim, state, content=b"with its text"))

    assert not (await view_of(store, claim.id)).has_content


@pytest.mark.parametrize("state", [one for one in State if one not in {State.SENDING, State.HELD}])
async def test_the_result_of_an_earlier_attempt_changes_nothing(store, put_and_claim, view_of, clock, state):
    old = await put_and_claim(store)
    await store.finish(result_of(old, State.QUEUED))
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30)
    before = await view_of(store, claim.id)

    assert not await store.finish(result_of(old, state, reason="later"))

    assert await view_of(store, claim.id) == before
    assert await store.finish(result_of(claim))


@pytest.mark.parametrize("state", [one for one in State if one not in {State.SENDING, State.HELD}])
async def test_the_result_of_another_process_changes_nothing(place, put_and_claim, view_of, state):
    async with place.opened() as outbox:
        claim = await put_and_claim(outbox)
    async with place.opened() as outbox:
        before = await view_of(outbox, claim.id)

        assert not await outbox.finish(result_of(claim, state, reason="later"))

        assert await view_of(outbox, claim.id) == before


@pytest.mark.parametrize("first", [State.SENT, State.REJECTED, State.FAILED, State.QUEUED, State.UNCERTAIN])
@pytest.mark.parametrize("then", [State.REJECTED, State.FAILED, State.QUEUED, State.UNCERTAIN])
@pytest.mark.parametrize("together", [False, True])
async def test_only_the_first_result_of_a_claim_counts(store, put_and_claim, view_of, first, then, together):
    claim = await put_and_claim(store)
    one, other = result_of(claim, first, reason="first"), result_of(claim, then, reason="then")

    if together:
        recorded = await asyncio.gather(store.finish(one), store.finish(other))
    else:
        recorded = [await store.finish(one), await store.finish(other)]

    assert recorded == [True, False]
    view = await view_of(store, claim.id)
    assert (view.state, view.reason, view.has_content) == (
        first,
        "first",
        first not in {State.SENT, State.REJECTED},
    )


@pytest.mark.parametrize("first", [State.REJECTED, State.FAILED, State.QUEUED, State.UNCERTAIN])
async def test_a_receipt_counts_after_another_result_of_its_claim(store, put_and_claim, view_of, first):
    sent, claim = await put_and_claim(store, "uid-1"), await put_and_claim(store, "uid-2")

    # All in one commit, and the receipt of the other message before both.
    results = [result_of(sent), result_of(claim, first), result_of(claim)]
    recorded = await asyncio.gather(*map(store.finish, results))

    assert recorded == [True, True, True]
    views = [await view_of(store, one.id) for one in (sent, claim)]
    assert [(view.state, view.due_at, view.has_content) for view in views] == [("sent", None, False)] * 2


async def test_the_result_of_an_unknown_message_changes_nothing(store):
    assert not await store.finish(SendResult(id="unknown", attempt=1, state=State.SENT))


@pytest.mark.parametrize("hold_uncertain", [False, True])
@pytest.mark.parametrize(
    "wait", [0, 31, 31 + 121, 90_000], ids=["claimed", "lease ended", "wait ended", "expired"]
)
async def test_a_receipt_counts_until_the_next_claim(
    place, put_and_claim, view_of, clock, wait, hold_uncertain
):
    async with place.opened(hold_uncertain=hold_uncertain) as store:
        claim = await put_and_claim(store, lease=30)
        clock.advance(min(wait, 31))
        await store.sweep()
        clock.advance(max(0, wait - 31))
        while (await store.sweep()).changes:
            pass
        failed = wait == 90_000

        assert await store.finish(result_of(claim, provider_id="p-1"))

        view = await view_of(store, claim.id)
        assert (view.state, view.due_at, view.tries[0].provider_id) == ("sent", None, "p-1")
        assert not view.has_content
        # Accepted is never recorded after another status.
        assert status_names(view) == (["failed"] if failed else ["accepted"])
        assert await claim_due(store, Channel.EMAIL, 1, 30) == []


async def test_a_receipt_after_the_report_adds_only_the_providers_id(store, put_and_claim, view_of, clock):
    claim = await put_and_claim(store)
    await store.record(
        ReportedEvents(instance="relay", events=[StatusEvent(status=Status.DELIVERED, message_id=claim.id)])
    )
    ended_at = (await view_of(store, claim.id)).ended_at
    clock.advance(5)

    assert await store.finish(result_of(claim, instance="relay", provider_id="p-1"))

    view = await view_of(store, claim.id)
    assert (view.state, view.tries[0].provider_id, view.ended_at) == ("sent", "p-1", ended_at)
    assert status_names(view) == ["accepted", "delivered"]


@pytest.mark.parametrize("state", [State.REJECTED, State.FAILED, State.QUEUED, State.UNCERTAIN])
async def test_after_a_report_only_a_receipt_counts(store, put_and_claim, view_of, state):
    claim = await put_and_claim(store)
    await store.record(
        ReportedEvents(instance="relay", events=[StatusEvent(status=Status.DELIVERED, message_id=claim.id)])
    )
    before = await view_of(store, claim.id)

    assert not await store.finish(result_of(claim, state))
    assert await view_of(store, claim.id) == before


async def test_a_renewed_lease_begins_again(store, put_and_claim, clock):
    claim = await put_and_claim(store, lease=30)
    clock.advance(29)
    await store.renew(claim, 30)

    clock.advance(29)
    assert (await store.sweep()).expired_claims == 0
    clock.advance(1)
    assert (await store.sweep()).expired_claims == 1


async def test_a_lost_claim_cannot_be_renewed(store, put_and_claim, view_of, clock):
    claim = await put_and_claim(store, lease=30)
    clock.advance(30)
    await store.sweep()
    before = await view_of(store, claim.id)

    await store.renew(claim, 30)

    assert await view_of(store, claim.id) == before


async def test_renewing_an_older_attempt_does_not_change_the_newer_lease(store, put_and_claim, view_of):
    old = await put_and_claim(store)
    await store.finish(result_of(old, State.QUEUED))
    await claim_due(store, Channel.EMAIL, 1, 30)
    before = await view_of(store, old.id)

    await store.renew(old, 3600)

    assert await view_of(store, old.id) == before


async def test_a_claim_cannot_be_renewed_after_a_restart(place, put_and_claim, view_of):
    async with place.opened() as outbox:
        claim = await put_and_claim(outbox)
    async with place.opened() as outbox:
        before = await view_of(outbox, claim.id)
        await outbox.renew(claim, 3600)
        assert await view_of(outbox, claim.id) == before


async def test_a_renewal_does_not_reopen_an_ended_message(store, put_and_claim, view_of):
    claim = await put_and_claim(store)
    await asyncio.gather(store.finish(result_of(claim)), store.renew(claim, 30))

    view = await view_of(store, claim.id)
    assert (view.state, view.due_at) == ("sent", None)


async def test_a_claim_that_got_no_answer_is_released(store, new):
    known, unknown = new("known"), new("unknown")
    await store.put(known)
    (in_progress,) = await claim_due(store, Channel.EMAIL, 1, 30.0)
    await store.put(unknown)
    await claim_due(store, Channel.EMAIL, 1, 30.0)

    assert await store.release_claims({in_progress.id}) == 1

    (again,) = await claim_due(store, Channel.EMAIL, 5, 30.0)
    assert again.id == unknown.id
    assert await store.finish(SendResult(id=in_progress.id, attempt=in_progress.attempt, state=State.SENT))


async def test_a_claim_is_not_repeated_after_a_lost_connection(store, new, monkeypatch):
    for number in range(4):
        await store.put(new(f"uid-{number}"))
    (queue,) = await store.due_queues()
    transact, lost = store._database.transact, [True]

    async def lose_one_answer(work):
        result = await transact(work)
        if lost and lost.pop():
            raise ConnectionLost("the connection was lost at its commit")
        return result

    monkeypatch.setattr(store._database, "transact", lose_one_answer)
    with pytest.raises(StoreBusy):
        await store.claim(lambda: [ClaimRequest(queue, 2, 30.0)])
    assert await store.release_claims(()) == 2
    assert len(await claim_due(store, Channel.EMAIL, 9, 30.0)) == 4


async def test_an_expired_message_keeps_the_reason_of_its_last_try(store, new, view_of):
    message = new()
    await store.put(message)
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30.0)
    down = {"instance": "relay", "reason": "the relay is down", "code": "451"}
    await store.finish(result_of(claim, State.QUEUED, delay=0.0, **down))
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30.0)
    await store.finish(result_of(claim, State.FAILED, reason="its lifetime ended"))

    view = await view_of(store, message.id)
    assert (view.state, view.instance, view.reason, view.code) == ("failed", *down.values())
