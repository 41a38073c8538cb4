# ruff: noqa: ASYNC110, ASYNC221, ASYNC240  it polls other processes, and runs short commands
"""Scenarios in which what a gateway depends on fails: the database, the disk, the provider, the clock."""

import asyncio
import contextlib
import random
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from gatepost.testing import emulator
from torture.clocks import ProcessClock, StoreClock
from torture.deployment import Deployment, deployment
from torture.oracle import Figures, figures
from torture.replica import ForkServer
from torture.stores import Postgresql, Sqlite, Store


async def database(
    fork_server: ForkServer, folder: Path, store: Postgresql, seed: int, *, restarts: int, terminations: int
) -> Figures:
    """Restart the database server, half of the times by a crash, and terminate all connections, under load."""
    async with deployment(fork_server, folder, store, seed) as system:
        for _ in range(2):
            system.add_replica(delivery={"uncertain_wait": 10.0}, timeout=5.0)
        await system.start_replicas()
        disturbances = ["restart"] * restarts + ["terminate"] * terminations
        system.rng.shuffle(disturbances)
        messages = 30 * len(disturbances)
        load = asyncio.create_task(system.load.run(messages))
        terminated = 0
        for number, disturbance in enumerate(disturbances):
            system.load.allow(30)
            await system.load.wait_for_answers(number * 30 + system.rng.randint(1, 20))
            system.excuse_resends()
            if disturbance == "restart":
                await asyncio.to_thread(store.server.restart, system.rng.choice(["fast", "immediate"]))
            else:
                terminated += await asyncio.to_thread(store.server.terminate_backends, store.name)
            system.excuse_resends()
        system.load.allow(messages)
        await load
        await system.settle()
        running = sum(replica.running for replica in system.replicas)
        history, verdict = await system.judge()
    return {
        **figures(history, verdict),
        "restarts": restarts,
        "terminations": terminations,
        "connections terminated": terminated,
        "answers with code 12": system.load.refused,
        "gateways that ended": len(system.replicas) - running,
    }


