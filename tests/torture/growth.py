"""What a claim costs while the tables grow, and while somebody holds an old transaction open."""

import asyncio
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from gatepost.model import Channel, Secret
from gatepost.outbox import NewMessage, Outbox, Outcome, Policy, new_id, open_outbox
from gatepost.statuses import State
from torture.postgres import Server

QUEUED = 600
"""Messages that wait while the claims are measured."""

_ENDED = """
INSERT INTO messages (id, client, channel, uid, fingerprint, ext_user_id, preview, callback_url, state, due_at,
    created_at, expires_at, ended_at, attempt, holder, unanswered, instance, provider_id, reason,
    code)
SELECT 'old-' || n, 'brand', 'email', 'old-' || n, {blob}, 'anna', '', 'https://crm.example/status', 'sent', NULL,
    {now} - n, {now} + 86400000, {now}, 1, 'somebody', 0, 'provider', 'theirs-' || n, '', '' FROM {numbers}
"""
_TOLD = """
INSERT INTO statuses (message_id, status, code, recorded_at, telling, due_at, attempt, holder, host, problem)
SELECT 'old-' || n, 'accepted', '', {now}, 'told', NULL, 1, 'somebody', 'crm.example', '' FROM {numbers}
"""
_POSTGRESQL = {"numbers": "generate_series({first}, {last}) AS n", "blob": "'\\x01'::bytea"}
_SQLITE = {
    "numbers": "(WITH RECURSIVE c(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c WHERE n < {last}) "
    "SELECT n FROM c)",
    "blob": "x'01'",
}


async def _fill(outbox: Outbox, first: int, last: int) -> None:
    def work(connection: object) -> None:
        many = connection.dialect.name == "postgresql"
        words = _POSTGRESQL if many else _SQLITE
        numbers = words["numbers"].format(first=first, last=last)
        for statement in (_ENDED, _TOLD):
            filled = statement.format(numbers=numbers, blob=words["blob"], now=int(time.time() * 1000))
            connection.exec_driver_sql(filled)

    await outbox._database.transact(work)


async def _queue(outbox: Outbox, count: int) -> None:
    await asyncio.gather(*(outbox.put(_message()) for _ in range(count)))


def _message() -> NewMessage:
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
        content=bytes(2000),
        lifetime=86_400.0,
    )


async def _claims(outbox: Outbox, count: int = 200) -> float:
    """The median of so many claims of one message, in milliseconds; each is finished again, unmeasured."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        (claim,) = await outbox.claim(Channel.EMAIL, 1, 30.0)
        took.append((time.perf_counter() - began) * 1000)
        await outbox.finish(Outcome(id=claim.id, attempt=claim.attempt, state=State.SENT))
    return statistics.median(took)


async def rows(url: str, folder: Path, sizes: tuple[int, int]) -> Mapping[str, object]:
    """The median of a claim behind so few and so many ended messages."""
    medians = []
    async with open_outbox(Secret(url), folder, Policy()) as outbox:
        done = 0
        for size in sizes:
            await _fill(outbox, done + 1, size)
            done = size
            await _queue(outbox, QUEUED)
            medians.append(await _claims(outbox))
    return {
        **{f"median at {size} rows": f"{median:.2f} ms" for size, median in zip(sizes, medians, strict=True)},
        "growth": round(medians[1] / medians[0], 2),
    }


async def pinned(server: Server, folder: Path, updates: int) -> Mapping[str, object]:
    """The median of a claim before and after updates that an old transaction lets nobody clean up after."""
    url = server.new_database()
    name = url.split("?")[0].rsplit("/", 1)[1]
    async with open_outbox(Secret(url), folder, Policy()) as outbox:
        await _queue(outbox, QUEUED)
        fresh = await _claims(outbox)
        held = await asyncio.create_subprocess_exec(
            server.binary("psql"), "-XqAt", server.url(name), stdin=asyncio.subprocess.PIPE
        )
        held.stdin.write(b"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM messages;\n")
        await held.stdin.drain()
        # A claim and its outcome are two updates of a row.
        for _ in range(updates // 2 // QUEUED):
            claims = await outbox.claim(Channel.EMAIL, QUEUED, 30.0)
            await asyncio.gather(
                *(outbox.finish(Outcome(id=c.id, attempt=c.attempt, state=State.QUEUED)) for c in claims)
            )
        pinned_median = await _claims(outbox)
        held.stdin.close()
        await held.wait()
    return {
        "median of a fresh table": f"{fresh:.2f} ms",
        f"median after {updates} pinned updates": f"{pinned_median:.2f} ms",
        "under 2 ms": pinned_median < 2.0,
    }
