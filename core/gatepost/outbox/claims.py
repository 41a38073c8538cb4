"""Claims of messages: handing them out, keeping them, taking back what became of them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update
from sqlalchemy.engine import Row

from gatepost.model import Channel, Status
from gatepost.outbox import deaths
from gatepost.outbox.records import Claim, EndedMessage, SendResult
from gatepost.outbox.reports import append, forget_contents
from gatepost.outbox.schema import contents, messages
from gatepost.outbox.states import ENDS, State
from gatepost.outbox.transaction import IDS, DialectPair, Transaction, dialect_pair
from gatepost.outbox.watermark import EVERYTHING, ClaimProgress, progress, taking


class Want(NamedTuple):
    """A sender's wish: so many messages of a channel, to be held for so many seconds."""

    channel: Channel
    most: int
    lease: float
    since: int = EVERYTHING
    """Nothing that was due before then."""
    state: State = State.QUEUED
    """QUEUED or SUSPECT."""


class Claimed(NamedTuple):
    """What a sender is given, and how far that came."""

    claims: list[Claim]
    progress: ClaimProgress


class Held(NamedTuple):
    """A claim to be held on to for so many seconds more."""

    id: str
    attempt: int
    lease: float


def claim(tx: Transaction, wants: Sequence[Want]) -> list[Claimed]:
    """Hand out what is due, the longest due first."""
    return [_claim(tx, want) for want in wants]


_taking = partial(
    taking,
    messages.c.id,
    select(messages.c.id, messages.c.due_at)
    .where(
        messages.c.channel == bindparam("of_channel"),
        messages.c.state == bindparam("in_state"),
        messages.c.due_at >= bindparam("since"),
        messages.c.due_at <= bindparam("now"),
    )
    .order_by(messages.c.due_at)
    .limit(bindparam("most")),
    {
        "state": State.SENDING.value,
        "due_at": bindparam("until"),
        "attempt": messages.c.attempt + 1,
        "holder": bindparam("by"),
    },
    (
        messages.c.id,
        messages.c.attempt,
        messages.c.client,
        messages.c.ext_user_id,
        messages.c.preview,
        messages.c.expires_at,
        # Here, and not by a question of its own, which would be another way to the server and back.
        select(contents.c.content)
        .where(contents.c.message_id == messages.c.id)
        .scalar_subquery()
        .label("content"),
    ),
)
_taken = DialectPair(_taking(many_writers=False), _taking(many_writers=True))


def _claim(tx: Transaction, want: Want) -> Claimed:
    rows = tx.execute(
        _taken,
        of_channel=want.channel.value,
        in_state=want.state.value,
        since=want.since,
        now=tx.now,
        most=want.most,
        until=tx.after(want.lease),
        by=tx.holder,
    ).all()
    claims = [
        Claim(
            id=row.id,
            attempt=row.attempt,
            client=row.client,
            channel=want.channel,
            ext_user_id=row.ext_user_id,
            preview=row.preview,
            content=bytes(row.content or b""),
            lifetime=tx.seconds_until(row.expires_at),
        )
        for row in rows
    ]
    return Claimed(claims, progress(tx, rows, want.most))


class Kept(NamedTuple):
    """What a sender has in hand of a channel, by id."""

    channel: Channel
    ids: frozenset[str]


_mine = dialect_pair(
    lambda locking: locking(
        select(messages.c.id)
        .where(
            messages.c.channel == bindparam("of_channel"),
            messages.c.state == State.SENDING.value,
            messages.c.due_at.is_not(None),
            messages.c.holder == bindparam("by"),
        )
        .order_by(messages.c.id)
    )
)
_returning = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"))
    .values(state=deaths.waiting_state, due_at=bindparam("now"))
)


def give_back(tx: Transaction, asked: Sequence[Kept]) -> list[int]:
    """Queue again what is held and in nobody's hands."""
    return [_give_back(tx, kept) for kept in asked]


def _give_back(tx: Transaction, kept: Kept) -> int:
    held = tx.execute(_mine, of_channel=kept.channel.value, by=tx.holder).scalars()
    stray = [identity for identity in held if identity not in kept.ids]
    if stray:
        tx.execute_many(_returning, [{"message_id": one, "now": tx.now} for one in stray])
    return len(stray)


_renewal = (
    update(messages)
    .where(
        messages.c.id == bindparam("held_id"),
        messages.c.attempt == bindparam("held_attempt"),
        messages.c.holder == bindparam("held_by"),
        messages.c.state == State.SENDING.value,
    )
    .values(due_at=bindparam("until"))
)


def renew(tx: Transaction, helds: Sequence[Held]) -> list[None]:
    """Hold on to claims; one that was lost stays lost."""
    tx.execute_many(
        _renewal,
        [
            {
                "held_id": held.id,
                "held_attempt": held.attempt,
                "held_by": tx.holder,
                "until": tx.after(held.lease),
            }
            for held in sorted(helds)
        ],
    )
    return [None] * len(helds)


