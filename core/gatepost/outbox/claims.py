"""Claims of messages: claim what is due, renew leases, release claims that this process does not work on."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple, Required, TypedDict

from sqlalchemy import and_, bindparam, case, exists, null, select, update

from gatepost.content_keys import ContentKeyMissing, ContentKeys
from gatepost.outbox import deaths, forgotten_users
from gatepost.outbox.claim_statement import claim_statement
from gatepost.outbox.queues import any_queue
from gatepost.outbox.records import Claim, Queue
from gatepost.outbox.schema import attempts, contents, messages
from gatepost.outbox.states import State
from gatepost.outbox.suppressions import reason_of_message
from gatepost.outbox.transaction import DialectPair, Record, Transaction
from gatepost.outbox.turns import Rate, Turns
from gatepost.outbox.warmup_steps import Place, Warmup
from gatepost.outbox.warmups import Places
from gatepost.outbox.watermark import FULL_SCAN, ClaimProgress, Watermark, claim_progress


class ClaimRequest(NamedTuple):
    """A request for up to ``limit`` messages of a queue; without an id of the queue for their turns alone."""

    queue: Queue
    limit: int
    lease: float
    """Seconds."""
    min_due_at: int = FULL_SCAN
    """Messages that were due before then are left out."""
    state: State = State.QUEUED
    """QUEUED or SUSPECT."""
    rates: Sequence[Rate | None] = ()
    """The rate of the instance of each message, where the replicas share it; a claim stops where no turn is left."""
    lead: float = 0.0
    """Seconds that a message needs lately between its claim and its send; no turn is earlier."""
    warmups: Sequence[Warmup | None] = ()
    """The warm-up of the instance of each message, if it has one; a claim stops where no place is left."""


class ClaimBatch(NamedTuple):
    """The messages of one claim, and how far it came."""

    claims: list[Claim]
    progress: ClaimProgress | None
    """None: no turn or place was left, or only these were asked for."""
    turns: Sequence[float]
    """For each claim, or for each message that only needs a turn, its turn at its instance, as a time of the process's
    monotonic clock. Empty where no rate is shared."""
    next_claim_at: Mapping[str, float]
    """Instances without turns left, and when a claim should try again, by the monotonic clock."""
    places: Mapping[str, Place]
    """By instance that warms up the place of each of its messages."""
    full_until: Mapping[str, float]
    """Instances without places left, and until when others get their messages, by the monotonic clock."""

    @property
    def exhausted(self) -> bool:
        """Whether no further message was due."""
        return self.progress is not None and self.progress.exhausted


class QueueWatermarks:
    """The watermark of each queue, for claims on PostgreSQL."""

    def __init__(self, *, active: bool) -> None:
        """Without ``active`` every claim reads the whole index."""
        self._active = active
        self._watermarks: defaultdict[int, Watermark] = defaultdict(Watermark)

    def apply(self, request: ClaimRequest) -> ClaimRequest:
        """Return the request with the due time at which it starts."""
        # Suspects are few and may be older than all other messages.
        if not self._active or request.state is State.SUSPECT:
            return request
        return request._replace(min_due_at=self._watermarks[request.queue.id].min_due_at())

    def reached(self) -> Mapping[int, int]:
        """Return by queue the due time at which its next claim starts."""
        return {queue: watermark.min_due_at() for queue, watermark in self._watermarks.items()}

    def advance(self, requests: Sequence[ClaimRequest], batches: Sequence[ClaimBatch]) -> None:
        """Note the progress of committed claims."""
        if not self._active:
            return
        for request, batch in zip(requests, batches, strict=True):
            if request.state is not State.SUSPECT and batch.progress is not None:
                self._watermarks[request.queue.id].advance(request.min_due_at, batch.progress)


class Renewal(NamedTuple):
    """A claim whose lease is to last ``lease`` seconds from now."""

    id: str
    attempt: int
    lease: float


def claim(tx: Transaction, calls: Sequence[Sequence[ClaimRequest]]) -> list[list[ClaimBatch]]:
    """Claim due messages for each request of each call, the longest due first."""
    rates = {rate for requests in calls for request in requests for rate in request.rates if rate}
    lead = max((request.lead for requests in calls for request in requests), default=0.0)
    turns = Turns(tx, rates, lead)
    places = Places(
        tx, {plan for requests in calls for request in requests for plan in request.warmups if plan}
    )
    batches = [[_claim(tx, request, turns, places) for request in requests] for requests in calls]
    turns.store()
    return batches


_claim_statement = partial(
    claim_statement,
    messages.c.id,
    select(messages.c.id, messages.c.due_at)
    .where(
        messages.c.queue == bindparam("of_queue"),
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
        messages.c.country,
        messages.c.passed,
        messages.c.uid,
        messages.c.ext_user_id,
        messages.c.preview,
        messages.c.expires_at,
        # Subqueries, because a statement of their own would be a second round trip to the server.
        reason_of_message.label("suppressed"),
        forgotten_users.key_if_any.label("key_if_forgotten"),
        select(contents.c.content)
        .where(contents.c.message_id == messages.c.id)
        .scalar_subquery()
        .label("content"),
        case(
            (
                and_(messages.c.attempt > 1, exists().where(attempts.c.message_id == messages.c.id)),
                null(),
            ),
            else_=messages.c.created_at,
        ).label("untried_since"),
    ),
)
_claim_due = DialectPair(_claim_statement(postgresql=False), _claim_statement(postgresql=True))


def _claim(tx: Transaction, request: ClaimRequest, turns: Turns, places: Places) -> ClaimBatch:
    limit = places.available(request.warmups, turns.available(request.rates, request.limit))
    claims: list[Claim] = []
    progress = None
    # Messages without a queue are claimed already, and wait for an instance in this process.
    if limit and request.queue.id:
        claims, progress = _claim_due_messages(tx, request, limit)
        limit = len(claims)
    return ClaimBatch(
        claims,
        progress,
        [turns.take(rate) for rate in request.rates[:limit]],
        {**places.next_claim_at(), **turns.next_claim_at()},
        {place.instance: place for plan in request.warmups[:limit] if (place := places.take(plan))},
        places.full_until(),
    )


def _claim_due_messages(
    tx: Transaction, request: ClaimRequest, limit: int
) -> tuple[list[Claim], ClaimProgress]:
    rows = tx.fetch(
        _claim_due,
        of_queue=request.queue.id,
        in_state=request.state.value,
        min_due_at=request.min_due_at,
        now=tx.now,
        max_rows=limit,
        lease_end=tx.after(request.lease),
        claimed_by=tx.holder,
    )
    forgotten = _forgotten(tx, request.queue.client, rows)
    claims = [
        Claim(
            id=row.id,
            attempt=row.attempt,
            queue=request.queue,
            country=row.country,
            uid=row.uid,
            ext_user_id=row.ext_user_id,
            preview=row.preview,
            **_content(tx.policy.content_keys, row),
            lifetime=tx.seconds_until(row.expires_at),
            suppressed=row.suppressed or forgotten.get(row.ext_user_id, ""),
            passed=frozenset(row.passed.split()),
            waited=None if row.untried_since is None else -tx.seconds_until(row.untried_since),
        )
        for row in rows
    ]
    return claims, claim_progress(tx, rows, limit)


class _Content(TypedDict, total=False):
    content: Required[bytes]
    missing_key: str


def _content(keys: ContentKeys, row: Record) -> _Content:
    """Return the content of a claimed message; empty where it is erased or can't be read."""
    try:
        return {"content": keys.decrypt(row.id, bytes(row.content or b""))}
    except ContentKeyMissing as error:
        return {"content": b"", "missing_key": error.key}
    except ValueError:
        return {"content": b""}


