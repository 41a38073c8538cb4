"""The places of an instance that warms up: never more than its cap, whichever process takes them, and what gives one back."""

import asyncio
from contextlib import AsyncExitStack

import asyncpg
import msgspec
import pytest
from sqlalchemy import select

from claiming import result_of
from gatepost.model import Channel, Secret, Status, StatusEvent
from gatepost.outbox import Fallback, Policy, ReportedEvents, SendResult, Try, open_outbox, sqlite, warmups
from gatepost.outbox.claims import ClaimRequest
from gatepost.outbox.schema import counters, plugin_state
from gatepost.outbox.states import State
from gatepost.outbox.turns import CLAIM_INTERVAL, shared_rate
from gatepost.outbox.warmup_steps import DAY, Warmup
from statements import executed

NOON = 20_833 * 86_400.0 + 43_200
PLAN = Warmup("relay", 10, 1.5, DAY)
POLICY = Policy(warmups={"relay": PLAN})


class Replicas:
    """Two processes on one database, with a clock that the test advances."""

    def __init__(self, new, clock):
        self.new = new
        self.clock = clock
        self.outboxes = []
        self.queue = None

    async def put(self, count, name="uid"):
        outbox = self.outboxes[0]
        await asyncio.gather(*(outbox.put(self.new(f"{name}-{n}")) for n in range(count)))

    async def claim(self, limit=100, replica=0, plans=None, **fields):
        outbox = self.outboxes[replica]
        # After the clock was set back, what is due may be found only some seconds later.
        (self.queue,) = await outbox.due_queues() or [self.queue]
        assert self.queue, "no message is due"
        request = ClaimRequest(self.queue, limit, 30.0, warmups=plans or [PLAN] * limit, **fields)
        (batch,) = await outbox.claim(lambda: [request])
        return batch

    async def finish(self, claims, batch, state=State.SENT, **fields):
        for claim in claims:
            await self.outboxes[0].finish(result_of(claim, state, instance="relay", **fields))

    async def view(self):
        (view,) = await self.outboxes[0]._database.transact(warmups.find)
        return view

    async def used(self):
        return (await self.view()).used


@pytest.fixture(params=["sqlite", "postgresql"])
async def replicas(request, tmp_path, clock, new):
    """Yield replicas; on SQLite, which has one process, it is the same one twice."""
    clock.now = NOON
    it = Replicas(new, clock)
    url = "sqlite:///outbox.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()
    async with AsyncExitStack() as stack:
        for _ in range(1 if request.param == "sqlite" else 2):
            outbox = await stack.enter_async_context(open_outbox(Secret(url), tmp_path, POLICY, clock=clock))
            outbox._now = sqlite.database_clock(clock)
            it.outboxes.append(outbox)
        it.outboxes = (it.outboxes * 2)[:2]
        yield it


async def test_the_replicas_together_claim_as_many_messages_as_there_are_places(replicas):
    await replicas.put(30)
    first = await replicas.claim(6)
    second = await replicas.claim(6, replica=1)

    assert [len(one.claims) for one in (first, second)] == [6, 4]
    assert first.places.keys() == second.places.keys() == {"relay"}
    assert (first.full_until, second.full_until.keys()) == ({}, {"relay"})
    third = await replicas.claim(6)
    assert (third.claims, third.places, third.exhausted) == ([], {}, False)
    assert third.full_until.keys() == {"relay"}
    assert await replicas.used() == 10


async def test_many_claims_at_once_never_take_a_place_too_many(replicas):
    await replicas.put(200)
    claimed = []

    async def take(replica):
        for _ in range(20):
            batch = await replicas.claim(1, replica=replica)
            claimed.extend(batch.claims)

    await asyncio.gather(*(take(number % 2) for number in range(20)))
    # Where each process met the other one's lock each time, some are left.
    for _ in range(10):
        claimed += (await replicas.claim(1)).claims

    assert len(claimed) == len({one.id for one in claimed}) == 10
    assert await replicas.used() == 10


