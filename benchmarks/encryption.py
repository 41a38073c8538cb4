"""What `content_keys` cost a message: for the encryption alone, and of the CPU of the outbox.

    python benchmarks/encryption.py

One store has keys, the other one none. Both get the same mails in turn, which are accepted and claimed.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from driver import email
from gateways import SQLITE
from machine import Row

from claiming import claim_due
from gatepost.content_keys import ContentKeys
from gatepost.intake import requests
from gatepost.model import Channel, Secret
from gatepost.outbox import NewMessage, Outbox, Policy, new_id, open_outbox

KEYS = (Secret("1" * 64), Secret("2" * 64))
GOAL = 5.0
"""Microseconds for a message, to accept and to claim it."""

BATCH = 64
ROUNDS, WARMUP_ROUNDS = 100, 10
CALLS = 200


def rows() -> Iterator[Row]:
    """Yield the rows of this measurement."""
    request = requests.decode(Channel.EMAIL, email("bench", 0))
    content = requests.stored_content(request)
    alone = _alone(content, request.fingerprint)
    yield Row(
        "encryption, a message",
        sum(alone),
        "µs",
        GOAL,
        at_least=False,
        note=f"{alone[0]:.2f} to accept and {alone[1]:.2f} to claim {len(content):,} bytes",
    )
    with TemporaryDirectory() as folder:
        without, with_keys = asyncio.run(_in_outbox(Path(folder), content, request.fingerprint))
    yield Row(
        "encryption, CPU of the outbox",
        with_keys / without,
        "of no keys",
        note=f"{with_keys:.0f} µs each; without {without:.0f}",
    )


def _alone(content: bytes, fingerprint: bytes) -> tuple[float, float]:
    """Return the microseconds that keys add to accepting and to claiming a message."""
    keys, plain, name = ContentKeys(KEYS), ContentKeys(), new_id()
    stored = keys.encrypt(name, content)

    def accept(some: ContentKeys) -> None:
        some.encrypt(name, content)
        some.fingerprint(fingerprint)

    return (
        _difference(lambda: accept(keys), lambda: accept(plain)),
        _difference(lambda: keys.decrypt(name, stored), lambda: plain.decrypt(name, content)),
    )


def _difference(one: Callable[[], object], other: Callable[[], object]) -> float:
    """Return the median of how many microseconds more a call of the first one takes."""
    return median(_time(one) - _time(other) for _ in range(ROUNDS)) / CALLS * 1e6


def _time(call: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(CALLS):
        call()
    return time.process_time() - began


async def _in_outbox(folder: Path, content: bytes, fingerprint: bytes) -> list[float]:
    """Return the microseconds of CPU of a message, without keys and with them."""
    times: list[list[float]] = [[], []]
    async with AsyncExitStack() as stack:
        outboxes = []
        for keys in ((), KEYS):
            place = folder / str(len(keys))
            place.mkdir()
            policy = Policy(content_keys=ContentKeys(keys))
            outboxes.append(await stack.enter_async_context(open_outbox(Secret(SQLITE), place, policy)))
        for _ in range(WARMUP_ROUNDS + ROUNDS):
            for outbox, durations in zip(outboxes, times, strict=True):
                durations.append(await _step(outbox, content, fingerprint))
    return [median(durations[WARMUP_ROUNDS:]) / BATCH * 1e6 for durations in times]


async def _step(outbox: Outbox, content: bytes, fingerprint: bytes) -> float:
    new = [_message(content, fingerprint) for _ in range(BATCH)]
    began = time.process_time()
    await asyncio.gather(*map(outbox.put, new))
    await claim_due(outbox, Channel.EMAIL, BATCH, 60.0)
    return time.process_time() - began


def _message(content: bytes, fingerprint: bytes) -> NewMessage:
    name = new_id()
    return NewMessage(
        id=name,
        client="bench",
        channel=Channel.EMAIL,
        uid=name,
        fingerprint=fingerprint,
        ext_user_id="u1",
        preview="",
        callback_url="",
        content=content,
        lifetime=86_400.0,
    )


if __name__ == "__main__":
    for row in rows():
        print(f"{row.name}: {row.figure:.3g} {row.unit}; {row.note}")
