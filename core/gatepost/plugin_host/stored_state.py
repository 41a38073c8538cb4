"""What an instance keeps in the store and the leases that it takes there: the functions behind its Context."""

import time
from collections.abc import Callable
from typing import TypeVar

from gatepost.errors import StoreError, Unavailable
from gatepost.observe import redaction
from gatepost.outbox import Outbox, named_leases, plugin_state
from gatepost.outbox.group_commit import Work
from gatepost.outbox.named_leases import LeaseRequest
from gatepost.outbox.plugin_state import Replaced, Replacement, StateKey

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_NAME = 64
"""Characters of a key, and of the name of a lease."""

MIN_LEASE = 1.0
"""Seconds of a lease at least."""


class StoredState:
    """The values and leases of one instance, which no other instance sees."""

    def __init__(self, instance: str, outbox: Callable[[], Outbox]) -> None:
        """``outbox`` returns the store, or raises Unavailable while there is none."""
        self._instance = instance
        self._outbox = outbox

    async def read(self, key: str) -> str:
        """Return the value of a key, as ``PluginState.read`` promises."""
        return await self._do(plugin_state.read, StateKey(self._instance, _name(key, "key")))

    async def replace(self, key: str, old: str, new: str) -> bool:
        """Set the value of a key, as ``PluginState.replace`` promises."""
        order = Replacement(self._instance, _name(key, "key"), _value(old), _value(new))
        _expect_not_private(order.key, order.new)
        replaced = await self._do(plugin_state.replace, order)
        if replaced is Replaced.TOO_LARGE:
            raise ValueError(f"the values have more than {plugin_state.MAX_TOTAL:,} characters in all")
        return replaced is Replaced.DONE

    async def lease(self, name: str, seconds: float) -> bool:
        """Take or renew a lease, as ``Context.lease`` promises."""
        full_name = f"{named_leases.OF_PLUGIN}{self._instance}/{_name(name, 'name')}"
        _expect_not_private(name)
        request = LeaseRequest(full_name, _lease_seconds(seconds))
        # It began later than this.
        asked_at = time.monotonic()
        held = await self._do(named_leases.acquire, request)
        return held and time.monotonic() - asked_at < request.seconds

    async def _do(self, work: Work[Item, Result], item: Item) -> Result:
        try:
            return await self._outbox().coordinate(work, item)
        except StoreError:
            pass
        # Outside of the except block: the store's error would become this error's context.
        raise Unavailable("the store can't be reached now")


def _name(text: object, what: str) -> str:
    if isinstance(text, str) and 0 < len(text) <= MAX_NAME and text.isprintable():
        return str.__str__(text)
    raise ValueError(f"a {what} is a printable text of 1 to {MAX_NAME} characters")


def _expect_not_private(*texts: str) -> None:
    if any(map(redaction.looks_private, texts)):
        raise ValueError("the store must not hold an address or a phone number")


def _lease_seconds(seconds: object) -> float:
    if isinstance(seconds, int | float) and MIN_LEASE <= seconds <= named_leases.MAX_SECONDS:
        return float(seconds)
    raise ValueError(f"a lease is for {MIN_LEASE:g} to {named_leases.MAX_SECONDS:g} seconds")


def _value(text: object) -> str:
    """Return a value that both kinds of store can hold and return unchanged."""
    if isinstance(text, str) and len(text) <= plugin_state.MAX_TOTAL and "\0" not in text:
        value = str.__str__(text)
        if value.isascii() or value.encode(errors="replace").decode() == value:
            return value
    raise ValueError(f"a value is a text of at most {plugin_state.MAX_TOTAL:,} characters without NUL")
