"""What is different on PostgreSQL: several replicas, a server that may stop, the server's own clock."""

import asyncio
import json
import random
import time
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from claiming import acquire_lease, claim_callbacks, claim_due, claim_due_suspect, finish_callback
from gatepost.errors import ConfigError, StoreBusy
from gatepost.model import Channel, Secret, Status, StatusEvent
from gatepost.outbox import (
    CallbackResult,
    Policy,
    ReportedEvents,
    SendResult,
    open_outbox,
    postgresql,
    watermark,
)
from gatepost.outbox.callbacks import CallbackClaimRequest
from gatepost.outbox.claims import ClaimRequest
from gatepost.outbox.reader import Reader
from gatepost.outbox.states import OPEN_CALLBACK_STATES, State
from gatepost.outbox.watermark import COMMIT_DELAY
from statements import executed


class Database:
    """A database that several replicas may open."""

    def __init__(self, server, folder):
        self.server = server
        self.url = server.new_database()
        self.name = urlsplit(self.url).path.lstrip("/")
        self._folder = folder

    def replica(self, **policy):
        return open_outbox(Secret(self.url), self._folder, Policy(**policy))

    def psql(self, command):
        return self.server.psql(command, self.name)

    def statistic(self, query):
        """Return a statistic of the server; it includes a connection only a moment after that has ended."""
        others = "datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'"
        while self.psql(f"SELECT count(*) FROM pg_stat_activity WHERE {others}") != "0":
            time.sleep(0.02)
        return int(self.psql(query))


@pytest.fixture
def database(postgres_server, tmp_path):
    return Database(postgres_server, tmp_path)


@pytest.fixture
async def replicas(database):
    """Yield two replicas of one database."""
    async with database.replica(uncertain_wait=0.001) as one, database.replica(uncertain_wait=0.001) as other:
        yield one, other


async def test_replicas_that_start_together_create_the_tables_once(database, new):
    async with AsyncExitStack() as stack:
        outboxes = await asyncio.gather(*(stack.enter_async_context(database.replica()) for _ in range(4)))
        for number, outbox in enumerate(outboxes):
            await outbox.put(new(f"uid-{number}"))

        assert database.psql("SELECT count(*) FROM messages") == "4"
        assert database.psql("SELECT count(*) FROM alembic_version") == "1"


async def test_the_same_uid_at_two_replicas_is_one_message(replicas, new):
    stored = await asyncio.gather(
        *(replica.put(new(f"uid-{number}")) for number in range(100) for replica in replicas)
    )

    assert [one.id for one in stored[::2]] == [one.id for one in stored[1::2]]
    assert len({one.id for one in stored}) == 100


async def test_replicas_never_claim_the_same_message(replicas, new):
    await asyncio.gather(*(replicas[0].put(new(f"uid-{number}")) for number in range(300)))

    answers = await asyncio.gather(
        *(claim_due(replica, Channel.EMAIL, 7, 30) for _ in range(30) for replica in replicas)
    )

    ids = [claim.id for answer in answers for claim in answer]
    assert len(ids) == len(set(ids)) == 300


async def test_one_replica_gets_a_lease_and_another_continues_when_it_ends(replicas, database):
    for round_ in range(5):
        name = f"balance-{round_}"
        answers = await asyncio.gather(*(acquire_lease(replica, name, 60) for replica in replicas))
        assert sorted(answers) == [False, True]
        database.psql(f"UPDATE leases SET ends_at = 1 WHERE name = '{name}'")
        other = replicas[answers.index(False)]
        assert await acquire_lease(other, name, 60)


async def test_replicas_that_take_the_same_leases_do_not_block_each_other(database):
    names = [f"plugin/poller/{number}" for number in range(50)]
    async with database.replica() as one, database.replica() as other:
        for _ in range(5):
            held = await asyncio.gather(
                *(acquire_lease(one, name, 30) for name in names),
                *(acquire_lease(other, name, 30) for name in reversed(names)),
            )
            assert [a != b for a, b in zip(held[:50], reversed(held[50:]), strict=True)] == [True] * 50

    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert database.statistic(deadlocks) == 0


