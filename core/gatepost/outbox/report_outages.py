"""Times in which no report can come in: the waits for a delivery stand still then.

That is while no process runs, and while the webhooks of an instance are refused. Each process notes about every
NOTE_INTERVAL that it runs, in the table of leases; it does so only where a route has ``next_after``.
"""

from collections.abc import Collection

from sqlalchemy import BigInteger, ColumnElement, case, literal, select, true, update

from gatepost.outbox.fallback_store import is_last_wait
from gatepost.outbox.named_leases import LeaseRequest, acquire
from gatepost.outbox.one_of import one_of
from gatepost.outbox.schema import leases, messages, queues
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Transaction

NOTE_INTERVAL = 10.0
"""Seconds between two notes that a process runs."""

MIN_OUTAGE = 15.0
"""Seconds without a note after which no process ran."""

REFUSAL_LEASE = 30.0
"""Seconds for which all replicas treat an instance as silent, after one of them last found that it is."""

_RUNNING = "waits-for-deliveries"
REFUSED_REPORTS = "reports-refused/"
"""How the names of the leases begin that say that the webhooks of an instance are refused."""


def extend_waits(tx: Transaction, refused: Collection[str]) -> Collection[str]:
    """Extend the waits for deliveries by the time since the last call in which no report could come in.

    ``refused`` are the instances whose webhooks this process refuses at present. Return those of all replicas.
    """
    if not tx.policy.fallbacks:
        return refused
    acquire(tx, [LeaseRequest(f"{REFUSED_REPORTS}{name}", REFUSAL_LEASE) for name in sorted(refused)])
    noted = {row.name: row.ends_at for row in tx.connection.execute(_select_notes)}
    silent = {name.removeprefix(REFUSED_REPORTS) for name, ends_at in noted.items() if ends_at > tx.now} - {
        _RUNNING
    }
    if _RUNNING not in noted:
        tx.insert_new(leases, [{"name": _RUNNING, "holder": "", "ends_at": tx.now}])
        return silent
    last = noted[_RUNNING]
    # Another replica may be first with this note.
    is_due = leases.c.name == _RUNNING, leases.c.ends_at == last
    if last > tx.now or last <= tx.after(-NOTE_INTERVAL):
        take_note = update(leases).where(*is_due).values(ends_at=tx.now)
        if tx.connection.execute(take_note).rowcount and last < tx.now:
            was_down = last <= tx.after(-MIN_OUTAGE)
            if was_down or silent:
                which = true() if was_down else one_of(messages.c.instance, sorted(silent))
                _extend(tx, tx.now - last, which)
    return silent


_select_notes = select(leases.c.name, leases.c.ends_at).where(
    (leases.c.name == _RUNNING) | leases.c.name.startswith(REFUSED_REPORTS)
)


def _extend(tx: Transaction, milliseconds: int, which: ColumnElement[bool]) -> None:
    """Extend waits, but none to more than a whole wait from now, and none beyond the lifetime."""
    for (channel, route), fallback in tx.policy.fallbacks.items():
        of_route = select(queues.c.id).where(queues.c.channel == channel, queues.c.route == route)
        extended = messages.c.due_at + milliseconds
        latest = literal(tx.after(fallback.wait), BigInteger)
        due_at = case((extended < latest, extended), else_=latest)
        waiting = (
            select(messages.c.id)
            .where(
                # Without this condition, all messages would be read that were ever stored.
                messages.c.due_at.is_not(None),
                messages.c.queue.in_(of_route),
                messages.c.state == State.AWAITING.value,
                ~is_last_wait,
                which,
            )
            .order_by(messages.c.id)
        )
        tx.connection.execute(
            update(messages)
            .where(messages.c.id.in_(tx.with_lock(waiting)))
            .values(due_at=case((due_at < messages.c.expires_at, due_at), else_=messages.c.expires_at))
        )
