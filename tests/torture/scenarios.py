# ruff: noqa: ASYNC110, ASYNC221  it watches other processes, and blocks nobody but itself
"""What is done to gateways under load; each returns what was counted."""

import asyncio
import contextlib
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import asyncpg

from gatepost.plugin_host.instances import SEND_OVERRUN
from gatepost.testing import emulator
from torture import planted_faults
from torture.bench import CONCURRENCY, QUICK, bench
from torture.clocks import ProcessClock, StoreClock
from torture.oracle import figures
from torture.replica import ForkServer
from torture.stores import Postgresql, Sqlite, Store

Figures = Mapping[str, object]


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
    plant: str = "",
) -> Figures:
    """kill -9 at random points under load; the gateway comes back each time."""
    # With time enough that it is kills that are counted, and not how slow the machine is.
    wait, timeout, leases = (6.0, 3.0, 1.5) if reports else (0.5, 2.0, 1.5)
    began = time.monotonic()
    async with bench(fork_server, folder, store, seed, reports=reports) as run:
        for _ in range(replicas):
            order = {"plant": plant, "set": {**QUICK, "gatepost.delivery.leases:LEASE_FACTOR": leases}}
            run.add_replica(delivery={"uncertain_wait": wait}, timeout=timeout, order=order)
        await asyncio.gather(*(replica.start() for replica in run.replicas))
        run.store.watch()
        load = asyncio.create_task(run.load(messages))
        share = messages // kills
        for number in range(kills):
            run.allow(share)
            await run.answered(number * share + run.rng.randint(1, share))
            await asyncio.sleep(run.rng.uniform(0, 0.15))
            victim = run.rng.choice(run.replicas)
            run.crashed()
            await victim.kill()
            run.crashed()
            await victim.start()
        run.allow(messages)
        await load
        await run.settle()
        history, verdict = await run.judged()
    return {
        **figures(history, verdict),
        "kills": kills,
        "blamed for them, and sent again": len(run.blamed),
        "resent a kill": round(len(verdict.resent) / kills, 3),
        "in flight at most": kills * CONCURRENCY,
        "resent of what was in flight": round(len(verdict.resent) / (kills * CONCURRENCY), 3),
        "seconds": round(time.monotonic() - began),
    }


async def poison(
    fork_server: ForkServer, folder: Path, store: Store, seed: int, *, poisons: int, plant: str = "poison"
) -> Figures:
    """Messages that kill the process that sends them, each among fifteen that don't, one after the other."""
    began = time.monotonic()
    died = []
    async with bench(fork_server, folder, store, seed, reports=False, most=planted_faults.SICKENING) as run:
        order = {
            "plant": plant,
            "set": {
                **QUICK,
                "gatepost.delivery.leases:LEASE_FACTOR": 0.5,
                "gatepost.delivery.suspects:SUSPECT_INTERVAL": 0.1,
            },
        }
        replica = run.add_replica(delivery={"uncertain_wait": 0.1}, timeout=1.0, order=order)
        await replica.start()
        store.watch()
        run.allow(planted_faults.DEADLY * poisons)
        for number in range(poisons):
            first = number * planted_faults.DEADLY
            load = asyncio.create_task(run.load_range(first, first + planted_faults.DEADLY))
            deaths = 0
            while not load.done() or await asyncio.to_thread(_goes_on, store):
                if not replica.running:
                    deaths += 1
                    run.crashed()
                    await replica.start()
                await asyncio.sleep(0.02)
            died.append(deaths)
            await load
        alone = int(store.query("SELECT count(*) FROM messages WHERE state = 'sent' AND deaths = 2")[0][0])
        blamed = set(store.blamed())
        history, verdict = await run.judged()
    deadly = {identity for identity, row in history.rows.items() if planted_faults.is_deadly(row.uid)}
    verdict.unfinished = [identity for identity in verdict.unfinished if identity not in deadly & blamed]
    return {
        **figures(history, verdict),
        "poisons": poisons,
        "held of them": len(blamed & deadly),
        "deaths for each at most": max(died),
        "innocents held": len(blamed - deadly),
        "innocents sent alone": alone,
        "seconds": round(time.monotonic() - began),
    }


def _goes_on(store: Store) -> bool:
    """Whether something waits, and not only for the operator."""
    return store.waiting() > store.held()


