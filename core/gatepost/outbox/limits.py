"""Limits on how many messages are accepted: a day's cap, or the number of those that are not at their end."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from gatepost.model import Channel
from gatepost.outbox import counters
from gatepost.outbox.records import Limit
from gatepost.outbox.transaction import CounterKey, Transaction

Name = TypeVar("Name", bound=Hashable)


class UsedLimit(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a limit is used."""

    setting: str
    """Its key in the configuration."""
    used: int
    cap: int
    daily: bool
    """Whether it begins anew at 00:00 UTC."""


def queue_limit(client: str, cap: int) -> Limit:
    """Return the limit on the number of a client's messages that are not at their end."""
    return Limit(counters.queued(client)[1], cap, "the client's max_queued", daily=False)


def client_limits(client: str, channel: Channel, cap: int) -> tuple[Limit, ...]:
    """Return the limit on a client's messages of a channel in a day; nothing for a cap of 0."""
    setting = f"{channel}_per_day"
    return (Limit(f"{setting}/{client}", cap, f"the client's {setting}"),) if cap else ()


def user_limit(client: str, ext_user_id: str, cap: int) -> Limit:
    """Return the limit on the messages to one user of a client in a day, of all channels together."""
    setting = "the client's per_user_per_day"
    return Limit(user_scope(client, ext_user_id), cap, setting, topic=f"per_user_per_day/{client}")


def user_scope(client: str, ext_user_id: str) -> str:
    """Return the scope of the number of messages to one user."""
    return f"per_user_per_day/{client}/{ext_user_id}"


def route_limits(channel: Channel, route: str, cap: int) -> tuple[Limit, ...]:
    """Return the limit on the messages of a route in a day, of all clients together; nothing for a cap of 0."""
    return (Limit(f"per_day/{channel}/{route}", cap, f"route {route}'s per_day"),) if cap else ()


def used(connection: Connection, now: int, configured: Mapping[str, Limit]) -> list[UsedLimit]:
    """Return how much of these limits is used now, a moment in milliseconds; they are given by their keys."""
    day = now - now % counters.DAY
    keys = {name: _key(limit, day) for name, limit in configured.items()}
    values = counters.totals(connection, set(keys.values()))
    return [
        UsedLimit(setting=name, used=values.get(keys[name], 0), cap=limit.cap, daily=limit.daily)
        for name, limit in configured.items()
    ]


def refusals(tx: Transaction, limited: Mapping[Name, Sequence[Limit]]) -> dict[Name, Limit]:
    """Return the reached limit of each message that must be refused, if the messages are accepted in this order."""
    if not limited:
        return {}
    day = counters.start_of_day(tx)
    keys = {name: [_key(limit, day) for limit in limits] for name, limits in limited.items()}
    values = counters.read(tx, chain.from_iterable(keys.values()))
    refused: dict[Name, Limit] = {}
    for name, limits in limited.items():
        reached = [limit for limit, key in zip(limits, keys[name], strict=True) if values[key] >= limit.cap]
        if reached:
            refused[name] = reached[0]
            continue
        for key in keys[name]:
            values[key] += 1
    return refused


def _key(limit: Limit, day: int) -> CounterKey:
    return (day if limit.daily else 0), limit.scope


def count(tx: Transaction, limits: Iterable[Limit]) -> None:
    """Count a message for its daily limits.

    What is not at its end is counted for every message, limited or not, by those who change its state.
    """
    for limit in limits:
        if limit.daily:
            counters.add(tx, (counters.start_of_day(tx), limit.scope), 1)


def admit(tx: Transaction, limits: Sequence[Limit]) -> Limit | None:
    """Count a message for these limits, unless one of them is reached; return the first one that is.

    For limits that become known only after the message was stored, such as those of a route that depends on the
    recipient.
    """
    reached = refusals(tx, {"": limits} if limits else {}).get("")
    if reached is None:
        count(tx, limits)
    return reached
