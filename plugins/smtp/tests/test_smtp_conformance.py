"""Gatepost's checks of every plugin, run on this one."""

from gatepost.testing.suites import EmailSuite, LifespanSuite, PingSuite, WebhookSuite
from gatepost_smtp import SmtpRelay
from gatepost_smtp.testing import EmulatedRelay


class TestConformance(LifespanSuite, PingSuite, EmailSuite, WebhookSuite):
    plugin = SmtpRelay
    emulator = EmulatedRelay
