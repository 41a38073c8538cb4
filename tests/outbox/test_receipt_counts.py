"""What is counted for the shares of split routes that follow receipts: by the minute of the send, each message once."""

import asyncio

import msgspec
import pytest
from sqlalchemy import select

from claiming import claim_due, result_of
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import ReportedEvents, Try
from gatepost.outbox.cohorts import SCOPE_PREFIX, Group, cohorts, minute_of
from gatepost.outbox.schema import counters
from gatepost.outbox.states import State
from statements import executed

ACCEPTED, DELIVERED, OPENED, FAILED = Status.ACCEPTED, Status.DELIVERED, Status.OPENED, Status.FAILED
BOTH_STORES = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
async def store(place):
    async with place.opened(balanced=frozenset({"shared"})) as outbox:
        yield outbox


@pytest.fixture
def claim_new(put_and_claim):
    async def claim_new(store, uid="uid-1", route="shared", **fields):
        return await put_and_claim(store, uid, route=route, channel=Channel.SMS, country="GB", **fields)

    return claim_new


def sent_by(claim, instance="eu", **fields):
    return result_of(claim, instance=instance, provider_id=claim.id, **fields)


async def report(store, identity, *statuses, instance="eu"):
    events = [StatusEvent(status=status, message_id=identity) for status in statuses]
    await store.record(ReportedEvents(instance=instance, events=events))


async def counts(store):
    """Return what was sent and delivered in GB, by instance and by minutes since the first minute of the tests' clock."""
    rows = await store._database.transact(
        lambda connection: connection.execute(
            select(counters.c.period, counters.c.scope, counters.c.value).where(
                counters.c.scope.startswith(SCOPE_PREFIX)
            )
        ).all()
    )
    sums = {}
    for group, found in cohorts(rows).items():
        assert group == Group("shared", "GB")
        for instance, minute, sent, delivered in found:
            key = instance, minute - minute_of(1_800_000_000_000)
            before = sums.get(key, (0, 0))
            sums[key] = before[0] + sent, before[1] + delivered
    return sums


@BOTH_STORES
async def test_a_delivery_is_counted_in_the_minute_of_the_send(store, claim_new, clock):
    claims = [await claim_new(store, f"uid-{number}") for number in range(3)]
    await asyncio.gather(*(store.finish(sent_by(claim)) for claim in claims))
    clock.advance(600)
    await report(store, claims[0].id, DELIVERED)
    await report(store, claims[1].id, FAILED)
    assert await counts(store) == {("eu", 0): (3, 1)}

    later = await claim_new(store, "later")
    await store.finish(sent_by(later, "infobip"))
    assert await counts(store) == {("eu", 0): (3, 1), ("infobip", 10): (1, 0)}


async def test_the_minute_is_that_in_which_the_send_began(store, claim_new, clock):
    claim = await claim_new(store)
    clock.advance(61)
    one = Try(instance="eu", outcome="sent", duration=2.0)
    await store.finish(msgspec.structs.replace(sent_by(claim), tries=[one]))
    await report(store, claim.id, DELIVERED)
    assert await counts(store) == {("eu", 0): (1, 1)}


@BOTH_STORES
@pytest.mark.parametrize(
    "reports",
    [
        [[DELIVERED]],
        [[OPENED]],
        [[DELIVERED], [OPENED]],
        [[OPENED], [DELIVERED]],
        [[DELIVERED, OPENED]],
        [[DELIVERED], [DELIVERED], [FAILED]],
        [[FAILED], [OPENED], [DELIVERED, OPENED]],
    ],
)
async def test_the_delivery_of_a_message_is_counted_once(store, claim_new, reports):
    claim = await claim_new(store)
    await store.finish(sent_by(claim))
    for statuses in reports:
        await report(store, claim.id, *statuses)
    assert await counts(store) == {("eu", 0): (1, 1)}


async def test_reports_that_share_a_commit_count_a_message_once(store, claim_new):
    claim = await claim_new(store)
    await store.finish(sent_by(claim))
    await asyncio.gather(*(report(store, claim.id, status) for status in (DELIVERED, OPENED, DELIVERED)))
    assert await counts(store) == {("eu", 0): (1, 1)}


@pytest.mark.parametrize("later", [[], [DELIVERED, OPENED]])
async def test_a_report_before_the_answer_to_the_send_counts_as_well(store, claim_new, later):
    claim = await claim_new(store)
    await report(store, claim.id, DELIVERED)
    assert await counts(store) == {}
    await store.finish(sent_by(claim))
    await report(store, claim.id, *later)
    assert await counts(store) == {("eu", 0): (1, 1)}


async def test_a_result_that_is_recorded_twice_is_counted_once(store, claim_new):
    claim = await claim_new(store)
    await asyncio.gather(*(store.finish(sent_by(claim)) for _ in range(3)))
    await store.finish(sent_by(claim))
    assert await counts(store) == {("eu", 0): (1, 0)}


async def test_only_the_first_try_counts(store, claim_new, clock):
    passed_on = await claim_new(store, "passed-on")
    tries = [
        Try(instance="infobip", outcome="unavailable"),
        Try(instance="eu", outcome="sent"),
    ]
    await store.finish(msgspec.structs.replace(sent_by(passed_on), tries=tries))
    tried_again = await claim_new(store, "tried-again")
    unavailable = [Try(instance="eu", outcome="unavailable")]
    await store.finish(
        msgspec.structs.replace(sent_by(tried_again, state=State.QUEUED, delay=1.0), tries=unavailable)
    )
    clock.advance(1)
    (again,) = await claim_due(store, Channel.SMS, 1, 30.0)
    await store.finish(sent_by(again))
    refused = await claim_new(store, "refused")
    rejected = [Try(instance="eu", outcome="rejected")]
    await store.finish(msgspec.structs.replace(sent_by(refused, state=State.REJECTED), tries=rejected))
    for one in (passed_on, again, refused):
        await report(store, one.id, DELIVERED)
    assert await counts(store) == {}


async def test_a_report_after_more_than_an_hour_is_not_counted(store, claim_new, clock):
    claim, late = await claim_new(store, "in-time"), await claim_new(store, "late")
    for one in (claim, late):
        await store.finish(sent_by(one))
    clock.advance(63 * 60)
    await report(store, claim.id, DELIVERED)
    clock.advance(60)
    await report(store, late.id, DELIVERED)
    assert await counts(store) == {("eu", 0): (2, 1)}


async def test_other_routes_are_not_counted(store, claim_new):
    claim = await claim_new(store, route="plain")
    await store.finish(sent_by(claim))
    await report(store, claim.id, DELIVERED)
    assert await counts(store) == {}


@BOTH_STORES
async def test_where_no_route_follows_receipts_nothing_more_is_read(place, claim_new):
    async with place.opened() as store:
        claim = await claim_new(store)
        statements = executed(store._database.engine)
        await store.finish(sent_by(claim))
        await report(store, claim.id, DELIVERED)
        assert await counts(store) == {}
    assert statements
    assert not any("JOIN queues" in statement.text for statement in statements)