async def zombie(
    fork_server: ForkServer, folder: Path, store: Store, seed: int, *, zombies: int, plant: str = ""
) -> Figures:
    """Replicas stopped past their lease and woken again, three at a time, while two others work on."""
    began = time.monotonic()
    # Nobody shall lose an answer but by being stopped, however slow the machine is.
    timeout, wait, leases = 2.0, 0.3, 1.5
    lease = leases * (timeout + SEND_OVERRUN)
    async with bench(fork_server, folder, store, seed, reports=False, most=0.1) as run:
        for _ in range(5):
            order = {"plant": plant, "set": {**QUICK, "gatepost.delivery.leases:LEASE_FACTOR": leases}}
            run.add_replica(delivery={"uncertain_wait": wait}, timeout=timeout, order=order)
        await asyncio.gather(*(replica.start() for replica in run.replicas))
        store.watch()
        load = asyncio.create_task(run.load(10_000_000))
        run.allow(100)
        stopped = 0
        while stopped < zombies:
            run.allow(80)
            await run.busy(12)
            victims = run.rng.sample(run.replicas, min(3, zombies - stopped))
            stopped += len(victims)
            run.asleep = set(victims)
            run.crashed()
            for victim in victims:
                victim.signal(signal.SIGSTOP)
            # Past the lease, the sweep that finds it, the wait, and the sweep that queues it again.
            await asyncio.sleep(lease + wait + 2.0)
            run.crashed()
            for victim in victims:
                victim.signal(signal.SIGCONT)
            run.asleep = set()
        await run.answered(run.allowed)
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
        await run.settle()
        history, verdict = await run.judged()
        lost_claims = sum(replica.said("claim_lost") for replica in run.replicas)
    return {
        **figures(history, verdict),
        "zombies": zombies,
        "stopped for": f"{lease + wait + 2.0:.1f} s (lease {lease:.1f} s)",
        "finished twice": len(verdict.finished_twice),
        "outcomes turned away": lost_claims,
        "seconds": round(time.monotonic() - began),
    }


async def orphan(fork_server: ForkServer, folder: Path, store: Store, seed: int, *, orphans: int) -> Figures:
    """A replica that never comes back, and one that does under the same name: who takes over, and when."""
    began = time.monotonic()
    timeout, leases = 3.0, 1.5
    lease = leases * (timeout + SEND_OVERRUN)
    taken_over = []
    async with bench(fork_server, folder, store, seed, reports=False, most=0.1) as run:
        for _ in range(2):
            order = {"set": {**QUICK, "gatepost.delivery.leases:LEASE_FACTOR": leases}}
            run.add_replica(delivery={"uncertain_wait": 0.3}, timeout=timeout, order=order)
        await asyncio.gather(*(replica.start() for replica in run.replicas))
        store.watch()
        total = 0
        for number in range(orphans):
            total += 60
            load = asyncio.create_task(run.load_range(total - 60, total))
            run.allow(60)
            await run.busy(12)
            victim = run.replicas[1]
            run.crashed()
            watching = await _watching(store, lease)
            await victim.kill()
            if number % 2:
                await victim.start()
            run.asleep = set() if number % 2 else {victim}
            taken_over.append(await watching)
            await load
            if not number % 2:
                await victim.start()
                run.asleep = set()
        await run.settle()
        history, verdict = await run.judged()
    return {
        **figures(history, verdict),
        "orphans": orphans,
        "lease": lease,
        "taken over after at most": round(max(taken_over), 1),
        "seconds after the lease": round(max(taken_over) - lease, 1),
        "seconds": round(time.monotonic() - began),
    }


async def _watching(store: Store, lease: float) -> "asyncio.Task[float]":
    """A task that gives the seconds until nobody holds any more what was claimed before this call."""
    connection = await asyncpg.connect(store.url)
    killed, began = await moment(connection), time.monotonic()

    async def taken_over() -> float:
        try:
            await asyncio.sleep(lease / 2)
            while await held_before(connection, killed, lease):
                await asyncio.sleep(0.1)
            return time.monotonic() - began
        finally:
            await connection.close()

    return asyncio.create_task(taken_over())


