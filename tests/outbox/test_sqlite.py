"""The SQLite store: one file for one process, and what is in that file."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from claiming import claim_callbacks, claim_due, finish_callback
from gatepost.errors import ConfigError, StoreBusy
from gatepost.model import Channel, Secret, Status, StatusEvent
from gatepost.outbox import CallbackResult, Policy, ReportedEvents, SendResult, open_outbox, sqlite
from gatepost.outbox.states import State

OTHER_PROCESS = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from claiming import claim_callbacks, claim_due, finish_callback
from gatepost.model import Channel, Secret
from gatepost.outbox import NewMessage, SendResult, Policy, open_outbox
from gatepost.outbox.states import State

def new(id, channel=Channel.EMAIL):
    return NewMessage(id=id, client="brand", channel=channel, uid=id, fingerprint=b"", ext_user_id="anna",
        preview="", callback_url="https://crm.example/", content=id.encode(), lifetime=86400)

async def main():
    async with open_outbox(Secret("sqlite:///outbox.db"), Path(sys.argv[1]), Policy()) as outbox:
        await outbox.put(new("sms", Channel.SMS))
        await claim_due(outbox, Channel.SMS, 1, 3600)
        await outbox.put(new("sent"))
        (claim,) = await claim_due(outbox, Channel.EMAIL, 1, 3600)
        await outbox.finish(SendResult(id="sent", attempt=1, state=State.SENT))
        await claim_callbacks(outbox, 1, 3600)
        await outbox.put(new("queued"))
        print("ready", flush=True)
        sys.stdin.read()

asyncio.run(main())
"""


def another_process(folder):
    command = [sys.executable, "-c", OTHER_PROCESS, str(folder), str(Path(__file__).parents[1])]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def outbox_at(folder, url="sqlite:///outbox.db", **policy):
    return open_outbox(Secret(url), folder, Policy(**policy))


async def refusal(folder, url="sqlite:///outbox.db"):
    """Return the problem of a store that can't be opened."""
    with pytest.raises(ConfigError) as caught:
        async with outbox_at(folder, url):
            pass
    (fault,) = caught.value.faults
    assert fault.key == "store.url"
    return fault.problem


async def test_a_killed_process_releases_the_file_and_loses_nothing(tmp_path, view_of):
    with another_process(tmp_path) as process:
        assert process.stdout.readline() == b"ready\n"
        problem = await refusal(tmp_path)
        process.send_signal(signal.SIGKILL)

    assert problem == (
        f"another gatepost has {tmp_path / 'outbox.db'} open, and only one process can have it: "
        "stop that one, or use PostgreSQL for several"
    )
    async with outbox_at(tmp_path) as outbox:
        states = {one: (await view_of(outbox, one)).state for one in ("sms", "sent", "queued")}
        assert states == {"sms": "uncertain", "sent": "sent", "queued": "queued"}
        assert [one.content for one in await claim_due(outbox, Channel.EMAIL, 9, 30)] == [b"queued"]
        assert [one.message_id for one in await claim_callbacks(outbox, 9, 30)] == ["sent"]


async def test_a_second_outbox_in_the_same_process_is_refused_until_the_first_is_closed(tmp_path):
    async with outbox_at(tmp_path):
        assert "another gatepost has" in await refusal(tmp_path)
    async with outbox_at(tmp_path):
        pass


async def test_another_name_of_the_same_file_is_the_same_file(tmp_path):
    (tmp_path / "alias.db").symlink_to(tmp_path / "outbox.db")
    (tmp_path / "folder").mkdir()
    async with outbox_at(tmp_path):
        assert "another gatepost has" in await refusal(tmp_path, "sqlite:///alias.db")
        assert "another gatepost has" in await refusal(tmp_path, "sqlite:///folder/../outbox.db")
        assert "another gatepost has" in await refusal(tmp_path, f"sqlite:///{tmp_path}/outbox.db")


async def test_another_file_is_another_store(tmp_path):
    async with outbox_at(tmp_path), outbox_at(tmp_path, "sqlite:///other.db"):
        pass