async def test_the_cap_grows_over_three_days_of_full_use(replicas):
    await replicas.put(60)
    sent, decisions = [], []
    for day in range(4):
        batch = await replicas.claim(100, replica=day % 2)
        await replicas.finish(batch.claims, batch)
        sent.append(len(batch.claims))
        decisions.append((await replicas.view()).decision)
        replicas.clock.advance(86_400.0)
    # Three and a third times as many: 10, 15, 22.5 and 33.75 without the rest that is carried on.
    assert sent == [10, 15, 22, 13]
    assert decisions == ["it has begun", "it grew from 10", "it grew from 15", "it grew from 22"]


async def test_a_new_process_goes_on_with_what_was_used(tmp_path, clock, new):
    clock.now = NOON
    for expected in (6, 4, 0):
        async with open_outbox(Secret("sqlite:///outbox.db"), tmp_path, POLICY, clock=clock) as outbox:
            it = Replicas(new, clock)
            it.outboxes = [outbox]
            await it.put(10, f"before {expected}")
            # It ends without a result, as in a crash: what it claimed may have been sent.
            assert len((await it.claim(6)).claims) == expected


async def test_a_message_that_the_instance_did_not_take_gives_its_place_back(replicas):
    await replicas.put(30)
    batch = await replicas.claim(10)
    place = batch.places["relay"]
    one, other, *_ = batch.claims
    unused = SendResult(id=one.id, attempt=one.attempt, state=State.QUEUED, delay=3_600.0, unused=[place])

    await replicas.outboxes[0].finish(unused)
    # As after a lost connection: it is recorded once.
    await replicas.outboxes[0].finish(unused)
    await replicas.outboxes[0].finish(result_of(other, instance="relay"))

    assert await replicas.used() == 9
    assert len((await replicas.claim(10, replica=1)).claims) == 1


async def test_a_receipt_that_is_recorded_twice_gives_one_place_back(replicas):
    """It was unavailable here, and another instance took the message."""
    await replicas.put(30)
    batch = await replicas.claim(10)
    result = msgspec.structs.replace(
        result_of(batch.claims[0], instance="other"), unused=[batch.places["relay"]]
    )
    await replicas.outboxes[0].finish(result)
    await replicas.outboxes[0].finish(result)
    assert await replicas.used() == 9


async def test_places_of_messages_that_were_not_there_stay(replicas):
    await replicas.put(2)
    batch = await replicas.claim(10)
    assert (len(batch.claims), batch.exhausted, batch.full_until) == (2, True, {})
    assert await replicas.used() == 2


async def test_a_claim_stops_at_the_first_message_whose_instance_is_full(replicas):
    await replicas.put(30)
    batch = await replicas.claim(12, plans=[PLAN] * 9 + [None, PLAN, PLAN])
    assert len(batch.claims) == 11
    batch = await replicas.claim(3, plans=[None, PLAN, None])
    assert len(batch.claims) == 1


async def test_turns_and_places_are_taken_together(replicas):
    await replicas.put(30)
    rate = shared_rate("relay", 50.0)
    batch = await replicas.claim(30, rates=[rate] * 30)
    assert len(batch.claims) == len(batch.turns) == 10
    replicas.clock.advance(86_400.0)
    slow = shared_rate("relay", 0.01)
    batch = await replicas.claim(30, rates=[slow] * 30)
    assert len(batch.claims) == len(batch.turns) == 1
    assert await replicas.used() == 1


async def test_a_place_is_taken_for_a_message_that_is_claimed_already(replicas):
    taken = [await replicas.outboxes[n % 2].change(warmups.take_places, PLAN) for n in range(12)]
    assert [place is not None for place in taken] == [True] * 10 + [False] * 2
    assert await replicas.used() == 10


