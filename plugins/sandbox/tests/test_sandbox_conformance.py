"""Gatepost's checks of every plugin, run on this one."""

from gatepost.testing.suites import EmailSuite, LifespanSuite, PingSuite, SmsSuite, WebhookSuite
from gatepost_sandbox import Sandbox
from gatepost_sandbox.testing import SandboxFolder


class TestConformance(LifespanSuite, PingSuite, EmailSuite, SmsSuite, WebhookSuite):
    plugin = Sandbox
    emulator = SandboxFolder
