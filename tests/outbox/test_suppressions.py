"""Suppressed users: not accepted, not sent to, and added by statuses. On both stores."""

import asyncio

import pytest

from claiming import claim_due, result_of
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import ReportedEvents, suppressions
from gatepost.outbox.suppressions import NewSuppression, Removal

pytestmark = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)

ANNA = NewSuppression("brand", "anna", "asked by mail", "root")


@pytest.fixture
def listed(clock):
    """Return a function for the suppressions in force: client, user and reason of each."""

    async def listed(store, **filters):
        found = await store._database.transact(
            lambda connection: suppressions.list_suppressions(connection, clock(), limit=100, **filters)
        )
        return [(one.client, one.ext_user_id, one.reason) for one in found]

    return listed


async def test_a_message_to_a_suppressed_user_is_not_stored(store, new, view_of):
    await store.change(suppressions.add, ANNA)
    message = new()

    stored = await store.put(message)

    assert (stored.id, stored.suppressed) == ("", "asked by mail")
    assert await view_of(store, message.id) is None
    assert await claim_due(store, Channel.EMAIL, 10, 30) == []


async def test_the_uid_of_a_refused_message_is_not_used_up(store, new):
    await store.change(suppressions.add, ANNA)
    await store.put(new())
    assert await store.change(suppressions.remove, Removal("brand", "anna", "", "root"))
    message = new()

    assert (await store.put(message)).id == message.id


async def test_a_known_uid_is_answered_as_ever(store, new):
    first = await store.put(new())
    await store.change(suppressions.add, ANNA)

    assert (await store.put(new())).id == first.id
    assert (await store.find("brand", Channel.EMAIL, "uid-1", "anna")).id == first.id


async def test_other_users_and_clients_are_accepted_in_the_same_commit(store, new):
    await store.change(suppressions.add, ANNA)
    others = [new("a", ext_user_id="ann"), new("b", client="other"), new("c", preview="ref")]

    answers = await asyncio.gather(store.put(new("d")), *map(store.put, others), store.put(new("e")))

    assert [bool(one.suppressed) for one in answers] == [True, False, False, False, True]
    assert [one.id for one in answers[1:4]] == [message.id for message in others]


async def test_a_refusal_can_ask_whether_the_user_is_suppressed(store):
    await store.change(suppressions.add, ANNA)

    assert (await store.find("brand", Channel.EMAIL, "uid-1", "anna")).suppressed == "asked by mail"
    assert await store.find("brand", Channel.EMAIL, "uid-1") is None
    assert await store.find("brand", Channel.EMAIL, "uid-1", "ann") is None
    assert await store.find("other", Channel.EMAIL, "uid-1", "anna") is None


async def test_a_claim_says_that_the_user_was_suppressed_meanwhile(store, new):
    await asyncio.gather(store.put(new("a")), store.put(new("b", ext_user_id="bob")))
    await store.change(suppressions.add, ANNA)

    claims = await claim_due(store, Channel.EMAIL, 10, 30)

    assert {claim.ext_user_id: claim.suppressed for claim in claims} == {"anna": "asked by mail", "bob": ""}


async def test_a_suppression_ends(store, new, clock, listed):
    await store.change(suppressions.add, ANNA._replace(ends_at=clock() + 60))
    clock.advance(59)
    assert (await store.put(new())).suppressed
    assert await listed(store)
    clock.advance(1)
    message = new()

    assert (await store.put(message)).id == message.id
    (claim,) = await claim_due(store, Channel.EMAIL, 10, 30)
    assert claim.suppressed == ""
    assert await listed(store) == []


async def test_the_last_suppression_of_a_user_counts(store, listed, clock):
    await store.change(suppressions.add, ANNA._replace(ends_at=clock() + 60))
    await asyncio.gather(
        store.change(suppressions.add, ANNA._replace(reason="first")),
        store.change(suppressions.add, ANNA._replace(reason="second")),
    )
    clock.advance(61)

    assert await listed(store) == [("brand", "anna", "second")]


