"""Gatepost's checks of every plugin, run on this one."""

from gatepost.testing.suites import (
    EmailSuite,  # <email>
    LifespanSuite,
    PingSuite,
    SmsSuite,  # <sms>
)

from gatepost_example_tcp import ExampleTcp
from gatepost_example_tcp.testing import ExampleTcpEmulator


class TestConformance(
    LifespanSuite,
    PingSuite,
    EmailSuite,  # <email>
    SmsSuite,  # <sms>
):
    plugin = ExampleTcp
    emulator = ExampleTcpEmulator
