"""The sql plugin passes the conformance suites on real servers, which fail as servers and networks do."""

import pytest

from gatepost.testing.conformance.sample_contacts import BLOCKED_CONTACTS, SAMPLE_CONTACTS
from gatepost.testing.suites import (
    BatchSuite,
    ContactFeature,
    ContactsSuite,
    FailureMode,
    LifespanSuite,
    PingSuite,
    UserFinderSuite,
)
from gatepost_sql import SqlSource
from gatepost_sql.testing.tables import FIND, FIND_USERS


class OnServer(LifespanSuite, PingSuite, ContactsSuite, BatchSuite, UserFinderSuite):
    plugin = SqlSource
    contact_features = frozenset(ContactFeature)
    failure_modes = frozenset(
        {
            FailureMode.OUTAGE,
            FailureMode.HANG,
            FailureMode.LOSE,
            FailureMode.DROP,
            FailureMode.DENY,
            FailureMode.UNREACHABLE,
        }
    )
    scheme = ""

    @pytest.fixture
    def table(self, provider):
        return provider.table

    def table_for_port(self, port):
        return {
            "url": f"{self.scheme}://reader:secret@127.0.0.1:{port}/players",
            "query": FIND,
            "user_query": FIND_USERS,
        }


def loaded(players):
    players.create()
    players.add({**SAMPLE_CONTACTS, **BLOCKED_CONTACTS})
    return players


class TestPostgres(OnServer):
    scheme = "postgresql"

    @pytest.fixture
    def provider(self, postgres_players):
        return loaded(postgres_players)


class TestMariaDb(OnServer):
    scheme = "mariadb"

    @pytest.fixture
    def provider(self, mariadb_players):
        return loaded(mariadb_players)


del OnServer
