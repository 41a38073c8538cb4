"""How much faster a contact source with ``find_contacts`` answers lookups that come together.

    python benchmarks/lookups.py [LOOKUPS]

The source has one connection and needs 20 ms for an answer, about one user or about a hundred. LOOKUPS lookups (64 by
default) come at the same moment, without and with the hook.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from machine import Row

from gatepost.config.settings import InstanceSettings
from gatepost.contacts.lookup import Contacts
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Contact, Secret
from gatepost.plugin_host.instances import Instance

LATENCY = 0.02
LOOKUPS = 64
ROUNDS = 7


class Single:
    """A source that answers about one user at a time."""

    def __init__(self) -> None:
        self._connection = asyncio.Lock()

    async def answer(self, users: Sequence[str]) -> Mapping[str, Contact]:
        """Return the contact of each of these users."""
        async with self._connection:
            await asyncio.sleep(LATENCY)
        return {user: Contact(email=Secret(f"{user}@players.example")) for user in users}

    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact | None:
        """Return the contact of a user."""
        return (await self.answer([ext_user_id]))[ext_user_id]


class Batch(Single):
    """The same source with the hook."""

    @hookimpl
    async def find_contacts(self, ext_user_ids: Sequence[str]) -> Mapping[str, Contact]:
        """Return the contacts of some users."""
        return await self.answer(ext_user_ids)


async def measure(plugin: Single, lookups: int) -> float:
    """Return the seconds until all lookups are answered."""
    source = Instance(InstanceSettings(name="players", use="players"), plugin)
    contacts = Contacts({"brand": [source]}, 60.0, "")
    began = time.perf_counter()
    await asyncio.gather(
        *(contacts.find("brand", f"user{number}", Channel.EMAIL) for number in range(lookups))
    )
    return time.perf_counter() - began


def ratio(lookups: int) -> float:
    """Return how many times as long the lookups take without the hook."""
    return statistics.median(
        asyncio.run(measure(Single(), lookups)) / asyncio.run(measure(Batch(), lookups))
        for _ in range(ROUNDS)
    )


def rows() -> Iterator[Row]:
    """Yield the row of this measurement."""
    yield Row(f"{LOOKUPS} lookups at once: batches", ratio(LOOKUPS), "times as fast as single ones", goal=10)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else LOOKUPS
    print(f"{count} lookups at once: {ratio(count):.1f} times as fast with find_contacts")
