"""Gatepost's checks of every plugin, run on this one, on each database."""

from gatepost.testing.suites import BatchSuite, ContactsSuite, LifespanSuite, PingSuite, UserFinderSuite
from gatepost_sql import SqlSource
from gatepost_sql.testing import SqliteContacts


class TestSqlite(LifespanSuite, PingSuite, ContactsSuite, BatchSuite, UserFinderSuite):
    plugin = SqlSource
    emulator = SqliteContacts
