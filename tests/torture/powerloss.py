"""What a power cut leaves of the SQLite file, tried out in thousands of ways.

1. The real outbox works on a file, and every statement that it makes is noted.
2. The statements are repeated on a copy, through a VFS that records each write, truncation and sync.
3. A moment is drawn: what was synced by then is there; each later write is there, missing, or torn at a
   sector. From that SQLite has to recover, and what it finds must be the state after some commit, and not
   after an earlier one than the last that was acknowledged.
"""

import asyncio
import itertools
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw
from sqlalchemy import event

from gatepost.model import Channel, Secret, Status, StatusEvent
from gatepost.outbox import (
    CallbackResult,
    NewMessage,
    Policy,
    ReportedEvents,
    SendResult,
    new_id,
    open_outbox,
)
from gatepost.outbox.states import State

SECTOR = 512
COMMIT = "COMMIT"
_TABLES = (
    "SELECT id, uid, state, due_at, attempt, holder, provider_id FROM messages ORDER BY id",
    "SELECT message_id, status, callback_state, due_at, attempt FROM statuses ORDER BY seq",
    "SELECT message_id, content FROM contents ORDER BY message_id",
)

Statement = tuple[str, Any, bool]
Operation = tuple[Any, ...]
"""``write`` file offset data, ``truncate`` file size, ``sync`` file, ``delete`` file, or ``acknowledged``."""


async def statements(folder: Path, messages: int) -> list[Statement]:
    """What the outbox tells SQLite while messages go their whole way; leaves the file at the beginning."""
    noted: list[Statement] = []
    policy = Policy()
    async with open_outbox(Secret("sqlite:///outbox.db"), folder, policy):
        pass
    shutil.copy(folder / "outbox.db", folder / "begin.db")
    async with open_outbox(Secret("sqlite:///outbox.db"), folder, policy) as outbox:
        engine = outbox._database.engine

        @event.listens_for(engine, "before_cursor_execute")
        def _note(_connection, _cursor, statement, parameters, _context, many):
            noted.append((statement, parameters, many))

        event.listen(engine, "commit", lambda _connection: noted.append((COMMIT, (), False)))
        for number in range(messages):
            await outbox.put(_message(number))
            claims = await outbox.claim(Channel.EMAIL, 2, 30.0)
            await asyncio.gather(
                *(
                    outbox.finish(SendResult(id=c.id, attempt=c.attempt, state=State.SENT, provider_id=c.id))
                    for c in claims
                )
            )
            events = [StatusEvent(status=Status.DELIVERED, message_id=claim.id) for claim in claims]
            await outbox.record(ReportedEvents(instance="provider", events=events))
            for call in await outbox.claim_callbacks(5, 45.0):
                await outbox.finish_callback(
                    CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
                )
    return noted


def _message(number: int) -> NewMessage:
    return NewMessage(
        id=new_id(),
        client="brand",
        channel=Channel.EMAIL,
        uid=f"uid-{number}",
        fingerprint=bytes(32),
        ext_user_id="anna",
        preview="",
        callback_url="https://crm.example/status",
        content=random.Random(number).randbytes(3000),
        lifetime=86_400.0,
    )


