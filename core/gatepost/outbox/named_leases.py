"""Leases by name: for what one replica alone may do, such as a decision for all of them.

A lease that is not renewed ends, so another replica continues when the one that held it is gone.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import delete, or_, update

from gatepost.outbox.schema import leases
from gatepost.outbox.transaction import Transaction

OF_PLUGIN = "plugin/"
"""How the names of the leases begin that plugins take."""

MAX_SECONDS = 300.0
"""Seconds of a lease at most."""

_MAX_REMAINING = 2 * MAX_SECONDS
"""Seconds until its end after which a lease is of a clock that was set back since, and void. More than MAX_SECONDS, so
that a clock which is set back a little ends no lease."""

MAX_AGE = 86_400.0
"""Seconds for which such a lease stays in the table after its end."""


class LeaseRequest(NamedTuple):
    """A request to hold the lease of this name for ``seconds`` from now, at most MAX_SECONDS."""

    name: str
    seconds: float


def acquire(tx: Transaction, requests: Sequence[LeaseRequest]) -> list[bool]:
    """Take or renew each lease; return for each whether this process holds it now.

    Two replicas never hold the same lease at the same moment of the database's clock.
    """
    # Sorted, so that two replicas that take the same leases don't wait for each other.
    held = {request: _acquire(tx, request) for request in sorted(set(requests))}
    return [held[request] for request in requests]


def _acquire(tx: Transaction, request: LeaseRequest) -> bool:
    tx.insert_new(leases, [{"name": request.name, "holder": "", "ends_at": 0}])
    is_free = or_(
        leases.c.holder == tx.holder,
        leases.c.ends_at <= tx.now,
        leases.c.ends_at > tx.after(_MAX_REMAINING),
    )
    take = (
        update(leases)
        .where(leases.c.name == request.name, is_free)
        .values(holder=tx.holder, ends_at=tx.after(request.seconds))
    )
    return tx.connection.execute(take).rowcount == 1


def prune(tx: Transaction) -> int:
    """Delete the leases of plugins that ended more than MAX_AGE seconds ago; return how many.

    A plugin chooses its names, and may have a new one each day.
    """
    old = delete(leases).where(leases.c.name.startswith(OF_PLUGIN), leases.c.ends_at <= tx.after(-MAX_AGE))
    return tx.connection.execute(old).rowcount
