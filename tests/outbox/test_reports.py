import asyncio
from itertools import permutations

import pytest

from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import RecordResult, ReportedEvents, SendResult
from gatepost.outbox.states import State

ACCEPTED, DELIVERED, OPENED = Status.ACCEPTED, Status.DELIVERED, Status.OPENED


def outcome(claim, state=State.SENT, **fields):
    return SendResult(id=claim.id, attempt=claim.attempt, state=state, **fields)


def about(identity, *statuses, instance="relay"):
    """A report that bears our id."""
    events = [StatusEvent(status=status, message_id=identity) for status in statuses]
    return ReportedEvents(instance=instance, events=events)


def about_theirs(provider_id, *statuses, instance="relay"):
    """A report that bears only the provider's id."""
    events = [StatusEvent(status=status, provider_id=provider_id) for status in statuses]
    return ReportedEvents(instance=instance, events=events)


def told(view):
    return [one.status for one in view.statuses]


async def test_a_report_finds_its_message_by_our_id(store, hold, look):
    claim = await hold(store)
    await store.finish(outcome(claim))

    assert await store.record(about(claim.id, DELIVERED)) == RecordResult(new=1, repeated=0, unknown=0)
    assert told(await look(store, claim.id)) == ["accepted", "delivered"]


async def test_a_report_finds_its_message_by_the_providers_id(store, hold, look):
    claim = await hold(store)
    await store.finish(outcome(claim, instance="relay", provider_id="007"))

    assert (await store.record(about_theirs("007", DELIVERED))).new == 1
    assert told(await look(store, claim.id)) == ["accepted", "delivered"]


@pytest.mark.parametrize(
    ("provider_id", "instance"), [("7", "relay"), ("007 ", "relay"), ("007", "other"), ("", "relay")]
)
async def test_a_providers_id_is_opaque_and_belongs_to_its_instance(store, hold, provider_id, instance):
    claim = await hold(store)
    await store.finish(outcome(claim, instance="relay", provider_id="007"))

    recorded = await store.record(about_theirs(provider_id, DELIVERED, instance=instance))

    assert recorded == RecordResult(new=0, repeated=0, unknown=1)


async def test_a_message_without_a_providers_id_is_not_found_by_an_empty_one(store, hold):
    claim = await hold(store)
    await store.finish(outcome(claim, instance="relay"))

    assert (await store.record(about_theirs("", DELIVERED))).unknown == 1


async def test_a_foreign_id_beside_the_providers_own_does_no_harm(store, hold):
    claim = await hold(store)
    await store.finish(outcome(claim, instance="relay", provider_id="p-1"))
    event = StatusEvent(status=DELIVERED, message_id="not one of ours", provider_id="p-1")

    assert (await store.record(ReportedEvents(instance="relay", events=[event]))).new == 1


async def test_unknown_messages_hurt_no_others_in_the_same_request(store, hold, look):
    claim = await hold(store)
    await store.finish(outcome(claim))
    events = [
        StatusEvent(status=DELIVERED, message_id="nobody"),
        StatusEvent(status=DELIVERED, message_id=claim.id),
        StatusEvent(status=DELIVERED, provider_id="nobody either"),
        StatusEvent(status=OPENED, message_id=claim.id),
    ]

    recorded = await store.record(ReportedEvents(instance="relay", events=events))

    assert recorded == RecordResult(new=2, repeated=0, unknown=2)
    assert told(await look(store, claim.id)) == ["accepted", "delivered", "opened"]


async def test_a_request_without_events_changes_nothing(store):
    empty = ReportedEvents(instance="relay", events=[])
    assert await store.record(empty) == RecordResult(new=0, repeated=0, unknown=0)


async def test_a_repeated_report_is_counted_and_told_once(store, hold, look):
    claim = await hold(store)
    await store.finish(outcome(claim))
    await store.record(about(claim.id, DELIVERED))

    assert await store.record(about(claim.id, DELIVERED, DELIVERED)) == RecordResult(
        new=0, repeated=2, unknown=0
    )
    assert told(await look(store, claim.id)) == ["accepted", "delivered"]


async def test_fifty_identical_reports_at_once_are_told_once(store, hold, look):
    claim = await hold(store)

    recorded = await asyncio.gather(*(store.record(about(claim.id, DELIVERED)) for _ in range(50)))

    assert sum(one.new for one in recorded) == 2
    assert sum(one.repeated for one in recorded) == 49
    assert told(await look(store, claim.id)) == ["accepted", "delivered"]


