"""Gatepost's checks of every plugin, run on this one."""

from gatepost.testing.suites import EmailSuite, LifespanSuite, PingSuite, WebhookSuite
from gatepost_ses import Ses
from gatepost_ses.testing import SesEmulator


class TestConformance(LifespanSuite, PingSuite, EmailSuite, WebhookSuite):
    plugin = Ses
    emulator = SesEmulator
