"""The confirmation of a claim right before a send is repeated. On both stores."""

import asyncio

import pytest

from gatepost.model import Status, StatusEvent
from gatepost.outbox import ReportedEvents
from gatepost.outbox.claims import Renewal, confirm

pytestmark = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


async def confirmed(store, claim, lease=60.0, **changes):
    return await store.change(confirm, Renewal(claim.id, claim.attempt, lease)._replace(**changes))


async def test_a_claim_that_is_held_is_confirmed_and_its_lease_lasts_longer(
    store, put_and_claim, clock, view_of
):
    claim = await put_and_claim(store, lease=30.0)
    clock.advance(29.0)

    assert await confirmed(store, claim)

    assert (await view_of(store, claim.id)).due_at == clock.now + 60.0
    clock.advance(59.0)
    assert await confirmed(store, claim)


async def test_a_claim_whose_lease_has_ended_is_not_confirmed(store, put_and_claim, clock, view_of):
    """Although no other process has taken it over yet."""
    claim = await put_and_claim(store, lease=30.0)
    due_at = (await view_of(store, claim.id)).due_at
    clock.advance(30.0)

    assert not await confirmed(store, claim)
    assert (await view_of(store, claim.id)).due_at == due_at


async def test_the_claim_of_another_process_or_attempt_is_not_confirmed(store, put_and_claim):
    claim = await put_and_claim(store)

    assert not await confirmed(store, claim, attempt=claim.attempt + 1)
    assert not await confirmed(store, claim, id="unknown")
    store.holder = "another"
    assert not await confirmed(store, claim)


async def test_a_message_that_a_report_proves_sent_is_not_confirmed(store, put_and_claim):
    claim = await put_and_claim(store)
    event = StatusEvent(status=Status.DELIVERED, message_id=claim.id)
    await store.record(ReportedEvents(instance="i", events=[event]))

    assert not await confirmed(store, claim)


async def test_of_many_at_once_each_gets_its_own_answer(store, put_and_claim):
    claims = [await put_and_claim(store, f"uid-{number}") for number in range(4)]

    answers = await asyncio.gather(
        *(confirmed(store, claim, attempt=claim.attempt + number % 2) for number, claim in enumerate(claims))
    )

    assert answers == [True, False, True, False]
