"""What instances of plugins keep over a restart: a few short texts each, by key, which all replicas share."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

from sqlalchemy import delete, select, update

from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.schema import plugin_state
from gatepost.outbox.transaction import Transaction, dialect_pair

MAX_TOTAL = 4_096
"""Characters of all values of one instance."""

_LOCK_KEY = ""
"""The key of a row that each instance has for its lock. No plugin can use it."""


class StateKey(NamedTuple):
    """The key of a value, and the instance whose it is."""

    instance: str
    key: str


class Replacement(NamedTuple):
    """An order to set a value to ``new`` if it is ``old``; an empty text stands for no value."""

    instance: str
    key: str
    old: str
    new: str


class Replaced(Enum):
    """What became of a replacement."""

    DONE = auto()
    OTHER_VALUE = auto()
    """The value is not the old one; nothing was changed."""
    TOO_LARGE = auto()
    """The values of the instance would have more than MAX_TOTAL characters; nothing was changed."""


def read(tx: Transaction, keys: Sequence[StateKey]) -> list[str]:
    """Return the value of each key, empty where it has none."""
    return [_values(tx, one.instance).get(one.key, "") for one in keys]


def replace(tx: Transaction, orders: Sequence[Replacement]) -> list[Replaced]:
    """Carry out each order, one after the other. Two replicas never replace the same value."""
    _lock(tx, sorted({one.instance for one in orders}))
    return [_replace(tx, one) for one in orders]


_select_locks = dialect_pair(
    lambda add_lock: add_lock(
        select(plugin_state.c.instance)
        .where(one_of(plugin_state.c.instance, IDS), plugin_state.c.key == _LOCK_KEY)
        .order_by(plugin_state.c.instance)
    )
)


def _lock(tx: Transaction, instances: Sequence[str]) -> None:
    """Lock all values of these instances against other replicas, also those that don't exist yet."""
    tx.insert_new(plugin_state, [{"instance": name, "key": _LOCK_KEY, "value": ""} for name in instances])
    list(tx.select_by_ids(_select_locks, instances))


def _values(tx: Transaction, instance: str) -> dict[str, str]:
    query = select(plugin_state.c.key, plugin_state.c.value).where(plugin_state.c.instance == instance)
    return {row.key: row.value for row in tx.connection.execute(query)}


def _replace(tx: Transaction, order: Replacement) -> Replaced:
    values = _values(tx, order.instance)
    if values.get(order.key, "") != order.old:
        return Replaced.OTHER_VALUE
    if sum(map(len, values.values())) - len(order.old) + len(order.new) > MAX_TOTAL:
        return Replaced.TOO_LARGE
    is_key = (plugin_state.c.instance == order.instance) & (plugin_state.c.key == order.key)
    if not order.new:
        tx.connection.execute(delete(plugin_state).where(is_key))
    elif order.old:
        tx.connection.execute(update(plugin_state).where(is_key).values(value=order.new))
    else:
        tx.insert_new(plugin_state, [{"instance": order.instance, "key": order.key, "value": order.new}])
    return Replaced.DONE
