"""Fixtures for the tests of the outbox: a store on the test's own clock, claims, views of messages."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from claiming import claim_due
from gatepost.model import Secret
from gatepost.outbox import Outbox, Policy, open_outbox, queries, sqlite
from gatepost.outbox.migrate import migrate

REPO = Path(__file__).parents[2]


class Clock:
    """A clock, in seconds since the epoch, that the test advances."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Place:
    """The location of a store, which can be opened several times, one after the other."""

    def __init__(self, url: str, base: Path, clock: Clock) -> None:
        self.url = Secret(url)
        self.base = base
        self.clock = clock

    @asynccontextmanager
    async def opened(self, **policy: object) -> AsyncIterator[Outbox]:
        async with open_outbox(self.url, self.base, Policy(**policy), clock=self.clock) as outbox:
            # On PostgreSQL the server's clock would count, which a test can't advance.
            outbox._now = sqlite.database_clock(self.clock)
            yield outbox


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory):
    """Return a file with the tables in it: to copy it is faster than to create them for each test."""
    path = tmp_path_factory.mktemp("empty") / "outbox.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate(connection)
    engine.dispose()
    return path


@pytest.fixture(params=["sqlite"])
def place(request, tmp_path, clock, empty_sqlite):
    """Return the location of an empty store, which is not open yet; a test may ask for "postgresql" instead."""
    if request.param == "postgresql":
        return Place(request.getfixturevalue("postgres_server").new_database(), tmp_path, clock)
    shutil.copy(empty_sqlite, tmp_path / "outbox.db")
    return Place("sqlite:///outbox.db", tmp_path, clock)


@pytest.fixture
async def store(place):
    """Yield an open outbox with the default policy."""
    async with place.opened() as outbox:
        yield outbox


@pytest.fixture
def view_of():
    """Return a function for a message as an operator sees it; None when it is deleted."""

    async def view(outbox: Outbox, identity: str) -> queries.MessageView | None:
        found = await outbox._database.transact(
            lambda connection: queries.find_messages(connection, identity)
        )
        return found[0] if found else None

    return view


@pytest.fixture
def put_and_claim(new):
    """Return a function that stores a message and claims it; it returns the claim."""

    async def claim_new(outbox: Outbox, uid: str = "uid-1", lease: float = 30.0, **fields: object):
        message = new(uid, **fields)
        await outbox.put(message)
        (claim,) = await claim_due(outbox, message.channel, 1, lease)
        assert claim.id == message.id
        return claim

    return claim_new