async def test_replicas_never_claim_the_same_callback(replicas, new):
    messages = [new(f"uid-{number}") for number in range(200)]
    await asyncio.gather(*(replicas[0].put(message) for message in messages))
    events = [StatusEvent(status=Status.OPENED, message_id=message.id) for message in messages]
    await replicas[0].record(ReportedEvents(instance="i", events=events))

    answers = await asyncio.gather(
        *(claim_callbacks(replica, 7, 30) for _ in range(20) for replica in replicas)
    )

    seqs = [call.seq for answer in answers for call in answer]
    assert len(seqs) == len(set(seqs)) == 200


async def test_an_ended_lease_of_another_replica_counts_as_a_death(
    database, replicas, put_and_claim, view_of
):
    one, other = replicas
    claim = await put_and_claim(one, lease=0.001)
    for deaths in 1, 2:
        while not (await other.sweep()).requeued:
            pass
        assert (await view_of(other, claim.id)).deaths == deaths
        claims = (
            claim_due(one, Channel.EMAIL, 1, 0.001)
            if deaths == 1
            else claim_due_suspect(one, Channel.EMAIL, 0.001)
        )
        assert [again.id for again in await claims] == [claim.id]
    while not (result := await other.sweep()).held_after_deaths:
        pass

    assert result.held_after_deaths == [claim.id]
    view = await view_of(one, claim.id)
    assert (view.state, view.due_at) == ("held", view.expires_at)
    assert not await one.finish(SendResult(id=claim.id, attempt=3, state=State.REJECTED))
    # The first replica runs after all, and its receipt is true.
    assert await one.finish(SendResult(id=claim.id, attempt=3, state=State.SENT))


async def test_a_claim_lost_to_another_replica_changes_nothing(replicas, put_and_claim, view_of):
    one, other = replicas
    lost = await put_and_claim(one, lease=0.001)
    while not (await other.sweep()).requeued:
        pass
    (newer,) = await claim_due(other, Channel.EMAIL, 1, 30)

    assert (newer.id, newer.attempt) == (lost.id, lost.attempt + 1)
    for state in State.SENT, State.QUEUED, State.REJECTED:
        assert not await one.finish(SendResult(id=lost.id, attempt=lost.attempt, state=state))
        # Not even with the attempt of the newer claim.
        assert not await one.finish(SendResult(id=lost.id, attempt=newer.attempt, state=state))
    await one.renew(lost, 3600)
    assert (await view_of(one, lost.id)).state == State.SENDING
    assert await other.finish(SendResult(id=newer.id, attempt=newer.attempt, state=State.SENT))
    assert not await one.finish(SendResult(id=lost.id, attempt=lost.attempt, state=State.REJECTED))
    assert [status.status for status in (await view_of(one, lost.id)).statuses] == [Status.ACCEPTED]


async def test_content_stored_by_one_replica_is_sent_by_another(replicas, put_and_claim):
    one, other = replicas
    claim = await put_and_claim(one)

    await one.finish(
        SendResult(id=claim.id, attempt=claim.attempt, state=State.QUEUED, content=b"with its text")
    )

    (again,) = await claim_due(other, Channel.EMAIL, 1, 30)
    assert (again.id, again.content) == (claim.id, b"with its text")


async def test_leases_use_the_clock_of_the_database(replicas, put_and_claim, monkeypatch):
    one, other = replicas
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    claim = await put_and_claim(one, lease=3600)

    assert not (await other.sweep()).changes
    assert await one.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))


async def test_a_status_recorded_while_the_one_before_ends_is_never_stuck(replicas, new, database):
    """One replica sees the earlier status open and records a waiting one; the other ends the callback and queues it."""
    one, other = replicas
    messages = [new(f"uid-{number}") for number in range(200)]
    await asyncio.gather(*(one.put(message) for message in messages))
    for claim in await claim_due(one, Channel.EMAIL, 200, 30):
        await one.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))
    calls = await claim_callbacks(other, 200, 30)
    assert len(calls) == 200

    async def report(message):
        event = StatusEvent(status=Status.DELIVERED, message_id=message.id)
        await one.record(ReportedEvents(instance="i", events=[event]))

    async def end(call):
        assert await finish_callback(
            other, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
        )

    races = [report(message) for message in messages] + [end(call) for call in calls]
    random.Random(1).shuffle(races)
    await asyncio.gather(*races)

    count = 0
    while calls := await claim_callbacks(one, 200, 30):
        assert {call.status for call in calls} == {Status.DELIVERED}
        await asyncio.gather(*(end_with(one, call) for call in calls))
        count += len(calls)
    assert count == 200
    open_states = ", ".join(f"'{state.value}'" for state in OPEN_CALLBACK_STATES)
    assert database.psql(f"SELECT count(*) FROM statuses WHERE callback_state IN ({open_states})") == "0"


