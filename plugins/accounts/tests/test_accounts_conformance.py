"""Gatepost's checks of every plugin, run on this one."""

from gatepost.testing.suites import BatchSuite, ContactsSuite, LifespanSuite, PingSuite
from gatepost_accounts import Accounts
from gatepost_accounts.testing import AccountService


class TestConformance(ContactsSuite, BatchSuite, PingSuite, LifespanSuite):
    plugin = Accounts
    emulator = AccountService
