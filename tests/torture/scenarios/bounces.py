"""A scenario in which every mail bounces, while gateways are killed, restarted and reloaded."""

import asyncio
import random
import signal
from pathlib import Path

from torture.acknowledgements import count_repeats
from torture.bouncing_relay import BouncingRelay
from torture.deployment import MAX_DELAY, Deployment, deployment
from torture.oracle import Figures, figures
from torture.replica import ForkServer, Replica
from torture.stores import Store


async def kill(
    fork_server: ForkServer,
    folder: Path,
    store: Store,
    seed: int,
    *,
    messages: int,
    kills: int,
    replicas: int = 1,
    planted_defect: str = "",
) -> Figures:
    """Kill one of the replicas with SIGKILL at random points, as often stop one with SIGTERM, and as often reload one."""
    relay = BouncingRelay(random.Random(seed + 1), max_delay=MAX_DELAY)
    async with deployment(fork_server, folder, store, seed, provider=relay) as system:
        for _ in range(replicas):
            system.add_replica(
                delivery={"uncertain_wait": 6.0},
                timeout=3.0,
                constants={"gatepost.delivery.leases:LEASE_FACTOR": 1.5},
                planted_defect=planted_defect,
            )
        await system.start_replicas()
        await _disturb_under_load(system, messages, kills)
        await system.settle()
        waiting = relay.waiting
        history, verdict = await system.judge()
        repeats = count_repeats([replica.log.read_text() for replica in system.replicas])
    return {
        **figures(history, verdict),
        "kills": kills,
        "restarts": kills,
        "reloads": kills,
        "bounces": len(relay.acknowledged_reports),
        "bounces tried again": relay.deliveries - len(relay.acknowledged_reports),
        "replies to bounces lost": relay.lost_replies,
        "bounces refused": len(relay.refused),
        "bounces not taken": waiting,
        "callbacks repeated": len(history.callbacks) - len(set(history.callbacks)),
        "callbacks repeated after they were stored": repeats,
    }


async def _disturb_under_load(system: Deployment, messages: int, kills: int) -> None:
    disturbances = [_kill, _restart, _reload] * kills
    system.rng.shuffle(disturbances)
    load = asyncio.create_task(system.load.run(messages))
    share = messages // len(disturbances)
    for number, disturb in enumerate(disturbances):
        system.load.allow(share)
        await system.load.wait_for_answers(number * share + system.rng.randint(1, share))
        await asyncio.sleep(system.rng.uniform(0, 0.15))
        await disturb(system, system.rng.choice(system.replicas))
    system.load.allow(messages)
    await load


async def _kill(system: Deployment, replica: Replica) -> None:
    system.excuse_resends()
    await replica.kill()
    system.excuse_resends()
    await replica.start()


async def _restart(_system: Deployment, replica: Replica) -> None:
    replica.signal(signal.SIGTERM)
    code = await replica.wait()
    assert code == 0, f"the gateway ended with {code}"
    await replica.start()


async def _reload(_system: Deployment, replica: Replica) -> None:
    """Change a key of the plugin, so that another instance listens from now on."""
    config = replica.config.read_text()
    old, new = "connections = 16", "connections = 15"
    if old not in config:
        old, new = new, old
    assert old in config
    replica.config.write_text(config.replace(old, new))
    await replica.reload()
