"""Gatepost's checks of every plugin, run on this one."""

import pytest

from gatepost.testing.suites import LifespanSuite, MessageFeature, PingSuite, SmsSuite, WebhookSuite
from gatepost_vonage import Vonage
from gatepost_vonage.testing import VonageEmulator


class TestConformance(LifespanSuite, PingSuite, SmsSuite, WebhookSuite):
    plugin = Vonage
    emulator = VonageEmulator
    keys = {"default_sender": "Amazing"}

    @pytest.fixture
    async def provider(self):
        # With the real clock, which the checks use too.
        async with self.emulator() as emulator:
            yield emulator

    @pytest.fixture
    def table(self, provider):
        return {**provider.table, **self.keys}


class ViberEmulator(VonageEmulator):
    # The sender is the account's, whatever the message says.
    message_features = VonageEmulator.message_features - {MessageFeature.SENDER}


class TestViber(TestConformance):
    emulator = ViberEmulator
    keys = {"channel": "viber", "default_sender": "Amazing Casino"}


class WhatsappEmulator(ViberEmulator):
    # The lifetime is a property of the template.
    message_features = ViberEmulator.message_features - {MessageFeature.LIFETIME}


class TestWhatsapp(TestConformance):
    emulator = WhatsappEmulator
    keys = {
        "channel": "whatsapp",
        "default_sender": "447700900999",
        "template": {"name": "news", "language": "en-GB"},
    }
