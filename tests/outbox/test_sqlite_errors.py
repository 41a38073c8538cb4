"""SQLite's errors as the outbox reports them; each one is real unless the test says otherwise."""

import asyncio
import contextlib
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import event

from claiming import claim_due
from gatepost.errors import StoreBroken, StoreBusy
from gatepost.model import Channel
from gatepost.outbox import SendResult
from gatepost.outbox.states import State

LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "outbox.db"


async def pragma(outbox, text):
    return await outbox._database.transact(
        lambda connection: connection.exec_driver_sql(f"PRAGMA {text}").scalar()
    )


@contextlib.contextmanager
def locked_by_another_process(file) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"locked\n"
        yield
        process.communicate()


@contextlib.contextmanager
def no_file_longer_than(size) -> Iterator[None]:
    """Let writes beyond this size fail with EFBIG, which SQLite does not take for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_locked_file_fails_all_calls_together_and_recovers(store, new, file):
    await pragma(store, "busy_timeout=0")
    transactions = []
    event.listen(store._database.engine, "begin", transactions.append)

    with locked_by_another_process(file):
        answers = await asyncio.gather(
            *(store.put(new(f"uid-{n}")) for n in range(30)), return_exceptions=True
        )

    assert {type(answer) for answer in answers} == {StoreBusy}
    assert str(answers[0]) == "another process has locked the file"
    # After the batch had waited for the lock, no single call waited for it again.
    assert len(transactions) <= 2
    assert not store.failure.done()
    message = new("uid-0")
    assert (await store.put(message)).id == message.id


async def test_a_full_disk_is_busy_and_recovers(store, new, put_and_claim, view_of):
    """A limit on the file's pages gives the same SQLITE_FULL as a full disk."""
    claim = await put_and_claim(store)
    await pragma(store, f"max_page_count={await pragma(store, 'page_count')}")

    with pytest.raises(StoreBusy, match="the disk is full"):
        await store.put(new("large", content=b"x" * 100_000))

    assert await store.find("brand", Channel.EMAIL, "large") is None
    assert not store.failure.done()
    # Work that needs no space still succeeds.
    assert await store.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.REJECTED))
    await pragma(store, "max_page_count=1073741823")
    message = new("large", content=b"x" * 100_000)
    assert (await store.put(message)).id == message.id


async def test_a_failed_write_breaks_the_store_and_loses_no_acknowledged_message(place, new, file):
    stored, lost = new("stored"), new("lost", content=b"x" * 50_000)
    async with place.opened() as outbox:
        await outbox.put(stored)
        wal = file.with_name("outbox.db-wal").stat().st_size

        with no_file_longer_than(wal + 10_000):
            answers = await asyncio.gather(outbox.put(lost), outbox.put(new("other")), return_exceptions=True)

        assert {type(answer) for answer in answers} == {StoreBroken}
        assert "reading or writing the file failed" in str(answers[0])
        assert outbox.failure.result() is answers[0]
        with pytest.raises(StoreBroken):
            await outbox.put(new("later"))
        with pytest.raises(StoreBroken):
            await claim_due(outbox, Channel.EMAIL, 1, 30)
    async with place.opened() as outbox:
        assert (await outbox.find("brand", Channel.EMAIL, "stored")).id == stored.id
        assert await outbox.find("brand", Channel.EMAIL, "lost") is None


PLANTED = [
    (sqlite3.SQLITE_IOERR_FSYNC, StoreBroken),
    (sqlite3.SQLITE_IOERR_WRITE, StoreBroken),
    (sqlite3.SQLITE_CORRUPT, StoreBroken),
    (sqlite3.SQLITE_NOTADB, StoreBroken),
    (sqlite3.SQLITE_READONLY_DBMOVED, StoreBroken),
    (sqlite3.SQLITE_CANTOPEN, StoreBroken),
    (sqlite3.SQLITE_FULL, StoreBusy),
    (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreBusy),
    (sqlite3.SQLITE_LOCKED, StoreBusy),
    (sqlite3.SQLITE_CONSTRAINT_NOTNULL, StoreBusy),
    (sqlite3.SQLITE_TOOBIG, StoreBusy),
]


@pytest.mark.parametrize(("code", "expected"), PLANTED)
async def test_each_error_breaks_the_store_or_leaves_it_usable(store, new, code, expected, monkeypatch):
    """The error code is planted into a failed insert, whose text quotes values as SQLite's own does."""

    dialect = store._database.engine.dialect
    execute = dialect.do_execute

    def execute_with_code(*arguments):
        try:
            execute(*arguments)
        except sqlite3.Error as error:
            error.sqlite_errorcode, error.sqlite_errorname = code, "PLANTED"
            raise

    monkeypatch.setattr(dialect, "do_execute", execute_with_code)

    with pytest.raises(expected) as caught:
        await store.put(new("canary-7", callback_url={"no": "text"}))

    assert "canary" not in str(caught.value)
    assert store.failure.done() == (expected is StoreBroken)


async def test_a_failure_from_outside_fails_all_waiting_calls(store, new):
    calls = [asyncio.create_task(store.put(new(f"uid-{n}"))) for n in range(3)]
    await asyncio.sleep(0)

    store.fail("a loop fell")

    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {str(answer) for answer in answers} == {"a loop fell"}
    assert str(store.failure.result()) == "a loop fell"


async def test_the_first_reason_of_a_failure_stays(store):
    store.fail("first")
    store.fail("second")

    assert str(store.failure.result()) == "first"
