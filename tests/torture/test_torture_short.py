"""The short cut: a little of what `make torture` does, on real processes, and bugs that it must find there."""

import asyncio

import asyncpg
import pytest

from gatepost.model import Secret
from gatepost.outbox import Policy, SendResult, open_outbox
from gatepost.outbox.states import State
from torture import growth, scenarios
from torture.clocks import ProcessClock
from torture.oracle import Verdict
from torture.replica import ForkServer
from torture.stores import Postgresql, Sqlite

VIOLATIONS = set(Verdict.__dataclass_fields__) - {"resent"}


def violations(figures):
    return {name: figures[name] for name in VIOLATIONS & set(figures)}


async def test_kills_lose_nothing_on_sqlite(fork_server, tmp_path):
    figures = await scenarios.kill(fork_server, tmp_path, Sqlite(tmp_path), 1, messages=120, kills=4)

    assert violations(figures) == {}
    assert figures["accepted"] == 120
    assert figures["resent"] <= figures["in flight at most"]


async def test_kills_lose_nothing_on_postgresql(fork_server, tmp_path, postgres_server):
    store = Postgresql(postgres_server)
    figures = await scenarios.kill(fork_server, tmp_path, store, 1, messages=90, kills=3, replicas=2)

    assert violations(figures) == {}
    assert figures["accepted"] == 90


async def test_one_poisoned_message_among_fifteen_is_held_and_no_other(fork_server, tmp_path):
    figures = await scenarios.poison(fork_server, tmp_path, Sqlite(tmp_path), 1, poisons=1)

    assert violations(figures) == {}
    assert figures["accepted"] == 16
    assert (figures["held of them"], figures["innocents held"]) == (1, 0)
    assert figures["deaths for each at most"] == 3


async def test_suspects_that_are_sent_together_are_found(fork_server, tmp_path):
    """With the first seed already, but on a slow machine the second death may have caught the poison alone."""
    for seed in range(1, 5):
        folder = tmp_path / str(seed)
        figures = await scenarios.poison(
            fork_server, folder, Sqlite(folder), seed, poisons=1, plant="send_suspects_together"
        )
        if figures["innocents held"]:
            return
    raise AssertionError("the bug was not found")


async def test_zombies_finish_nothing_twice(fork_server, tmp_path, postgres_server):
    figures = await scenarios.zombie(fork_server, tmp_path, Postgresql(postgres_server), 1, zombies=2)

    assert violations(figures) == {}


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        ("answer_before_commit", "lost"),
        ("forget_reports", "unacknowledged"),
        ("tell_before_it_is_due", "out_of_order"),
        ("resend_at_once", "resent"),
    ],
)
async def test_a_bug_that_breaks_a_promise_is_found(fork_server, tmp_path, plant, found):
    """With the first seed already, but for a kill that on a slow machine caught nothing in flight."""
    for seed in range(1, 5):
        folder = tmp_path / str(seed)
        figures = await scenarios.kill(
            fork_server, folder, Sqlite(folder), seed, messages=90, kills=3, plant=plant
        )
        if figures.get(found):
            return
    raise AssertionError("the bug was not found")


async def test_an_outcome_that_ignores_the_fence_is_found(fork_server, tmp_path, postgres_server):
    """Found as soon as a stop catches a send; on a slow machine the first may not."""
    for seed in range(1, 5):
        store = Postgresql(postgres_server)
        figures = await scenarios.zombie(
            fork_server, tmp_path / str(seed), store, seed, zombies=4, plant="finish_whoever_holds"
        )
        if "finished_twice" in figures:
            return
    raise AssertionError("the bug was not found")


async def test_a_sigterm_under_load_refuses_nothing_in_hand(fork_server, tmp_path):
    figures = await scenarios.drain(fork_server, tmp_path, Sqlite(tmp_path), 1, drains=2)

    assert violations(figures) == {}
    assert figures["ended with another code than 0"] == 0
    assert figures["stored and not answered"] == 0
    assert figures["refused"] == 0
    assert figures["resent"] == 0


async def test_answers_that_are_owed_at_a_stop_are_found(fork_server, tmp_path):
    figures = await scenarios.drain(
        fork_server, tmp_path, Sqlite(tmp_path), 1, drains=2, plant="leave_at_once"
    )

    assert figures["stored and not answered"]


@pytest.fixture
async def store(postgres_server):
    return Postgresql(postgres_server)


@pytest.fixture
async def asking(store):
    """A connection that only looks."""
    connection = await asyncpg.connect(store.url)
    yield connection
    await connection.close()


async def test_what_a_dead_replica_holds_is_seen_until_somebody_takes_it_over(tmp_path, store, asking):
    lease = 0.5
    async with open_outbox(Secret(store.url), tmp_path, Policy()) as outbox:
        message = growth.message()
        await outbox.put(message)
        await outbox.claim(message.channel, 1, lease)
        killed = await scenarios.moment(asking)

        assert await scenarios.held_before(asking, killed, lease) == 1

        while not (await outbox.sweep()).expired_claims:  # noqa: ASYNC110  the database's clock tells nobody
            await asyncio.sleep(lease / 10)

        assert await scenarios.held_before(asking, killed, lease) == 0


async def test_a_claim_after_the_kill_is_not_the_dead_ones(tmp_path, store, asking):
    lease = 30.0
    async with open_outbox(Secret(store.url), tmp_path, Policy()) as outbox:
        message = growth.message()
        await outbox.put(message)
        killed = await scenarios.moment(asking)
        (claim,) = await outbox.claim(message.channel, 1, lease)

        assert await scenarios.held_before(asking, killed, lease) == 0

        await outbox.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))


async def test_a_process_whose_clock_jumps_loses_nothing(tmp_path):
    try:
        clock = ProcessClock(tmp_path)
    except RuntimeError as error:
        pytest.skip(str(error))
    with ForkServer(clock.environment) as fork_server:
        figures = await scenarios.clock(fork_server, tmp_path, 1, jumps=2, clock=clock)

    assert violations(figures) == {}
    assert figures["days between the first and the last"] == 365
