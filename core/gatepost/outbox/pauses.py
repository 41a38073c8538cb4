"""Pauses: what an operator has stopped for a while. Messages that a pause matches wait, and nothing of them is lost."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, or_, select
from sqlalchemy.engine import Row

from gatepost.model import Channel
from gatepost.outbox import audit
from gatepost.outbox.audit import AuditEntry
from gatepost.outbox.records import Queue
from gatepost.outbox.schema import pauses
from gatepost.outbox.transaction import Transaction

_COLUMNS = ("client", "channel", "route", "plugin")


class Scope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a pause stops: messages for which all of this holds; an empty field always does."""

    client: str = ""
    channel: Channel | None = None
    route: str = ""
    plugin: str = ""
    """The name of an instance. Other instances of the messages' route still send."""

    @property
    def is_empty(self) -> bool:
        """Whether it would stop everything."""
        return self == Scope()

    @property
    def text(self) -> str:
        """The scope for an operator, such as ``client brand, channel sms``."""
        return ", ".join(f"{name} {value}" for name, value in self.columns().items() if value)

    def matches(self, queue: Queue, instance: str) -> bool:
        """Return whether it stops messages of the queue at this instance; "": at every instance."""
        return (
            self.plugin == instance
            and self.client in {"", queue.client}
            and self.channel in {None, queue.channel}
            and self.route in {"", queue.route}
        )

    def columns(self) -> dict[str, str]:
        """Return the scope as the columns of the table."""
        return {
            "client": self.client,
            "channel": self.channel.value if self.channel else "",
            "route": self.route,
            "plugin": self.plugin,
        }


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A pause that is in force; times in seconds since the epoch."""

    scope: Scope
    reason: str
    actor: str
    """Who paused it: a user of this machine."""
    created_at: float
    ends_at: float | None


class PauseOrder(NamedTuple):
    """An order to pause something. If it is paused already, the new reason and end replace the old ones."""

    scope: Scope
    actor: str
    reason: str = ""
    ends_at: float | None = None
    """Seconds since the epoch; None: it ends when it is resumed."""


class ResumeOrder(NamedTuple):
    """An order to end the pause with exactly this scope; None: to end all pauses."""

    scope: Scope | None
    actor: str


class Resumed(NamedTuple):
    """What an order to resume changed."""

    ended: Sequence[Pause]
    """The pauses that were in force and are no longer."""
    others: Sequence[Pause]
    """The pauses that are still in force."""


class Pauses:
    """The pauses in force, as this process has read them last."""

    def __init__(self) -> None:
        self._scopes: frozenset[Scope] = frozenset()

    def __call__(self, queue: Queue, instance: str) -> bool:
        """Return whether messages of a queue wait at this instance; "": at every instance."""
        return bool(self._scopes) and any(scope.matches(queue, instance) for scope in self._scopes)

    def __len__(self) -> int:
        """Return how many pauses are in force."""
        return len(self._scopes)

    def replace(self, found: Iterable[Pause]) -> bool:
        """Take over the pauses that are in force now; return whether others were in force before."""
        before, self._scopes = self._scopes, frozenset(pause.scope for pause in found)
        return before != self._scopes


def in_force(connection: Connection, now: int) -> list[Pause]:
    """Return the pauses in force, the oldest first."""
    rows = connection.execute(select(pauses).where(_in_force(now)).order_by(pauses.c.id)).all()
    return [_pause(row) for row in rows]


def read(tx: Transaction, items: Sequence[None]) -> list[list[Pause]]:
    """Return the pauses in force."""
    return [in_force(tx.connection, tx.now)] * len(items)


def pause(tx: Transaction, orders: Sequence[PauseOrder]) -> list[Pause | None]:
    """Carry out each order and record it; return None, and change nothing, where the end has passed already."""
    return [_pause_scope(tx, order) for order in orders]


def _pause_scope(tx: Transaction, order: PauseOrder) -> Pause | None:
    ends_at = None if order.ends_at is None else round(order.ends_at * 1000)
    if ends_at is not None and ends_at <= tx.now:
        return None
    row = {
        **order.scope.columns(),
        "reason": order.reason[: audit.MAX_REASON],
        "actor": order.actor,
        "created_at": tx.now,
        "ends_at": ends_at,
    }
    # Also pauses that have ended: nothing else deletes these.
    tx.connection.execute(delete(pauses).where(or_(_has_scope(order.scope), ~_in_force(tx.now))))
    tx.insert_new(pauses, [row])
    until = {"ends_at": audit.text_of_time(ends_at / 1000)} if ends_at is not None else {}
    _record(tx, "pause", order.actor, {**msgspec.to_builtins(order.scope), **until}, order.reason)
    (new,) = tx.connection.execute(select(pauses).where(_has_scope(order.scope))).all()
    return _pause(new)


def resume(tx: Transaction, orders: Sequence[ResumeOrder]) -> list[Resumed]:
    """Carry out each order, and record each pause that it ends."""
    return [_resume(tx, order) for order in orders]


def _resume(tx: Transaction, order: ResumeOrder) -> Resumed:
    found = in_force(tx.connection, tx.now)
    ended = [one for one in found if order.scope in {None, one.scope}]
    for one in ended:
        tx.connection.execute(delete(pauses).where(_has_scope(one.scope)))
        _record(tx, "resume", order.actor, msgspec.to_builtins(one.scope))
    return Resumed(ended, [one for one in found if one not in ended])


def _record(tx: Transaction, operation: str, actor: str, target: dict[str, Any], reason: str = "") -> None:
    audit.append(tx, [AuditEntry(actor=actor, operation=operation, target=target, reason=reason)])


def _in_force(now: int) -> ColumnElement[bool]:
    return or_(pauses.c.ends_at.is_(None), pauses.c.ends_at > now)


def _has_scope(scope: Scope) -> ColumnElement[bool]:
    conditions = [pauses.c[name] == value for name, value in scope.columns().items()]
    return conditions[0] & conditions[1] & conditions[2] & conditions[3]


def _pause(row: Row[Any]) -> Pause:
    return Pause(
        scope=Scope(
            client=row.client,
            channel=Channel(row.channel) if row.channel else None,
            route=row.route,
            plugin=row.plugin,
        ),
        reason=row.reason,
        actor=row.actor,
        created_at=row.created_at / 1000,
        ends_at=None if row.ends_at is None else row.ends_at / 1000,
    )
