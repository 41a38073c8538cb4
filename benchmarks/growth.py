"""*Growth*: the cost of the same steps in a small store and in a large one.

``python benchmarks/growth.py DEPTH...`` puts DEPTH messages into a store each, then does the same steps in all
stores in turn: accept 64 messages, claim 64, record 64 as sent. So each store keeps its depth. Prints medians
in seconds as JSON.
"""

import asyncio
import gc
import json
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from uuid import uuid4

from driver import email
from gateways import SQLITE, fill_queue
from machine import Row, run_script

from claiming import claim_due
from gatepost.intake import requests
from gatepost.model import Channel, Secret
from gatepost.outbox import Claim, NewMessage, Outbox, Policy, SendResult, Try, new_id, open_outbox
from gatepost.outbox.states import State

BATCH = 64
ROUNDS = 200
WARMUP_ROUNDS = 20

STEP_GOAL = 1.5
"""Largest ratio of the time of an accept or claim."""

CPU_GOAL = 1.25
"""Largest ratio of the CPU of a message."""

Times = dict[str, list[float]]


def rows(largest: int) -> Iterator[Row]:
    """Compare the large depths with the small ones."""
    figures = run_script(
        "growth.py", 100, 10_000, 100_000, *([largest] if largest > 100_000 else []), timeout=1200
    )
    for large in (100_000, largest) if largest > 100_000 else (100_000,):
        for step in ("accept", "claim"):
            now, before = figures[f"{step} {large}"], figures[f"{step} 10000"]
            yield Row(
                f"growth, {step}: {large:,} rows",
                now / before,
                "of 10,000 rows",
                STEP_GOAL,
                at_least=False,
                note=f"{now * 1000:.1f} ms for {BATCH}; with 10,000 {before * 1000:.1f}",
            )
        now, before = figures[f"cpu {large}"], figures["cpu 100"]
        yield Row(
            f"growth, CPU a message: {large:,} queued",
            now / before,
            "of 100 queued",
            CPU_GOAL,
            at_least=False,
            note=f"{now / BATCH * 1e6:.0f} µs in, claimed and sent; with 100 {before / BATCH * 1e6:.0f}",
        )


def _message(content: bytes) -> NewMessage:
    return NewMessage(
        id=new_id(),
        client="bench",
        channel=Channel.EMAIL,
        uid=str(uuid4()),
        fingerprint=b"",
        ext_user_id="u1",
        preview="",
        callback_url="",
        content=content,
        lifetime=86_400.0,
    )


async def _measure_time(step: Awaitable[list[Claim]], durations: list[float]) -> list[Claim]:
    began = time.perf_counter()
    result = await step
    durations.append(time.perf_counter() - began)
    return result


async def _step(outbox: Outbox, content: bytes, times: Times) -> None:
    new = [_message(content) for _ in range(BATCH)]
    began = time.process_time()
    await _measure_time(asyncio.gather(*(outbox.put(one) for one in new)), times["accept"])
    claims = await _measure_time(claim_due(outbox, Channel.EMAIL, BATCH, 60.0), times["claim"])
    results = [
        SendResult(
            id=claim.id,
            attempt=claim.attempt,
            state=State.SENT,
            instance="out",
            tries=[Try(instance="out", outcome="sent", provider_id=claim.id)],
        )
        for claim in claims
    ]
    await asyncio.gather(*(outbox.finish(result) for result in results))
    times["cpu"].append(time.process_time() - began)


async def _measure(folders: dict[int, Path], content: bytes) -> dict[str, float]:
    times: dict[int, Times] = {depth: defaultdict(list) for depth in folders}
    async with AsyncExitStack() as stack:
        outboxes = {
            depth: await stack.enter_async_context(open_outbox(Secret(SQLITE), folder, Policy()))
            for depth, folder in folders.items()
        }
        gc.collect()
        for _ in range(WARMUP_ROUNDS + ROUNDS):
            for depth, outbox in outboxes.items():
                await _step(outbox, content, times[depth])
    return {
        f"{step} {depth}": median(durations[WARMUP_ROUNDS:])
        for depth, steps in times.items()
        for step, durations in steps.items()
    }


def main() -> None:
    content = requests.stored_content(requests.decode(Channel.EMAIL, email("fill", 0)))
    with TemporaryDirectory() as name:
        folders = {int(depth): Path(name) / depth for depth in sys.argv[1:]}
        for depth, folder in folders.items():
            folder.mkdir()
            fill_queue(folder, depth, content=content[:1000])
        print(json.dumps(asyncio.run(_measure(folders, content))))


if __name__ == "__main__":
    main()
