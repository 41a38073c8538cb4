"""Forgetting a user: cancel what waits, and erase what is stored about the user.

What is still needed is erased later: a message that is being sent when that has ended, and a callback URL when the last
open callback of its message has ended. Until then these messages are in the table ``erasures``, and the housekeeping looks
after them.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Select, and_, bindparam, case, delete, exists, or_, select, update

from gatepost.outbox import audit, cancellations, counters, forgotten_users, limits, refusals, suppressions
from gatepost.outbox.audit import AuditEntry
from gatepost.outbox.forgetting_schema import erasures
from gatepost.outbox.forgotten_users import User, add_erasures
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import EndedMessage
from gatepost.outbox.reports import delete_contents
from gatepost.outbox.schema import attempts, messages, statuses
from gatepost.outbox.states import FINAL_STATES, OPEN_CALLBACK_STATES, CallbackState
from gatepost.outbox.transaction import Transaction, dialect_pair, id_chunks

STEP_MESSAGES = 25
"""Messages of one commit: their contents may be a megabyte each, and other work waits for the commit."""

REST_PAGE = 500
"""Messages of which one step of ``erase_rest`` asks whether the rest of them can be erased now: in a few milliseconds."""


class Forgetting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a user is forgotten."""

    last_id: str = ""
    """The message after which the next step begins."""
    done: bool = False
    messages: int = 0
    """The user's messages."""
    cancelled: int = 0
    """Those of them that waited and were cancelled."""
    unfinished: int = 0
    """Those of them of which something is erased later."""


class ForgetOrder(NamedTuple):
    """An order to take the next step."""

    user: User
    actor: str
    """The operator, for the audit log."""
    progress: Forgetting | None = None
    """How far the steps before have come; None: this is the first one."""


class RestStep(NamedTuple):
    """What a step of ``erase_rest`` has done."""

    erased: int
    """Of how many messages it has erased something."""
    last_id: str
    """The message after which the next step begins; empty: at the first one again."""


class _Erasure(NamedTuple):
    """What was done about some messages."""

    ended: Sequence[EndedMessage]
    """Those that were cancelled."""
    unfinished: Collection[str]
    """The ids of those of which something is erased later."""
    users: Collection[User]
    """Whose messages they were."""


_select_next: Select[Any] = select(messages.c.id).order_by(messages.c.id).limit(STEP_MESSAGES)


def forget(tx: Transaction, orders: Sequence[ForgetOrder]) -> list[tuple[Forgetting, Sequence[EndedMessage]]]:
    """Take a step of each order; return how far the user is forgotten, and the messages that were cancelled.

    From the first step on, new messages to the user are refused. The audit log records the last step, with the numbers of
    all steps; if that is not the first one too, it records the first one as the beginning.
    """
    return [_step(tx, order) for order in orders]


def _step(tx: Transaction, order: ForgetOrder) -> tuple[Forgetting, Sequence[EndedMessage]]:
    client, ext_user_id = order.user
    before = order.progress or Forgetting()
    if order.progress is None:
        forgotten_users.add(tx, order.user, order.actor)
    of_user = messages.c.ext_user_id == ext_user_id, messages.c.client == client
    query = _select_next.where(*of_user, messages.c.id > before.last_id)
    ids = list(tx.connection.execute(query).scalars())
    erasure = _erase(tx, ids)
    if order.progress is None:
        # After the messages are locked: a report that suppresses the user locks in this order too.
        _erase_traces(tx, [order.user])
    progress = Forgetting(
        last_id=ids[-1] if ids else before.last_id,
        done=len(ids) < STEP_MESSAGES,
        messages=before.messages + len(ids),
        cancelled=before.cancelled + len(erasure.ended),
        unfinished=before.unfinished + len(erasure.unfinished),
    )
    if progress.done or order.progress is None:
        _record(tx, order, progress)
    return progress, erasure.ended


def _record(tx: Transaction, order: ForgetOrder, progress: Forgetting) -> None:
    client, ext_user_id = order.user
    target: dict[str, str | int | Sequence[str]] = {"client": client, audit.USER: ext_user_id}
    if progress.done:
        target |= {"messages": progress.messages, "cancelled": progress.cancelled}
    operation = "forget" if progress.done else "forget-begin"
    audit.append(tx, [AuditEntry(actor=order.actor, operation=operation, target=target)])


def _erase_traces(tx: Transaction, users: Collection[User]) -> None:
    """Erase what is stored of these users outside of their messages."""
    suppressions.erase(tx, users)
    refusals.erase(tx, users)
    counters.erase_daily(tx, [limits.user_scope(*user) for user in users])


