"""Measure what one message costs PostgreSQL, from its acceptance to its second callback.

``PYTHONPATH=tests .venv/bin/python -m torture.capacity`` prints the figures of docs/explanation/capacity.md. CPU
is counted per process, so the machine need not be idle.
"""

import asyncio
import functools
import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from claiming import claim_callbacks, claim_due, finish_callback, result_of
from gatepost.model import Channel, Secret, Status, StatusEvent
from gatepost.outbox import CallbackResult, Outbox, Policy, ReportedEvents, open_outbox
from torture import growth, postgres

MESSAGES = 20_000
BATCH = 64
"""Requests, sends or callbacks in flight at the same time, and so the most that share a transaction."""

CONTENT_SIZE = 3_000
"""Bytes of a mail's content."""


def _processes(server: postgres.Server) -> Iterator[Path]:
    """Yield the folders in /proc of the server's processes: all children of its first process."""
    first = server.postmaster
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except FileNotFoundError:
            continue
        if parent == first:
            yield stat.parent


def _server_cpu(server: postgres.Server) -> float:
    """Return the CPU seconds of the server's processes so far."""
    return sum(int((one / "schedstat").read_text().split()[0]) for one in _processes(server)) / 1e9


def _own_cpu() -> float:
    """Return the CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _process_messages(outbox: Outbox, count: int) -> None:
    """Take messages through the outbox in batches: accept, claim, send, report, and call back both statuses."""
    for _ in range(count // BATCH):
        await asyncio.gather(*(outbox.put(growth.message(CONTENT_SIZE)) for _ in range(BATCH)))
        claims = await claim_due(outbox, Channel.EMAIL, BATCH, 30.0)
        await asyncio.gather(
            *(outbox.finish(result_of(one, instance="p", provider_id=one.id)) for one in claims)
        )
        events = [StatusEvent(message_id=one.id, status=Status.DELIVERED) for one in claims]
        await outbox.record(ReportedEvents(instance="p", events=events))
        for _ in range(2):
            calls = await claim_callbacks(outbox, BATCH, 45.0, client="brand")
            await asyncio.gather(
                *(
                    finish_callback(
                        outbox, CallbackResult(seq=one.seq, attempt=one.attempt, acknowledged=True)
                    )
                    for one in calls
                )
            )


async def measure(server: postgres.Server, folder: Path, count: int) -> Mapping[str, object]:
    """Return the figures per message."""
    url = server.new_database()
    name = url.split("?")[0].rsplit("/", 1)[1]
    query = functools.partial(server.psql, database=name)
    async with open_outbox(Secret(url), folder, Policy()) as outbox:
        # The first messages fill the caches of statements and plans.
        await _process_messages(outbox, 10 * BATCH)
        written = query("SELECT pg_current_wal_insert_lsn()")
        cpu, own = _server_cpu(server), _own_cpu()
        await _process_messages(outbox, count)
        count = count // BATCH * BATCH
        cpu, own = _server_cpu(server) - cpu, _own_cpu() - own
        wal = int(query(f"SELECT pg_current_wal_insert_lsn() - '{written}'::pg_lsn"))
    acknowledged = int(query("SELECT count(*) FROM statuses WHERE callback_state = 'acknowledged'"))
    stored = int(query("SELECT count(*) FROM messages"))
    query("VACUUM messages; VACUUM statuses; VACUUM contents")
    size = int(
        query(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
            "WHERE relname IN ('messages', 'statuses', 'contents')"
        )
    )
    return {
        "messages": count,
        "acknowledged statuses": acknowledged / stored,
        "CPU of the server": f"{cpu / count * 1e6:.0f} µs",
        "CPU of the outbox in the gateway": f"{own / count * 1e6:.0f} µs",
        "write-ahead log": f"{wal / count:.0f} bytes",
        "on disk afterwards": f"{size / stored:.0f} bytes",
    }


def main() -> None:
    """Measure and print the figures."""
    with postgres.start_server() as server, tempfile.TemporaryDirectory() as folder:
        for name, value in asyncio.run(measure(server, Path(folder), MESSAGES)).items():
            sys.stdout.write(f"{name:32} {value}\n")


if __name__ == "__main__":
    main()
