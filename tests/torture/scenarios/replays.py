"""A scenario in which gateways are killed while a provider that drops repeats loses answers."""

import random
from pathlib import Path

from torture.deployment import MAX_DELAY, deployment
from torture.oracle import Figures, figures
from torture.replay_oracle import ReplayHistory, judge_replays, longest_use
from torture.replay_provider import ReplayProvider
from torture.replica import ForkServer
from torture.scenarios.kills import kill_under_load
from torture.stores import Store

WINDOW = 4.0
"""Seconds for which the provider drops repeats: fewer than all the pauses before repeats take."""

_LATE = f"""
SELECT message_id FROM attempts GROUP BY message_id, attempt
HAVING max(started_at + duration) - min(started_at) >= {WINDOW * 1000}
"""
"""The messages with a try that ended after the window since the first try with the same key had begun."""

LOSSES = 0.4
"""The part of the requests that fail."""


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
    """Kill one of the replicas at random points with SIGKILL, and start it again each time.

    Gateways hold what stays uncertain, so that only the operator's retry may have a message sent once more.
    """
    provider = ReplayProvider(random.Random(seed + 1), window=WINDOW, losses=LOSSES, max_delay=MAX_DELAY)
    async with deployment(fork_server, folder, store, seed, provider=provider) as system:
        system.find_held = store.held
        for _ in range(replicas):
            system.add_replica(
                delivery={"uncertain_wait": 0.5, "uncertain": "hold"},
                timeout=1.0,
                constants={
                    "gatepost.delivery.leases:LEASE_FACTOR": 1.5,
                    "gatepost.delivery.suspects:SUSPECT_INTERVAL": 0.1,
                },
                planted_defect=planted_defect,
            )
        await system.start_replicas()
        await kill_under_load(system, messages, kills, retry_held=True)
        await system.settle()
        # No kill excuses a second send. The operator's retries do, and the oracle for replays knows of them.
        system.excuses = []
        late = store.query(_LATE)
        history, verdict = await system.judge()
        verdict.duplicated, verdict.resent = [], []
    replays = ReplayHistory(
        window=WINDOW,
        requests=provider.seen,
        retries=system.retries,
        kills={number: replica.kill_times for number, replica in enumerate(system.replicas)},
    )
    return {
        **figures(history, verdict),
        "kills": kills,
        "requests": len(provider.seen),
        "failures": provider.failures,
        "repeats dropped": provider.dropped,
        "retried by the operator": len(system.retries),
        "longest use of a key": f"{longest_use(provider.seen):.2f} s",
        **judge_replays(replays),
        "tries on disk after their window": len(late),
    }