@pytest.mark.parametrize("name", ["with space.db", "what?.db", "100%25.db", "a#b.db", "ümlaut.db"])
async def test_a_file_may_have_any_name(tmp_path, new, name):
    folder = tmp_path / name
    async with outbox_at(folder) as outbox:
        await outbox.put(new())
    assert {one.name for one in folder.iterdir()} == {"outbox.db", "outbox.db.lock"}


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
async def test_a_database_in_memory_is_refused(tmp_path, url):
    assert "does not survive a crash" in await refusal(tmp_path, url)


async def test_an_invalid_url_is_refused_and_not_shown(tmp_path):
    problem = await refusal(tmp_path, "hunter2")
    assert problem.startswith("must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE")
    assert "hunter2" not in problem


async def test_a_file_that_is_not_a_database_is_refused_and_not_changed(tmp_path):
    content = b"this is a letter, not a database" * 100
    (tmp_path / "outbox.db").write_bytes(content)

    for _ in range(2):
        assert "the file is not a database" in await refusal(tmp_path)
    assert (tmp_path / "outbox.db").read_bytes() == content


async def test_a_folder_is_refused(tmp_path):
    (tmp_path / "outbox.db").mkdir()
    assert "the file can't be opened" in await refusal(tmp_path)


async def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in await refusal(tmp_path, "sqlite:///file/outbox.db")


async def test_closing_leaves_one_file_and_its_lock(tmp_path, new):
    async with outbox_at(tmp_path) as outbox:
        await outbox.put(new())
    assert {one.name for one in tmp_path.iterdir()} == {"outbox.db", "outbox.db.lock"}
    assert (tmp_path / "outbox.db.lock").read_bytes() == b""


