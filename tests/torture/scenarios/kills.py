"""Scenarios in which gateway processes are killed or stopped under load."""

import asyncio
import signal
import time
from pathlib import Path

from torture import planted_defects
from torture.deployment import CONCURRENCY, MAX_DELAY, Deployment, deployment
from torture.oracle import Figures, figures
from torture.replica import ForkServer, Replica
from torture.stores import Store

LATE_REPORTS = 3_600.0
"""Seconds for which a gateway waits for reports that come late."""


async def kill(
    fork_server: ForkServer,
    folder: Path,
    store: Store,
    seed: int,
    *,
    messages: int,
    kills: int,
    replicas: int = 1,
    reports: bool = True,
    late_reports: bool = False,
    planted_defect: str = "",
) -> Figures:
    """Kill one of the replicas at random points with SIGKILL, and start it again each time.

    ``late_reports``: the provider reports nothing before all other messages have ended, and takes longer for each, so
    that every kill catches some. A gateway that waits for reports resends none of them, however slow the machine is.
    """
    # The times are long enough that the figures show the effect of kills and not of a slow machine.
    wait, timeout, leases = (6.0, 3.0, 1.5) if reports else (0.5, 2.0, 1.5)
    max_delay = MAX_DELAY
    if late_reports:
        wait, max_delay = LATE_REPORTS, 10 * MAX_DELAY
    async with deployment(fork_server, folder, store, seed, reports=reports, max_delay=max_delay) as system:
        for _ in range(replicas):
            system.add_replica(
                delivery={"uncertain_wait": wait},
                timeout=timeout,
                constants={"gatepost.delivery.leases:LEASE_FACTOR": leases},
                planted_defect=planted_defect,
            )
        if late_reports:
            system.provider.may_report.clear()
        await system.start_replicas()
        await kill_under_load(system, messages, kills)
        if late_reports:
            await _wait_until_reports_are_missing(system)
            system.provider.may_report.set()
        await system.settle()
        history, verdict = await system.judge()
    max_in_flight = kills * CONCURRENCY
    return {
        **figures(history, verdict),
        "kills": kills,
        "held after three kills, and retried": len({message_id for _, message_id in system.retries}),
        "resent per kill": round(len(verdict.resent) / kills, 3),
        "max in flight at kills": max_in_flight,
        "resent / max in flight": round(len(verdict.resent) / max_in_flight, 3),
    }


async def _wait_until_reports_are_missing(system: Deployment) -> None:
    """Wait until each message has ended or waits for a report."""
    soon = round((time.time() + LATE_REPORTS / 2) * 1000)
    query = f"SELECT id FROM messages WHERE due_at < {soon} LIMIT 1"
    while await asyncio.to_thread(system.store.query, query):  # noqa: ASYNC110  it polls another process's store
        await asyncio.sleep(0.1)


async def kill_under_load(system: Deployment, messages: int, kills: int, *, retry_held: bool = False) -> None:
    """Kill a replica at random points of the load; with ``retry_held`` also retry held messages meanwhile."""
    load = asyncio.create_task(system.load.run(messages))
    share = messages // kills
    for number in range(kills):
        system.load.allow(share)
        await system.load.wait_for_answers(number * share + system.rng.randint(1, share))
        await asyncio.sleep(system.rng.uniform(0, 0.15))
        replica = system.rng.choice(system.replicas)
        system.excuse_resends()
        await replica.kill()
        system.excuse_resends()
        await replica.start()
        if retry_held:
            await system.retry_held()
    system.load.allow(messages)
    await load