async def moment(connection: asyncpg.Connection) -> float:
    """Milliseconds since the epoch by the clock of the database, which the leases run by."""
    return float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp()) * 1000"))


async def held_before(connection: asyncpg.Connection, then: float, lease: float) -> int:
    """Claims that were made before this moment and are held still."""
    claimed = f"due_at - {lease * 1000:.0f} <= {then}"
    return int(
        await connection.fetchval(f"SELECT count(*) FROM messages WHERE state = 'sending' AND {claimed}")
    )


async def database(
    fork_server: ForkServer, folder: Path, store: Postgresql, seed: int, *, restarts: int, terminations: int
) -> Figures:
    """The server restarted, by a crash every other time, and backends terminated, all under load."""
    began = time.monotonic()
    async with bench(fork_server, folder, store, seed) as run:
        for _ in range(2):
            run.add_replica(delivery={"uncertain_wait": 10.0}, timeout=5.0)
        await asyncio.gather(*(replica.start() for replica in run.replicas))
        store.watch()
        faults = ["restart"] * restarts + ["terminate"] * terminations
        run.rng.shuffle(faults)
        messages = 30 * len(faults)
        load = asyncio.create_task(run.load(messages))
        cut = 0
        for number, fault in enumerate(faults):
            run.allow(30)
            await run.answered(number * 30 + run.rng.randint(1, 20))
            run.crashed()
            if fault == "restart":
                await asyncio.to_thread(store.server.restart, run.rng.choice(["fast", "immediate"]))
            else:
                cut += await asyncio.to_thread(store.server.terminate_backends, store.name)
            run.crashed()
        run.allow(messages)
        await load
        await run.settle()
        running = sum(replica.running for replica in run.replicas)
        history, verdict = await run.judged()
    return {
        **figures(history, verdict),
        "restarts": restarts,
        "terminations": terminations,
        "backends cut off": cut,
        "answered with 12": run.refused,
        "gateways that ended": len(run.replicas) - running,
        "seconds": round(time.monotonic() - began),
    }


