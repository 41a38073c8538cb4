import asyncio
from itertools import permutations

import pytest

from claiming import claim_due, result_of
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import Policy, RecordResult, ReportedEvents, reports
from gatepost.outbox.driver_errors import StatementRefused
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Transaction

ACCEPTED, DELIVERED, OPENED = Status.ACCEPTED, Status.DELIVERED, Status.OPENED


def report_by_id(identity, *statuses, instance="relay"):
    """Return a report with our message id."""
    events = [StatusEvent(status=status, message_id=identity) for status in statuses]
    return ReportedEvents(instance=instance, events=events)


def report_by_provider_id(provider_id, *statuses, instance="relay"):
    """Return a report with only the provider's id."""
    events = [StatusEvent(status=status, provider_id=provider_id) for status in statuses]
    return ReportedEvents(instance=instance, events=events)


def status_names(view):
    return [one.status for one in view.statuses]


async def test_a_report_finds_its_message_by_our_id(store, put_and_claim, view_of):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim))

    assert await store.record(report_by_id(claim.id, DELIVERED)) == RecordResult(new=1, repeated=0, unknown=0)
    assert status_names(await view_of(store, claim.id)) == ["accepted", "delivered"]


async def test_a_report_finds_its_message_by_the_providers_id(store, put_and_claim, view_of):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim, instance="relay", provider_id="007"))

    assert (await store.record(report_by_provider_id("007", DELIVERED))).new == 1
    assert status_names(await view_of(store, claim.id)) == ["accepted", "delivered"]


@pytest.mark.parametrize(
    ("provider_id", "instance"), [("7", "relay"), ("007 ", "relay"), ("007", "other"), ("", "relay")]
)
async def test_a_providers_id_is_matched_exactly_and_per_instance(
    store, put_and_claim, provider_id, instance
):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim, instance="relay", provider_id="007"))

    result = await store.record(report_by_provider_id(provider_id, DELIVERED, instance=instance))

    assert result == RecordResult(new=0, repeated=0, unknown=1)


async def test_an_empty_providers_id_matches_no_message(store, put_and_claim):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim, instance="relay"))

    assert (await store.record(report_by_provider_id("", DELIVERED))).unknown == 1


async def test_an_unknown_message_id_does_not_prevent_a_match_by_the_providers_id(store, put_and_claim):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim, instance="relay", provider_id="p-1"))
    event = StatusEvent(status=DELIVERED, message_id="not one of ours", provider_id="p-1")

    assert (await store.record(ReportedEvents(instance="relay", events=[event]))).new == 1


async def test_unknown_messages_do_not_affect_others_in_the_same_request(store, put_and_claim, view_of):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim))
    events = [
        StatusEvent(status=DELIVERED, message_id="unknown"),
        StatusEvent(status=DELIVERED, message_id=claim.id),
        StatusEvent(status=DELIVERED, provider_id="unknown too"),
        StatusEvent(status=OPENED, message_id=claim.id),
    ]

    result = await store.record(ReportedEvents(instance="relay", events=events))

    assert result == RecordResult(new=2, repeated=0, unknown=2)
    assert status_names(await view_of(store, claim.id)) == ["accepted", "delivered", "opened"]


async def test_a_request_without_events_changes_nothing(store):
    empty = ReportedEvents(instance="relay", events=[])
    assert await store.record(empty) == RecordResult(new=0, repeated=0, unknown=0)


async def test_a_repeated_report_is_counted_and_recorded_once(store, put_and_claim, view_of):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim))
    await store.record(report_by_id(claim.id, DELIVERED))

    assert await store.record(report_by_id(claim.id, DELIVERED, DELIVERED)) == RecordResult(
        new=0, repeated=2, unknown=0
    )
    assert status_names(await view_of(store, claim.id)) == ["accepted", "delivered"]


async def test_fifty_concurrent_identical_reports_are_recorded_once(store, put_and_claim, view_of):
    claim = await put_and_claim(store)

    results = await asyncio.gather(*(store.record(report_by_id(claim.id, DELIVERED)) for _ in range(50)))

    assert sum(one.new for one in results) == 2
    assert sum(one.repeated for one in results) == 49
    assert status_names(await view_of(store, claim.id)) == ["accepted", "delivered"]


async def test_a_report_proves_accepted_and_counts_it_as_new(store, new, view_of):
    message = new()
    await store.put(message)

    assert (await store.record(report_by_id(message.id, OPENED))).new == 2
    view = await view_of(store, message.id)
    assert status_names(view) == ["accepted", "opened"]
    assert (view.state, view.due_at, view.has_content) == ("sent", None, False)
    assert await claim_due(store, Channel.EMAIL, 1, 30) == []


