"""The turns of an instance whose rate several replicas share: each one once, and never closer than the rate allows."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from itertools import pairwise

import asyncpg
import pytest
from sqlalchemy import select

from gatepost.model import Channel, Secret
from gatepost.outbox import Policy, open_outbox, sqlite
from gatepost.outbox.claims import ClaimRequest
from gatepost.outbox.schema import turns as turns_table
from gatepost.outbox.turns import (
    CLAIM_INTERVAL,
    TURN_AHEAD,
    TURN_DELAY,
    Rate,
    replace_turns,
    shared_rate,
    take_turns,
)

RATE = shared_rate("relay", 50.0)
MARGIN = (TURN_DELAY + TURN_AHEAD) / 1000


class Replicas:
    """Two processes on one database, with a clock that the test advances."""

    def __init__(self, new, clock):
        self.new = new
        self.clock = clock
        self.outboxes = []

    async def put(self, count, **fields):
        outbox = self.outboxes[0]
        await asyncio.gather(*(outbox.put(self.new(f"uid-{fields}-{n}", **fields)) for n in range(count)))

    async def claim(self, outbox, limit, rates=None, lead=0.0):
        """Claim up to this many messages of one queue; return the batch, with turns by the test's clock."""
        (queue,) = await outbox.due_queues()
        request = ClaimRequest(queue, limit, 30.0, rates=rates or [RATE] * limit, lead=lead)
        read_at = []

        def note(begin, connection):
            transaction = begin(connection)
            read_at.append(transaction.read_at)
            return transaction

        begins = [lane._begin for lane in outbox._lanes]
        for lane, begin in zip(outbox._lanes, begins, strict=True):
            lane._begin = partial(note, begin)
        (batch,) = await outbox.claim(lambda: [request])
        for lane, begin in zip(outbox._lanes, begins, strict=True):
            lane._begin = begin
        now = int(self.clock() * 1000) / 1000
        return batch, [now + turn - read_at[-1] if turn else 0.0 for turn in batch.turns]


@pytest.fixture(params=["sqlite", "postgresql"])
async def replicas(request, tmp_path, clock, new):
    """Yield replicas; on SQLite, which has one process, it is the same one twice."""
    it = Replicas(new, clock)
    url = "sqlite:///outbox.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()
    async with AsyncExitStack() as stack:
        for _ in range(1 if request.param == "sqlite" else 2):
            outbox = await stack.enter_async_context(
                open_outbox(Secret(url), tmp_path, Policy(), clock=clock)
            )
            outbox._now = sqlite.database_clock(clock)
            it.outboxes.append(outbox)
        it.outboxes = (it.outboxes * 2)[:2]
        yield it


async def test_the_replicas_share_the_turns(replicas):
    await replicas.put(200)
    taken = []
    for step in range(40):
        batch, turns = await replicas.claim(replicas.outboxes[step % 2], 8)
        assert len(batch.claims) == len(turns) <= 8
        taken += turns
        replicas.clock.advance(0.05)

    # Forty steps of 50 ms and what may be taken ahead of time, at fifty a second.
    assert len(taken) == pytest.approx(50 * (40 * 0.05 + TURN_AHEAD / 1000), abs=3)
    for earlier, later in pairwise(sorted(taken)):
        assert later - earlier == pytest.approx(0.02, abs=1e-6)


async def test_no_turn_is_in_the_past_or_far_in_the_future(replicas):
    await replicas.put(100)
    for _ in range(10):
        _, turns = await replicas.claim(replicas.outboxes[0], 100)
        now = int(replicas.clock() * 1000) / 1000
        assert all(now + TURN_DELAY / 1000 - 1e-6 <= turn <= now + MARGIN + 1e-6 for turn in turns)
        replicas.clock.advance(0.3)


async def test_an_unused_turn_is_not_made_up_for(replicas):
    await replicas.put(100)
    _, first = await replicas.claim(replicas.outboxes[0], 5)
    replicas.clock.advance(10.0)
    _, second = await replicas.claim(replicas.outboxes[1], 100)
    assert len(first) == 5
    assert len(second) == TURN_AHEAD // 20 + 1


async def test_without_turns_nothing_is_claimed_and_the_batch_says_when_to_try_again(replicas):
    await replicas.put(100)
    batch, _ = await replicas.claim(replicas.outboxes[0], 100)
    assert not batch.exhausted
    batch, _ = await replicas.claim(replicas.outboxes[1], 100)
    assert batch.claims == []
    assert not batch.exhausted
    assert batch.next_claim_at.keys() == {"relay"}
    # The next turn is in 20 ms, and a claim for one turn alone would be waste.
    replicas.clock.advance((CLAIM_INTERVAL + 20) / 1000)
    _, turns = await replicas.claim(replicas.outboxes[1], 100)
    assert len(turns) == CLAIM_INTERVAL // 20 + 1


