"""Gatepost's checks of every plugin, run on this one."""

from gatepost.testing.suites import (
    ContactsSuite,  # <contacts>
    EmailSuite,  # <email>
    LifespanSuite,
    PingSuite,
    SmsSuite,  # <sms>
    WebhookSuite,  # <send>
)

from gatepost_example import Example
from gatepost_example.testing import ExampleEmulator


class TestConformance(
    LifespanSuite,
    PingSuite,
    ContactsSuite,  # <contacts>
    EmailSuite,  # <email>
    SmsSuite,  # <sms>
    WebhookSuite,  # <send>
):
    plugin = Example
    emulator = ExampleEmulator
