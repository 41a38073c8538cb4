"""How much faster the sql plugin answers lookups that come together, on PostgreSQL with a delay in between.

    python benchmarks/sql_source.py [LOOKUPS]

A proxy delays each direction of a PostgreSQL server by 5 ms. LOOKUPS lookups (2,000 by default), at most 200 at a time, go through
the gateway's own gathering of lookups: with find_contacts, and one by one, over the same two connections. The two take turns.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from machine import Row

from gatepost.config.settings import InstanceSettings
from gatepost.contacts.gathering import MAX_CALLS, GatheredLookups
from gatepost.model import Contact, Secret
from gatepost.plugin_host.instances import Instance
from gatepost.testing.fakes import FakeCore
from gatepost_sql import Settings, SqlSource
from gatepost_sql.testing.tables import FIND
from sql.players import PostgresPlayers
from sql.proxy import Proxy
from torture import postgres

DELAY = 0.005
USERS = 20_000
LOOKUPS = 2_000
AT_A_TIME = 200
ROUNDS = 5
TIMEOUT = 60.0


async def throughput(lookups: int, find) -> float:
    """Return the lookups a second when AT_A_TIME of them wait."""
    numbers = iter(range(lookups))

    async def work() -> None:
        for number in numbers:
            assert await find(f"player-{number * 7919 % USERS}") is not None

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_A_TIME)))
    return lookups / (time.perf_counter() - began)


async def single(find) -> float:
    """Return the median seconds of a lookup that comes alone."""
    seconds = []
    for number in range(50):
        began = time.perf_counter()
        assert await find(f"player-{number}") is not None
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


async def measure(lookups: int) -> tuple[float, float, float]:
    """Return the medians: the ratio of the throughputs, lookups a second in batches, and the ratio of single lookups."""
    with postgres.start_server() as server:
        players = PostgresPlayers(server)
        players.create()
        contact = Contact(email=Secret("anna@players.example"))
        players.add({f"player-{number}": contact for number in range(USERS)})
        players.run("ANALYZE players")
        async with Proxy(players.upstream, DELAY) as proxy:
            players.connect(proxy)
            settings = Settings(url=Secret(players.url), query=FIND, connections=MAX_CALLS)
            plugin = SqlSource(settings, FakeCore().context(lookup_timeout=TIMEOUT))
            source = Instance(InstanceSettings(name="players", use="sql"), plugin).as_source
            gathered = GatheredLookups(source, TIMEOUT, "players")
            # As many calls at a time as the gathering makes.
            free = asyncio.Semaphore(MAX_CALLS)

            async def one_by_one(user: str) -> Contact | None:
                async with free:
                    return await source.find_contact(user, TIMEOUT)

            async with plugin.lifespan():
                return await _take_turns(lookups, gathered.find, one_by_one)


async def _take_turns(lookups: int, batched, one_by_one) -> tuple[float, float, float]:
    await throughput(AT_A_TIME, batched)
    await throughput(AT_A_TIME, one_by_one)
    ratios, rates, delays = [], [], []
    for _ in range(ROUNDS):
        many, few = await throughput(lookups, batched), await throughput(lookups, one_by_one)
        rates.append(many)
        ratios.append(many / few)
        delays.append(await single(batched) / await single(one_by_one))
    return statistics.median(ratios), statistics.median(rates), statistics.median(delays)


def rows() -> Iterator[Row]:
    """Yield the rows of this measurement."""
    ratio, rate, delay = asyncio.run(measure(LOOKUPS))
    yield Row(
        "sql lookups, 5 ms away each way: batches",
        ratio,
        "times as fast as single ones",
        goal=5,
        note=f"{rate:.0f} a second",
    )
    yield Row("sql lookups, 5 ms away each way: a lookup alone", delay, "of one without batches")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else LOOKUPS
    faster, a_second, alone = asyncio.run(measure(count))
    print(
        f"{faster:.1f} times as fast in batches ({a_second:.0f} a second); a lookup alone takes {alone:.2f} of the time"
    )