async def full_disk(fork_server: ForkServer, folder: Path, seed: int, *, messages: int) -> Figures:
    """A file on a disk that fills up, and has room again; and a file that somebody else holds locked."""
    began = time.monotonic()
    disk = folder / "disk"
    disk.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        return {"skipped": "no right to mount a tmpfs"}
    store = Sqlite(disk)
    store.url = f"sqlite:///{disk}/outbox.db"
    try:
        async with bench(fork_server, folder, store, seed) as run:
            run.add_replica(delivery={"uncertain_wait": 3.0}, timeout=1.0)
            await run.replicas[0].start()
            load = asyncio.create_task(run.load(messages))
            run.allow(messages // 3)
            await run.answered(messages // 6)
            _fill(disk / "filler")
            run.crashed()
            await _until(lambda: run.refused > 20)
            (disk / "filler").unlink()
            run.crashed()
            run.allow(messages // 3)
            await run.answered(messages // 2)
            refused = run.refused
            locking = sqlite3.connect(store.path, isolation_level=None)
            locking.execute("BEGIN IMMEDIATE")
            run.crashed()
            await _until(lambda: run.refused > refused)
            locking.execute("ROLLBACK")
            locking.close()
            run.crashed()
            run.allow(messages)
            await load
            await run.settle()
            up = run.replicas[0].running
            history, verdict = await run.judged()
    finally:
        subprocess.run(["umount", "-l", disk], check=False)
    return {
        **figures(history, verdict),
        "refused on the full disk": refused,
        "refused while locked": run.refused - refused,
        "gateways that ended": int(not up),
        "seconds": round(time.monotonic() - began),
    }


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


async def drain(
    fork_server: ForkServer, folder: Path, store: Store, seed: int, *, drains: int, plant: str = ""
) -> Figures:
    """SIGTERM under load; what was in hand is answered, and nothing is sent twice."""
    began = time.monotonic()
    codes = []
    async with bench(fork_server, folder, store, seed) as run:
        run.add_replica(delivery={"uncertain_wait": 3.0}, timeout=5.0, order={"plant": plant})
        (replica,) = run.replicas
        await replica.start()
        load = asyncio.create_task(run.load(40 * drains))
        longest = 0.0
        for number in range(drains):
            run.allow(40)
            await run.answered(40 * number + run.rng.randint(1, 20))
            asked = time.monotonic()
            run.stops.append(asked)
            replica.signal(signal.SIGTERM)
            codes.append(await replica.ended())
            longest = max(longest, time.monotonic() - asked)
            await replica.start()
        run.allow(40 * drains)
        await load
        await run.settle()
        created = dict(store.query("SELECT uid, created_at FROM messages"))
        # What was on disk before its request broke off was in the gateway's hands.
        stored_unanswered = [
            uid for uid, known, how in run.broken_off if how == "cut off" and int(created[uid]) < known * 1000
        ]
        history, verdict = await run.judged()
    return {
        **figures(history, verdict),
        "drains": drains,
        "ended with another code than 0": sum(code != 0 for code in codes),
        "stored and not answered": len(stored_unanswered),
        "refused": sum(how.startswith("refused") for _, _, how in run.broken_off),
        "cut off unread": sum(how == "cut off" for _, _, how in run.broken_off) - len(stored_unanswered),
        "repeats cut off": sum(how == "cut off, repeated" for _, _, how in run.broken_off),
        "longest": f"{longest:.1f} s",
        "seconds": round(time.monotonic() - began),
    }


_FAULTS: Sequence[Callable[[random.Random], emulator.Failure]] = (
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
    """A provider that fails in every way it can, three times out of ten."""
    began = time.monotonic()
    # What is held, also after the second lost answer, has failed when its lifetime ends.
    policy = {
        "uncertain_wait": 2.0,
        "uncertain": "hold" if hold else "resend",
        "email_lifetime": 40.0 if hold else 60.0,
    }
    async with bench(fork_server, folder, store, seed, reports=not hold) as run:
        faults = random.Random(seed)
        run.provider.choose = lambda: (
            faults.choice(_FAULTS)(faults) if faults.random() < 0.3 else emulator.NO_FAILURE
        )
        run.add_replica(delivery=policy, timeout=1.0)
        await run.replicas[0].start()
        run.allow(messages)
        await run.load(messages)
        await run.settle()
        # After every one of these the gateway can't know; without a report it may send once more.
        run.excuses = [] if hold else run.provider.lost_answers
        history, verdict = await run.judged()
    states = [row.state for row in history.rows.values()]
    return {
        **figures(history, verdict),
        "faults": run.provider.faults,
        "answers lost after taking": len(run.provider.lost_answers),
        "policy": policy["uncertain"],
        "ended as sent": states.count("sent"),
        "ended as failed": states.count("failed"),
        "seconds": round(time.monotonic() - began),
    }


async def clock(
    fork_server: ForkServer, folder: Path, seed: int, *, jumps: int, clock: StoreClock | ProcessClock
) -> Figures:
    """The clock jumps by an hour or a year, both ways, under load."""
    began = time.monotonic()
    store = Sqlite(folder)
    hour, year = 3600, 365 * 86_400
    # By a clock that is a year off the signature of a report is none, and rightly so.
    async with bench(fork_server, folder, store, seed, reports=isinstance(clock, StoreClock)) as run:
        delivery = {"uncertain_wait": 1.0, "retention": 9.0 * year}
        run.add_replica(delivery=delivery, timeout=2.0, order=clock.order)
        await run.replicas[0].start()
        load = asyncio.create_task(run.load(40 * jumps))
        taken = 0
        for number in range(jumps):
            run.allow(40)
            await run.answered(40 * number + run.rng.randint(1, 30))
            # Something shall have ended by the clock as it is.
            await run.sent(taken + 15)
            taken = len(run.provider.history_sends)
            run.crashed()
            clock.put((year, -hour, 0, -year, hour)[number % 5])
        run.allow(40 * jumps)
        await load
        # What was tried in the hour that was taken back is due when that hour has passed: let it pass.
        clock.put(hour + hour // 2)
        run.crashed()
        await run.settle()
        history, verdict = await run.judged()
    states = [row.state for row in history.rows.values()]
    ended = [int(row[0]) for row in store.query("SELECT ended_at FROM messages")]
    return {
        **figures(history, verdict),
        "jumps": jumps,
        "days between the first and the last": round((max(ended) - min(ended)) / 86_400_000),
        "ended as failed": states.count("failed"),
        "seconds": round(time.monotonic() - began),
    }
