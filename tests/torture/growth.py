"""Measure what a claim costs while the tables grow, and while an old transaction is open."""

import asyncio
import functools
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from claiming import claim_due
from gatepost.model import Channel, Secret
from gatepost.outbox import NewMessage, Outbox, Policy, SendResult, new_id, open_outbox
from gatepost.outbox.states import State
from torture.oracle import Figures
from torture.postgres import Server

QUEUED = 600
"""Messages in the queue while the claims are measured."""

INSERT_BATCH = 20_000
"""Rows per INSERT; one with a million rows would take too long."""

CLAIMS = 400
"""Claims that are measured."""

QUIET_CLAIMS = 20
"""Successive claims in a window; the window with the lowest median is reported too."""

# The queue of ``message()``, which is the first one.
_QUEUE = "INSERT INTO queues (channel, route, client) VALUES ('email', '', 'brand') ON CONFLICT DO NOTHING"
_ENDED = """
INSERT INTO messages (id, client, channel, uid, queue, country, passed, fingerprint, ext_user_id, preview,
    callback_url, state, due_at, created_at, expires_at, ended_at, attempt, holder, lost_answers, deaths, instance,
    reason, code)
SELECT 'old-' || n, 'brand', 'email', 'old-' || n, 1, '', '', {blob}, 'anna', '', 'https://crm.example/status', 'sent', NULL,
    {now} - n, {now} + 86400000, {now}, 1, 'other', 0, 0, 'provider', '', '' FROM {numbers}
"""
# Messages that came at a rate of a thousand per second.
_WAITING = """
INSERT INTO messages (id, client, channel, uid, queue, country, passed, fingerprint, ext_user_id, preview,
    callback_url, state, due_at, created_at, expires_at, ended_at, attempt, holder, lost_answers, deaths, instance,
    reason, code)
SELECT 'new-' || n, 'brand', 'email', 'new-' || n, 1, '', '', {blob}, 'anna', '', '', 'queued', {now} - {count} + n,
    {now} - {count} + n, {now} + 86400000, NULL, 0, '', 0, 0, '', '', '' FROM {numbers}
"""
_CONTENTS = "INSERT INTO contents (message_id, content) SELECT 'new-' || n, {blob} FROM {numbers}"
_ACKNOWLEDGED = """
INSERT INTO statuses (message_id, status, code, recorded_at, reporter, callback_state, due_at, attempt, holder, client,
    target, http_status, problem)
SELECT 'old-' || n, 'accepted', '', {now}, '', 'acknowledged', NULL, 1, 'other', 'brand', 'crm.example:443', 200, ''
    FROM {numbers}
"""
_POSTGRESQL = {"numbers": "generate_series({first}, {last}) AS n", "blob": "'\\x01'::bytea"}
_SQLITE = {
    "numbers": "(WITH RECURSIVE c(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c WHERE n < {last}) "
    "SELECT n FROM c)",
    "blob": "x'01'",
}


async def _fill(outbox: Outbox, count: int, statements: Sequence[str] = (_ENDED, _ACKNOWLEDGED)) -> None:
    """Run each INSERT for ``count`` rows."""
    now = int(time.time() * 1000)

    def work(connection: object, first: int, last: int) -> None:
        dialect = _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE
        numbers = dialect["numbers"].format(first=first, last=last)
        for statement in (_QUEUE, *statements):
            connection.exec_driver_sql(
                statement.format(numbers=numbers, blob=dialect["blob"], now=now, count=count)
            )

    for first in range(1, count + 1, INSERT_BATCH):
        last = min(count, first + INSERT_BATCH - 1)
        await outbox._database.transact(functools.partial(work, first=first, last=last))


async def _queue(outbox: Outbox, count: int) -> None:
    await asyncio.gather(*(outbox.put(message()) for _ in range(count)))


def message(size: int = 2_000) -> NewMessage:
    """Return a message that could be accepted, with ``size`` bytes of content."""
    message_id = new_id()
    return NewMessage(
        id=message_id,
        client="brand",
        channel=Channel.EMAIL,
        uid=message_id,
        fingerprint=bytes(32),
        ext_user_id="anna",
        preview="",
        callback_url="https://crm.example/status",
        content=os.urandom(size),
        lifetime=86_400.0,
    )


