"""The solution of the exercise "SQL" passes the conformance suites, on a database that fails as databases do."""

import re
from collections.abc import Sequence

import pytest
from sqlalchemy import create_engine, event, insert, text

from exercises.sql.crm_sql import PLAYERS, CrmSql
from gatepost.errors import Unavailable
from gatepost.model import Channel, Contact, Secret
from gatepost.testing.conformance.sample_contacts import BLOCKED_CONTACTS, SAMPLE_CONTACTS
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.suites import (
    BatchSuite,
    ContactFeature,
    ContactsSuite,
    FailureMode,
    LifespanSuite,
    PingSuite,
    UserFinderSuite,
)

E164 = re.compile(r"\+[1-9][0-9]{6,14}")


class Database:
    """A file of SQLite with the sample players; it can be locked, and it can lose its table."""

    attempts = 0

    def __init__(self, path) -> None:
        self.url = f"sqlite:///{path}?timeout=1"
        self._engine = create_engine(self.url)
        self._lock = None
        PLAYERS.metadata.create_all(self._engine)

    def add(self, contacts: dict[str, Contact]) -> None:
        with self._engine.begin() as connection:
            connection.execute(insert(PLAYERS), [_row(name, contact) for name, contact in contacts.items()])

    def simulate(self, failure: FailureMode | None) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        with self._engine.begin() as connection:
            names = connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'table'")).all()
            if failure is FailureMode.OUTAGE:
                connection.execute(text("ALTER TABLE players RENAME TO away"))
            elif "away" in names:
                connection.execute(text("ALTER TABLE away RENAME TO players"))
        if failure is FailureMode.HANG:
            self._lock = self._engine.connect()
            self._lock.exec_driver_sql("BEGIN EXCLUSIVE")

    def received(self) -> Sequence[ReceivedMessage]:
        return []

    def close(self) -> None:
        self.simulate(None)
        self._engine.dispose()


def _row(name: str, contact: Contact) -> dict[str, str | None]:
    email = contact.email.reveal() if contact.email else None
    phone = contact.phone.reveal() if contact.phone else None
    return {
        "id": name,
        "email": email,
        "phone": phone,
        "canonical_email": email,
        # What is no number has no canonical form.
        "e164_phone": phone if phone and E164.fullmatch(phone) else None,
        "excluded": contact.blocked,
    }


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def provider(tmp_path):
    database = Database(tmp_path / "crm.db")
    database.add({**SAMPLE_CONTACTS, **BLOCKED_CONTACTS})
    yield database
    database.close()


@pytest.fixture
def table(provider):
    return {"url": provider.url}


@pytest.fixture
def plugin_type():
    return CrmSql


class TestConformance(LifespanSuite, PingSuite, ContactsSuite, BatchSuite, UserFinderSuite):
    plugin = CrmSql
    failure_modes = frozenset({FailureMode.OUTAGE, FailureMode.HANG})
    contact_features = frozenset(ContactFeature)

    @pytest.fixture
    def provider(self, provider):
        return provider

    @pytest.fixture
    def table(self, table):
        return table


async def test_a_hundred_players_take_one_query(plugin):
    statements = []
    event.listen(plugin._engine, "before_cursor_execute", lambda *call: statements.append(call[2]))

    found = await plugin.find_contacts([f"player-{number}" for number in range(99)] + ["Case-3"])

    assert found.keys() == {"Case-3"}
    assert len(statements) == 1


async def test_everybody_who_shares_a_number_is_found(plugin, provider):
    provider.add({name: Contact(phone=Secret("+447700900500")) for name in ("anna", "ben")})

    assert sorted(await plugin.find_user(Channel.SMS, Secret("+447700900500"))) == ["anna", "ben"]


async def test_a_locked_database_can_not_answer(running, provider):
    async with running(context={"lookup_timeout": 0.05}) as plugin:
        provider.simulate(FailureMode.HANG)

        with pytest.raises(Unavailable, match="TimeoutError"):
            await plugin.find_contact("Case-3")
