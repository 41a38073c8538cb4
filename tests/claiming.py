"""Claims of due messages by channel and leases by name, for tests and benchmarks that need no planner; a clock far from midnight."""

import time
from typing import Any

from sqlalchemy import Connection

from gatepost.model import Channel
from gatepost.outbox import Callback, CallbackResult, Claim, Outbox, SendResult, Try, named_leases
from gatepost.outbox.callbacks import CallbackClaimRequest
from gatepost.outbox.claims import ClaimRequest
from gatepost.outbox.states import State

_NOON = 20_833 * 86_400 + 43_200
_START = time.monotonic()


def from_noon(_connection: Connection) -> int:
    """Return the time in milliseconds on a clock that began at noon (UTC), for use as the database's clock.

    With the real one, a test that counts by the day would fail when midnight comes in the middle of it.
    """
    return round((_NOON + time.monotonic() - _START) * 1000)


async def claim_due(
    outbox: Outbox, channel: Channel, limit: int, lease: float, state: State = State.QUEUED
) -> list[Claim]:
    """Claim up to ``limit`` due messages of a channel for ``lease`` seconds, one queue after the other."""
    claims: list[Claim] = []
    for queue in await outbox.due_queues(state):
        if queue.channel is channel and len(claims) < limit:
            request = ClaimRequest(queue, limit - len(claims), lease, state=state)
            (batch,) = await outbox.claim(lambda request=request: [request])
            claims += batch.claims
    return claims


async def claim_due_suspect(outbox: Outbox, channel: Channel, lease: float) -> list[Claim]:
    """Claim one due suspect of a channel."""
    return await claim_due(outbox, channel, 1, lease, State.SUSPECT)


def result_of(
    claim: Claim, state: State = State.SENT, *, instance: str = "", provider_id: str = "", **fields: Any
) -> SendResult:
    """Return the result of a claim after one try."""
    one = Try(instance=instance, outcome="sent", provider_id=provider_id)
    return SendResult(
        id=claim.id, attempt=claim.attempt, state=state, instance=instance, tries=[one], **fields
    )


async def claim_callbacks(outbox: Outbox, limit: int, lease: float, **which: Any) -> list[Callback]:
    """Claim up to ``limit`` due callbacks for ``lease`` seconds, of all clients unless ``which`` says of which."""
    (claimed,) = await outbox.claim_callbacks(lambda: [CallbackClaimRequest(limit, lease, **which)])
    return list(claimed)


async def finish_callback(outbox: Outbox, result: CallbackResult) -> bool:
    """Record the result of one callback; return False when the claim was lost."""
    (recorded,) = await outbox.finish_callbacks(lambda: [result])
    return recorded


async def acquire_lease(outbox: Outbox, name: str, seconds: float) -> bool:
    """Take or renew a lease; return whether this process has it."""
    return await outbox.coordinate(named_leases.acquire, named_leases.LeaseRequest(name, seconds))
