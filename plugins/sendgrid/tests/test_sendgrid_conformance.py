"""Gatepost's checks of every plugin, run on this one."""

from gatepost.testing.suites import EmailSuite, LifespanSuite, PingSuite, WebhookSuite
from gatepost_sendgrid import SendGrid
from gatepost_sendgrid.testing import SendGridEmulator


class TestConformance(LifespanSuite, PingSuite, EmailSuite, WebhookSuite):
    plugin = SendGrid
    emulator = SendGridEmulator