@pytest.mark.parametrize("order", list(permutations([ACCEPTED, DELIVERED, OPENED])))
@pytest.mark.parametrize("together", [True, False])
async def test_accepted_comes_first_in_every_order_of_reports(store, put_and_claim, view_of, order, together):
    claim = await put_and_claim(store)

    for report in (
        [report_by_id(claim.id, *order)] if together else [report_by_id(claim.id, one) for one in order]
    ):
        await store.record(report)

    rest = [status.value for status in order if status is not ACCEPTED]
    assert status_names(await view_of(store, claim.id)) == ["accepted", *rest]


@pytest.mark.parametrize("state", [State.FAILED, State.REJECTED])
async def test_after_the_gateways_own_final_status_a_report_adds_no_accepted(
    store, put_and_claim, view_of, state
):
    claim = await put_and_claim(store)
    await store.finish(result_of(claim, state, reason="why", code="550"))

    assert (await store.record(report_by_id(claim.id, ACCEPTED, DELIVERED))).new == 1

    view = await view_of(store, claim.id)
    assert status_names(view) == [state.value, "delivered"]
    assert (view.state, view.reason, view.code, view.has_content) == ("sent", "", "", False)


async def test_a_report_may_come_before_the_receipt(store, put_and_claim, view_of):
    claim = await put_and_claim(store)
    await store.record(report_by_id(claim.id, DELIVERED))

    assert await store.finish(result_of(claim, instance="relay", provider_id="p-1"))

    view = await view_of(store, claim.id)
    assert (view.state, view.tries[0].provider_id, status_names(view)) == (
        "sent",
        "p-1",
        ["accepted", "delivered"],
    )
    assert (await store.record(report_by_provider_id("p-1", OPENED))).new == 1


async def test_a_report_and_a_receipt_in_one_commit_agree(store, put_and_claim, view_of):
    claims = [await put_and_claim(store, f"uid-{n}") for n in range(6)]

    await asyncio.gather(
        *(store.finish(result_of(claim)) for claim in claims[:3]),
        *(store.record(report_by_id(claim.id, DELIVERED)) for claim in claims),
        *(store.finish(result_of(claim)) for claim in claims[3:]),
    )

    for claim in claims:
        view = await view_of(store, claim.id)
        assert (view.state, status_names(view)) == ("sent", ["accepted", "delivered"])


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN, State.HELD])
async def test_a_report_ends_a_message_in_any_waiting_state(place, put_and_claim, view_of, clock, state):
    async with place.opened(hold_uncertain=True) as store:
        claim = await put_and_claim(store)
        await store.finish(
            result_of(claim, State.QUEUED if state is State.QUEUED else State.UNCERTAIN, delay=60)
        )
        if state is State.HELD:
            clock.advance(60)
            await store.sweep()
        assert (await view_of(store, claim.id)).state == state

        await store.record(report_by_id(claim.id, Status.FAILED))

        view = await view_of(store, claim.id)
        assert (view.state, view.due_at, status_names(view)) == ("sent", None, ["accepted", "failed"])


async def test_a_code_stays_with_its_status(store, put_and_claim, view_of):
    claim = await put_and_claim(store)
    event = StatusEvent(status=Status.FAILED, message_id=claim.id, code="5.1.1")

    await store.record(ReportedEvents(instance="relay", events=[event]))

    view = await view_of(store, claim.id)
    assert [(one.status, one.code) for one in view.statuses] == [("accepted", ""), ("failed", "5.1.1")]


async def test_a_thousand_events_in_one_request_are_all_recorded(store, new):
    many = [new(f"uid-{n}") for n in range(1000)]
    await asyncio.gather(*(store.put(message) for message in many))
    events = [StatusEvent(status=DELIVERED, message_id=message.id) for message in many]

    result = await store.record(ReportedEvents(instance="relay", events=events))

    assert result == RecordResult(new=2000, repeated=0, unknown=0)


async def test_the_same_providers_id_at_two_instances_is_two_messages(store, put_and_claim, view_of):
    one, other = await put_and_claim(store, "one"), await put_and_claim(store, "other")
    await store.finish(result_of(one, instance="relay", provider_id="1"))
    await store.finish(result_of(other, instance="backup", provider_id="1"))

    await store.record(report_by_provider_id("1", DELIVERED, instance="backup"))

    assert status_names(await view_of(store, one.id)) == ["accepted"]
    assert status_names(await view_of(store, other.id)) == ["accepted", "delivered"]


@pytest.mark.parametrize(
    "place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
async def test_a_status_is_never_left_out_silently(store, put_and_claim):
    """It would be counted all the same."""
    claim = await put_and_claim(store)
    await store.finish(result_of(claim))
    row = (claim.id, "accepted", "", 0, "", "none", None, "brand", "")

    def add_again(connection):
        transaction = Transaction(connection=connection, now=0, holder="", policy=Policy())
        transaction.insert_new_ids(reports._STATUSES, [row])

    with pytest.raises(StatementRefused):
        await store._database.transact(add_again)
