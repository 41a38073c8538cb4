"""What people on call have been told, which a restart must not repeat, and which gateway tells them.

A scope is a set of problems that one gateway alone tells about. Its name is also the name of the lease that this gateway
holds. The gateway on each host reports its own problems here, so that the one which holds the lease SHARED tells of all.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import delete, select, update

from gatepost.outbox import named_leases
from gatepost.outbox.named_leases import LeaseRequest
from gatepost.outbox.schema import leases
from gatepost.outbox.status_schema import alert_states
from gatepost.outbox.transaction import Transaction

SHARED = "alerts"
"""The scope of the problems in the store, and of those that gateways report."""

OF_HOST = "alerts/"
"""How the names of the scopes begin that belong to the gateway on one host; the name of the host follows."""

KEPT = 86_400.0
"""Seconds for which the state of a host stays after its gateway was last there: hosts may get new names each day."""


class AlertState(NamedTuple):
    """The state of a scope, as a text that only the alerts understand."""

    scope: str
    state: str


class HostReport(NamedTuple):
    """The problems of one gateway now, as a text that only the alerts understand."""

    scope: str
    problems: str


class Reports(NamedTuple):
    """What all gateways that are there have reported."""

    problems: Mapping[str, str]
    """By their scopes."""
    state: str
    """Of SHARED: what people have been told."""


def hold(tx: Transaction, requests: Sequence[LeaseRequest]) -> list[str | None]:
    """Take or renew the lease of each scope; return its state, empty without one, or None if another gateway holds it."""
    held = named_leases.acquire(tx, requests)
    names = [request.name for request in requests]
    query = select(alert_states.c.scope, alert_states.c.state).where(alert_states.c.scope.in_(names))
    states = {row.scope: row.state for row in tx.connection.execute(query)}
    return [states.get(name, "") if is_held else None for name, is_held in zip(names, held, strict=True)]


def report(tx: Transaction, reports: Sequence[HostReport | None]) -> list[Reports]:
    """Store reports in place of the ones before, None for no new one; return the reports of all gateways."""
    for scope, problems in filter(None, reports):
        stored = update(alert_states).where(alert_states.c.scope == scope).values(problems=problems)
        if not tx.connection.execute(stored).rowcount:
            tx.insert_new(alert_states, [{"scope": scope, "state": "", "problems": problems}])
    living = select(leases.c.name).where(leases.c.name.startswith(OF_HOST), leases.c.ends_at > tx.now)
    query = select(alert_states).where(alert_states.c.scope.in_(living) | (alert_states.c.scope == SHARED))
    rows = {row.scope: row for row in tx.connection.execute(query)}
    shared = rows.pop(SHARED, None)
    found = Reports(
        {scope: row.problems for scope, row in rows.items()}, shared.state if shared is not None else ""
    )
    return [found] * len(reports)


def save(tx: Transaction, states: Sequence[AlertState]) -> list[None]:
    """Store the state of scopes that this process holds, and delete what belongs to hosts that are gone."""
    for scope, state in states:
        stored = update(alert_states).where(alert_states.c.scope == scope).values(state=state)
        if not tx.connection.execute(stored).rowcount:
            tx.insert_new(alert_states, [{"scope": scope, "state": state, "problems": ""}])
    old = leases.c.name.startswith(OF_HOST, autoescape=True) & (leases.c.ends_at <= tx.after(-KEPT))
    tx.connection.execute(
        delete(alert_states).where(alert_states.c.scope.in_(select(leases.c.name).where(old)))
    )
    tx.connection.execute(delete(leases).where(old))
    return [None] * len(states)
