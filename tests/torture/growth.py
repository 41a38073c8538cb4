"""What a claim costs while the tables grow, and while somebody holds an old transaction open."""

import asyncio
import functools
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from gatepost.model import Channel, Secret
from gatepost.outbox import NewMessage, Outbox, Policy, SendResult, new_id, open_outbox
from gatepost.outbox.states import State
from torture.postgres import Server

QUEUED = 600
"""Messages that wait while the claims are measured."""

STEP = 20_000
CLAIMS = 400
IN_A_ROW = 20

_ENDED = """
INSERT INTO messages (id, client, channel, uid, fingerprint, ext_user_id, preview, callback_url, state, due_at,
    created_at, expires_at, ended_at, attempt, holder, lost_answers, deaths, instance, provider_id, reason,
    code)
SELECT 'old-' || n, 'brand', 'email', 'old-' || n, {blob}, 'anna', '', 'https://crm.example/status', 'sent', NULL,
    {now} - n, {now} + 86400000, {now}, 1, 'somebody', 0, 0, 'provider', 'theirs-' || n, '', '' FROM {numbers}
"""
# A thousand came in a second.
_WAITING = """
INSERT INTO messages (id, client, channel, uid, fingerprint, ext_user_id, preview, callback_url, state, due_at,
    created_at, expires_at, ended_at, attempt, holder, lost_answers, deaths, instance, provider_id, reason,
    code)
SELECT 'new-' || n, 'brand', 'email', 'new-' || n, {blob}, 'anna', '', '', 'queued', {now} - {count} + n,
    {now} - {count} + n, {now} + 86400000, NULL, 0, '', 0, 0, '', NULL, '', '' FROM {numbers}
"""
_CONTENTS = "INSERT INTO contents (message_id, content) SELECT 'new-' || n, {blob} FROM {numbers}"
_TOLD = """
INSERT INTO statuses (message_id, status, code, recorded_at, callback_state, due_at, attempt, holder, client, target,
    problem)
SELECT 'old-' || n, 'accepted', '', {now}, 'acknowledged', NULL, 1, 'somebody', 'brand', 'crm.example:443', '' FROM {numbers}
"""
_POSTGRESQL = {"numbers": "generate_series({first}, {last}) AS n", "blob": "'\\x01'::bytea"}
_SQLITE = {
    "numbers": "(WITH RECURSIVE c(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c WHERE n < {last}) "
    "SELECT n FROM c)",
    "blob": "x'01'",
}


async def _fill(outbox: Outbox, count: int, statements: Sequence[str] = (_ENDED, _TOLD)) -> None:
    """So many rows of each, in steps: no statement may take as long as a million of them would."""
    moment = int(time.time() * 1000)

    def work(connection: object, first: int, last: int) -> None:
        words = _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE
        numbers = words["numbers"].format(first=first, last=last)
        for statement in statements:
            filled = statement.format(numbers=numbers, blob=words["blob"], now=moment, count=count)
            connection.exec_driver_sql(filled)

    for first in range(1, count + 1, STEP):
        last = min(count, first + STEP - 1)
        await outbox._database.transact(functools.partial(work, first=first, last=last))


async def _queue(outbox: Outbox, count: int) -> None:
    await asyncio.gather(*(outbox.put(message()) for _ in range(count)))


def message(size: int = 2_000) -> NewMessage:
    """One that could be accepted, with so many bytes of content."""
    identity = new_id()
    return NewMessage(
        id=identity,
        client="brand",
        channel=Channel.EMAIL,
        uid=identity,
        fingerprint=bytes(32),
        ext_user_id="anna",
        preview="",
        callback_url="https://crm.example/status",
        content=os.urandom(size),
        lifetime=86_400.0,
    )