async def test_closing_finishes_waiting_calls_and_refuses_later_ones(tmp_path, new):
    opened = outbox_at(tmp_path)
    outbox = await opened.__aenter__()
    calls = [asyncio.create_task(outbox.put(new(f"uid-{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(opened.__aexit__(None, None, None))
    await asyncio.sleep(0)

    with pytest.raises(StoreBusy, match="shutting down"):
        await outbox.put(new("later"))

    assert len(await asyncio.gather(*calls)) == 50
    await closing
    async with outbox_at(tmp_path) as again:
        assert len(await claim_due(again, Channel.EMAIL, 99, 30)) == 50
        assert await again.find("brand", Channel.EMAIL, "later") is None


def checkpoint(folder):
    """Move the whole WAL into the database, while the store has it open."""
    engine = create_engine(f"sqlite:///{folder / 'outbox.db'}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").first()[0] == 0
    engine.dispose()


@pytest.mark.parametrize("size", [100, 5_000, 200_000])
@pytest.mark.parametrize("end", ["sent", "rejected", "reported", "failed", "pruned"])
async def test_content_is_erased_from_the_file_when_it_is_not_needed(
    tmp_path, put_and_claim, view_of, size, end
):
    canary = b"canary-" + os.urandom(8).hex().encode()
    content = canary * (size // len(canary) + 1)
    async with outbox_at(tmp_path, retention=0) as outbox:
        # Other messages before and after it, so that its pages stay in use.
        await put_and_claim(outbox, "before", content=b"other" * 1000)
        claim = await put_and_claim(outbox, content=content)
        await put_and_claim(outbox, "after", content=b"other" * 1000)
        checkpoint(tmp_path)
        assert canary in (tmp_path / "outbox.db").read_bytes()

        if end == "reported":
            event = StatusEvent(status=Status.DELIVERED, message_id=claim.id)
            await outbox.record(ReportedEvents(instance="relay", events=[event]))
        else:
            state = State.FAILED if end == "pruned" else State(end)
            await outbox.finish(SendResult(id=claim.id, attempt=claim.attempt, state=state))
        if end == "pruned":
            (call,) = await claim_callbacks(outbox, 9, 30)
            await finish_callback(
                outbox, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
            )
            assert await outbox.prune() == 1
        else:
            # A failed message may be retried by the operator.
            assert (await view_of(outbox, claim.id)).has_content == (end == "failed")

        checkpoint(tmp_path)
        assert (canary in (tmp_path / "outbox.db").read_bytes()) == (end == "failed")


async def test_no_erased_content_is_left_after_closing(tmp_path, put_and_claim):
    canary = b"canary-" + os.urandom(8).hex().encode()
    async with outbox_at(tmp_path) as outbox:
        claim = await put_and_claim(outbox, content=canary * 1000)
        await outbox.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))
    assert not [one for one in tmp_path.iterdir() if canary in one.read_bytes()]


async def pragma(outbox, words):
    return await outbox._database.transact(
        lambda connection: connection.exec_driver_sql(f"PRAGMA {words}").scalar()
    )


def files_with(folder, word):
    return {one.name for one in folder.iterdir() if word in one.read_bytes()}


@pytest.fixture
def sent(put_and_claim):
    """Return a function that stores a message with this content and sends it."""

    async def send(outbox, content):
        claim = await put_and_claim(outbox, content=content)
        await outbox.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))

    return send


async def test_no_erased_content_is_left_in_the_write_ahead_log_for_long(tmp_path, sent, monkeypatch):
    """Checked in the database and in the write-ahead log, while the store stays open."""
    canary = b"canary-" + os.urandom(8).hex().encode()
    async with outbox_at(tmp_path) as outbox:
        await sent(outbox, canary * 1000)
        # During traffic a purge does nothing.
        for _ in range(3):
            await outbox.purge_wal()
        assert files_with(tmp_path, canary) == {"outbox.db-wal"}

        monkeypatch.setattr(sqlite, "WAL_PURGE_DELAY", 0.0)
        await outbox.purge_wal()

        assert files_with(tmp_path, canary) == set()
        assert (tmp_path / "outbox.db-wal").stat().st_size == 0


async def test_the_write_ahead_log_is_not_purged_during_traffic(tmp_path, sent, new, monkeypatch):
    monkeypatch.setattr(sqlite, "WAL_PURGE_DELAY", 0.0)
    async with outbox_at(tmp_path) as outbox:
        for number in range(5):
            await outbox.put(new(f"uid-{number}"))
            await outbox.purge_wal()
            assert (tmp_path / "outbox.db-wal").stat().st_size > 0
        await outbox.purge_wal()
        assert (tmp_path / "outbox.db-wal").stat().st_size == 0
        assert len(await claim_due(outbox, Channel.EMAIL, 9, 30)) == 5


async def test_a_purge_does_not_wait_for_a_reader_and_is_done_later(tmp_path, sent, monkeypatch):
    monkeypatch.setattr(sqlite, "WAL_PURGE_DELAY", 0.0)
    canary = b"canary-" + os.urandom(8).hex().encode()
    async with outbox_at(tmp_path) as outbox:
        await sent(outbox, canary)
        reader = sqlite.read_only_engine(tmp_path / "outbox.db")
        with reader.connect() as connection:
            connection.execute(text("SELECT count(*) FROM messages")).scalar()
            # Longer than the test may take.
            monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 600_000)
            await pragma(outbox, "busy_timeout=600000")
            async with asyncio.timeout(30):
                for _ in range(2):
                    await outbox.purge_wal()
            assert "outbox.db-wal" in files_with(tmp_path, canary)
            assert await pragma(outbox, "busy_timeout") == 600_000
        reader.dispose()
        await outbox.purge_wal()
        assert files_with(tmp_path, canary) == set()


async def test_a_write_ahead_log_that_grew_shrinks_again(tmp_path, put_and_claim, sent, new):
    """Pages behind its end would stay until the store is closed: traffic never overwrites them."""
    canary = b"canary-" + os.urandom(8).hex().encode()
    wal = tmp_path / "outbox.db-wal"
    async with outbox_at(tmp_path) as outbox:
        reader = sqlite.read_only_engine(tmp_path / "outbox.db")
        with reader.connect() as connection:
            connection.execute(text("SELECT count(*) FROM messages")).scalar()
            await put_and_claim(outbox, "large", content=bytes(6_000_000))
            await sent(outbox, canary)
        reader.dispose()
        assert wal.stat().st_size > 6_000_000
        for number in range(3):
            await outbox.put(new(f"uid-{number}"))

        assert wal.stat().st_size <= 4 * 1_048_576
        assert canary not in wal.read_bytes()