async def test_a_report_proves_accepted_and_counts_it_as_new(store, new, look):
    message = new()
    await store.put(message)

    assert (await store.record(about(message.id, OPENED))).new == 2
    view = await look(store, message.id)
    assert told(view) == ["accepted", "opened"]
    assert (view.state, view.due_at, view.content_kept) == ("sent", None, False)
    assert await store.claim(Channel.EMAIL, 1, 30) == []


@pytest.mark.parametrize("order", list(permutations([ACCEPTED, DELIVERED, OPENED])))
@pytest.mark.parametrize("together", [True, False])
async def test_whatever_the_disorder_accepted_is_the_first(store, hold, look, order, together):
    claim = await hold(store)

    for report in [about(claim.id, *order)] if together else [about(claim.id, one) for one in order]:
        await store.record(report)

    rest = [status.value for status in order if status is not ACCEPTED]
    assert told(await look(store, claim.id)) == ["accepted", *rest]


@pytest.mark.parametrize("state", [State.FAILED, State.REJECTED])
async def test_after_the_gateways_own_verdict_a_report_is_told_but_no_accepted(store, hold, look, state):
    claim = await hold(store)
    await store.finish(outcome(claim, state, reason="why", code="550"))

    assert (await store.record(about(claim.id, ACCEPTED, DELIVERED))).new == 1

    view = await look(store, claim.id)
    assert told(view) == [state.value, "delivered"]
    assert (view.state, view.reason, view.code, view.content_kept) == ("sent", "", "", False)


async def test_a_report_may_overtake_the_answer_of_the_send(store, hold, look):
    claim = await hold(store)
    await store.record(about(claim.id, DELIVERED))

    assert await store.finish(outcome(claim, instance="relay", provider_id="p-1"))

    view = await look(store, claim.id)
    assert (view.state, view.provider_id, told(view)) == ("sent", "p-1", ["accepted", "delivered"])
    assert (await store.record(about_theirs("p-1", OPENED))).new == 1


async def test_report_and_answer_in_one_commit_agree(store, hold, look):
    claims = [await hold(store, f"uid-{n}") for n in range(6)]

    await asyncio.gather(
        *(store.finish(outcome(claim)) for claim in claims[:3]),
        *(store.record(about(claim.id, DELIVERED)) for claim in claims),
        *(store.finish(outcome(claim)) for claim in claims[3:]),
    )

    for claim in claims:
        view = await look(store, claim.id)
        assert (view.state, told(view)) == ("sent", ["accepted", "delivered"])


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN, State.HELD])
async def test_a_report_ends_the_waiting_whatever_we_thought(place, hold, look, clock, state):
    async with place.opened(hold=True) as store:
        claim = await hold(store)
        await store.finish(
            outcome(claim, State.QUEUED if state is State.QUEUED else State.UNCERTAIN, delay=60)
        )
        if state is State.HELD:
            clock.advance(60)
            await store.sweep()
        assert (await look(store, claim.id)).state == state

        await store.record(about(claim.id, Status.FAILED))

        view = await look(store, claim.id)
        assert (view.state, view.due_at, told(view)) == ("sent", None, ["accepted", "failed"])


async def test_a_code_stays_with_its_status(store, hold, look):
    claim = await hold(store)
    event = StatusEvent(status=Status.FAILED, message_id=claim.id, code="5.1.1")

    await store.record(ReportedEvents(instance="relay", events=[event]))

    view = await look(store, claim.id)
    assert [(one.status, one.code) for one in view.statuses] == [("accepted", ""), ("failed", "5.1.1")]


async def test_a_thousand_events_in_one_request_are_all_recorded(store, new):
    many = [new(f"uid-{n}") for n in range(1000)]
    await asyncio.gather(*(store.put(message) for message in many))
    events = [StatusEvent(status=DELIVERED, message_id=message.id) for message in many]

    recorded = await store.record(ReportedEvents(instance="relay", events=events))

    assert recorded == RecordResult(new=2000, repeated=0, unknown=0)


async def test_the_same_id_at_two_instances_are_two_messages(store, hold, look):
    one, other = await hold(store, "one"), await hold(store, "other")
    await store.finish(outcome(one, instance="relay", provider_id="1"))
    await store.finish(outcome(other, instance="backup", provider_id="1"))

    await store.record(about_theirs("1", DELIVERED, instance="backup"))

    assert told(await look(store, one.id)) == ["accepted"]
    assert told(await look(store, other.id)) == ["accepted", "delivered"]
