"""A short run of the scenarios with real processes, and planted defects that each must find."""

import asyncio

import asyncpg
import pytest

from claiming import claim_due
from gatepost.model import Secret
from gatepost.outbox import Policy, SendResult, open_outbox
from gatepost.outbox.states import State
from torture import growth
from torture.clocks import ProcessClock
from torture.goals import VIOLATIONS
from torture.replica import ForkServer
from torture.scenarios import dependencies, kills, replicas, upgrades
from torture.stores import Postgresql, Sqlite

SEEDS = range(1, 5)
"""The first seed finds each defect, but on a slow machine a kill may catch nothing in flight."""


def violations(figures):
    return {name: figures[name] for name in VIOLATIONS if name in figures}


async def test_kills_lose_nothing_on_sqlite(fork_server, tmp_path):
    figures = await kills.kill(fork_server, tmp_path, Sqlite(tmp_path), 1, messages=120, kills=4)

    assert violations(figures) == {}
    assert figures["accepted"] == 120
    assert figures["resent"] <= figures["max in flight at kills"]


async def test_kills_lose_nothing_on_postgresql(fork_server, tmp_path, postgres_server):
    store = Postgresql(postgres_server)
    figures = await kills.kill(fork_server, tmp_path, store, 1, messages=90, kills=3, replicas=2)

    assert violations(figures) == {}
    assert figures["accepted"] == 90


async def test_one_poisoned_message_among_fifteen_is_held_and_no_other(fork_server, tmp_path):
    figures = await kills.poison(fork_server, tmp_path, Sqlite(tmp_path), 1, poison_messages=1)

    assert violations(figures) == {}
    assert figures["accepted"] == 16
    assert (figures["poison messages held"], figures["other messages held"]) == (1, 0)
    assert figures["max deaths per poison message"] == 3


async def test_suspects_that_are_sent_together_are_found(fork_server, tmp_path):
    for seed in SEEDS:
        folder = tmp_path / str(seed)
        figures = await kills.poison(
            fork_server,
            folder,
            Sqlite(folder),
            seed,
            poison_messages=1,
            planted_defect="send_suspects_together",
        )
        if figures["other messages held"]:
            return
    raise AssertionError("the planted defect was not found")


async def test_zombies_finish_nothing_twice(fork_server, tmp_path, postgres_server):
    figures = await replicas.zombie(fork_server, tmp_path, Postgresql(postgres_server), 1, zombies=2)

    assert violations(figures) == {}


@pytest.mark.parametrize(
    ("planted_defect", "found"),
    [
        ("answer_before_commit", "lost"),
        ("forget_reports", "unacknowledged"),
        ("call_back_out_of_order", "out_of_order"),
    ],
)
async def test_a_fault_that_breaks_a_promise_is_found(fork_server, tmp_path, planted_defect, found):
    for seed in SEEDS:
        folder = tmp_path / str(seed)
        figures = await kills.kill(
            fork_server, folder, Sqlite(folder), seed, messages=90, kills=3, planted_defect=planted_defect
        )
        if figures.get(found):
            return
    raise AssertionError("the planted defect was not found")


async def kill_with_late_reports(fork_server, folder, seed, planted_defect=""):
    """Kill while the reports come so late that they can't prevent a resend by chance."""
    figures = await kills.kill(
        fork_server,
        folder,
        Sqlite(folder),
        seed,
        messages=60,
        kills=2,
        late_reports=True,
        planted_defect=planted_defect,
    )
    # What was claimed at a kill and had not reached the provider waits an hour for a report that can't come.
    assert violations(figures).keys() <= {"unfinished"}
    return figures


async def test_what_was_in_flight_at_a_kill_waits_for_its_report(fork_server, tmp_path):
    figures = await kill_with_late_reports(fork_server, tmp_path, 1)

    assert figures["resent"] == 0


async def test_a_gateway_that_waits_for_no_report_is_found(fork_server, tmp_path):
    for seed in SEEDS:
        figures = await kill_with_late_reports(
            fork_server, tmp_path / str(seed), seed, "resend_without_waiting"
        )
        if figures["resent"]:
            return
    raise AssertionError("the planted defect was not found")


async def test_a_result_that_ignores_the_fence_is_found(fork_server, tmp_path, postgres_server):
    for seed in SEEDS:
        store = Postgresql(postgres_server)
        folder = tmp_path / str(seed)
        figures = await replicas.zombie(
            fork_server, folder, store, seed, zombies=4, planted_defect="finish_without_fence"
        )
        if "finished_twice" in figures:
            return
    raise AssertionError("the planted defect was not found")


async def test_a_rolling_upgrade_and_the_way_back_lose_nothing(fork_server, tmp_path, postgres_server):
    figures = await upgrades.rolling(fork_server, tmp_path, Postgresql(postgres_server), 1, rounds=1)

    assert violations(figures) == {}
    assert figures["exit codes other than 0"] == 0
    assert figures["resent"] == 0
    assert (figures["starts on newer tables"], figures["tables updated"]) == (2, 1)


async def test_a_drain_under_load_answers_all_requests_in_hand(fork_server, tmp_path):
    figures = await kills.drain(fork_server, tmp_path, Sqlite(tmp_path), 1, drains=2)

    assert violations(figures) == {}
    assert figures["exit codes other than 0"] == 0
    assert figures["stored but not answered"] == 0
    assert figures["refused"] == 0
    assert figures["resent"] == 0


async def test_a_stop_without_the_answers_in_hand_is_found(fork_server, tmp_path):
    figures = await kills.drain(
        fork_server, tmp_path, Sqlite(tmp_path), 1, drains=2, planted_defect="exit_at_sigterm"
    )

    assert figures["stored but not answered"]


@pytest.fixture
async def store(postgres_server):
    return Postgresql(postgres_server)


@pytest.fixture
async def connection(store):
    connection = await asyncpg.connect(store.url)
    yield connection
    await connection.close()


async def test_the_claims_of_a_dead_replica_count_until_they_are_taken_over(tmp_path, store, connection):
    lease = 0.5
    async with open_outbox(Secret(store.url), tmp_path, Policy()) as outbox:
        message = growth.message()
        await outbox.put(message)
        await claim_due(outbox, message.channel, 1, lease)
        killed = await replicas.database_time(connection)

        assert await replicas.count_claims_before(connection, killed, lease) == 1

        # Only the database's clock decides when the lease has expired.
        while not (await outbox.sweep()).expired_claims:  # noqa: ASYNC110
            await asyncio.sleep(lease / 10)

        assert await replicas.count_claims_before(connection, killed, lease) == 0


async def test_a_claim_after_the_kill_does_not_count(tmp_path, store, connection):
    lease = 30.0
    async with open_outbox(Secret(store.url), tmp_path, Policy()) as outbox:
        message = growth.message()
        await outbox.put(message)
        killed = await replicas.database_time(connection)
        (claim,) = await claim_due(outbox, message.channel, 1, lease)

        assert await replicas.count_claims_before(connection, killed, lease) == 0

        await outbox.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))


async def test_a_process_whose_clock_jumps_loses_nothing(tmp_path):
    try:
        clock = ProcessClock(tmp_path)
    except RuntimeError as error:
        pytest.skip(str(error))
    with ForkServer(clock.environment) as fork_server:
        figures = await dependencies.clock(fork_server, tmp_path, 1, jumps=2, clock=clock)

    assert violations(figures) == {}
    assert figures["days from the first to the last end"] == 365