_ending = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"))
    .values(
        state=bindparam("state"),
        due_at=bindparam("due_at"),
        ended_at=bindparam("ended_at"),
        unanswered=messages.c.unanswered + bindparam("lost"),
        instance=bindparam("instance"),
        provider_id=bindparam("provider_id"),
        reason=bindparam("reason"),
        code=bindparam("code"),
    )
)

_held = dialect_pair(
    lambda locking: locking(
        select(
            messages.c.id,
            messages.c.client,
            messages.c.channel,
            messages.c.attempt,
            messages.c.holder,
            messages.c.state,
            messages.c.deaths,
            messages.c.expires_at,
            messages.c.client,
            messages.c.callback_url,
            messages.c.ended_at,
            messages.c.instance,
            messages.c.reason,
            messages.c.code,
        )
        .where(messages.c.id.in_(IDS))
        .order_by(messages.c.id)
    )
)

_rewriting = (
    update(contents)
    .where(contents.c.message_id == bindparam("of_message"))
    .values(content=bindparam("content"))
)

_TOLD = {State.SENT: Status.ACCEPTED, State.REJECTED: Status.REJECTED, State.FAILED: Status.FAILED}


class Finished(NamedTuple):
    """What came of an SendResult."""

    kept: bool
    """False: the claim was lost, and nothing was changed."""
    tells: bool
    """Whether Smartico may have to be told something now."""
    ended: EndedMessage | None = None
    """The end that the message came to now; None where it goes on, or had come to this end before."""


def finish(tx: Transaction, outcomes: Sequence[SendResult]) -> list[Finished]:
    """Take back what became of claims.

    A receipt counts as long as nobody claimed the message since: also when the lease had ended, even if it
    was queued again, held or given up meanwhile, and when a report came first, which leaves only the
    provider's id to be noted.
    """
    ids = sorted({outcome.id for outcome in outcomes})
    rows: dict[str, Row[Any]] = {row.id: row for row in tx.execute_about(_held, ids)}
    mine = {row.id: row.attempt for row in rows.values() if row.holder == tx.holder}
    held = {row.id for row in rows.values() if row.state == State.SENDING}
    valid = []
    for outcome in outcomes:
        good = mine.get(outcome.id) == outcome.attempt and (outcome.id in held or outcome.state is State.SENT)
        valid.append(good)
        if good:
            # Of two about the same claim the second finds it ended, as if it had come later.
            held.discard(outcome.id)
    kept = [outcome for outcome, good in zip(outcomes, valid, strict=True) if good]
    if not kept:
        return [Finished(kept=False, tells=False)] * len(outcomes)
    values = [_ended(tx, outcome, rows[outcome.id]) for outcome in kept]
    tx.execute_many(_ending, values)
    _settle_contents(tx, kept)
    told = [
        (outcome.id, _TOLD[State(str(value["state"]))], outcome.code)
        for outcome, value in zip(kept, values, strict=True)
        if value["state"] in _TOLD
    ]
    if told:
        append(tx, rows, told, by_provider=False)
    callback_state = {identity for identity, _, _ in told if rows[identity].callback_url}
    ends = _ends(rows, values)
    return [
        Finished(good, good and outcome.id in callback_state, ends.pop(outcome.id, None) if good else None)
        for outcome, good in zip(outcomes, valid, strict=True)
    ]


def _ends(rows: Mapping[str, Row[Any]], values: Sequence[Mapping[str, Any]]) -> dict[str, EndedMessage]:
    """The ends that messages came to, by their ids; not those in which they were already."""
    return {
        row.id: EndedMessage(row.id, row.client, Channel(row.channel), State(value["state"]))
        for value in values
        if value["state"] in ENDS and value["state"] != (row := rows[value["message_id"]]).state
    }


def _settle_contents(tx: Transaction, kept: Sequence[SendResult]) -> None:
    """Erase contents that are sent or refused; store a derived text for the next try."""
    gone = {o.id for o in kept if o.state in {State.SENT, State.REJECTED}}
    forget_contents(tx, gone)
    stay = [{"of_message": o.id, "content": o.content} for o in kept if o.content and o.id not in gone]
    if stay:
        tx.execute_many(_rewriting, stay)


def _ended(tx: Transaction, outcome: SendResult, row: Row[Any]) -> dict[str, object]:
    state = outcome.state
    due_at = None
    expires_at, ended_at = row.expires_at, row.ended_at
    # Of a message whose time is over the last try's trouble says more than that it is over.
    told = row if state is State.FAILED and row.reason else outcome
    if state in {State.QUEUED, State.UNCERTAIN}:
        due_at = min(tx.after(outcome.delay), expires_at)
        if state is State.QUEUED and expires_at <= tx.now:
            state, due_at = State.FAILED, None
        elif state is State.QUEUED and row.deaths >= deaths.SUSPECT:
            state = State.SUSPECT
    return {
        "message_id": outcome.id,
        "state": state.value,
        "due_at": due_at,
        "lost": int(state is State.UNCERTAIN),
        "ended_at": None if due_at is not None else (ended_at or tx.now),
        "instance": told.instance,
        "provider_id": outcome.provider_id or None,
        "reason": told.reason,
        "code": told.code,
    }
