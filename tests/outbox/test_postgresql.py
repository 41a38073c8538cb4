"""What only PostgreSQL has: several processes at once, a server that may go away, a clock of its own."""

import asyncio
import random
import time
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import text

from gatepost.errors import ConfigError, StoreBusy
from gatepost.model import Channel, Secret, Status, StatusEvent
from gatepost.outbox import CallbackResult, Policy, ReportedEvents, SendResult, open_outbox, watermark
from gatepost.outbox.states import OPEN, State
from gatepost.outbox.watermark import BEHIND


class Database:
    """One database, which any number of replicas may open."""

    def __init__(self, server, folder):
        self.server = server
        self.url = server.new_database()
        self.name = urlsplit(self.url).path.lstrip("/")
        self._folder = folder

    def replica(self, **policy):
        return open_outbox(Secret(self.url), self._folder, Policy(**policy))

    def psql(self, command):
        return self.server.psql(command, self.name)

    def counted(self, query):
        """What the server's statistics say; of a connection they do when it has hung up, and that takes a moment."""
        mine = "datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'"
        while self.psql(f"SELECT count(*) FROM pg_stat_activity WHERE {mine}") != "0":
            time.sleep(0.02)
        return int(self.psql(query))


@pytest.fixture
def database(postgres_server, tmp_path):
    return Database(postgres_server, tmp_path)


@pytest.fixture
async def replicas(database):
    """Two of them, both at work."""
    async with database.replica(uncertain_wait=0.001) as one, database.replica(uncertain_wait=0.001) as other:
        yield one, other


async def test_replicas_that_start_at_once_make_the_tables_once(database, new):
    async with AsyncExitStack() as stack:
        made = await asyncio.gather(*(stack.enter_async_context(database.replica()) for _ in range(4)))
        for number, outbox in enumerate(made):
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

    hauls = await asyncio.gather(
        *(replica.claim(Channel.EMAIL, 7, 30) for _ in range(30) for replica in replicas)
    )

    ids = [claim.id for haul in hauls for claim in haul]
    assert len(ids) == len(set(ids)) == 300


async def test_replicas_never_claim_the_same_call(replicas, new):
    messages = [new(f"uid-{number}") for number in range(200)]
    await asyncio.gather(*(replicas[0].put(message) for message in messages))
    events = [StatusEvent(status=Status.OPENED, message_id=message.id) for message in messages]
    await replicas[0].record(ReportedEvents(instance="i", events=events))

    hauls = await asyncio.gather(*(replica.claim_callbacks(7, 30) for _ in range(20) for replica in replicas))

    seqs = [call.seq for haul in hauls for call in haul]
    assert len(seqs) == len(set(seqs)) == 200


async def test_a_lease_of_another_replica_that_ended_counts_as_its_death(database, replicas, hold, look):
    one, other = replicas
    claim = await hold(one, lease=0.001)
    for deaths in 1, 2:
        while not (await other.sweep()).resent:
            pass
        assert (await look(other, claim.id)).deaths == deaths
        claims = (
            one.claim(Channel.EMAIL, 1, 0.001) if deaths == 1 else one.claim_suspect(Channel.EMAIL, 0.001)
        )
        assert [again.id for again in await claims] == [claim.id]
    while not (swept := await other.sweep()).deadly:
        pass

    assert swept.deadly == [claim.id]
    view = await look(one, claim.id)
    assert (view.state, view.due_at) == ("held", view.expires_at)
    assert not await one.finish(SendResult(id=claim.id, attempt=3, state=State.REJECTED))
    # It lives after all, and what a provider took is true.
    assert await one.finish(SendResult(id=claim.id, attempt=3, state=State.SENT))


async def test_who_lost_a_claim_to_another_replica_changes_nothing(replicas, hold, look):
    one, other = replicas
    lost = await hold(one, lease=0.001)
    while not (await other.sweep()).resent:
        pass
    (taken,) = await other.claim(Channel.EMAIL, 1, 30)

    assert (taken.id, taken.attempt) == (lost.id, lost.attempt + 1)
    for state in State.SENT, State.QUEUED, State.REJECTED:
        assert not await one.finish(SendResult(id=lost.id, attempt=lost.attempt, state=state))
        # Not even with the attempt that another has in hand.
        assert not await one.finish(SendResult(id=lost.id, attempt=taken.attempt, state=state))
    await one.renew(lost, 3600)
    assert (await look(one, lost.id)).state == State.SENDING
    assert await other.finish(SendResult(id=taken.id, attempt=taken.attempt, state=State.SENT))
    assert not await one.finish(SendResult(id=lost.id, attempt=lost.attempt, state=State.REJECTED))
    assert [status.status for status in (await look(one, lost.id)).statuses] == [Status.ACCEPTED]


