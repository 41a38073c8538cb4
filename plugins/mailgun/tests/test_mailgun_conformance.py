"""Gatepost's checks of every plugin, run on this one."""

from gatepost.testing.suites import EmailSuite, LifespanSuite, PingSuite, WebhookSuite
from gatepost_mailgun import Mailgun
from gatepost_mailgun.testing import MailgunEmulator


class TestConformance(LifespanSuite, PingSuite, EmailSuite, WebhookSuite):
    plugin = Mailgun
    emulator = MailgunEmulator
