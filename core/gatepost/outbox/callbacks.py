"""Claims of callbacks: in order for each message, one at a time."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Executable, bindparam, exists, func, select, update
from sqlalchemy.engine import Row

from gatepost.model import Channel, Status
from gatepost.outbox.records import Callback, CallbackResult
from gatepost.outbox.schema import messages, statuses
from gatepost.outbox.states import OPEN, CallbackState
from gatepost.outbox.transaction import IDS, Transaction, chunks, dialect_pair
from gatepost.outbox.watermark import EVERYTHING, ClaimProgress, progress, taking

LOOK = 2_000
"""Statuses that are looked at for stranded ones in one go."""


class CallbackClaimRequest(NamedTuple):
    """A caller's wish: so many calls, to be held for so many seconds."""

    most: int
    lease: float
    client: str = ""
    """Of this client's messages; empty: of any client's."""
    resting: frozenset[str] = frozenset()
    """None to these targets."""
    only: str = ""
    """To this target alone; empty: to any."""
    besides: frozenset[str] = frozenset()
    """None of these clients' messages."""
    since: int = EVERYTHING
    """None that was due before then."""


class ClaimedCallbacks(NamedTuple):
    """What a caller is given, and how far that came."""

    calls: list[Callback]
    progress: ClaimProgress


def claim_callbacks(tx: Transaction, wants: Sequence[CallbackClaimRequest]) -> list[ClaimedCallbacks]:
    """Hand out the calls that are due, the longest due first."""
    return [_claim(tx, want) for want in wants]


_WHICH: Mapping[str, ColumnElement[bool]] = {
    "of_client": statuses.c.client == bindparam("of_client"),
    "besides": statuses.c.client.not_in(bindparam("besides", expanding=True)),
    "resting": statuses.c.target.not_in(bindparam("resting", expanding=True)),
    "only": statuses.c.target == bindparam("only"),
}


@cache
def _taking(which: tuple[str, ...], *, many_writers: bool) -> Executable:
    """The statement that claims under these conditions; put together once, which takes longer than to run it."""
    due = (
        select(statuses.c.seq, statuses.c.due_at)
        .where(
            statuses.c.callback_state == CallbackState.QUEUED.value,
            statuses.c.due_at >= bindparam("since"),
            statuses.c.due_at <= bindparam("now"),
            *(_WHICH[name] for name in which),
        )
        .order_by(statuses.c.due_at)
        .limit(bindparam("most"))
    )
    return taking(
        statuses.c.seq,
        due,
        {
            "callback_state": CallbackState.CALLING.value,
            "due_at": bindparam("until"),
            "attempt": statuses.c.attempt + 1,
            "holder": bindparam("by"),
        },
        (
            statuses.c.seq,
            statuses.c.attempt,
            statuses.c.message_id,
            statuses.c.status,
            statuses.c.client,
            statuses.c.target,
        ),
        many_writers=many_writers,
    )


def _claim(tx: Transaction, want: CallbackClaimRequest) -> ClaimedCallbacks:
    given = {
        "of_client": want.client,
        "besides": sorted(want.besides),
        "resting": sorted(want.resting),
        "only": want.only,
    }
    which = {name: value for name, value in given.items() if value}
    fixed = {"since": want.since, "now": tx.now, "most": want.most, "until": tx.after(want.lease)}
    rows = tx.connection.execute(
        _taking(tuple(which), many_writers=tx.many_writers), {**which, **fixed, "by": tx.holder}
    ).all()
    about = {row.id: row for row in tx.execute_about(_about, {row.message_id for row in rows})}
    calls = [
        Callback(
            seq=row.seq,
            attempt=row.attempt,
            message_id=row.message_id,
            client=row.client,
            channel=Channel(about[row.message_id].channel),
            status=Status(row.status),
            callback_url=about[row.message_id].callback_url,
            target=row.target,
        )
        for row in rows
        if row.message_id in about
    ]
    return ClaimedCallbacks(calls, progress(tx, rows, want.most))


_about = dialect_pair(
    lambda _: select(messages.c.id, messages.c.channel, messages.c.callback_url).where(messages.c.id.in_(IDS))
)
_called = dialect_pair(
    lambda _: select(
        statuses.c.seq,
        statuses.c.message_id,
        statuses.c.attempt,
        statuses.c.holder,
        statuses.c.callback_state,
    ).where(statuses.c.seq.in_(IDS))
)
_messages = dialect_pair(
    lambda locking: locking(select(messages.c.id).where(messages.c.id.in_(IDS)).order_by(messages.c.id))
)

_ending = (
    update(statuses)
    .where(
        # Again, though it was looked at before: another replica may have taken it over since.
        statuses.c.seq == bindparam("status_seq"),
        statuses.c.attempt == bindparam("by_attempt"),
        statuses.c.holder == bindparam("by_holder"),
        statuses.c.callback_state == CallbackState.CALLING.value,
    )
    .values(
        callback_state=bindparam("callback_state"),
        due_at=bindparam("due_at"),
        attempt=bindparam("attempt"),
        problem=bindparam("problem"),
    )
)


