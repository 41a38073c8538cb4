# ruff: noqa: ASYNC110  it polls a database
"""Scenarios in which one replica takes over what another has claimed; they need PostgreSQL."""

import asyncio
import signal
import time
from pathlib import Path

import asyncpg

from gatepost.plugin_host.instances import SEND_OVERRUN
from torture.deployment import Deployment, deployment
from torture.oracle import Figures, figures
from torture.replica import ForkServer
from torture.stores import Store

LEASES = 1.5
"""Length of a lease, as a multiple of the time that a send may take."""


async def zombie(
    fork_server: ForkServer, folder: Path, store: Store, seed: int, *, zombies: int, planted_defect: str = ""
) -> Figures:
    """Suspend replicas past their lease and continue them, three at a time, while two others work on."""
    # Long enough that an answer is lost only to a suspended replica, and not on a slow machine.
    timeout, wait = 2.0, 0.3
    lease = LEASES * (timeout + SEND_OVERRUN)
    # Past the lease, the sweep that takes the claim back, the wait, and the sweep that queues the message again.
    suspension = lease + wait + 2.0
    async with deployment(fork_server, folder, store, seed, reports=False, max_delay=0.1) as system:
        for _ in range(5):
            system.add_replica(
                delivery={"uncertain_wait": wait},
                timeout=timeout,
                constants={"gatepost.delivery.leases:LEASE_FACTOR": LEASES},
                planted_defect=planted_defect,
            )
        await system.start_replicas()
        load = asyncio.create_task(system.load.run(10_000_000))
        system.load.allow(100)
        suspended = 0
        while suspended < zombies:
            system.load.allow(80)
            await system.wait_for_open_requests(12)
            count = min(3, zombies - suspended)
            await _suspend_replicas(system, count, suspension)
            suspended += count
        await system.load.wait_for_answers(system.load.allowed)
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
        await system.settle()
        history, verdict = await system.judge()
        lost_claims = sum(replica.count_in_log("claim_lost") for replica in system.replicas)
    return {
        **figures(history, verdict),
        "zombies": zombies,
        "suspended for": f"{suspension:.1f} s (lease {lease:.1f} s)",
        "finished twice": len(verdict.finished_twice),
        "late results rejected": lost_claims,
    }


async def _suspend_replicas(system: Deployment, count: int, seconds: float) -> None:
    replicas = system.rng.sample(system.replicas, count)
    system.out_of_service = set(replicas)
    system.excuse_resends()
    for replica in replicas:
        replica.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    system.excuse_resends()
    for replica in replicas:
        replica.signal(signal.SIGCONT)
    system.out_of_service = set()


async def orphan(fork_server: ForkServer, folder: Path, store: Store, seed: int, *, orphans: int) -> Figures:
    """Kill one of two replicas; every second time it starts again under the same name."""
    timeout = 3.0
    lease = LEASES * (timeout + SEND_OVERRUN)
    takeovers = []
    async with deployment(fork_server, folder, store, seed, reports=False, max_delay=0.1) as system:
        for _ in range(2):
            system.add_replica(
                delivery={"uncertain_wait": 0.3},
                timeout=timeout,
                constants={"gatepost.delivery.leases:LEASE_FACTOR": LEASES},
            )
        await system.start_replicas()
        replica = system.replicas[1]
        for number in range(orphans):
            starts_again = bool(number % 2)
            load = asyncio.create_task(system.load.run(60 * (number + 1), 60 * number))
            system.load.allow(60)
            await system.wait_for_open_requests(12)
            system.excuse_resends()
            takeover = await _watch_takeover(store, lease)
            await replica.kill()
            if starts_again:
                await replica.start()
            else:
                system.out_of_service = {replica}
            takeovers.append(await takeover)
            await load
            if not starts_again:
                await replica.start()
                system.out_of_service = set()
        await system.settle()
        history, verdict = await system.judge()
    return {
        **figures(history, verdict),
        "orphans": orphans,
        "lease in seconds": lease,
        "max seconds to the takeover": round(max(takeovers), 1),
        "max seconds from lease to takeover": round(max(takeovers) - lease, 1),
    }


async def _watch_takeover(store: Store, lease: float) -> "asyncio.Task[float]":
    """Start a task that waits until no claim from before this call is held; it returns the seconds."""
    connection = await asyncpg.connect(store.url)
    killed, began = await database_time(connection), time.monotonic()

    async def takeover() -> float:
        try:
            await asyncio.sleep(lease / 2)
            while await count_claims_before(connection, killed, lease):
                await asyncio.sleep(0.1)
            return time.monotonic() - began
        finally:
            await connection.close()

    return asyncio.create_task(takeover())


async def database_time(connection: asyncpg.Connection) -> float:
    """Return milliseconds since the epoch by the clock of the database, which decides about leases."""
    return float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp()) * 1000"))


async def count_claims_before(connection: asyncpg.Connection, time: float, lease: float) -> int:
    """Return the number of claims that were made before this database time and are still held."""
    claimed_at = f"due_at - {lease * 1000:.0f}"
    return int(
        await connection.fetchval(
            f"SELECT count(*) FROM messages WHERE state = 'sending' AND {claimed_at} <= {time}"
        )
    )
