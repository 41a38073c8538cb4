"""Claims of callbacks."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cache, partial
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Label,
    Text,
    TextClause,
    bindparam,
    cast,
    literal_column,
    select,
    text,
)

from gatepost.model import Channel, Status
from gatepost.outbox.claim_statement import claim_statement
from gatepost.outbox.json_rows import encoded_rows, json_rows
from gatepost.outbox.one_of import one_of
from gatepost.outbox.records import Callback
from gatepost.outbox.schema import messages, statuses
from gatepost.outbox.states import CallbackState
from gatepost.outbox.transaction import DialectPair, Transaction
from gatepost.outbox.watermark import FULL_SCAN, ClaimProgress, Watermark, claim_progress

MAX_UNASKED = 2
"""Claims of one transaction that are made without asking first which clients have callbacks due."""


class CallbackClaimRequest(NamedTuple):
    """A request for up to ``limit`` callbacks."""

    limit: int
    lease: float
    """Seconds."""
    client: str = ""
    """Only callbacks of this client; empty: of any client."""
    excluded_targets: frozenset[str] = frozenset()
    """No callbacks to these targets (``host:port``)."""
    target: str = ""
    """Only callbacks to this target; empty: to any target."""
    excluded_clients: frozenset[str] = frozenset()
    """No callbacks of these clients."""
    min_due_at: int = FULL_SCAN
    """Callbacks that were due before then are left out."""


class CallbackBatch(NamedTuple):
    """The callbacks of one claim, and how far it came."""

    callbacks: list[Callback]
    progress: ClaimProgress


class CallbackWatermarks:
    """The watermark of each client, for claims on PostgreSQL."""

    def __init__(self, *, active: bool) -> None:
        """Without ``active`` every claim reads the whole index."""
        self._active = active
        self._watermarks: defaultdict[str, Watermark] = defaultdict(Watermark)

    def apply(self, request: CallbackClaimRequest) -> CallbackClaimRequest:
        """Return the request with the due time at which it starts."""
        if not self._concern(request):
            return request
        min_due_at = self._watermarks[request.client].min_due_at(request.excluded_targets)
        return request._replace(min_due_at=min_due_at)

    def advance(self, requests: Sequence[CallbackClaimRequest], batches: Sequence[CallbackBatch]) -> None:
        """Note the progress of committed claims."""
        for request, batch in zip(requests, batches, strict=True):
            if self._concern(request):
                self._watermarks[request.client].advance(request.min_due_at, batch.progress)

    def _concern(self, request: CallbackClaimRequest) -> bool:
        # Callbacks to a single target, or of clients that are seldom claimed, may be older than all others.
        return self._active and not request.target and not request.excluded_clients


def claim_callbacks(
    tx: Transaction, calls: Sequence[Sequence[CallbackClaimRequest]]
) -> list[list[CallbackBatch]]:
    """Claim due callbacks for each request of each call, the longest due first."""
    without_due = _without_due(tx, [request for requests in calls for request in requests])
    return [
        [
            CallbackBatch([], claim_progress(tx, [], request.limit))
            if request in without_due
            else _claim(tx, request)
            for request in requests
        ]
        for requests in calls
    ]


def _without_due(
    tx: Transaction, requests: Sequence[CallbackClaimRequest]
) -> Collection[CallbackClaimRequest]:
    """Return requests for which no callback is due; none of them where there are too few to ask for.

    Of many clients only few have something due at a time, and a claim that finds nothing takes as long as one that finds
    something.
    """
    usual = {request for request in requests if request.client and not request.target}
    if len(usual) <= MAX_UNASKED:
        return ()
    values = encoded_rows((request.client, request.min_due_at) for request in usual)
    due = {row.client for row in tx.fetch(_due_clients, clients=values, now=tx.now)}
    return {request for request in usual if request.client not in due}


def _select_due_clients(*, postgresql: bool) -> TextClause:
    """Return the query for those of some clients that have a callback due.

    A subquery with a limit, not EXISTS: PostgreSQL would join that, and with a plan from when the table was empty it would
    read all that waits.
    """
    wanted = json_rows("clients", {"client": "TEXT", "min_due_at": "BIGINT"}, postgresql=postgresql)
    return text(
        f"SELECT wanted.client FROM {wanted} AS wanted WHERE "  # noqa: S608  constants
        f"(SELECT 1 FROM statuses WHERE statuses.callback_state = '{CallbackState.QUEUED.value}' "
        "AND statuses.client = wanted.client AND statuses.due_at >= wanted.min_due_at AND statuses.due_at <= :now LIMIT 1) = 1"
    ).bindparams(bindparam("now", type_=BigInteger))


_due_clients = DialectPair(_select_due_clients(postgresql=False), _select_due_clients(postgresql=True))


def has_state(*states: CallbackState) -> ColumnElement[bool]:
    """Return the condition that a status has one of these states.

    Literals, not parameters: with a parameter SQLite plans the statement anew each time, since the value may be that of a
    partial index, and PostgreSQL does not know beforehand that such an index has all these rows.
    """
    return statuses.c.callback_state.in_([literal_column(f"'{state.value}'") for state in sorted(states)])


def _of_message(column: Column[str]) -> Label[str]:
    # A subquery, because a statement of its own would be a second round trip to the server. Without the cast SQLite
    # reads the whole table.
    value = select(column).where(messages.c.id == cast(statuses.c.message_id, Text))
    return value.scalar_subquery().label(column.name)


_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "of_client": statuses.c.client == bindparam("of_client"),
    "excluded_clients": ~one_of(statuses.c.client, bindparam("excluded_clients")),
    "excluded_targets": ~one_of(statuses.c.target, bindparam("excluded_targets")),
    "to_target": statuses.c.target == bindparam("to_target"),
}


@cache
def _claim_due(conditions: tuple[str, ...]) -> DialectPair:
    """Return the claim with these conditions; cached, because building it takes longer than running it."""
    due = (
        select(statuses.c.seq, statuses.c.due_at)
        .where(
            has_state(CallbackState.QUEUED),
            statuses.c.due_at >= bindparam("min_due_at"),
            statuses.c.due_at <= bindparam("now"),
            *(_CONDITIONS[name] for name in conditions),
        )
        .order_by(statuses.c.due_at)
        .limit(bindparam("max_rows"))
    )
    columns = (
        statuses.c.seq,
        statuses.c.attempt,
        statuses.c.message_id,
        statuses.c.status,
        statuses.c.client,
        statuses.c.target,
        _of_message(messages.c.channel),
        _of_message(messages.c.callback_url),
    )
    new_state = {"callback_state": CallbackState.CALLING.value}
    build = partial(claim_statement, statuses.c.seq, due, new_state, columns)
    return DialectPair(build(postgresql=False), build(postgresql=True))


def _claim(tx: Transaction, request: CallbackClaimRequest) -> CallbackBatch:
    filters = {
        "of_client": request.client,
        "excluded_clients": sorted(request.excluded_clients),
        "excluded_targets": sorted(request.excluded_targets),
        "to_target": request.target,
    }
    parameters: dict[str, object] = {name: value for name, value in filters.items() if value}
    rows = tx.fetch(
        _claim_due(tuple(parameters)),
        **parameters,
        min_due_at=request.min_due_at,
        now=tx.now,
        max_rows=request.limit,
        lease_end=tx.after(request.lease),
        claimed_by=tx.holder,
    )
    callbacks = [
        Callback(
            seq=row.seq,
            attempt=row.attempt,
            message_id=row.message_id,
            client=row.client,
            channel=Channel(row.channel),
            status=Status(row.status),
            callback_url=row.callback_url,
            target=row.target,
        )
        for row in rows
        # Another process may be deleting the message.
        if row.channel is not None
    ]
    return CallbackBatch(callbacks, claim_progress(tx, rows, request.limit))
