"""Gatepost's checks of every plugin, run on this one."""

from gatepost.testing.suites import ContactsSuite, LifespanSuite, UserFinderSuite
from gatepost_csv import CsvSource
from gatepost_csv.testing import CsvFile


class TestConformance(ContactsSuite, UserFinderSuite, LifespanSuite):
    plugin = CsvSource
    emulator = CsvFile
