"""Claims of messages: claim what is due, renew leases, release claims that this process does not work on."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from gatepost.model import Channel
from gatepost.outbox import deaths
from gatepost.outbox.claim_statement import claim_statement
from gatepost.outbox.records import Claim
from gatepost.outbox.schema import contents, messages
from gatepost.outbox.states import State
from gatepost.outbox.transaction import DialectPair, Transaction, dialect_pair
from gatepost.outbox.watermark import FULL_SCAN, ClaimProgress, claim_progress


class ClaimRequest(NamedTuple):
    """A request for up to ``limit`` messages of a channel."""

    channel: Channel
    limit: int
    lease: float
    """Seconds."""
    min_due_at: int = FULL_SCAN
    """Messages that were due before then are left out."""
    state: State = State.QUEUED
    """QUEUED or SUSPECT."""


class ClaimBatch(NamedTuple):
    """The messages of one claim, and how far it came."""

    claims: list[Claim]
    progress: ClaimProgress


class Renewal(NamedTuple):
    """A claim whose lease is to last ``lease`` seconds from now."""

    id: str
    attempt: int
    lease: float


class ReleaseRequest(NamedTuple):
    """A channel, and the ids of its messages that this process works on."""

    channel: Channel
    ids_in_progress: frozenset[str]


def claim(tx: Transaction, requests: Sequence[ClaimRequest]) -> list[ClaimBatch]:
    """Claim due messages for each request, the longest due first."""
    return [_claim(tx, request) for request in requests]


_claim_statement = partial(
    claim_statement,
    messages.c.id,
    select(messages.c.id, messages.c.due_at)
    .where(
        messages.c.channel == bindparam("of_channel"),
        messages.c.state == bindparam("in_state"),
        messages.c.due_at >= bindparam("min_due_at"),
        messages.c.due_at <= bindparam("now"),
    )
    .order_by(messages.c.due_at)
    .limit(bindparam("max_rows")),
    {"state": State.SENDING.value},
    (
        messages.c.id,
        messages.c.attempt,
        messages.c.client,
        messages.c.ext_user_id,
        messages.c.preview,
        messages.c.expires_at,
        # A subquery, because a statement of its own would be a second round trip to the server.
        select(contents.c.content)
        .where(contents.c.message_id == messages.c.id)
        .scalar_subquery()
        .label("content"),
    ),
)
_claim_due = DialectPair(_claim_statement(postgresql=False), _claim_statement(postgresql=True))


def _claim(tx: Transaction, request: ClaimRequest) -> ClaimBatch:
    rows = tx.execute(
        _claim_due,
        of_channel=request.channel.value,
        in_state=request.state.value,
        min_due_at=request.min_due_at,
        now=tx.now,
        max_rows=request.limit,
        lease_end=tx.after(request.lease),
        claimed_by=tx.holder,
    ).all()
    claims = [
        Claim(
            id=row.id,
            attempt=row.attempt,
            client=row.client,
            channel=request.channel,
            ext_user_id=row.ext_user_id,
            preview=row.preview,
            content=bytes(row.content or b""),
            lifetime=tx.seconds_until(row.expires_at),
        )
        for row in rows
    ]
    return ClaimBatch(claims, claim_progress(tx, rows, request.limit))


_own_claims = dialect_pair(
    lambda add_lock: add_lock(
        select(messages.c.id)
        .where(
            messages.c.channel == bindparam("of_channel"),
            messages.c.state == State.SENDING.value,
            messages.c.due_at.is_not(None),
            messages.c.holder == bindparam("claimed_by"),
        )
        .order_by(messages.c.id)
    )
)
_requeue = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"))
    .values(state=deaths.waiting_state, due_at=bindparam("now"))
)


def release_claims(tx: Transaction, requests: Sequence[ReleaseRequest]) -> list[int]:
    """Queue again what this process has claimed but does not work on; return how many, for each request."""
    return [_release_claims(tx, request) for request in requests]


def _release_claims(tx: Transaction, request: ReleaseRequest) -> int:
    claimed = tx.execute(_own_claims, of_channel=request.channel.value, claimed_by=tx.holder).scalars()
    unknown = [message_id for message_id in claimed if message_id not in request.ids_in_progress]
    if unknown:
        tx.execute_many(_requeue, [{"message_id": message_id, "now": tx.now} for message_id in unknown])
    return len(unknown)


_renew = (
    update(messages)
    .where(
        messages.c.id == bindparam("claimed_id"),
        messages.c.attempt == bindparam("claimed_attempt"),
        messages.c.holder == bindparam("claimed_by"),
        messages.c.state == State.SENDING.value,
    )
    .values(due_at=bindparam("lease_end"))
)


def renew(tx: Transaction, renewals: Sequence[Renewal]) -> list[None]:
    """Extend the leases of claims; a claim that was lost stays lost."""
    tx.execute_many(
        _renew,
        [
            {
                "claimed_id": renewal.id,
                "claimed_attempt": renewal.attempt,
                "claimed_by": tx.holder,
                "lease_end": tx.after(renewal.lease),
            }
            for renewal in sorted(renewals)
        ],
    )
    return [None] * len(renewals)
