"""What is done to gateways under load; each returns what was counted."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from torture.bench import CONCURRENCY, bench
from torture.oracle import figures
from torture.stores import Store

Figures = Mapping[str, object]


async def kill(
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
    wait = 5.0 if reports else 0.5
    began = time.monotonic()
    async with bench(folder, store, seed, reports=reports) as world:
        for _ in range(replicas):
            world.add_replica(delivery={"uncertain_wait": wait}, timeout=1.0, order={"plant": plant})
        await asyncio.gather(*(replica.start() for replica in world.replicas))
        world.store.watch()
        load = asyncio.create_task(world.load(messages))
        share = messages // kills
        for number in range(kills):
            world.allow(share)
            await world.answered(number * share + world.rng.randint(1, share))
            await asyncio.sleep(world.rng.uniform(0, 0.15))
            victim = world.rng.choice(world.replicas)
            world.crashed()
            await victim.kill()
            world.crashed()
            await victim.start()
        world.allow(messages)
        await load
        await world.settle()
        history, verdict = await world.judged()
    return {
        **figures(history, verdict),
        "kills": kills,
        "resent a kill": round(len(verdict.resent) / kills, 3),
        "in flight at most": kills * CONCURRENCY,
        "seconds": round(time.monotonic() - began),
    }
