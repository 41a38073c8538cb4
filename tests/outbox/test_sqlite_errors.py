"""What SQLite's faults mean; each is a real one unless it says otherwise."""

import asyncio
import contextlib
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import event

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
    return await outbox._database.transact(lambda it: it.exec_driver_sql(f"PRAGMA {text}").scalar())


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
    """Writes beyond it fail with EFBIG, which is no disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_locked_file_is_busy_for_everybody_at_once_and_recovers(store, new, file):
    await pragma(store, "busy_timeout=0")
    tries = []
    event.listen(store._database.engine, "begin", tries.append)

    with locked_by_another_process(file):
        answers = await asyncio.gather(
            *(store.put(new(f"uid-{n}")) for n in range(30)), return_exceptions=True
        )

    assert {type(answer) for answer in answers} == {StoreBusy}
    assert str(answers[0]) == "another process has locked the file"
    # Nobody waited for the lock on his own after all had waited together.
    assert len(tries) <= 2
    assert not store.broken.done()
    message = new("uid-0")
    assert (await store.put(message)).id == message.id


async def test_a_full_disk_is_busy_and_recovers(store, new, hold, look):
    """A limit on the file's pages gives the same SQLITE_FULL as a disk without room."""
    claim = await hold(store)
    await pragma(store, f"max_page_count={await pragma(store, 'page_count')}")

    with pytest.raises(StoreBusy, match="the disk is full"):
        await store.put(new("large", content=b"x" * 100_000))

    assert await store.find("brand", Channel.EMAIL, "large") is None
    assert not store.broken.done()
    # What needs no room goes on.
    assert await store.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.REJECTED))
    await pragma(store, "max_page_count=1073741823")
    message = new("large", content=b"x" * 100_000)
    assert (await store.put(message)).id == message.id


async def test_a_write_that_fails_breaks_the_store_and_loses_nothing_acknowledged(place, new, file):
    kept, lost = new("kept"), new("lost", content=b"x" * 50_000)
    async with place.opened() as outbox:
        await outbox.put(kept)
        wal = file.with_name("outbox.db-wal").stat().st_size

        with no_file_longer_than(wal + 10_000):
            answers = await asyncio.gather(outbox.put(lost), outbox.put(new("other")), return_exceptions=True)

        assert {type(answer) for answer in answers} == {StoreBroken}
        assert "reading or writing the file failed" in str(answers[0])
        assert outbox.broken.result() is answers[0]
        with pytest.raises(StoreBroken):
            await outbox.put(new("later"))
        with pytest.raises(StoreBroken):
            await outbox.claim(Channel.EMAIL, 1, 30)
    async with place.opened() as outbox:
        assert (await outbox.find("brand", Channel.EMAIL, "kept")).id == kept.id
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
async def test_each_error_breaks_the_store_or_leaves_it_usable(store, new, code, expected):
    """The error is planted into the insert; its text, as SQLite's own, quotes what it should not."""

    @event.listens_for(store._database.engine, "handle_error")
    def _keep(context):
        context.original_exception.sqlite_errorcode = code
        context.original_exception.sqlite_errorname = "PLANTED"

    with pytest.raises(expected) as caught:
        await store.put(new("canary-7", ext_user_id={"no": "text"}))

    assert "canary" not in str(caught.value)
    assert store.broken.done() == (expected is StoreBroken)


async def test_what_is_given_up_from_outside_is_broken_for_all_who_wait(store, new):
    waiting = [asyncio.create_task(store.put(new(f"uid-{n}"))) for n in range(3)]
    await asyncio.sleep(0)

    store.give_up("a loop fell")

    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(answer) for answer in answers} == {"a loop fell"}
    assert str(store.broken.result()) == "a loop fell"


async def test_the_first_reason_for_breaking_is_the_one_that_stays(store):
    store.give_up("first")
    store.give_up("second")

    assert str(store.broken.result()) == "first"
