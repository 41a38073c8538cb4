"""What these tests share: each kind of store, on a clock of the test's own."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from gatepost.model import Secret
from gatepost.outbox import Outbox, Policy, open_outbox, queries, sqlite
from gatepost.outbox.migrate import migrate

REPO = Path(__file__).parents[2]


class Clock:
    """Seconds since the epoch, as the test wants them."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Place:
    """Where a store is; it can be opened again and again, one time after the other."""

    def __init__(self, url: str, base: Path, clock: Clock) -> None:
        self.url = Secret(url)
        self.base = base
        self.clock = clock

    @asynccontextmanager
    async def opened(self, **policy: object) -> AsyncIterator[Outbox]:
        async with open_outbox(self.url, self.base, Policy(**policy), clock=self.clock) as outbox:
            # PostgreSQL has a clock of its own, which nobody can turn.
            outbox._now = sqlite.clock_of(self.clock)
            yield outbox


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory):
    """A file with the tables in it: to copy it is quicker than to make them for each test."""
    path = tmp_path_factory.mktemp("empty") / "outbox.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate(connection)
    engine.dispose()
    return path


@pytest.fixture(params=["sqlite"])
def place(request, tmp_path, clock, empty_sqlite):
    """An empty store of each kind, not open yet."""
    shutil.copy(empty_sqlite, tmp_path / "outbox.db")
    return Place("sqlite:///outbox.db", tmp_path, clock)


@pytest.fixture
async def store(place):
    """An open outbox of each kind, with the default policy."""
    async with place.opened() as outbox:
        yield outbox


@pytest.fixture
def look():
    """Shows a message as an operator sees it; None where it is forgotten."""

    async def one(outbox: Outbox, identity: str) -> queries.MessageView | None:
        found = await outbox._database.transact(lambda connection: queries.known_by(connection, identity))
        return found[0] if found else None

    return one


@pytest.fixture
def hold(new):
    """Puts a message and claims it; returns the claim."""

    async def held(outbox: Outbox, uid: str = "uid-1", lease: float = 30.0, **fields: object):
        message = new(uid, **fields)
        await outbox.put(message)
        (claim,) = await outbox.claim(message.channel, 1, lease)
        assert claim.id == message.id
        return claim

    return held