async def test_only_the_suppression_of_this_user_is_removed(store, listed):
    await store.change(suppressions.add, ANNA)
    await store.change(suppressions.add, ANNA._replace(client="other"))

    assert not await store.change(suppressions.remove, Removal("brand", "ann", "", "root"))
    assert await store.change(suppressions.remove, Removal("brand", "anna", "", "root"))
    assert not await store.change(suppressions.remove, Removal("brand", "anna", "", "root"))
    assert await listed(store) == [("other", "anna", "asked by mail")]


async def test_the_list_shows_one_client_or_one_user(store, listed, clock):
    for number, (client, user) in enumerate([("brand", "anna"), ("brand", "bob"), ("other", "bob")]):
        clock.advance(number)
        await store.change(suppressions.add, NewSuppression(client, user, "closed", "root"))

    assert [found[:2] for found in await listed(store)] == [
        ("other", "bob"),
        ("brand", "bob"),
        ("brand", "anna"),
    ]
    assert [found[:2] for found in await listed(store, client="brand")] == [
        ("brand", "bob"),
        ("brand", "anna"),
    ]
    assert [found[:2] for found in await listed(store, ext_user_id="bob")] == [
        ("other", "bob"),
        ("brand", "bob"),
    ]


async def test_ended_suppressions_are_pruned(store, listed, clock):
    await store.change(suppressions.add, ANNA)
    for number in range(3):
        await store.change(
            suppressions.add, NewSuppression("brand", f"user-{number}", "closed", "root", clock() + 60)
        )
    clock.advance(60)

    assert await store.prune() == 3
    assert await store.prune() == 0
    clock.advance(-60)
    assert await listed(store) == [("brand", "anna", "asked by mail")]


def report(claim, status, code=""):
    events = [StatusEvent(status=status, message_id=claim.id, code=code)]
    return ReportedEvents(instance="relay", events=events)


async def test_by_default_no_status_suppresses(store, put_and_claim, listed):
    claim = await put_and_claim(store)
    for status in Status:
        await store.record(report(claim, status, "550 5.1.1"))

    assert await listed(store) == []


async def test_a_status_suppresses_the_user_of_its_message(place, new, put_and_claim, listed):
    async with place.opened(suppress=frozenset({"complained"})) as store:
        claim = await put_and_claim(store)
        await store.finish(result_of(claim))
        await store.record(report(claim, Status.DELIVERED))
        await store.record(report(claim, Status.UNSUBSCRIBED))
        assert await listed(store) == []
        await store.record(report(claim, Status.COMPLAINED))

        assert await listed(store) == [("brand", "anna", "complained")]
        assert (await store.put(new("uid-2"))).suppressed == "complained"


async def test_a_repeated_report_does_not_suppress_again(place, put_and_claim, listed):
    async with place.opened(suppress=frozenset({"unsubscribed"})) as store:
        claim = await put_and_claim(store)
        await store.record(report(claim, Status.UNSUBSCRIBED))
        await store.change(suppressions.remove, Removal("brand", "anna", "", "root"))
        await store.record(report(claim, Status.UNSUBSCRIBED))

        assert await listed(store) == []


async def test_a_status_keeps_an_endless_suppression_and_replaces_one_that_ends(
    place, put_and_claim, listed, clock
):
    async with place.opened(suppress=frozenset({"unsubscribed", "complained"})) as store:
        claim = await put_and_claim(store)
        await store.change(suppressions.add, ANNA._replace(ends_at=clock() + 60))
        await store.record(report(claim, Status.UNSUBSCRIBED))
        await store.record(report(claim, Status.COMPLAINED))
        clock.advance(61)

        assert await listed(store) == [("brand", "anna", "unsubscribed")]


async def test_the_report_about_a_preview_suppresses_nobody(place, put_and_claim, listed):
    async with place.opened(suppress=frozenset({"complained"})) as store:
        claim = await put_and_claim(store, preview="ref")
        await store.record(report(claim, Status.COMPLAINED))

        assert await listed(store) == []


@pytest.mark.parametrize("code", ["550 5.1.1", "bounce 550 5.1.1"])
async def test_a_permanent_failure_suppresses(place, put_and_claim, listed, code):
    async with place.opened(suppress=frozenset({"failed:permanent"})) as store:
        claim = await put_and_claim(store)
        await store.record(report(claim, Status.FAILED, code))

        assert await listed(store) == [("brand", "anna", "failed:permanent")]