async def full_disk(fork_server: ForkServer, folder: Path, seed: int, *, messages: int) -> Figures:
    """Fill the disk of an SQLite file and free it again, then hold the file locked."""
    disk = folder / "disk"
    disk.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        return {"skipped": "no permission to mount a tmpfs"}
    store = Sqlite(disk)
    store.url = f"sqlite:///{disk}/outbox.db"
    try:
        async with deployment(fork_server, folder, store, seed) as system:
            replica = system.add_replica(delivery={"uncertain_wait": 3.0}, timeout=1.0)
            await system.start_replicas()
            load = asyncio.create_task(system.load.run(messages))
            system.load.allow(messages // 3)
            await system.load.wait_for_answers(messages // 6)
            await _fill_disk_for_a_while(system, disk / "filler")
            system.load.allow(messages // 3)
            await system.load.wait_for_answers(messages // 2)
            refused = system.load.refused
            await _lock_for_a_while(system, store)
            system.load.allow(messages)
            await load
            await system.settle()
            is_running = replica.running
            history, verdict = await system.judge()
    finally:
        subprocess.run(["umount", "-l", disk], check=False)
    return {
        **figures(history, verdict),
        "refused on the full disk": refused,
        "refused on the locked file": system.load.refused - refused,
        "gateways that ended": int(not is_running),
    }


async def _fill_disk_for_a_while(system: Deployment, filler: Path) -> None:
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    system.excuse_resends()
    await _wait_until(lambda: system.load.refused > 20)
    filler.unlink()
    system.excuse_resends()


async def _lock_for_a_while(system: Deployment, store: Sqlite) -> None:
    refused = system.load.refused
    connection = sqlite3.connect(store.path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    system.excuse_resends()
    await _wait_until(lambda: system.load.refused > refused)
    connection.execute("ROLLBACK")
    connection.close()
    system.excuse_resends()


async def _wait_until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_true():
            await asyncio.sleep(0.05)


_FAILURES: Sequence[Callable[[random.Random], emulator.Failure]] = (
    lambda _: emulator.answer(500),
    lambda _: emulator.answer(503),
    lambda _: emulator.answer(429),
    lambda _: emulator.answer(429, {"Retry-After": "1"}),
    lambda _: emulator.close_before_body(),
    lambda rng: emulator.close_after_body(taken=rng.random() < 0.5),
    lambda rng: emulator.hang(taken=rng.random() < 0.5),
    lambda _: emulator.stall(),
    lambda _: emulator.drip(1.0),
    lambda _: emulator.delay(1.5),
)


async def provider(
    fork_server: ForkServer, folder: Path, store: Store, seed: int, *, messages: int, hold: bool = False
) -> Figures:
    """Let three of ten requests to the provider fail, each in one of ten ways.

    ``hold``: with ``delivery.uncertain = "hold"`` and without reports, so that nothing may be sent twice.
    """
    # Messages that are held, also after a second lost answer, fail when their lifetime ends.
    policy = {
        "uncertain_wait": 2.0,
        "uncertain": "hold" if hold else "resend",
        "email_lifetime": 40.0 if hold else 60.0,
    }
    async with deployment(fork_server, folder, store, seed, reports=not hold) as system:
        rng = random.Random(seed)
        system.provider.next_failure = lambda: (
            rng.choice(_FAILURES)(rng) if rng.random() < 0.3 else emulator.NO_FAILURE
        )
        system.add_replica(delivery=policy, timeout=1.0)
        await system.start_replicas()
        system.load.allow(messages)
        await system.load.run(messages)
        await system.settle()
        # After a lost answer the result is unknown; without a report the message may be sent once more.
        system.excuses = [] if hold else system.provider.lost_answers
        history, verdict = await system.judge()
    states = [row.state for row in history.rows.values()]
    return {
        **figures(history, verdict),
        "failures": system.provider.failures,
        "answers lost": len(system.provider.lost_answers),
        "policy": policy["uncertain"],
        "ended as sent": states.count("sent"),
        "ended as failed": states.count("failed"),
    }


async def clock(
    fork_server: ForkServer, folder: Path, seed: int, *, jumps: int, clock: StoreClock | ProcessClock
) -> Figures:
    """Let the clock jump by an hour or a year, forward and back, under load."""
    store = Sqlite(folder)
    hour, year = 3600, 365 * 86_400
    # A gateway whose whole clock is a year off refuses the signatures of reports, as it should.
    async with deployment(fork_server, folder, store, seed, reports=isinstance(clock, StoreClock)) as system:
        system.add_replica(
            delivery={"uncertain_wait": 1.0, "retention": 9.0 * year},
            timeout=2.0,
            planted_defect=clock.planted_defect,
            environment=clock.environment,
        )
        await system.start_replicas()
        load = asyncio.create_task(system.load.run(40 * jumps))
        sends = 0
        for number in range(jumps):
            system.load.allow(40)
            await system.load.wait_for_answers(40 * number + system.rng.randint(1, 30))
            # Some messages must end before the next jump.
            await system.wait_for_sends(sends + 15)
            sends = len(system.provider.send_times)
            system.excuse_resends()
            clock.shift((year, -hour, 0, -year, hour)[number % 5])
        system.load.allow(40 * jumps)
        await load
        # A message that was tried before a jump back is due again only an hour later: jump past that hour.
        clock.shift(hour + hour // 2)
        system.excuse_resends()
        await system.settle()
        history, verdict = await system.judge()
    states = [row.state for row in history.rows.values()]
    ended = [int(row[0]) for row in store.query("SELECT ended_at FROM messages")]
    return {
        **figures(history, verdict),
        "jumps": jumps,
        "days from the first to the last end": round((max(ended) - min(ended)) / 86_400_000),
        "ended as failed": states.count("failed"),
    }