async def test_content_that_one_replica_stores_is_what_another_sends(replicas, hold):
    one, other = replicas
    claim = await hold(one)

    await one.finish(
        SendResult(id=claim.id, attempt=claim.attempt, state=State.QUEUED, content=b"with its text")
    )

    (again,) = await other.claim(Channel.EMAIL, 1, 30)
    assert (again.id, again.content) == (claim.id, b"with its text")


async def test_leases_run_by_the_clock_of_the_database(replicas, hold, monkeypatch):
    one, other = replicas
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    claim = await hold(one, lease=3600)

    assert not (await other.sweep()).moved
    assert await one.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))


async def test_a_status_recorded_while_the_one_before_it_ends_is_never_stranded(replicas, new, database):
    """Who records sees the earlier status open and lets the new one wait; who ends the call looks for it."""
    one, other = replicas
    messages = [new(f"uid-{number}") for number in range(200)]
    await asyncio.gather(*(one.put(message) for message in messages))
    for claim in await one.claim(Channel.EMAIL, 200, 30):
        await one.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))
    calls = await other.claim_callbacks(200, 30)
    assert len(calls) == 200

    async def report(message):
        event = StatusEvent(status=Status.DELIVERED, message_id=message.id)
        await one.record(ReportedEvents(instance="i", events=[event]))

    async def end(call):
        assert await other.finish_callback(
            CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
        )

    races = [report(message) for message in messages] + [end(call) for call in calls]
    random.Random(1).shuffle(races)
    await asyncio.gather(*races)

    told = 0
    while calls := await one.claim_callbacks(200, 30):
        assert {call.status for call in calls} == {Status.DELIVERED}
        await asyncio.gather(*(end_with(one, call) for call in calls))
        told += len(calls)
    assert told == 200
    still = ", ".join(f"'{state.value}'" for state in OPEN)
    assert database.psql(f"SELECT count(*) FROM statuses WHERE callback_state IN ({still})") == "0"


async def end_with(replica, call):
    assert await replica.finish_callback(
        CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
    )


async def test_cut_off_backends_lose_nothing(database, new):
    """Whatever a COMMIT met, the uid settles it: the caller's repeat finds the message or stores it."""
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


async def test_a_server_that_is_away_is_busy_and_comes_back(tmp_path, new):
    from torture import postgres  # noqa: PLC0415  the other tests need theirs to stay

    with postgres.running() as server:
        database = Database(server, tmp_path)
        async with database.replica() as outbox:
            await outbox.put(new("before"))
            server.stop()
            refused = await asyncio.gather(
                *(outbox.put(new(f"away-{number}")) for number in range(300)), return_exceptions=True
            )
            assert {type(error) for error in refused} == {StoreBusy}
            assert not outbox.broken.done()
            server.start()
            await outbox.put(new("after"))
            server.restart("immediate")
            await outbox.put(new("after a crash"))

        uids = database.psql("SELECT uid FROM messages ORDER BY id").splitlines()
        assert uids == ["before", "after", "after a crash"]


async def test_a_database_that_is_not_there_is_a_fault_in_the_configuration(database):
    database.url = database.url.replace(database.name, "not_there")

    with pytest.raises(ConfigError, match="PostgreSQL has no database of this name"):
        async with database.replica():
            pass


async def test_an_old_replica_works_on_beside_a_newer_schema_but_does_not_start_on_it(
    replicas, database, new, hold
):
    one, other = replicas
    claim = await hold(one, "uid-1")

    database.psql(
        "ALTER TABLE messages ADD COLUMN later text; ALTER TABLE statuses ADD COLUMN later bigint DEFAULT 7;"
        "UPDATE alembic_version SET version_num = 'later'"
    )

    assert await one.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))
    await other.put(new("uid-2"))
    assert len(await one.claim(Channel.EMAIL, 1, 30)) == 1
    assert len(await other.claim_callbacks(1, 30)) == 1
    with pytest.raises(ConfigError, match="newer Gatepost"):
        async with database.replica():
            pass


async def test_an_old_replica_waits_out_an_upgrade_and_goes_on(replicas, new):
    one, other = replicas
    stored = []
    async with other._database._engine.begin() as connection:
        await connection.execute(text("ALTER TABLE messages ADD COLUMN later text"))
        putting = asyncio.create_task(one.put(new("meanwhile")))
        putting.add_done_callback(lambda _task: stored.append("stored"))
        stored.append("upgraded")

    await putting
    assert stored == ["upgraded", "stored"]


async def test_a_status_that_waits_for_nobody_is_found_once(database, replicas, new):
    message = new()
    await replicas[0].put(message)
    event = StatusEvent(status=Status.DELIVERED, message_id=message.id)
    await replicas[0].record(ReportedEvents(instance="i", events=[event]))
    database.psql("UPDATE statuses SET callback_state = 'waiting', due_at = NULL")

    assert sum(await asyncio.gather(*(replica.mend() for replica in replicas))) == 1

    calls = [call for replica in replicas for call in await replica.claim_callbacks(9, 45)]
    assert [call.status for call in calls] == [Status.ACCEPTED]