def _forgotten(tx: Transaction, client: str, rows: Sequence[Record]) -> dict[str, str]:
    """Return the reason for each user of these messages who is forgotten."""
    key = rows[0].key_if_forgotten if rows else None
    users = {(client, row.ext_user_id) for row in rows}
    reasons = {user: reason for (_, user), reason in forgotten_users.reasons(tx, key, users).items()}
    # Another replica was storing them while the users were forgotten.
    late = [row.id for row in rows if row.ext_user_id in reasons and not row.preview]
    forgotten_users.add_erasures(tx, late)
    return reasons


_requeue = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"))
    .values(state=deaths.waiting_state, due_at=bindparam("now"))
)


def release_claims(tx: Transaction, calls: Sequence[frozenset[str]]) -> list[int]:
    """Queue again what this process has claimed, except these ids; return how many, for each call."""
    return [_release_claims(tx, ids_in_progress) for ids_in_progress in calls]


def _release_claims(tx: Transaction, ids_in_progress: frozenset[str]) -> int:
    own_claims = (
        select(messages.c.id)
        .where(
            any_queue(postgresql=tx.on_postgresql),
            messages.c.state == State.SENDING.value,
            messages.c.due_at.is_not(None),
            messages.c.holder == tx.holder,
        )
        .order_by(messages.c.id)
    )
    claimed = tx.connection.execute(tx.with_lock(own_claims)).scalars()
    unknown = [message_id for message_id in claimed if message_id not in ids_in_progress]
    if unknown:
        tx.execute_many(_requeue, [{"message_id": message_id, "now": tx.now} for message_id in unknown])
    return len(unknown)


_is_held = (
    messages.c.id == bindparam("claimed_id"),
    messages.c.attempt == bindparam("claimed_attempt"),
    messages.c.holder == bindparam("claimed_by"),
    messages.c.state == State.SENDING.value,
)
_renew = update(messages).where(*_is_held).values(due_at=bindparam("lease_end"))
_confirm = _renew.where(messages.c.due_at > bindparam("now"))


def renew(tx: Transaction, renewals: Sequence[Renewal]) -> list[None]:
    """Extend the leases of claims; a claim that was lost stays lost."""
    tx.execute_many(_renew, [_parameters(tx, renewal) for renewal in sorted(renewals)])
    return [None] * len(renewals)


def confirm(tx: Transaction, renewals: Sequence[Renewal]) -> list[bool]:
    """Extend the leases of claims; return for each whether this process held it until now."""
    held = {
        renewal: tx.connection.execute(_confirm, {**_parameters(tx, renewal), "now": tx.now}).rowcount == 1
        for renewal in sorted(set(renewals))
    }
    return [held[renewal] for renewal in renewals]


def _parameters(tx: Transaction, renewal: Renewal) -> dict[str, object]:
    return {
        "claimed_id": renewal.id,
        "claimed_attempt": renewal.attempt,
        "claimed_by": tx.holder,
        "lease_end": tx.after(renewal.lease),
    }