def finish_callbacks(tx: Transaction, callback_result: Sequence[CallbackResult]) -> list[bool]:
    """Take back what became of calls; False where the claim was lost and nothing was changed.

    Told and dead both let the next status of the same message go.
    """
    ids = sorted({call.seq for call in callback_result})
    rows: dict[int, Row[Any]] = {row.seq: row for row in tx.execute_about(_called, ids)}
    hold(tx, {row.message_id for row in rows.values()})
    held = {
        row.seq: row.attempt
        for row in rows.values()
        if row.holder == tx.holder and row.callback_state == CallbackState.CALLING
    }
    valid = []
    for call in callback_result:
        good = held.get(call.seq) == call.attempt
        valid.append(good)
        if good:
            # Of two about the same claim the second finds it ended, as if it had come later.
            del held[call.seq]
    kept = [call for call, good in zip(callback_result, valid, strict=True) if good]
    if kept:
        tx.execute_many(_ending, [_ended(tx, call) for call in kept])
        promote(tx, {rows[c.seq].message_id for c in kept if c.acknowledged or c.retry_in is None})
    return valid


def hold(tx: Transaction, ids: Iterable[str]) -> None:
    """Keep others from recording a status of these messages until we know which comes next."""
    if tx.many_writers:
        for some in chunks(sorted(ids)):
            tx.execute(_messages, ids=some)


def _ended(tx: Transaction, call: CallbackResult) -> dict[str, object]:
    if call.acknowledged:
        callback_state, due_at = CallbackState.ACKNOWLEDGED, None
    elif call.retry_in is None:
        callback_state, due_at = CallbackState.DEAD, None
    else:
        callback_state, due_at = CallbackState.QUEUED, tx.after(call.retry_in)
    return {
        "status_seq": call.seq,
        "by_attempt": call.attempt,
        "by_holder": tx.holder,
        "callback_state": callback_state.value,
        "due_at": due_at,
        "attempt": call.attempt if call.counts else call.attempt - 1,
        "problem": call.problem,
    }


def promote(tx: Transaction, ids: Iterable[str]) -> int:
    """Queue each message's next waiting status, unless an earlier one is still under way."""
    return sum(tx.execute(_promoting, ids=some, now=tx.now).rowcount for some in chunks(sorted(ids)))


_heads = (
    select(func.min(statuses.c.seq))
    .where(statuses.c.message_id.in_(IDS), statuses.c.callback_state.in_([one.value for one in OPEN]))
    .group_by(statuses.c.message_id)
)
_promoting = dialect_pair(
    lambda _: (
        update(statuses)
        .where(statuses.c.seq.in_(_heads), statuses.c.callback_state == CallbackState.WAITING.value)
        .values(callback_state=CallbackState.QUEUED.value, due_at=bindparam("now"))
    )
)


class Mended(NamedTuple):
    """What came of looking for stranded statuses."""

    queued: int
    """How many could not have been told any more, and are now."""
    seen: int
    """The last that was looked at; 0: all were, and the next look begins anew."""


def mend(tx: Transaction, asked: Sequence[int]) -> list[Mended]:
    """Let go what waits for nobody: nothing of its message is queued or being told.

    No step of ours leaves such a status behind. One that a fault did would be waiting for ever, as it has no
    due time. Looks at the next LOOK after ``asked``, however many there are, so that it never takes long.
    """
    return [_mend(tx, after) for after in asked]


def _mend(tx: Transaction, after: int) -> Mended:
    some = select(statuses.c.seq).where(statuses.c.seq > after).order_by(statuses.c.seq).limit(LOOK)
    seqs = list(tx.connection.execute(some).scalars())
    if not seqs:
        return Mended(0, 0)
    stranded = set(tx.connection.execute(_waiting, {"first": seqs[0], "last": seqs[-1]}).scalars())
    if stranded:
        # Held first, and then looked at once more: on PostgreSQL somebody may have let it go meanwhile.
        hold(tx, stranded)
        stranded &= set(tx.connection.execute(_waiting, {"first": seqs[0], "last": seqs[-1]}).scalars())
    return Mended(promote(tx, stranded), seqs[-1] if len(seqs) == LOOK else 0)


_under_way = (CallbackState.QUEUED.value, CallbackState.CALLING.value)
_others = statuses.alias()
_waiting = select(statuses.c.message_id).where(
    statuses.c.seq.between(bindparam("first"), bindparam("last")),
    statuses.c.callback_state == CallbackState.WAITING.value,
    ~exists().where(_others.c.message_id == statuses.c.message_id, _others.c.callback_state.in_(_under_way)),
)