async def end_with(replica, call):
    assert await finish_callback(
        replica, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
    )


async def test_terminated_backends_lose_nothing(database, new):
    """Whether a COMMIT was done or not, a repeated request with the same uid finds the message or stores it."""
    stop = asyncio.Event()
    stored = {}

    async def accept(outbox, number):
        message = new(f"uid-{number}")
        while True:
            try:
                stored[message.uid] = (await outbox.put(message)).id
            except StoreBusy:
                continue
            return

    async def cut():
        while not stop.is_set():
            await asyncio.to_thread(database.server.terminate_backends, database.name, 0.7)

    async with database.replica() as outbox:
        cutting = asyncio.create_task(cut())
        for batch in range(20):
            await asyncio.gather(*(accept(outbox, batch * 20 + number) for number in range(20)))
        stop.set()
        await cutting

    rows = dict(line.split("|") for line in database.psql("SELECT uid, id FROM messages").splitlines())
    assert rows == stored
    assert len(rows) == 400
    assert database.psql("SELECT count(*) FROM contents") == "400"


async def test_a_stopped_server_is_busy_until_it_runs_again(tmp_path, new):
    from torture import postgres  # noqa: PLC0415  a server of its own: the other tests share one

    with postgres.start_server() as server:
        database = Database(server, tmp_path)
        async with database.replica() as outbox:
            await outbox.put(new("before"))
            server.stop()
            errors = await asyncio.gather(
                *(outbox.put(new(f"stopped-{number}")) for number in range(300)), return_exceptions=True
            )
            assert {type(error) for error in errors} == {StoreBusy}
            assert not outbox.failure.done()
            server.start()
            await outbox.put(new("after"))
            server.restart("immediate")
            await outbox.put(new("after a crash"))

        uids = database.psql("SELECT uid FROM messages ORDER BY id").splitlines()
        assert uids == ["before", "after", "after a crash"]


async def test_a_missing_database_is_a_configuration_fault(database):
    database.url = database.url.replace(database.name, "not_there")

    with pytest.raises(ConfigError, match="PostgreSQL has no database of this name"):
        async with database.replica():
            pass


async def test_an_old_replica_waits_for_an_upgrade_and_continues(replicas, new):
    one, other = replicas
    stored = []
    async with AsyncEngine(other._database.engine).begin() as connection:
        await connection.execute(text("ALTER TABLE messages ADD COLUMN later text"))
        putting = asyncio.create_task(one.put(new("meanwhile")))
        putting.add_done_callback(lambda _task: stored.append("stored"))
        stored.append("upgraded")

    await putting
    assert stored == ["upgraded", "stored"]


async def test_a_stuck_status_is_found_by_one_replica(database, replicas, new):
    message = new()
    await replicas[0].put(message)
    event = StatusEvent(status=Status.DELIVERED, message_id=message.id)
    await replicas[0].record(ReportedEvents(instance="i", events=[event]))
    database.psql("UPDATE statuses SET callback_state = 'waiting', due_at = NULL")

    assert sum(await asyncio.gather(*(replica.queue_stuck_statuses() for replica in replicas))) == 1

    calls = [call for replica in replicas for call in await claim_callbacks(replica, 9, 45)]
    assert [call.status for call in calls] == [Status.ACCEPTED]


async def test_an_error_of_the_database_does_not_split_the_batch(database, new):
    async with database.replica() as outbox:
        database.psql("ALTER TABLE messages RENAME TO renamed")
        transact, transactions = outbox._database.transact, []

        def counted(work):
            transactions.append(work)
            return transact(work)

        outbox._database.transact = counted
        errors = await asyncio.gather(
            *(outbox.put(new(f"uid-{number}")) for number in range(64)), return_exceptions=True
        )

        assert {type(error) for error in errors} == {StoreBusy}
        assert outbox.is_failing
        # One batch, and perhaps a first call a moment before the others.
        assert len(transactions) <= 2
        database.psql("ALTER TABLE renamed RENAME TO messages")
        assert await outbox.put(new("uid-later"))