class Claims:
    """Measures claims of one message in one store, in milliseconds."""

    def __init__(self, outbox: Outbox, backends: Callable[[], Sequence[int]]) -> None:
        """``backends`` returns the database processes that work only for this store."""
        self._outbox = outbox
        self._backends = backends
        self.durations: list[float] = []
        """Elapsed time of each claim, which includes the work of other processes on this machine."""
        self.server_cpu: list[float] = []
        """CPU of the database's processes for each claim."""

    async def measure_one(self) -> None:
        """Measure one claim, then finish the message without measuring it."""
        backends = self._backends()
        cpu = sum(map(_cpu, backends))
        began = time.perf_counter()
        (claim,) = await claim_due(self._outbox, Channel.EMAIL, 1, 30.0)
        self.durations.append((time.perf_counter() - began) * 1000)
        self.server_cpu.append(sum(map(_cpu, backends)) - cpu)
        await self._outbox.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))

    @property
    def median(self) -> float:
        """The median duration of all claims."""
        return statistics.median(self.durations)

    @property
    def quiet_median(self) -> float:
        """The lowest median of 20 successive claims: those that other processes disturbed least."""
        return min(
            statistics.median(self.durations[first : first + QUIET_CLAIMS])
            for first in range(0, len(self.durations), QUIET_CLAIMS)
        )

    def figures(self, where: str) -> Figures:
        """Return the figures for the table; ``where`` describes the store."""
        server = {f"median server CPU {where}": f"{statistics.median(self.server_cpu):.2f} ms"}
        return {
            f"median {where}": f"{self.median:.2f} ms",
            f"median of the quietest {QUIET_CLAIMS} {where}": f"{self.quiet_median:.2f} ms",
            **(server if any(self.server_cpu) else {}),
        }


def _name(url: str) -> str:
    return url.split("?", maxsplit=1)[0].rsplit("/", 1)[1]


def _backends(server: Server, url: str) -> Callable[[], Sequence[int]]:
    """Return a function that looks up the processes at its first call, when the outbox has its connections."""
    return functools.cache(functools.partial(server.backends, _name(url)))


def _cpu(process: int) -> float:
    """Return the CPU milliseconds of a process so far."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e6


async def _measure_in_turns(*stores: Claims) -> None:
    """Measure the stores in turn, so that other load on the machine slows all of them equally."""
    for _ in range(CLAIMS):
        for claims in stores:
            await claims.measure_one()


async def claims_by_rows(
    locations: Sequence[tuple[str, Path]], sizes: tuple[int, int], server: Server | None = None
) -> Figures:
    """Measure claims in two stores with different numbers of ended messages, the smaller one first."""
    backends = [_backends(server, url) if server else tuple for url, _ in locations]
    async with AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(open_outbox(Secret(url), folder, Policy()))
            for url, folder in locations
        ]
        for outbox, size in zip(stores, sizes, strict=True):
            await _fill(outbox, size)
            await _queue(outbox, QUEUED)
        few, many = map(Claims, stores, backends)
        await _measure_in_turns(few, many)
    return {
        **few.figures(f"at {sizes[0]} rows"),
        **many.figures(f"at {sizes[1]} rows"),
        "growth ratio": round(many.median / few.median, 2),
    }


@asynccontextmanager
async def _open_transaction(server: Server, database: str) -> AsyncIterator[None]:
    """Hold a transaction open that has read the messages of a database."""
    psql = await asyncio.create_subprocess_exec(
        server.binary("psql"),
        "-XqAt",
        server.url(database),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    psql.stdin.write(b"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM messages;\n")
    await psql.stdin.drain()
    assert await psql.stdout.readline() == f"{QUEUED}\n".encode()
    yield
    psql.stdin.close()
    await psql.wait()


async def _update_messages(outbox: Outbox, updates: int) -> None:
    """Insert messages, claim and finish them: two updates of each."""
    await _fill(outbox, updates // 2, (_WAITING, _CONTENTS))
    remaining = updates // 2
    while remaining:
        claims = await claim_due(outbox, Channel.EMAIL, min(QUEUED, remaining), 30.0)
        remaining -= len(claims)
        await asyncio.gather(
            *(outbox.finish(SendResult(id=c.id, attempt=c.attempt, state=State.SENT)) for c in claims)
        )


async def claims_with_old_transaction(server: Server, folder: Path, updates: int) -> Figures:
    """Measure claims with a transaction that was open during ``updates`` updates, and without one."""
    async with AsyncExitStack() as stack:
        measured = []
        for _ in range(2):
            url = server.new_database()
            name = _name(url)
            outbox = await stack.enter_async_context(open_outbox(Secret(url), folder, Policy()))
            await _queue(outbox, QUEUED)
            measured.append(Claims(outbox, _backends(server, url)))
        async with _open_transaction(server, name):
            await _update_messages(outbox, updates)
            await _measure_in_turns(*measured)
            dead_rows = server.psql(
                "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'messages'", name
            )
    without, pinned = measured
    return {
        **without.figures("without an old transaction"),
        **pinned.figures(f"after {updates} updates"),
        "dead rows that vacuum may not remove": dead_rows,
        "ms with an old transaction": round(pinned.quiet_median, 2),
    }
