"""The shares of the routes with ``balance = "receipts"``: in the store, and as this process uses them.

One replica decides them, once a minute, from the counts of all; every replica reads them.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select

from gatepost.outbox import cohorts
from gatepost.outbox.cohorts import SCOPE_PREFIX, Cohort, Group, minute_of, oldest_period
from gatepost.outbox.report_outages import REFUSED_REPORTS
from gatepost.outbox.schema import counters, leases, shares
from gatepost.outbox.transaction import Transaction
from gatepost.routing.balance import Share, decide, explain, split_factors
from gatepost.routing.split import NO_FACTORS

MAX_GAP = 3
"""Minutes without a decision after which the gateway is taken to have been down. No reports came in meanwhile, so no
instance is judged by them. When one replica takes over from another, fewer minutes pass."""

COUNTS_MEMORY = 30
"""Minutes for which counts that are too old for a comparison stay, because the clock may go back a little."""

SHARE_MEMORY = 7 * 24 * 60
"""Minutes without a decision after which a share is deleted: the route, the instance or its balance is gone."""

StoredShares = Mapping[Group, Mapping[str, Share]]
"""The shares by group and instance."""

Splits = Mapping[str, Mapping[str, float]]
"""The weights by route and instance."""


class Change(NamedTuple):
    """A share that a decision has changed."""

    group: Group
    instance: str
    before: float
    """The factor before; 1 for an instance without a share."""
    share: Share


class Shares:
    """The shares as this process has read them last, for the routes of its configuration."""

    def __init__(self, splits: Splits) -> None:
        """Take the weights of the routes that follow receipts."""
        self.splits = splits
        self._reduced: dict[Group, tuple[Mapping[str, float], Mapping[str, Share]]] = {}
        """The factors and the shares of the groups in which a share differs from the configured one."""

    def replace(self, found: StoredShares) -> None:
        """Take over the shares that are in the store now."""
        self._reduced = {}
        for group, of_group in found.items():
            weights = self.splits.get(group.route, {})
            known = {name: share for name, share in of_group.items() if name in weights}
            if any(share.factor < 1.0 for share in known.values()):
                self._reduced[group] = split_factors(weights, known), known

    def factors(self, route: str, country: str) -> Mapping[str, float]:
        """Return what the weights of a route count now; an instance without a factor counts as configured."""
        reduced = self._reduced.get(Group(route, country))
        return reduced[0] if reduced else NO_FACTORS

    def explain(self, route: str, country: str, instance: str) -> str:
        """Return why a message went to the instance; empty where the shares are those of the configuration."""
        reduced = self._reduced.get(Group(route, country))
        return explain(instance, reduced[1]) if reduced else ""


NO_SHARES = Shares({})
"""The shares where no route follows receipts."""


def read_shares(connection: Connection) -> dict[Group, dict[str, Share]]:
    """Return the stored shares, by group and instance."""
    found: dict[Group, dict[str, Share]] = {}
    for row in connection.execute(select(shares)):
        values = row._asdict()
        group = Group(values.pop("route"), values.pop("country"))
        instance = values.pop("instance")
        found.setdefault(group, {})[instance] = Share(**{**values, "increased": bool(row.increased)})
    return found


def read(tx: Transaction, items: Sequence[None]) -> list[StoredShares]:
    """Return the stored shares."""
    return [read_shares(tx.connection)] * len(items)


def decide_shares(tx: Transaction, splits: Sequence[Splits]) -> list[Sequence[Change]]:
    """Decide the shares of these routes for this minute and store them; return those that changed.

    Only one process at a time may do it.
    """
    return [_decide_shares(tx, one) for one in splits]


def _decide_shares(tx: Transaction, splits: Splits) -> Sequence[Change]:
    minute = minute_of(tx.now)
    stored = {
        group: {name: share for name, share in of_group.items() if name in splits.get(group.route, ())}
        for group, of_group in read_shares(tx.connection).items()
    }
    decided_at = [share.decided for of_group in stored.values() for share in of_group.values()]
    was_down = max(decided_at, default=minute) < minute - MAX_GAP
    refused = _instances_with_refused_reports(tx)
    counts = _read_counts(tx)
    changes: list[Change] = []
    for group in sorted(stored.keys() | counts.keys()):
        instances = [name for name, weight in splits.get(group.route, {}).items() if weight]
        before = stored.get(group, {})
        known = {name: _not_in_the_future(share, minute) for name, share in before.items()}
        unmeasured = instances if was_down else refused
        decided = decide(group.country, instances, known, counts.get(group, []), minute, unmeasured)
        changes += [
            Change(group, name, before[name].factor if name in before else 1.0, share)
            for name, share in decided.items()
            if share != before.get(name)
        ]
    _store(tx, changes)
    _prune(tx, minute)
    return changes


def _not_in_the_future(share: Share, minute: int) -> Share:
    """Return the share without moments after this minute: the clock was ahead when they were stored."""
    return msgspec.structs.replace(
        share,
        decided=min(share.decided, minute),
        worse_at=min(share.worse_at, minute),
        # An instance that is not measured in this minute is so from the next one on.
        measured_from=min(share.measured_from, minute + 1),
    )


def _instances_with_refused_reports(tx: Transaction) -> Collection[str]:
    query = select(leases.c.name).where(leases.c.name.startswith(REFUSED_REPORTS), leases.c.ends_at > tx.now)
    return {name.removeprefix(REFUSED_REPORTS) for name in tx.connection.execute(query).scalars()}


def _read_counts(tx: Transaction) -> dict[Group, list[Cohort]]:
    key = counters.c.period, counters.c.scope
    is_recent = counters.c.period.between(oldest_period(tx.now), tx.now)
    query = select(*key, func.sum(counters.c.value)).where(is_recent, _is_count()).group_by(*key)
    rows = tx.connection.execute(query)
    return cohorts.cohorts((period, scope, int(value)) for period, scope, value in rows)


def _is_count() -> ColumnElement[bool]:
    return counters.c.scope.startswith(SCOPE_PREFIX)


_delete_share = delete(shares).where(
    shares.c.route == bindparam("of_route"),
    shares.c.country == bindparam("of_country"),
    shares.c.instance == bindparam("of_instance"),
)


def _store(tx: Transaction, changes: Sequence[Change]) -> None:
    if not changes:
        return
    keys = [
        {"of_route": one.group.route, "of_country": one.group.country, "of_instance": one.instance}
        for one in changes
    ]
    rows = [
        {
            "route": one.group.route,
            "country": one.group.country,
            "instance": one.instance,
            **msgspec.structs.asdict(one.share),
            "increased": int(one.share.increased),
        }
        for one in changes
    ]
    tx.execute_many(_delete_share, keys)
    tx.insert_new(shares, rows)


def _prune(tx: Transaction, minute: int) -> None:
    """Delete counts that are too old for a comparison, and shares that were not decided for a long time.

    Only counts of the last hours: older ones are deleted with all other counters.
    """
    end = oldest_period(tx.now) - COUNTS_MEMORY * 60_000
    is_old = counters.c.period.between(end - 3_600_000, end)
    tx.connection.execute(delete(counters).where(is_old, _is_count()))
    tx.connection.execute(delete(shares).where(shares.c.decided < minute - SHARE_MEMORY))
