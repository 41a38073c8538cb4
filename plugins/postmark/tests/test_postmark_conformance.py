"""Gatepost's checks of every plugin, run on this one."""

from gatepost.testing.suites import EmailSuite, LifespanSuite, PingSuite, WebhookSuite
from gatepost_postmark import Postmark
from gatepost_postmark.testing import PostmarkEmulator


class TestConformance(LifespanSuite, PingSuite, EmailSuite, WebhookSuite):
    plugin = Postmark
    emulator = PostmarkEmulator