async def test_file_permissions_of_other_users_are_removed(tmp_path, sent):
    async with outbox_at(tmp_path) as outbox:
        await sent(outbox, b"content")
        contents = {one.name: one.read_bytes() for one in tmp_path.iterdir() if one.suffix != ".lock"}
    # As a killed process leaves them.
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o644)

    with structlog.testing.capture_logs() as logged:
        async with outbox_at(tmp_path):
            modes = {one.name: one.stat().st_mode & 0o777 for one in tmp_path.iterdir()}

    assert modes.keys() > {"outbox.db", "outbox.db-wal", "outbox.db-shm"}
    assert set(modes.values()) == {0o600}, modes
    warnings = [(one["path"], one["mode"]) for one in logged if one["event"] == "store_permissions_fixed"]
    assert sorted(warnings) == sorted((str(tmp_path / name), "0644") for name in contents)


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
async def test_a_link_in_place_of_the_lock_is_refused(tmp_path, link):
    precious = tmp_path / "precious"
    precious.write_text("another user's")
    getattr(tmp_path / "outbox.db.lock", link)(precious)

    problem = await refusal(tmp_path)

    assert "outbox.db.lock is" in problem
    assert "move it away" in problem
    assert precious.read_text() == "another user's"


async def test_a_lock_that_is_not_a_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "outbox.db.lock")

    assert "is not a plain file" in await refusal(tmp_path)


def test_every_commit_is_on_disk_before_it_returns(tmp_path):
    """FULL and WAL in a new store; a weaker setting loses acknowledged messages at a power cut."""

    async def settings():
        names = ("journal_mode", "synchronous", "secure_delete")
        async with outbox_at(tmp_path) as outbox:
            return await outbox._database.transact(
                lambda connection: [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]
            )

    assert asyncio.run(settings()) == ["wal", 2, 1]


async def test_a_store_of_a_newer_gatepost_is_refused_and_not_changed(tmp_path):
    async with outbox_at(tmp_path):
        pass
    engine = create_engine(f"sqlite:///{tmp_path / 'outbox.db'}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(text("UPDATE compatibility SET oldest_revision = '9998'"))

    for _ in range(2):
        assert "a newer Gatepost has upgraded this store (revision 9999)" in await refusal(tmp_path)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
    engine.dispose()


async def test_a_commit_that_fails_does_not_keep_the_next_from_beginning(tmp_path):
    database = sqlite.SqliteDatabase(tmp_path / "a.db")

    def refer_to_nothing(connection):
        for statement in (
            "CREATE TABLE owners (id INTEGER PRIMARY KEY)",
            "CREATE TABLE things (owner REFERENCES owners DEFERRABLE INITIALLY DEFERRED)",
            "INSERT INTO things VALUES (1)",
        ):
            connection.execute(text(statement))

    with database.engine.connect() as connection:
        connection.connection.dbapi_connection.execute("PRAGMA foreign_keys=ON")
    with pytest.raises(IntegrityError):
        await database.transact(refer_to_nothing)

    tables = await database.transact(lambda one: one.execute(text("SELECT name FROM sqlite_master")).all())
    await database.close()
    assert tables == []


async def test_a_write_ahead_log_without_a_file_status_is_ignored(tmp_path):
    (tmp_path / "outbox.db-wal").symlink_to(tmp_path / "outbox.db-wal")
    writer = sqlite.SqliteDatabase(tmp_path / "outbox.db")
    await writer.purge_wal()
    await writer.close()


async def test_a_report_of_any_length_fits_into_sqlites_limit_of_parameters(place, new):
    """Some builds of SQLite take 32,766 parameters in a statement; Debian's takes more."""
    count = 2_000
    async with place.opened() as outbox:

        def limit(connection):
            driver = connection.connection.driver_connection
            driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)

        await outbox._database.transact(limit)
        messages = [new(f"uid-{number}", channel=Channel.SMS) for number in range(count)]
        await asyncio.gather(*(outbox.put(message) for message in messages))
        events = [StatusEvent(status=Status.DELIVERED, message_id=message.id) for message in messages]
        result = await outbox.record(
            ReportedEvents(instance="eu", events=events, channels=frozenset({Channel.SMS}))
        )
        assert result.new == 2 * count