async def test_reports_count_for_the_period_of_their_sends(replicas):
    await replicas.put(30)
    batch = await replicas.claim(10)
    *sent, refused = batch.claims
    await replicas.finish(sent, batch)
    await replicas.finish([refused], batch, State.REJECTED)
    replicas.clock.advance(86_400.0)
    events = [
        StatusEvent(message_id=sent[0].id, status=Status.COMPLAINED),
        StatusEvent(message_id=sent[1].id, status=Status.FAILED, code="5.1.1"),
        StatusEvent(message_id=sent[2].id, status=Status.DELIVERED),
    ]
    for _ in range(2):
        await replicas.outboxes[0].record(ReportedEvents(instance="relay", events=events))

    assert await counts(replicas.outboxes[0]) == {
        "warmup/relay": 10,
        "warmup/relay/complained": 1,
        "warmup/relay/failed": 2,
    }
    # Ten sends, of which two failed, are 20 %: but the cap can't be lower than the first one.
    await replicas.outboxes[0].change(warmups.advance, None)
    assert (await replicas.view()).decision == "it stayed, because of 10 sends 2 failed"


async def test_what_an_answer_proves_about_the_user_is_no_complaint_about_this_send(replicas):
    """As of a provider that refuses a mail, because its user complained about an earlier one."""
    await replicas.put(1)
    batch = await replicas.claim(1)
    await replicas.finish(batch.claims, batch, State.REJECTED, status=Status.COMPLAINED)
    assert await counts(replicas.outboxes[0]) == {"warmup/relay": 1, "warmup/relay/failed": 1}


@pytest.fixture
async def following(replicas):
    """Yield replicas whose messages are on a route with next_after: relay, and then other."""
    fallbacks = {(Channel.EMAIL, "list"): Fallback(("relay", "other"), 7_200.0)}
    for outbox in replicas.outboxes:
        outbox.policy = msgspec.structs.replace(POLICY, fallbacks=fallbacks)
    build = replicas.new
    replicas.new = lambda uid: build(uid, route="list")
    return replicas


async def test_with_next_after_a_failure_that_is_not_told_counts_once(following):
    await following.put(3)
    batch = await following.claim(3)
    failed, complained, refused = batch.claims
    await following.finish([failed, complained], batch)
    await following.finish([refused], batch, State.REJECTED)
    # Its period is that of the send.
    following.clock.advance(43_200.0)
    for claim, status in ((failed, Status.FAILED), (complained, Status.COMPLAINED)) * 2:
        event = StatusEvent(message_id=claim.id, status=status)
        await following.outboxes[0].record(ReportedEvents(instance="relay", events=[event]))
    assert await counts(following.outboxes[0]) == {
        "warmup/relay": 3,
        "warmup/relay/complained": 1,
        "warmup/relay/failed": 2,
    }


async def test_with_next_after_no_later_failure_of_the_message_counts(following):
    await following.put(1)
    batch = await following.claim(1)
    await following.finish(batch.claims, batch, State.REJECTED)
    (again,) = (await following.claim(1, plans=[None])).claims
    await following.outboxes[0].finish(result_of(again, instance="other"))
    event = StatusEvent(message_id=again.id, status=Status.FAILED)
    for instance in ("relay", "other"):
        await following.outboxes[0].record(ReportedEvents(instance=instance, events=[event]))
    assert await counts(following.outboxes[0]) == {"warmup/relay": 1, "warmup/relay/failed": 1}


async def counts(outbox):
    """Return all that is counted of the day that began at START, by scope."""
    day = int(NOON * 1000) // DAY * DAY
    query = select(counters.c.scope, counters.c.value).where(
        counters.c.period == day, counters.c.scope.startswith("warmup/")
    )
    found = {}
    for scope, value in await outbox._database.transact(lambda one: one.execute(query).all()):
        found[scope] = found.get(scope, 0) + value
    return found


async def test_a_lifetime_that_ends_is_no_failure_of_a_send(replicas):
    await replicas.outboxes[0].put(replicas.new(lifetime=60.0))
    batch = await replicas.claim(1)
    one = Try(instance="relay", outcome="unavailable")
    (claim,) = batch.claims
    waiting = SendResult(
        id=claim.id, attempt=claim.attempt, state=State.QUEUED, instance="relay", tries=[one]
    )
    await replicas.outboxes[0].finish(waiting)
    replicas.clock.advance(100.0)
    result = await replicas.outboxes[0].sweep()
    assert result.failed == 1
    assert await counts(replicas.outboxes[0]) == {"warmup/relay": 1}


