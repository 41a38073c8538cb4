"""Gatepost's checks of every plugin, run on this one."""

import pytest

from gatepost.testing.suites import LifespanSuite, PingSuite, SmsSuite
from gatepost_smpp import Smpp
from gatepost_smpp.testing import SmppEmulator


class TestConformance(LifespanSuite, PingSuite, SmsSuite):
    plugin = Smpp
    emulator = SmppEmulator


class TestMessagePayload(TestConformance):
    @pytest.fixture
    def table(self, provider):
        return {**provider.table, "long_texts": "message_payload", "connections": 2}
