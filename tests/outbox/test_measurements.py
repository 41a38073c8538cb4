"""What the outbox measures for the metrics, on the test's own clock."""

import pytest

from claiming import claim_due
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import ReportedEvents, SendResult, Try, gauges, limits
from gatepost.outbox.states import State

pytestmark = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


def sums(histogram):
    """Return the sum of the observed seconds by labels."""
    samples = next(iter(histogram.collect())).samples
    return {
        tuple(one.labels.values()): one.value for one in samples if one.name.endswith("_sum") and one.value
    }


async def report(store, message, *statuses):
    events = [StatusEvent(status=status, message_id=message.id) for status in statuses]
    await store.record(ReportedEvents(instance="box", events=events))


async def test_a_delivery_is_timed_from_the_acceptance_and_once(store, clock, new):
    message = new()
    await store.put(message)
    clock.advance(90)
    await report(store, message, Status.DELIVERED)
    clock.advance(30)
    await report(store, message, Status.DELIVERED, Status.OPENED)
    assert sums(store.measurements.deliveries) == {("box", "email"): 90.0}


async def test_each_status_is_counted_when_it_is_recorded(store, clock, new):
    message = new()
    await store.put(message)
    await report(store, message, Status.DELIVERED, Status.DELIVERED)
    counted = {key: count for key, count in store.measurements.statuses.items() if count}
    assert counted == {("box", "email", "accepted"): 1, ("box", "email", "delivered"): 1}


async def test_a_claim_says_how_long_the_message_has_waited_for_its_first_try(store, clock, new):
    await store.put(new())
    clock.advance(40)
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30.0)
    assert claim.waited == 40.0
    # No instance was free.
    await store.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.QUEUED))
    clock.advance(10)
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30.0)
    assert claim.waited == 50.0


async def test_a_message_that_an_instance_has_had_no_longer_waits_for_its_first_try(store, clock, new):
    await store.put(new())
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30.0)
    tries = [Try(instance="box", outcome="unavailable")]
    await store.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.QUEUED, tries=tries))
    clock.advance(10)
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30.0)
    assert claim.waited is None


async def test_the_figures_of_a_scrape_come_from_one_transaction(store, new):
    daily = limits.client_limits("brand", Channel.EMAIL, 10)[0]
    of_queue = limits.queue_limit("brand", 10)
    other = limits.client_limits("brand", Channel.SMS, 10)[0]
    for uid in "abc":
        await store.put(new(uid=uid, limits=[daily, of_queue]))
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30.0)
    await store.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))
    found = await store.change(gauges.read, {"other": other, "queue": of_queue, "daily": daily})
    assert {one.setting: one.used for one in found.limits} == {"other": 0, "queue": 2, "daily": 3}
    assert found.depth.messages == {("email", State.QUEUED): 2}
    assert found.size > 0