class _Recorder(apsw.VFS):
    """The usual file system, and a list of what was done to it."""

    def __init__(self, name: str, operations: list[Operation]) -> None:
        self.operations = operations
        super().__init__(name, "")

    def xOpen(self, name, flags):  # noqa: N802  SQLite's names
        return _File(self.operations, name, flags)

    def xDelete(self, filename, syncdir):  # noqa: N802
        self.operations.append(("delete", Path(filename).name))
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, operations, name, flags) -> None:
        self._operations = operations
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else name).name
        super().__init__("", name, flags)

    def xWrite(self, data, offset):  # noqa: N802
        self._operations.append(("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size):  # noqa: N802
        self._operations.append(("truncate", self._name, size))
        super().xTruncate(size)

    def xSync(self, flags):  # noqa: N802
        self._operations.append(("sync", self._name))
        super().xSync(flags)


def record(folder: Path, noted: Sequence[Statement], synchronous: str) -> tuple[list[Operation], list[bytes]]:
    """Repeat the statements; returns what was done to the files, and the state after each commit."""
    operations: list[Operation] = []
    name = f"recorder-{synchronous}-{folder.name}"
    vfs = _Recorder(name, operations)
    path = folder / "replayed.db"
    shutil.copy(folder / "begin.db", path)
    connection = apsw.Connection(str(path), vfs=name)
    # Alone, SQLite needs no shared memory; what it writes, and when it syncs, is the same. Checkpoints come
    # ten times as often as usual, so that there are many of them to be cut.
    for pragma in (
        "locking_mode=EXCLUSIVE",
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        "wal_autocheckpoint=100",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    states = [_digest(connection)]
    for statement, parameters, many in noted:
        for one in parameters if many else [parameters]:
            connection.execute(statement, tuple(one)).fetchall()
        if statement == COMMIT:
            operations.append(("acknowledged",))
            states.append(_digest(connection))
    recorded = list(operations)
    connection.close()
    vfs.unregister()
    return recorded, states


def _digest(connection: Any) -> bytes:
    made = sha256()
    for query in _TABLES:
        for row in connection.execute(query):
            made.update(repr(row).encode())
    return made.digest()


class _Disk:
    """One file: what is safe, and what was done since it was made so."""

    def __init__(self, content: bytes = b"") -> None:
        self.safe = bytearray(content)
        self.pending: list[Operation] = []

    def sync(self) -> None:
        for operation in self.pending:
            _apply(self.safe, operation)
        self.pending.clear()

    def left(self, rng: random.Random) -> bytes:
        """The file after a power cut now."""
        content = bytearray(self.safe)
        how = rng.choice(("nothing", "a beginning", "anything"))
        some = self.pending if how != "nothing" else []
        if how == "a beginning":
            some = some[: rng.randint(0, len(some))]
        for operation in some:
            fate = rng.random() if how == "anything" else 1.0
            if fate < 0.4:
                continue
            if fate < 0.6 and operation[0] == "write":
                data = operation[3]
                torn = data[: rng.randrange(0, len(data) + 1, SECTOR)] if len(data) > SECTOR else b""
                _apply(content, (*operation[:3], torn))
            else:
                _apply(content, operation)
        return bytes(content)


def _apply(content: bytearray, operation: Operation) -> None:
    if operation[0] == "truncate":
        del content[operation[2] :]
        return
    _, _, offset, data = operation
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def cuts(
    begin: bytes, operations: Sequence[Operation], count: int, rng: random.Random
) -> Iterator[tuple[int, Mapping[str, bytes]]]:
    """Power cuts: how many commits were acknowledged by then, and what the files hold afterwards."""
    moments = sorted(rng.randrange(len(operations) + 1) for _ in range(count))
    disks = {"replayed.db": _Disk(begin)}
    acknowledged = done = 0
    for moment, group in itertools.groupby(moments):
        for operation in operations[done:moment]:
            if operation[0] == "acknowledged":
                acknowledged += 1
                continue
            if operation[0] == "delete":
                disks.pop(operation[1], None)
                continue
            disk = disks.setdefault(operation[1], _Disk())
            if operation[0] == "sync":
                disk.sync()
            else:
                disk.pending.append(operation)
        done = moment
        for _ in group:
            yield acknowledged, {name: disk.left(rng) for name, disk in disks.items()}


def survives(folder: Path, files: Mapping[str, bytes], states: Sequence[bytes], acknowledged: int) -> str:
    """Let SQLite recover; returns what is wrong with what it finds, empty where nothing is."""
    for old in folder.glob("cut*"):
        old.unlink()
    for name, content in files.items():
        (folder / name.replace("replayed", "cut")).write_bytes(content)
    connection = sqlite3.connect(folder / "cut.db")
    try:
        found = _digest(connection)
        damage = connection.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        return f"damaged: {error}"
    finally:
        connection.close()
    if damage != "ok":
        return "damaged"
    if found not in states:
        return "half a transaction"
    # The same state may have been there twice: the latest counts.
    last = len(states) - 1 - states[::-1].index(found)
    return "" if last >= acknowledged else "an acknowledged commit is lost"


def run(folder: Path, seed: int, *, messages: int, states: int) -> Mapping[str, Mapping[str, object]]:
    """So many power cuts with FULL, as the outbox has it, and so many with NORMAL, which is known to lose."""
    folder.mkdir(parents=True, exist_ok=True)
    noted = asyncio.run(statements(folder, messages))
    figures = {}
    for synchronous in ("FULL", "NORMAL"):
        began = time.monotonic()
        operations, after = record(folder, noted, synchronous)
        begin = (folder / "begin.db").read_bytes()
        problems: dict[str, int] = {}
        for acknowledged, files in cuts(begin, operations, states, random.Random(seed)):
            problem = survives(folder, files, after, acknowledged)
            if problem:
                problems[problem] = problems.get(problem, 0) + 1
        figures[synchronous] = {
            "power cuts": states,
            "commits": len(after) - 1,
            "writes": sum(operation[0] == "write" for operation in operations),
            "syncs": sum(operation[0] == "sync" for operation in operations),
            "lost": sum(problems.values()),
            **problems,
            "seconds": round(time.monotonic() - began),
        }
    return figures
