"""Deaths of the process, counted for the messages that it was sending."""

import pytest
import structlog

from claiming import claim_due, claim_due_suspect
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import ReportedEvents, RetryOrder, SendResult
from gatepost.outbox.states import State

WAIT = 120
LIFETIMES = dict.fromkeys(Channel, 3600.0)


async def claim_and_die(place, clock, claim):
    """Let the process die after it claimed messages with ``claim``; return these claims."""
    async with place.opened() as store:
        claims = await claim(store)
    clock.advance(WAIT)
    return claims


def claim_all(store):
    return claim_due(store, Channel.EMAIL, 9, 30)


def claim_suspect(store):
    return claim_due_suspect(store, Channel.EMAIL, 30)


@pytest.fixture
async def suspects(place, new, clock):
    """Store two messages that the process was sending at two deaths; the store is closed."""
    async with place.opened() as store:
        for uid in "ab":
            await store.put(new(uid))
            clock.advance(1)
    for _ in range(2):
        assert len(await claim_and_die(place, clock, claim_all)) == 2
        async with place.opened() as store:
            clock.advance(WAIT)
            await store.sweep()


async def test_after_two_deaths_a_message_is_claimed_alone(place, suspects, new, view_of):
    async with place.opened() as store:
        await store.put(new("innocent"))

        assert [one.content for one in await claim_all(store)] == [b"content of innocent"]
        assert len(await store.due_queues(State.SUSPECT)) == 1
        (first,) = await claim_suspect(store)
        (second,) = await claim_suspect(store)
        assert {first.content, second.content} == {b"content of a", b"content of b"}
        assert await store.due_queues(State.SUSPECT) == []
        assert await claim_suspect(store) == []
        view = await view_of(store, first.id)
        assert (view.deaths, view.attempts) == (2, 3)


async def test_at_the_third_death_a_claimed_message_is_held_and_logged(place, suspects, clock, view_of):
    (claim,) = await claim_and_die(place, clock, claim_suspect)

    with structlog.testing.capture_logs() as logged:
        async with place.opened() as store:
            view = await view_of(store, claim.id)
            others = await store.depth()

    assert (view.state, view.reason, view.deaths) == (
        "held",
        "the process died three times while it was sending this message",
        3,
    )
    assert (view.due_at, view.has_content, view.statuses) == (view.expires_at, True, [])
    assert others.messages == {("email", "held"): 1, ("email", "suspect"): 1}
    lines = [line for line in logged if line["event"] == "message_held"]
    assert [(line["log_level"], line["message"]) for line in lines] == [("error", claim.id)]


async def test_a_message_held_after_deaths_fails_when_its_lifetime_ends(place, suspects, clock, view_of):
    (claim,) = await claim_and_die(place, clock, claim_suspect)
    async with place.opened() as store:
        clock.advance(86_400)
        await store.sweep()

        view = await view_of(store, claim.id)
        assert (view.state, [one.status for one in view.statuses]) == ("failed", ["failed"])


async def test_a_report_proves_that_a_held_message_was_sent(place, suspects, clock, view_of):
    (claim,) = await claim_and_die(place, clock, claim_suspect)
    async with place.opened() as store:
        events = [StatusEvent(status=Status.DELIVERED, message_id=claim.id)]
        await store.record(ReportedEvents(instance="relay", events=events))

        view = await view_of(store, claim.id)
        assert (view.state, view.reason, view.has_content) == ("sent", "", False)


@pytest.mark.parametrize("state", [State.QUEUED, State.UNCERTAIN])
async def test_a_suspect_stays_a_suspect_for_its_next_try(place, suspects, clock, view_of, state):
    async with place.opened() as store:
        (claim,) = await claim_suspect(store)

        await store.finish(SendResult(id=claim.id, attempt=claim.attempt, state=state, delay=60))

        clock.advance(60)
        await store.sweep()
        assert (await view_of(store, claim.id)).state == State.SUSPECT
        assert await claim_all(store) == []


async def test_a_released_suspect_stays_a_suspect(place, suspects, view_of):
    async with place.opened() as store:
        (claim,) = await claim_suspect(store)

        assert await store.release_claims([]) == 1

        assert (await view_of(store, claim.id)).state == State.SUSPECT


async def test_a_retried_message_is_a_suspect_until_the_next_death(place, suspects, clock, view_of):
    (claim,) = await claim_and_die(place, clock, claim_suspect)
    async with place.opened() as store:
        assert (await store.retry(RetryOrder([claim.id], "maria", LIFETIMES)))[0].queued
        view = await view_of(store, claim.id)
        assert (view.state, view.deaths, view.reason) == ("suspect", 2, "queued again by the operator")
        (other,) = await claim_suspect(store)
        await store.finish(SendResult(id=other.id, attempt=other.attempt, state=State.SENT))

    (again,) = await claim_and_die(place, clock, claim_suspect)
    async with place.opened() as store:
        assert again.id == claim.id
        assert (await view_of(store, claim.id)).state == State.HELD


async def test_a_suspect_fails_when_its_lifetime_ends(place, suspects, clock):
    async with place.opened() as store:
        clock.advance(86_400)

        assert (await store.sweep()).failed == 2
        assert await store.due_queues(State.SUSPECT) == []


async def test_a_lease_that_ended_in_a_running_process_is_not_a_death(store, put_and_claim, clock, view_of):
    claim = await put_and_claim(store, lease=30)
    clock.advance(30)

    await store.sweep()

    view = await view_of(store, claim.id)
    assert (view.state, view.deaths) == ("uncertain", 0)


async def test_a_message_finished_before_a_death_does_not_count_it(place, new, clock, view_of):
    async with place.opened() as store:
        await store.put(new("done"))
        (claim,) = await claim_all(store)
        await store.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.UNCERTAIN, delay=60))

    async with place.opened() as store:
        assert (await view_of(store, claim.id)).deaths == 0


async def test_a_waiting_suspect_counts_in_the_age_of_the_queue(place, suspects, clock):
    async with place.opened() as store:
        before = (await store.depth()).oldest["email"]
        clock.advance(7)
        assert (await store.depth()).oldest["email"] == before + 7
