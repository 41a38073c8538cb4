"""Scenarios with two versions on one database: the newer one has a migration that only adds."""

import asyncio
import signal
import time
from pathlib import Path

import made_up_migrations
from torture.deployment import Deployment, deployment
from torture.oracle import Figures, figures
from torture.replica import ForkServer, Replica
from torture.stores import Store

MESSAGES = 60
"""Messages while one replica is replaced."""


async def rolling(
    fork_server: ForkServer, folder: Path, store: Store, seed: int, *, rounds: int, planted_defect: str = ""
) -> Figures:
    """Under load, upgrade two replicas one after the other, and turn both back in the same way."""
    migrations = made_up_migrations.write_folder(folder, made_up_migrations.ADDS)
    newer = {
        "gatepost.outbox.migrate:FOLDER": str(migrations),
        "gatepost.outbox.migrate:HEAD": made_up_migrations.NEXT,
    }
    delivery, codes = {"uncertain_wait": 3.0}, []
    async with deployment(fork_server, folder, store, seed) as system:
        before = [
            system.add_replica(delivery=delivery, timeout=5.0, planted_defect=planted_defect)
            for _ in range(2)
        ]
        after = [system.add_replica(delivery=delivery, timeout=5.0, constants=newer) for _ in range(2)]
        system.out_of_service = {*after}
        await asyncio.gather(*(replica.start() for replica in before))
        store.watch()
        steps = [*zip(before, after, strict=True), *zip(after, before, strict=True)] * rounds
        load = asyncio.create_task(system.load.run(MESSAGES * len(steps)))
        for number, (leaving, coming) in enumerate(steps):
            system.load.allow(MESSAGES)
            await system.load.wait_for_answers(MESSAGES * number + system.rng.randint(1, MESSAGES // 2))
            codes.append(await _replace(system, leaving, coming))
        await load
        await system.settle()
        ((revision,),) = store.query("SELECT version_num FROM alembic_version")
        history, verdict = await system.judge()
    return {
        **figures(history, verdict),
        "replaced": len(codes),
        "exit codes other than 0": sum(code != 0 for code in codes),
        "requests not accepted at once": system.load.refused + len(system.load.unanswered),
        "starts on newer tables": sum(replica.count_in_log('"event": "store_newer"') for replica in before),
        "tables updated": int(revision == made_up_migrations.NEXT),
    }


async def _replace(system: Deployment, leaving: Replica, coming: Replica) -> int:
    """Start one replica, give it the requests of the other, and stop that one; return its exit code."""
    await coming.start()
    system.out_of_service = system.out_of_service - {coming} | {leaving}
    system.load.stop_times.append(time.monotonic())
    leaving.signal(signal.SIGTERM)
    return await leaving.wait()
