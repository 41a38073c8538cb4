"""Providers' ids that the store knows from a report alone."""

import msgspec
import pytest

from claiming import claim_due, result_of
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import ReportedEvents, Try
from gatepost.outbox.states import State

pytestmark = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


def report(message_id="", provider_id="", status=Status.DELIVERED, instance="relay"):
    event = StatusEvent(status=status, message_id=message_id, provider_id=provider_id)
    return ReportedEvents(instance=instance, events=[event])


async def knows(store, provider_id, instance="relay", status=Status.OPENED):
    """Return whether a report with the provider's id alone finds a message."""
    return not (await store.record(report("", provider_id, status, instance))).unknown


def tries_of(view):
    return [(one.attempt, one.instance, one.outcome, one.provider_id) for one in view.tries]


@pytest.fixture
def send(put_and_claim):
    """Return a function that claims a new message and records the result of one try."""

    async def send(store, uid="uid-1", provider_id="", state=State.SENT, outcome="sent"):
        claim = await put_and_claim(store, uid)
        tries = [Try(instance="relay", outcome=outcome, provider_id=provider_id)]
        result = result_of(claim, state, instance="relay", delay=60)
        await store.finish(msgspec.structs.replace(result, tries=tries))
        return claim

    return send


@pytest.mark.parametrize(("state", "outcome"), [(State.SENT, "sent"), (State.UNCERTAIN, "uncertain")])
async def test_an_id_that_the_send_left_out_is_learned_from_a_report(store, send, view_of, state, outcome):
    claim = await send(store, state=state, outcome=outcome)
    assert not await knows(store, "p-1")

    await store.record(report(claim.id, "p-1"))

    assert await knows(store, "p-1")
    view = await view_of(store, claim.id)
    assert tries_of(view) == [(1, "relay", outcome, "p-1")]
    assert [one.status for one in view.statuses] == ["accepted", "delivered", "opened"]


async def test_an_id_is_learned_in_the_report_in_which_a_later_event_uses_it(store, send):
    """The next report finds the message; this one has already looked for its messages."""
    claim = await send(store)
    both = StatusEvent(status=Status.DELIVERED, message_id=claim.id, provider_id="p-1")
    theirs = StatusEvent(status=Status.OPENED, provider_id="p-1")
    result = await store.record(ReportedEvents(instance="relay", events=[both, theirs]))
    assert (result.new, result.unknown) == (1, 1)
    assert await knows(store, "p-1")


async def test_the_id_of_a_receipt_stays(store, send, view_of):
    claim = await send(store, provider_id="p-1")

    await store.record(report(claim.id, "p-2"))

    assert tries_of(await view_of(store, claim.id))[0] == (1, "relay", "sent", "p-1")
    assert await knows(store, "p-1")


async def test_an_id_of_another_message_is_not_taken_from_it(store, send, view_of):
    first, second = await send(store, "one", provider_id="p-1"), await send(store, "two")

    await store.record(report(second.id, "p-1"))
    await store.record(report("", "p-1", Status.OPENED))

    assert tries_of(await view_of(store, second.id)) == [(1, "relay", "sent", "")]
    assert [one.status for one in (await view_of(store, first.id)).statuses] == ["accepted", "opened"]


async def test_two_messages_with_the_same_new_id_leave_it_to_the_first(store, send, view_of):
    first, second = await send(store, "one"), await send(store, "two")
    events = [
        StatusEvent(status=Status.DELIVERED, message_id=claim.id, provider_id="p-1")
        for claim in (first, second)
    ]

    await store.record(ReportedEvents(instance="relay", events=events))

    assert tries_of(await view_of(store, first.id)) == [(1, "relay", "sent", "p-1")]
    assert tries_of(await view_of(store, second.id)) == [(1, "relay", "sent", "")]


async def test_the_last_try_that_may_have_been_accepted_gets_the_id(store, put_and_claim, view_of, clock):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim, State.QUEUED, instance="relay", delay=1))
    clock.advance(1)
    (again,) = await claim_due(store, Channel.EMAIL, 1, 30)
    tries = [Try(instance="relay", outcome="unavailable"), Try(instance="backup", outcome="sent")]
    result = result_of(again, instance="backup")
    await store.finish(msgspec.structs.replace(result, tries=tries))

    await store.record(report(claim.id, "p-1"))

    assert [one.provider_id for one in (await view_of(store, claim.id)).tries] == ["p-1", "", ""]
    assert await knows(store, "p-1")
    assert not await knows(store, "p-1", "backup")


async def test_an_instance_that_may_not_have_sent_the_message_leaves_no_id(store, send, view_of):
    claim = await send(store)
    foreign = report(claim.id, "p-1", instance="other")
    await store.record(msgspec.structs.replace(foreign, channels=frozenset()))
    assert tries_of(await view_of(store, claim.id)) == [(1, "relay", "sent", "")]
    assert not await knows(store, "p-1", "other")


async def test_a_message_that_was_never_tried_gets_no_id(store, new, view_of):
    message = new()
    await store.put(message)
    await store.record(report(message.id, "p-1"))
    assert tries_of(await view_of(store, message.id)) == []


async def test_a_report_before_the_answer_is_replaced_by_the_answer(store, put_and_claim, view_of):
    claim = await put_and_claim(store)
    await store.record(report(claim.id, "p-1"))
    assert await knows(store, "p-1")

    await store.finish(result_of(claim, instance="relay", provider_id="p-1"))

    assert tries_of(await view_of(store, claim.id)) == [(1, "relay", "sent", "p-1")]
    assert await knows(store, "p-1")


async def test_without_an_answer_the_id_of_a_report_stays(store, put_and_claim, view_of, clock):
    """The process died before the answer to the send."""
    claim = await put_and_claim(store, lease=30)
    await store.record(report(claim.id, "p-1"))
    clock.advance(60)
    await store.sweep()
    assert await knows(store, "p-1")
    (only,) = (await view_of(store, claim.id)).tries
    assert (only.outcome, only.reason) == ("sent", "known from a report alone")


async def test_many_reports_about_one_attempt_leave_one_row(store, put_and_claim, view_of):
    claim = await put_and_claim(store)
    for number in range(20):
        await store.record(report(claim.id, f"p-{number}"))
    assert tries_of(await view_of(store, claim.id)) == [(1, "relay", "sent", "p-0")]


@pytest.mark.parametrize(
    "private", ["anna@players.example", "+447700900100", "447700900100", "id 07700 900100"]
)
async def test_an_id_that_may_be_the_recipient_is_not_stored(store, send, view_of, private):
    claim = await send(store)
    await store.record(report(claim.id, private))
    assert tries_of(await view_of(store, claim.id)) == [(1, "relay", "sent", "")]


@pytest.mark.parametrize(
    "usual", ["7f1c1a7e-3c55-4c39-9d1f-0a3e0a0c7f15", "SM" + "0" * 32, "14c5d75ce93.dfd.64b469", "12345"]
)
async def test_usual_ids_are_stored(store, send, usual):
    claim = await send(store)
    await store.record(report(claim.id, usual))
    assert await knows(store, usual)