async def test_turns_of_messages_that_were_not_there_stay(replicas):
    await replicas.put(2)
    batch, first = await replicas.claim(replicas.outboxes[0], 10)
    assert (len(batch.claims), batch.exhausted) == (2, True)
    await replicas.put(100, client="brand", ext_user_id="later")
    _, second = await replicas.claim(replicas.outboxes[1], 100)
    assert second[0] - first[-1] == pytest.approx(0.02, abs=1e-6)


async def test_a_claim_stops_at_the_first_message_whose_instance_has_no_turn(replicas):
    slow = shared_rate("slow", 1.0)
    await replicas.put(10)
    batch, turns = await replicas.claim(replicas.outboxes[0], 4, [None, slow, None, slow])
    assert len(batch.claims) == 3
    assert [turn > 0 for turn in turns] == [False, True, False]
    assert batch.next_claim_at.keys() == {"slow"}


async def test_a_turn_for_another_instance_than_planned_is_one_of_the_same_turns(replicas):
    await replicas.put(100)
    _, turns = await replicas.claim(replicas.outboxes[0], 3)
    # Read in the same moment of the test's clock, so the next one is 60 ms after the first.
    row = await stored(replicas.outboxes[0])
    assert await replicas.outboxes[1].change(take_turns, RATE) is not None
    assert await stored(replicas.outboxes[0]) - row == RATE.interval
    for _ in range(20):
        await replicas.outboxes[1].change(take_turns, RATE)
    assert await replicas.outboxes[0].change(take_turns, RATE) is None
    assert len(turns) == 3


async def test_turns_leave_time_for_the_lookups(replicas):
    await replicas.put(100)
    now = int(replicas.clock() * 1000) / 1000
    _, turns = await replicas.claim(replicas.outboxes[0], 3, lead=1.5)
    assert turns == pytest.approx([now + 1.52, now + 1.54, now + 1.56], abs=1e-6)
    # The same moments are not used twice, although another replica needs less time.
    _, others = await replicas.claim(replicas.outboxes[1], 3, lead=1.4)
    assert others == pytest.approx([now + 1.58, now + 1.6, now + 1.62], abs=1e-6)


async def test_a_missed_turn_is_replaced_by_the_next_one_however_far_it_is(replicas):
    await replicas.put(1)
    for number in range(100):
        row = await stored(replicas.outboxes[0]) if number else None
        assert await replicas.outboxes[number % 2].change(replace_turns, RATE) is not None
        assert row is None or await stored(replicas.outboxes[0]) - row == RATE.interval


async def stored(outbox):
    return await outbox._database.transact(
        lambda connection: connection.execute(select(turns_table.c.next_at)).scalar_one()
    )


async def test_a_clock_that_was_set_back_stops_no_instance(replicas):
    await replicas.put(100)
    await replicas.claim(replicas.outboxes[0], 5)
    replicas.clock.advance(-7_200.0)
    await replicas.put(10, client="other")
    request = [
        ClaimRequest(queue, 5, 30.0, rates=[RATE] * 5) for queue in await replicas.outboxes[0].due_queues()
    ]
    (batch,) = await replicas.outboxes[0].claim(lambda: request)
    assert len(batch.claims) == 5


def test_the_interval_is_never_shorter_than_the_rate_allows():
    for per_second in (0.01, 1 / 3, 3.0, 7.0, 30.0, 999.0, 1e6, 3e8):
        rate = shared_rate("relay", per_second)
        assert rate.interval >= 1
        assert rate.interval >= 1e6 / per_second or per_second > 1e6
        assert Rate("relay", rate.interval) == rate


async def test_an_instance_without_a_rate_costs_no_statement(replicas):
    await replicas.put(5)
    outbox = replicas.outboxes[0]
    (queue,) = await outbox.due_queues()
    (batch,) = await outbox.claim(lambda: [ClaimRequest(queue, 5, 30.0)])
    assert (len(batch.claims), batch.turns, batch.next_claim_at) == (5, [], {})
    rows = await outbox._database.transact(lambda connection: connection.execute(select(turns_table)).all())
    assert rows == []
    assert queue.channel is Channel.EMAIL


async def test_a_locked_row_holds_up_no_other_instance(postgres_server, tmp_path, new):
    url = postgres_server.new_database()
    async with open_outbox(Secret(url), tmp_path, Policy()) as outbox:
        await outbox.put(new())
        (queue,) = await outbox.due_queues()
        assert await outbox.change(take_turns, RATE) is not None
        other = await asyncpg.connect(url)
        transaction = other.transaction()
        await transaction.start()
        # As a replica does that stands still between the change and its commit.
        await other.execute("UPDATE turns SET next_at = next_at + 1")

        requests = [ClaimRequest(queue, 1, 30.0, rates=[rate]) for rate in (RATE, None)]
        limited, unlimited = await asyncio.wait_for(outbox.claim(lambda: requests), 10)

        assert (limited.claims, limited.next_claim_at.keys()) == ([], {"relay"})
        assert len(unlimited.claims) == 1
        await transaction.rollback()
        assert await outbox.change(take_turns, RATE) is not None
        await other.close()