_has_open_callback = exists().where(
    statuses.c.message_id == messages.c.id,
    one_of(statuses.c.callback_state, [state.value for state in OPEN_CALLBACK_STATES]),
)
_is_final = one_of(messages.c.state, sorted(state.value for state in FINAL_STATES))
_is_waiting = one_of(messages.c.state, [state.value for state in cancellations.CANCELLABLE])
_is_ready = or_(
    # Pruned meanwhile.
    messages.c.id.is_(None),
    _is_waiting,
    and_(_is_final, or_(messages.c.ext_user_id != "", ~_has_open_callback)),
)
_select_rest = (
    select(erasures.c.message_id, _is_ready.label("is_ready"))
    .select_from(erasures.outerjoin(messages, messages.c.id == erasures.c.message_id))
    .where(erasures.c.message_id > bindparam("start"))
    .order_by(erasures.c.message_id)
    .limit(REST_PAGE)
)


def erase_rest(tx: Transaction, starts: Sequence[str]) -> list[tuple[RestStep, Sequence[EndedMessage]]]:
    """Erase what could not be erased at once and can be now: of some messages after the one with each of these ids."""
    return [_erase_next(tx, start) for start in starts]


def _erase_next(tx: Transaction, start: str) -> tuple[RestStep, Sequence[EndedMessage]]:
    rows = tx.connection.execute(_select_rest, {"start": start}).all()
    ready = [row.message_id for row in rows if row.is_ready]
    ids = ready[:STEP_MESSAGES]
    erasure = _erase(tx, ids)
    # A report may have suppressed a user again whose message was still being sent.
    _erase_traces(tx, sorted(forgotten_users.find(tx, erasure.users)))
    end = rows[-1].message_id if len(rows) == REST_PAGE else ""
    return RestStep(len(ids), ids[-1] if len(ids) < len(ready) else end), erasure.ended


_lock_rows = dialect_pair(
    lambda add_lock: add_lock(
        select(messages.c.id, messages.c.client, messages.c.ext_user_id, messages.c.state)
        .where(one_of(messages.c.id, IDS))
        .order_by(messages.c.id)
    )
)
_select_open = dialect_pair(
    lambda _: (
        select(statuses.c.message_id)
        .distinct()
        .where(
            one_of(statuses.c.message_id, IDS),
            one_of(statuses.c.callback_state, [state.value for state in OPEN_CALLBACK_STATES]),
        )
    )
)


def _erase(tx: Transaction, ids: Sequence[str]) -> _Erasure:
    """Cancel these messages where they wait, and erase of each what is needed no more."""
    # All of them are locked before any is cancelled: in two parts they could be locked in another order than elsewhere.
    rows = {row.id: row for row in tx.select_by_ids(_lock_rows, sorted(ids))}
    ended = cancellations.cancel_messages(tx, list(rows), cancellations.CANCELLABLE, "")
    cancelled = {one.id for one in ended}
    final = {row.id: row for row in rows.values() if row.state in FINAL_STATES or row.id in cancelled}
    with_open_callback = {row.message_id for row in tx.select_by_ids(_select_open, sorted(final))}
    _erase_contents_and_users(tx, final)
    _erase_urls(tx, final.keys() - with_open_callback)
    unfinished = (rows.keys() - final.keys()) | with_open_callback
    add_erasures(tx, unfinished)
    for chunk in id_chunks(sorted(set(ids) - unfinished)):
        tx.execute(_delete_erasures, ids=chunk)
    users = {(row.client, row.ext_user_id) for row in final.values() if row.ext_user_id}
    return _Erasure(ended, unfinished, users)


_delete_erasures = dialect_pair(lambda _: delete(erasures).where(one_of(erasures.c.message_id, IDS)))
_USER_COLUMNS = (
    dialect_pair(
        lambda _: (
            update(messages)
            .where(one_of(messages.c.id, IDS))
            .values(ext_user_id="", country="", preview="", reason="", code="")
        )
    ),
    dialect_pair(
        lambda _: (
            update(attempts)
            .where(one_of(attempts.c.message_id, IDS))
            .values(choice="", reason="", code="", not_gsm7="")
        )
    ),
    dialect_pair(lambda _: update(statuses).where(one_of(statuses.c.message_id, IDS)).values(code="")),
)
_URL_COLUMNS = (
    dialect_pair(lambda _: update(messages).where(one_of(messages.c.id, IDS)).values(callback_url="")),
    dialect_pair(
        lambda _: (
            update(statuses)
            .where(one_of(statuses.c.message_id, IDS))
            .values(
                target="",
                problem="",
                # Without a URL it can't be made again.
                callback_state=case(
                    (statuses.c.callback_state == CallbackState.DEAD.value, CallbackState.NONE.value),
                    else_=statuses.c.callback_state,
                ),
            )
        )
    ),
)


def _erase_contents_and_users(tx: Transaction, message_ids: Iterable[str]) -> None:
    """Erase the contents of messages that have ended, and what tells about their users."""
    for chunk in id_chunks(sorted(message_ids)):
        delete_contents(tx, chunk)
        for statement in _USER_COLUMNS:
            tx.execute(statement, ids=chunk)


def _erase_urls(tx: Transaction, message_ids: Iterable[str]) -> None:
    """Erase the callback URLs of messages without an open callback. Later statuses are recorded only."""
    for chunk in id_chunks(sorted(message_ids)):
        for statement in _URL_COLUMNS:
            tx.execute(statement, ids=chunk)
