"""What the answer to a send leaves in the store besides its state. On both stores."""

import pytest

from claiming import claim_callbacks, claim_due, finish_callback
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import CallbackResult, ReportedEvents, SendResult, Try, suppressions
from gatepost.outbox.states import State

pytestmark = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)

UNSUBSCRIBED, COMPLAINED = Status.UNSUBSCRIBED, Status.COMPLAINED


def rejected(claim, status=None, code="21610"):
    one = Try(instance="twilio", outcome="rejected", code=code)
    return SendResult(
        id=claim.id,
        attempt=claim.attempt,
        state=State.REJECTED,
        instance="twilio",
        code=code,
        status=status,
        tries=[one],
    )


async def suppressed(store, clock):
    return await store._database.transact(
        lambda connection: [
            (one.ext_user_id, one.reason)
            for one in suppressions.list_suppressions(connection, clock(), limit=100)
        ]
    )


@pytest.mark.parametrize("status", [UNSUBSCRIBED, COMPLAINED])
async def test_what_the_answer_says_about_the_user_is_told_after_rejected(
    store, put_and_claim, view_of, status
):
    claim = await put_and_claim(store)

    assert await store.finish(rejected(claim, status))

    view = await view_of(store, claim.id)
    assert view.state == "rejected"
    assert [(one.status, one.code) for one in view.statuses] == [("rejected", "21610"), (status, "21610")]
    called_back = []
    while callbacks := await claim_callbacks(store, 10, 30):
        (one,) = callbacks
        called_back.append(one.status)
        await finish_callback(store, CallbackResult(seq=one.seq, attempt=one.attempt, acknowledged=True))
    assert called_back == ["rejected", status]


async def test_an_opt_out_is_told_once_whoever_says_it(store, put_and_claim, view_of):
    claim = await put_and_claim(store)
    await store.finish(rejected(claim, UNSUBSCRIBED))
    event = StatusEvent(status=UNSUBSCRIBED, message_id=claim.id)

    recorded = await store.record(ReportedEvents(instance="twilio", events=[event]))

    assert (recorded.new, recorded.repeated) == (0, 1)
    statuses = [one.status for one in (await view_of(store, claim.id)).statuses]
    assert statuses == ["rejected", "unsubscribed"]


@pytest.mark.parametrize(
    ("policy", "status", "expected"),
    [
        ({"unsubscribed"}, UNSUBSCRIBED, [("anna", "unsubscribed")]),
        ({"unsubscribed", "complained"}, COMPLAINED, [("anna", "complained")]),
        ({"complained"}, UNSUBSCRIBED, []),
        (set(), UNSUBSCRIBED, []),
        ({"unsubscribed"}, None, []),
    ],
)
async def test_an_opt_out_counts_for_the_suppressions(
    place, put_and_claim, new, clock, policy, status, expected
):
    async with place.opened(suppress=frozenset(policy)) as store:
        claim = await put_and_claim(store)
        await store.finish(rejected(claim, status))

        assert await suppressed(store, clock) == expected
        assert (await store.put(new("uid-2"))).suppressed == (expected[0][1] if expected else "")


async def test_a_preview_suppresses_nobody(place, put_and_claim, clock, view_of):
    async with place.opened(suppress=frozenset({"unsubscribed"})) as store:
        claim = await put_and_claim(store, preview="ref")
        await store.finish(rejected(claim, UNSUBSCRIBED))

        assert await suppressed(store, clock) == []
        assert len((await view_of(store, claim.id)).statuses) == 2


async def test_a_lost_claim_tells_nothing_about_the_user(place, put_and_claim, clock, view_of):
    async with place.opened(suppress=frozenset({"unsubscribed"}), uncertain_wait=0.0) as store:
        claim = await put_and_claim(store, lease=1.0)
        clock.advance(2.0)
        await store.sweep()
        clock.advance(1.0)
        await store.sweep()
        await claim_due(store, Channel.EMAIL, 1, 30)

        assert not await store.finish(rejected(claim, UNSUBSCRIBED))

        assert await suppressed(store, clock) == []
        assert (await view_of(store, claim.id)).statuses == []


async def test_what_a_try_cost_is_stored_with_it(store, put_and_claim, view_of):
    claim = await put_and_claim(store)
    tries = [
        Try(instance="a", outcome="uncertain", duration=1.0),
        Try(instance="a", outcome="sent", duration=2.0, pause=0.5, parts=3, price="0.0225", currency="EUR"),
    ]
    await store.finish(
        SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT, instance="a", tries=tries)
    )

    first, second = (await view_of(store, claim.id)).tries
    assert (first.parts, first.price, first.currency) == (0, "", "")
    assert (second.parts, second.price, second.currency) == (3, "0.0225", "EUR")
    # The pause before the second try lies between the two.
    assert second.started_at - first.started_at == pytest.approx(1.5)