async def test_a_message_due_long_before_the_last_claim_is_claimed(database, new, monkeypatch):
    """It was committed late, or released by a replica while the others had passed it."""
    monkeypatch.setattr(watermark, "FULL_SCAN_INTERVAL", 0.5)
    async with database.replica() as replica:
        for uid in ("uid-1", "uid-2"):
            await replica.put(new(uid))
        assert len(await claim_due(replica, Channel.EMAIL, 10, 30.0)) == 2
        assert await claim_due(replica, Channel.EMAIL, 10, 30.0) == []
        database.psql("UPDATE messages SET state = 'queued', due_at = due_at - 60000 WHERE uid = 'uid-1'")

        async with asyncio.timeout(60):
            claims = []
            while not claims:
                claims = await claim_due(replica, Channel.EMAIL, 10, 30.0)

    assert len(claims) == 1


async def test_callbacks_are_claimed_as_soon_as_their_target_is_not_excluded(database, new):
    async with database.replica() as outbox:
        messages = [new(f"uid-{number}") for number in range(3)]
        await asyncio.gather(*(outbox.put(message) for message in messages))
        events = [StatusEvent(status=Status.DELIVERED, message_id=message.id) for message in messages]
        await outbox.record(ReportedEvents(instance="i", events=events))
        database.psql("UPDATE statuses SET due_at = due_at - 60000 WHERE due_at IS NOT NULL")
        (first,) = await claim_callbacks(outbox, 1, 30, client="brand")

        excluded = frozenset({first.target})
        assert await claim_callbacks(outbox, 9, 30, client="brand", excluded_targets=excluded) == []
        assert (
            await claim_callbacks(
                outbox, 9, 30, client="brand", excluded_targets=excluded | {"other.example:443"}
            )
            == []
        )

        assert len(await claim_callbacks(outbox, 9, 30, client="brand")) == 2


async def claim_from(replica, queue, limit):
    """Claim messages of a queue that is known, as the worker does most of the time."""
    (batch,) = await replica.claim(lambda: [ClaimRequest(queue, limit, 30.0)])
    return batch.claims


async def test_a_claim_does_not_read_dead_rows_of_an_old_transaction(database, new):
    """Otherwise each claim is slower than the one before, as long as a backup runs."""
    rows, rounds, claimed = 300, 10, 10
    entries_read = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'messages_due'"
    reader = await asyncpg.connect(database.url)
    async with database.replica() as replica:
        await asyncio.gather(*(replica.put(new(f"uid-{number}")) for number in range(rows)))
        (queue,) = await replica.due_queues()
        old = reader.transaction(isolation="repeatable_read")
        await old.start()
        assert await reader.fetchval("SELECT count(*) FROM messages") == rows
        for _ in range(rounds):
            claims = await claim_from(replica, queue, rows)
            await asyncio.gather(
                *(replica.finish(SendResult(id=c.id, attempt=c.attempt, state=State.QUEUED)) for c in claims)
            )
        # Entries of the last second are read again.
        await asyncio.sleep(2 * COMMIT_DELAY / 1000)
        claims = await claim_from(replica, queue, rows)
        await asyncio.gather(
            *(replica.finish(SendResult(id=c.id, attempt=c.attempt, state=State.QUEUED)) for c in claims)
        )
    before = database.statistic(entries_read)
    async with database.replica() as replica:
        for _ in range(claimed):
            assert len(await claim_from(replica, queue, 1)) == 1
    count = database.statistic(entries_read) - before
    await reader.close()

    # All entries once, and then only those of the last second, which a slow machine reads several times.
    assert rows * rounds <= count < rows * rounds * claimed / 2


async def test_no_statement_reads_a_whole_table(database, new):
    """With its default settings the planner would plan for the empty table of the first claim and keep that plan."""
    full_scans = "SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname IN ('messages', 'contents')"
    async with database.replica() as replica:
        await claim_due(replica, Channel.EMAIL, 10, 30.0)
        await asyncio.gather(*(replica.put(new(f"uid-{number}")) for number in range(500)))
    before = database.statistic(full_scans)
    async with database.replica() as replica:
        for _ in range(20):
            (claim,) = await claim_due(replica, Channel.EMAIL, 1, 30.0)
            await replica.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))
            (call,) = await claim_callbacks(replica, 1, 30.0)
            await finish_callback(
                replica, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
            )
            await replica.sweep()

    assert database.statistic(full_scans) == before


