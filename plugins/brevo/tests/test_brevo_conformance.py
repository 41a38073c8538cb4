"""Gatepost's checks of every plugin, run on each channel of this one."""

from gatepost.testing.suites import EmailSuite, LifespanSuite, PingSuite, SmsSuite, WebhookSuite
from gatepost_brevo import Brevo
from gatepost_brevo.testing import BrevoEmulator, BrevoSmsEmulator


class TestEmail(LifespanSuite, PingSuite, EmailSuite, WebhookSuite):
    plugin = Brevo
    emulator = BrevoEmulator


class TestSms(LifespanSuite, PingSuite, SmsSuite, WebhookSuite):
    plugin = Brevo
    emulator = BrevoSmsEmulator
