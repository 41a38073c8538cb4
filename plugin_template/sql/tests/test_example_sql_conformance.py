"""Gatepost's checks of every plugin, run on this one."""

from gatepost.testing.suites import ContactsSuite, LifespanSuite, PingSuite

from gatepost_example_sql import ExampleSql
from gatepost_example_sql.testing import ExampleSqlDatabase


class TestConformance(LifespanSuite, PingSuite, ContactsSuite):
    plugin = ExampleSql
    emulator = ExampleSqlDatabase