@pytest.mark.parametrize("interval", [600.0, 0.0])
async def test_the_search_for_due_queues_begins_where_the_last_claim_ended(
    database, new, monkeypatch, interval
):
    """With an old transaction open it would pass every entry that was claimed since; now and then it does all the same."""
    monkeypatch.setattr(watermark, "FULL_SCAN_INTERVAL", interval)
    async with database.replica() as replica:
        await replica.put(new("one"))
        (queue,) = await replica.due_queues()
        (batch,) = await replica.claim(lambda: [ClaimRequest(queue, 9, 30.0)])
        statements = executed(replica._database.engine)
        assert await replica.due_queues() == []
        await replica.put(new("two"))
        assert await replica.due_queues() == [queue]
    first, _ = [one for one in statements if "FROM queues" in one.text]
    plan = database.psql(f"{postgresql._PLANNER_SETTINGS}; EXPLAIN (GENERIC_PLAN) {first.text}")

    assert len(batch.claims) == 1
    ((of_queue, min_due_at),) = json.loads(first.parameters[0])
    assert (of_queue, min_due_at > 0) == (queue.id, interval > 0)
    (index,) = [line for line in plan.splitlines() if "Index Cond" in line and "due_at" in line]
    assert "queue = " in index
    assert "due_at >= " in index


async def test_what_is_done_for_callbacks_is_planned_for_full_tables_while_they_are_empty(database, new):
    """Such a plan is kept until the server's next look at the tables, which may have a million rows by then."""
    async with database.replica() as replica:
        await replica.put(new())
        (claim,) = await claim_due(replica, Channel.EMAIL, 1, 30.0)
        await replica.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))
        statements = executed(replica._database.engine)
        clients = ("brand", "other", "third")
        claimed = await replica.claim_callbacks(
            lambda: [CallbackClaimRequest(9, 30.0, one) for one in clients]
        )
        (call,) = claimed[0]
        await finish_callback(replica, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True))
    database.psql("TRUNCATE messages, statuses; ANALYZE")

    texts = [one.text for one in statements]
    about_statuses = [text for text in texts if "FROM statuses" in text or "UPDATE statuses" in text]
    # Which clients have any due, the claim, the locks of its messages, the results, and the next statuses.
    assert len(about_statuses) == 5
    plans = [
        database.psql(f"{postgresql._PLANNER_SETTINGS}; EXPLAIN (GENERIC_PLAN) {statement}").splitlines()
        for statement in about_statuses
    ]
    for plan in plans:
        scans = [place for place, line in enumerate(plan) if " on statuses" in line or " on messages" in line]
        scans = [place for place in scans if "Update on" not in plan[place]]
        assert scans
        assert all("Index Cond" in plan[place + 1] for place in scans), plan
    # Not those of all clients that wait, to be joined with those that were asked for.
    (index,) = [line for line in plans[0] if "Index Cond" in line]
    assert "client = " in index


async def test_what_people_read_is_planned_for_what_they_look_for_and_may_change_nothing(database, tmp_path):
    """A store has hardly a held message and a million that were sent: one plan for both would read all."""
    reader = Reader(Secret(database.url), tmp_path)
    try:
        found = await reader.read(
            lambda connection: [
                connection.execute(text(f"SHOW {name}")).scalar()
                for name in ("plan_cache_mode", "enable_seqscan", "transaction_read_only")
            ]
        )
    finally:
        await reader.close()
    assert found == ["force_custom_plan", "off", "on"]


async def test_a_process_that_stands_still_in_a_transaction_loses_its_locks(database, monkeypatch, new):
    monkeypatch.setattr(postgresql, "IDLE_TIMEOUT", 100)

    def stand_still(connection):
        connection.exec_driver_sql("SELECT * FROM messages FOR UPDATE")
        # Waits without letting the event loop run.
        deadline = time.monotonic() + 30
        idle = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
        while database.psql(f"{idle} AND datname = current_database()") != "0":
            assert time.monotonic() < deadline, "the server has not ended the transaction"
            time.sleep(0.02)

    async with database.replica() as outbox:
        await outbox.put(new())
        with pytest.raises(Exception, match=r"idle-in-transaction|connection"):
            await outbox._database.transact(stand_still)
        assert await outbox.put(new("uid-2"))