async def test_a_period_begins_although_nothing_is_sent(replicas):
    await replicas.outboxes[0].change(warmups.advance, None)
    assert (await replicas.view()).used == 0
    replicas.clock.advance(86_400.0)
    await replicas.outboxes[1].change(warmups.advance, None)
    view = await replicas.view()
    assert (view.cap, view.per, view.ends_at) == (10, "day", NOON + 86_400 + 43_200)
    assert view.decision == "it stayed, because 0 were used, and it grows after half"


async def test_a_clock_that_was_set_back_gives_no_further_places(replicas):
    await replicas.put(60)
    await replicas.claim(10)
    replicas.clock.advance(86_400.0)
    second = await replicas.claim(100)
    assert len(second.claims) == 15
    for hours in (-24, -1, 20):
        replicas.clock.advance(hours * 3_600.0)
        await replicas.put(1, f"new {hours}")
        assert (await replicas.claim(100)).claims == []


async def test_a_clock_that_was_years_ahead_leaves_the_sends_counted(replicas):
    await replicas.put(60)
    await replicas.claim(4)
    replicas.clock.advance(400 * 86_400.0)
    await replicas.put(3, "then")
    taken = await replicas.claim(3)
    assert len(taken.claims) == 3
    replicas.clock.advance(-400 * 86_400.0)
    await replicas.put(60, "back")
    assert len((await replicas.claim(100)).claims) == 3
    assert await replicas.used() == 10


async def test_no_place_is_valid_after_its_period(replicas):
    replicas.clock.now = NOON + 43_199.5
    await replicas.put(1)
    batch = await replicas.claim(1)
    reading = asyncio.get_running_loop().time()
    assert batch.places["relay"].until <= reading + 0.5 - warmups.MARGIN


async def test_an_instance_without_a_warmup_costs_no_statement(replicas):
    await replicas.put(5)
    outbox = replicas.outboxes[0]
    (queue,) = await outbox.due_queues()
    request = ClaimRequest(queue, 5, 30.0)
    statements = executed(outbox._database.engine)
    (batch,) = await outbox.claim(lambda: [request])
    assert (len(batch.claims), batch.places, batch.full_until) == (5, {}, {})
    assert not [one for one in statements if "plugin_state" in one.text or "counters" in one.text]
    assert queue.channel is Channel.EMAIL


async def test_a_locked_row_holds_up_no_other_instance(postgres_server, tmp_path, new):
    url = postgres_server.new_database()
    async with open_outbox(Secret(url), tmp_path, POLICY) as outbox:
        await outbox.put(new())
        (queue,) = await outbox.due_queues()
        assert await outbox.change(warmups.take_places, PLAN) is not None
        other = await asyncpg.connect(url)
        transaction = other.transaction()
        await transaction.start()
        # As a replica does that stands still between its claim and its commit.
        await other.execute("SELECT value FROM plugin_state FOR UPDATE")

        requests = [ClaimRequest(queue, 1, 30.0, warmups=[plan]) for plan in (PLAN, None)]
        limited, unlimited = await asyncio.wait_for(outbox.claim(lambda: requests), 10)

        assert (limited.claims, limited.next_claim_at.keys(), limited.full_until) == ([], {"relay"}, {})
        wait = limited.next_claim_at["relay"] - asyncio.get_running_loop().time()
        assert wait <= CLAIM_INTERVAL / 1000
        assert len(unlimited.claims) == 1
        await asyncio.wait_for(outbox.change(warmups.advance, None), 10)
        await transaction.rollback()
        assert await outbox.change(warmups.take_places, PLAN) is not None
        rows = await outbox._database.transact(lambda one: one.execute(select(plugin_state)).all())
        assert [row.instance for row in rows] == ["warmup/relay"]
        await other.close()