async def poison(
    fork_server: ForkServer,
    folder: Path,
    store: Store,
    seed: int,
    *,
    poison_messages: int,
    planted_defect: str = "die_of_poison_messages",
) -> Figures:
    """Send messages that kill the process that sends them, each among fifteen others, one after the other."""
    async with deployment(
        fork_server, folder, store, seed, reports=False, max_delay=planted_defects.DEATH_DELAY
    ) as system:
        replica = system.add_replica(
            delivery={"uncertain_wait": 0.1},
            timeout=1.0,
            constants={
                "gatepost.delivery.leases:LEASE_FACTOR": 0.5,
                "gatepost.delivery.suspects:SUSPECT_INTERVAL": 0.1,
            },
            planted_defect=planted_defect,
        )
        await system.start_replicas()
        system.load.allow(planted_defects.POISON_EVERY * poison_messages)
        deaths = [await _send_poison(system, replica, number) for number in range(poison_messages)]
        sent_alone = store.query("SELECT count(*) FROM messages WHERE state = 'sent' AND deaths = 2")
        held = set(store.held_for_deaths())
        history, verdict = await system.judge()
    poison_ids = {
        message_id for message_id, row in history.rows.items() if planted_defects.is_poison(row.uid)
    }
    verdict.unfinished = [one for one in verdict.unfinished if one not in poison_ids & held]
    return {
        **figures(history, verdict),
        "poison messages": poison_messages,
        "poison messages held": len(held & poison_ids),
        "max deaths per poison message": max(deaths),
        "other messages held": len(held - poison_ids),
        "other messages sent alone": int(sent_alone[0][0]),
    }


async def _send_poison(system: Deployment, replica: Replica, number: int) -> int:
    """Send a poison message among others, restart the replica whenever it dies, and return how often it did."""
    first = number * planted_defects.POISON_EVERY
    load = asyncio.create_task(system.load.run(first + planted_defects.POISON_EVERY, first))
    deaths = 0
    # No event tells that the replica has died or that the store has no work left.
    while not load.done() or await asyncio.to_thread(_is_busy, system.store):
        if not replica.running:
            deaths += 1
            system.excuse_resends()
            await replica.start()
        await asyncio.sleep(0.02)
    await load
    return deaths


def _is_busy(store: Store) -> bool:
    """Return whether any work is left, apart from messages that wait for the operator."""
    return store.count_open() > store.count_held()


async def drain(
    fork_server: ForkServer, folder: Path, store: Store, seed: int, *, drains: int, planted_defect: str = ""
) -> Figures:
    """Stop the gateway with SIGTERM under load: requests in flight are answered, and nothing is sent twice."""
    codes = []
    max_seconds = 0.0
    async with deployment(fork_server, folder, store, seed) as system:
        replica = system.add_replica(
            delivery={"uncertain_wait": 3.0}, timeout=5.0, planted_defect=planted_defect
        )
        await system.start_replicas()
        load = asyncio.create_task(system.load.run(40 * drains))
        for number in range(drains):
            system.load.allow(40)
            await system.load.wait_for_answers(40 * number + system.rng.randint(1, 20))
            began = time.monotonic()
            system.load.stop_times.append(began)
            replica.signal(signal.SIGTERM)
            codes.append(await replica.wait())
            max_seconds = max(max_seconds, time.monotonic() - began)
            await replica.start()
        system.load.allow(40 * drains)
        await load
        await system.settle()
        created = dict(store.query("SELECT uid, created_at FROM messages"))
        history, verdict = await system.judge()
    unanswered = system.load.unanswered
    ends = [end for _, _, end in unanswered]
    # A message that was stored before its request was cut off was in the gateway's hands.
    stored = sum(end == "cut off" and int(created[uid]) < cut_off * 1000 for uid, cut_off, end in unanswered)
    return {
        **figures(history, verdict),
        "drains": drains,
        "exit codes other than 0": sum(code != 0 for code in codes),
        "stored but not answered": stored,
        "refused": sum(end.startswith("refused") for end in ends),
        "cut off before they were stored": ends.count("cut off") - stored,
        "repeats cut off": ends.count("cut off, repeated"),
        "longest drain": f"{max_seconds:.1f} s",
    }