class Claims:
    """What claims of one message cost in one store, in milliseconds."""

    def __init__(self, outbox: Outbox, backends: Callable[[], Sequence[int]]) -> None:
        """``backends`` gives the processes of the database that work for this store alone."""
        self._outbox = outbox
        self._backends = backends
        self.took: list[float] = []
        """By the clock on the wall, which counts also what others on this machine do."""
        self.server: list[float] = []
        """The CPU that the database's processes used for it."""

    async def one(self) -> None:
        """Claim one, and finish it again, unmeasured."""
        backends = self._backends()
        used = sum(map(_cpu, backends))
        began = time.perf_counter()
        (claim,) = await self._outbox.claim(Channel.EMAIL, 1, 30.0)
        self.took.append((time.perf_counter() - began) * 1000)
        self.server.append(sum(map(_cpu, backends)) - used)
        await self._outbox.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))

    @property
    def median(self) -> float:
        """Of all."""
        return statistics.median(self.took)

    @property
    def quiet(self) -> float:
        """The median of the twenty in a row in which the others on this machine disturbed least."""
        return min(
            statistics.median(self.took[first : first + IN_A_ROW])
            for first in range(0, len(self.took), IN_A_ROW)
        )

    def figures(self, where: str) -> Mapping[str, object]:
        """Lines for the table."""
        server = {f"of it the server's CPU, {where}": f"{statistics.median(self.server):.2f} ms"}
        return {
            f"median {where}": f"{self.median:.2f} ms",
            f"median of the quietest {IN_A_ROW} {where}": f"{self.quiet:.2f} ms",
            **(server if any(self.server) else {}),
        }


def _name(url: str) -> str:
    return url.split("?", maxsplit=1)[0].rsplit("/", 1)[1]


def _backends(server: Server, url: str) -> Callable[[], Sequence[int]]:
    """Asked once, when the outbox has its connections."""
    return functools.cache(functools.partial(server.backends, _name(url)))


def _cpu(process: int) -> float:
    """Milliseconds that a process has run."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e6


async def _in_turns(*measured: Claims) -> None:
    """One here, one there: whatever else the machine does slows all of them alike."""
    for _ in range(CLAIMS):
        for claims in measured:
            await claims.one()


async def rows(
    places: Sequence[tuple[str, Path]], sizes: tuple[int, int], server: Server | None = None
) -> Mapping[str, object]:
    """The median of a claim behind so few and so many ended messages, each in a store of its own."""
    backends = [_backends(server, url) if server else tuple for url, _ in places]
    async with AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(open_outbox(Secret(url), folder, Policy()))
            for url, folder in places
        ]
        for outbox, size in zip(stores, sizes, strict=True):
            await _fill(outbox, size)
            await _queue(outbox, QUEUED)
        few, many = map(Claims, stores, backends)
        await _in_turns(few, many)
    return {
        **few.figures(f"at {sizes[0]} rows"),
        **many.figures(f"at {sizes[1]} rows"),
        "growth": round(many.median / few.median, 2),
    }


async def pinned(server: Server, folder: Path, updates: int) -> Mapping[str, object]:
    """A claim beside a transaction that was open during so many updates, and one in a store without it."""
    async with AsyncExitStack() as stack:
        measured = []
        for _ in range(2):
            url = server.new_database()
            name = _name(url)
            outbox = await stack.enter_async_context(open_outbox(Secret(url), folder, Policy()))
            await _queue(outbox, QUEUED)
            measured.append(Claims(outbox, _backends(server, url)))
        held = await asyncio.create_subprocess_exec(
            server.binary("psql"),
            "-XqAt",
            server.url(name),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        held.stdin.write(b"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM messages;\n")
        await held.stdin.drain()
        assert await held.stdout.readline() == f"{QUEUED}\n".encode()
        # A claim and its outcome are two updates of a message.
        await _fill(outbox, updates // 2, (_WAITING, _CONTENTS))
        left = updates // 2
        while left:
            claims = await outbox.claim(Channel.EMAIL, min(QUEUED, left), 30.0)
            left -= len(claims)
            await asyncio.gather(
                *(outbox.finish(SendResult(id=c.id, attempt=c.attempt, state=State.SENT)) for c in claims)
            )
        await _in_turns(*measured)
        dead = server.psql("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'messages'", name)
        held.stdin.close()
        await held.wait()
    fresh, beside = measured
    return {
        **fresh.figures("in a fresh table"),
        **beside.figures(f"after {updates} updates"),
        "rows that nothing may clean away": dead,
        "ms beside an old transaction": round(beside.quiet, 2),
    }
