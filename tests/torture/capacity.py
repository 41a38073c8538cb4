"""What a message costs one PostgreSQL, from its acceptance to its second callback: for docs/explanation/capacity.md.

``PYTHONPATH=tests .venv/bin/python -m torture.capacity``; the CPU is counted by process, so that it need not
be an idle machine.
"""

import asyncio
import functools
import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from gatepost.model import Channel, Secret, Status, StatusEvent
from gatepost.outbox import CallbackResult, Outbox, Policy, ReportedEvents, SendResult, open_outbox
from gatepost.outbox.states import State
from torture import growth, postgres

MESSAGES = 20_000
AT_ONCE = 64
"""Requests, sends or calls under way at the same time: so many share a transaction at the most."""

CONTENT = 3_000
"""Bytes of a mail."""


def _processes(server: postgres.Server) -> Iterator[Path]:
    """The server's: all children of the first one."""
    first = server.postmaster
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except FileNotFoundError:
            continue
        if parent == first:
            yield stat.parent


def _server_cpu(server: postgres.Server) -> float:
    """Seconds."""
    return sum(int((one / "schedstat").read_text().split()[0]) for one in _processes(server)) / 1e9


def _own_cpu() -> float:
    """Seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _life(outbox: Outbox, count: int) -> None:
    """Accept so many, send them, hear of their delivery, tell both statuses; like the gateway, in shared steps."""
    for _ in range(count // AT_ONCE):
        await asyncio.gather(*(outbox.put(growth.message(CONTENT)) for _ in range(AT_ONCE)))
        claims = await outbox.claim(Channel.EMAIL, AT_ONCE, 30.0)
        await asyncio.gather(
            *(
                outbox.finish(
                    SendResult(
                        id=one.id, attempt=one.attempt, state=State.SENT, instance="p", provider_id=one.id
                    )
                )
                for one in claims
            )
        )
        events = [StatusEvent(message_id=one.id, status=Status.DELIVERED) for one in claims]
        await outbox.record(ReportedEvents(instance="p", events=events))
        for _ in range(2):
            calls = await outbox.claim_callbacks(AT_ONCE, 45.0, client="brand")
            await asyncio.gather(
                *(
                    outbox.finish_callback(
                        CallbackResult(seq=one.seq, attempt=one.attempt, acknowledged=True)
                    )
                    for one in calls
                )
            )


async def measured(server: postgres.Server, folder: Path, count: int) -> Mapping[str, object]:
    """Each figure is of one message."""
    url = server.new_database()
    name = url.split("?")[0].rsplit("/", 1)[1]
    ask = functools.partial(server.psql, database=name)
    async with open_outbox(Secret(url), folder, Policy()) as outbox:
        # The first ones make plans and caches.
        await _life(outbox, 10 * AT_ONCE)
        written = ask("SELECT pg_current_wal_insert_lsn()")
        cpu, own = _server_cpu(server), _own_cpu()
        await _life(outbox, count)
        count = count // AT_ONCE * AT_ONCE
        cpu, own = _server_cpu(server) - cpu, _own_cpu() - own
        wal = int(ask(f"SELECT pg_current_wal_insert_lsn() - '{written}'::pg_lsn"))
    told = int(ask("SELECT count(*) FROM statuses WHERE callback_state = 'acknowledged'"))
    kept = int(ask("SELECT count(*) FROM messages"))
    ask("VACUUM messages; VACUUM statuses; VACUUM contents")
    size = int(
        ask(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
            "WHERE relname IN ('messages', 'statuses', 'contents')"
        )
    )
    return {
        "messages": count,
        "statuses told a message": told / kept,
        "server's CPU": f"{cpu / count * 1e6:.0f} µs",
        "outbox's CPU in the gateway": f"{own / count * 1e6:.0f} µs",
        "write-ahead log": f"{wal / count:.0f} bytes",
        "on disk afterwards": f"{size / kept:.0f} bytes",
    }


def main() -> None:
    """Print the figures."""
    with postgres.running() as server, tempfile.TemporaryDirectory() as folder:
        for name, value in asyncio.run(measured(server, Path(folder), MESSAGES)).items():
            sys.stdout.write(f"{name:32} {value}\n")


if __name__ == "__main__":
    main()
