"""Gatepost's checks of every plugin, run on this one."""

import pytest

from gatepost.testing.suites import LifespanSuite, MessageFeature, PingSuite, SmsSuite, WebhookSuite
from gatepost_twilio import Twilio
from gatepost_twilio.testing import TwilioEmulator


class TestConformance(LifespanSuite, PingSuite, SmsSuite, WebhookSuite):
    plugin = Twilio
    emulator = TwilioEmulator


class WhatsappEmulator(TwilioEmulator):
    # The sender is the account's, whatever the message says.
    message_features = TwilioEmulator.message_features - {MessageFeature.SENDER}


class TestWhatsapp(TestConformance):
    emulator = WhatsappEmulator

    @pytest.fixture
    def table(self, provider):
        keys = {"channel": "whatsapp", "default_sender": "447700900999", "template": provider.template}
        return {**provider.table, **keys}