async def test_what_is_wrong_with_the_database_itself_is_not_looked_for_in_each_call(database, new):
    async with database.replica() as outbox:
        database.psql("ALTER TABLE messages RENAME TO taken_away")
        transact, tries = outbox._database.transact, []

        def counted(work):
            tries.append(work)
            return transact(work)

        outbox._database.transact = counted
        refused = await asyncio.gather(
            *(outbox.put(new(f"uid-{number}")) for number in range(64)), return_exceptions=True
        )

        assert {type(error) for error in refused} == {StoreBusy}
        assert outbox.refusing
        # All together, and perhaps one that came a moment before the others.
        assert len(tries) <= 2
        database.psql("ALTER TABLE taken_away RENAME TO messages")
        assert await outbox.put(new("uid-later"))


async def test_what_was_due_long_before_the_last_claim_is_not_stranded(database, new, monkeypatch):
    """Committed late, or given back by a replica that had skipped it from the others."""
    monkeypatch.setattr(watermark, "LOOK", 0.5)
    async with database.replica() as replica:
        for uid in ("uid-1", "uid-2"):
            await replica.put(new(uid))
        assert len(await replica.claim(Channel.EMAIL, 10, 30.0)) == 2
        assert await replica.claim(Channel.EMAIL, 10, 30.0) == []
        database.psql("UPDATE messages SET state = 'queued', due_at = due_at - 60000 WHERE uid = 'uid-1'")

        async with asyncio.timeout(60):
            claims = []
            while not claims:
                claims = await replica.claim(Channel.EMAIL, 10, 30.0)

    assert len(claims) == 1


async def test_calls_that_were_passed_over_are_claimed_as_soon_as_their_target_may_be_called(database, new):
    async with database.replica() as outbox:
        messages = [new(f"uid-{number}") for number in range(3)]
        await asyncio.gather(*(outbox.put(message) for message in messages))
        events = [StatusEvent(status=Status.DELIVERED, message_id=message.id) for message in messages]
        await outbox.record(ReportedEvents(instance="i", events=events))
        database.psql("UPDATE statuses SET due_at = due_at - 60000 WHERE due_at IS NOT NULL")
        (first,) = await outbox.claim_callbacks(1, 30, client="brand")

        resting = frozenset({first.target})
        assert await outbox.claim_callbacks(9, 30, client="brand", resting=resting) == []
        assert (
            await outbox.claim_callbacks(9, 30, client="brand", resting=resting | {"other.example:443"}) == []
        )

        assert len(await outbox.claim_callbacks(9, 30, client="brand")) == 2


async def test_a_claim_does_not_walk_over_what_an_old_transaction_keeps(database, new):
    """Otherwise each claim is slower than the one before, for as long as a backup runs."""
    rows, rounds, claimed = 300, 10, 10
    walked = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'messages_due'"
    pinning = await asyncpg.connect(database.url)
    async with database.replica() as replica:
        await asyncio.gather(*(replica.put(new(f"uid-{number}")) for number in range(rows)))
        old = pinning.transaction(isolation="repeatable_read")
        await old.start()
        assert await pinning.fetchval("SELECT count(*) FROM messages") == rows
        for _ in range(rounds):
            claims = await replica.claim(Channel.EMAIL, rows, 30.0)
            await asyncio.gather(
                *(replica.finish(SendResult(id=c.id, attempt=c.attempt, state=State.QUEUED)) for c in claims)
            )
        # What was claimed in the last second is walked over.
        await asyncio.sleep(2 * BEHIND / 1000)
        claims = await replica.claim(Channel.EMAIL, rows, 30.0)
        await asyncio.gather(
            *(replica.finish(SendResult(id=c.id, attempt=c.attempt, state=State.QUEUED)) for c in claims)
        )
    before = database.counted(walked)
    async with database.replica() as replica:
        for _ in range(claimed):
            assert len(await replica.claim(Channel.EMAIL, 1, 30.0)) == 1
    looked_at = database.counted(walked) - before
    await pinning.close()

    # Everything once, and then no more than the last second's, which on a slow machine is looked at anew.
    assert rows * rounds <= looked_at < rows * rounds * claimed / 2


async def test_nothing_reads_a_whole_table(database, new):
    """The planner, left alone, plans for the empty table of the first claim, and keeps to that plan."""
    whole = "SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname IN ('messages', 'contents')"
    async with database.replica() as replica:
        await replica.claim(Channel.EMAIL, 10, 30.0)
        await asyncio.gather(*(replica.put(new(f"uid-{number}")) for number in range(500)))
    before = database.counted(whole)
    async with database.replica() as replica:
        for _ in range(20):
            (claim,) = await replica.claim(Channel.EMAIL, 1, 30.0)
            await replica.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))
            (call,) = await replica.claim_callbacks(1, 30.0)
            await replica.finish_callback(
                CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
            )
            await replica.sweep()

    assert database.counted(whole) == before
