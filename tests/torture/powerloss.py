"""Simulate thousands of power cuts of the SQLite file and check what SQLite recovers.

1. The real outbox works on a file, and every statement is noted.
2. The statements are repeated on a copy, through a VFS that records each write, truncation and sync.
3. A moment is drawn at random. All writes that were synced by then are on disk; each later write is on disk,
   missing, or torn at a sector. SQLite must recover from that to the state after a commit, and not to a commit
   before the last acknowledged one.
"""

import asyncio
import itertools
import random
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw
from sqlalchemy import event

from claiming import claim_callbacks, claim_due, finish_callback, result_of
from gatepost.model import Channel, Secret, Status, StatusEvent
from gatepost.outbox import (
    CallbackResult,
    NewMessage,
    Policy,
    ReportedEvents,
    new_id,
    open_outbox,
)
from statements import Executed, executed

SECTOR = 512
COMMIT = "COMMIT"
_TABLES = (
    "SELECT id, uid, state, due_at, attempt, holder FROM messages ORDER BY id",
    "SELECT message_id, attempt, position, instance, provider_id FROM attempts ORDER BY message_id, attempt, position",
    "SELECT message_id, status, callback_state, due_at, attempt FROM statuses ORDER BY seq",
    "SELECT message_id, content FROM contents ORDER BY message_id",
)

Operation = tuple[Any, ...]
"""``write`` file offset data, ``truncate`` file size, ``sync`` file, ``delete`` file, or ``acknowledged``."""


async def statements(folder: Path, messages: int) -> list[Executed]:
    """Take messages from acceptance to their callbacks, and return the statements of the outbox.

    Stores a copy of the file from before them as ``begin.db``.
    """
    policy = Policy()
    async with open_outbox(Secret("sqlite:///outbox.db"), folder, policy):
        pass
    shutil.copy(folder / "outbox.db", folder / "begin.db")
    async with open_outbox(Secret("sqlite:///outbox.db"), folder, policy) as outbox:
        engine = outbox._database.engine
        noted = executed(engine)
        event.listen(engine, "commit", lambda _connection: noted.append(Executed(COMMIT, (), many=False)))
        for number in range(messages):
            await outbox.put(_message(number))
            claims = await claim_due(outbox, Channel.EMAIL, 2, 30.0)
            await asyncio.gather(*(outbox.finish(result_of(c, provider_id=c.id)) for c in claims))
            events = [StatusEvent(status=Status.DELIVERED, message_id=claim.id) for claim in claims]
            await outbox.record(ReportedEvents(instance="provider", events=events))
            for call in await claim_callbacks(outbox, 5, 45.0):
                await finish_callback(
                    outbox, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
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
    """A VFS on the real file system that records every operation."""

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


def record(folder: Path, noted: Sequence[Executed], synchronous: str) -> tuple[list[Operation], list[bytes]]:
    """Repeat the statements; return the operations on the files, and a digest of the state after each commit."""
    operations: list[Operation] = []
    name = f"recorder-{synchronous}-{folder.name}"
    vfs = _Recorder(name, operations)
    path = folder / "replayed.db"
    shutil.copy(folder / "begin.db", path)
    connection = apsw.Connection(str(path), vfs=name)
    # With exclusive locking SQLite needs no shared memory, and it writes and syncs the same. Checkpoints come ten
    # times as often as usual, so that many power cuts fall into one.
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
    digest = sha256()
    for query in _TABLES:
        for row in connection.execute(query):
            digest.update(repr(row).encode())
    return digest.digest()


class _Disk:
    """One file: its content at the last sync, and the operations since then."""

    def __init__(self, content: bytes = b"") -> None:
        self.synced = bytearray(content)
        self.pending: list[Operation] = []

    def sync(self) -> None:
        for operation in self.pending:
            _apply(self.synced, operation)
        self.pending.clear()

    def after_power_cut(self, rng: random.Random) -> bytes:
        """Return a possible content of the file after a power cut now."""
        content = bytearray(self.synced)
        survivors = rng.choice(("none", "first ones", "any"))
        operations = self.pending if survivors != "none" else []
        if survivors == "first ones":
            operations = operations[: rng.randint(0, len(operations))]
        for operation in operations:
            draw = rng.random() if survivors == "any" else 1.0
            if draw < 0.4:
                continue
            if draw < 0.6 and operation[0] == "write":
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
    """Yield random power cuts: the number of commits acknowledged by then, and the files afterwards."""
    moments = sorted(rng.randrange(len(operations) + 1) for _ in range(count))
    disks = {"replayed.db": _Disk(begin)}
    acknowledged = position = 0
    for moment, group in itertools.groupby(moments):
        for operation in operations[position:moment]:
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
        position = moment
        for _ in group:
            yield acknowledged, {name: disk.after_power_cut(rng) for name, disk in disks.items()}


def find_damage(folder: Path, files: Mapping[str, bytes], states: Sequence[bytes], acknowledged: int) -> str:
    """Let SQLite recover the files, and return what is wrong with the result; empty if nothing."""
    for old in folder.glob("cut*"):
        old.unlink()
    for name, content in files.items():
        (folder / name.replace("replayed", "cut")).write_bytes(content)
    connection = sqlite3.connect(folder / "cut.db")
    try:
        state = _digest(connection)
        damage = connection.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        return f"damaged: {error}"
    finally:
        connection.close()
    if damage != "ok":
        return "damaged"
    if state not in states:
        return "a part of a transaction"
    # The same state may have occurred twice; the last one counts.
    last = len(states) - 1 - states[::-1].index(state)
    return "" if last >= acknowledged else "an acknowledged commit is lost"


def run(folder: Path, seed: int, *, messages: int, states: int) -> Mapping[str, Mapping[str, object]]:
    """Simulate ``states`` power cuts with synchronous=FULL, as the outbox sets it, and as many with NORMAL.

    NORMAL is known to lose commits, so it shows that a loss is found.
    """
    folder.mkdir(parents=True, exist_ok=True)
    noted = asyncio.run(statements(folder, messages))
    figures = {}
    for synchronous in ("FULL", "NORMAL"):
        operations, after_commits = record(folder, noted, synchronous)
        begin = (folder / "begin.db").read_bytes()
        problems: dict[str, int] = {}
        for acknowledged, files in cuts(begin, operations, states, random.Random(seed)):
            problem = find_damage(folder, files, after_commits, acknowledged)
            if problem:
                problems[problem] = problems.get(problem, 0) + 1
        figures[synchronous] = {
            "power cuts": states,
            "commits": len(after_commits) - 1,
            "writes": sum(operation[0] == "write" for operation in operations),
            "syncs": sum(operation[0] == "sync" for operation in operations),
            "lost": sum(problems.values()),
            **problems,
        }
    return figures
