"""Gatepost's checks of every plugin, run on this one."""

from gatepost.testing.suites import LifespanSuite, PingSuite, SmsSuite, WebhookSuite
from gatepost_sinch import Sinch
from gatepost_sinch.testing import SinchEmulator


class TestConformance(LifespanSuite, PingSuite, SmsSuite, WebhookSuite):
    plugin = Sinch
    emulator = SinchEmulator
