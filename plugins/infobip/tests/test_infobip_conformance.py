"""Gatepost's checks of every plugin, run on this one: on each channel, and with each way to hear of messages."""

import pytest

from gatepost.testing.suites import LifespanSuite, MessageFeature, PingSuite, SmsSuite, WebhookSuite
from gatepost_infobip import Infobip
from gatepost_infobip.testing import InfobipEmulator


class TestConformance(LifespanSuite, PingSuite, SmsSuite, WebhookSuite):
    plugin = Infobip
    emulator = InfobipEmulator
    keys = {"default_sender": "Amazing"}

    @pytest.fixture
    async def provider(self):
        async with self.emulator() as emulator:
            yield emulator

    @pytest.fixture
    def table(self, provider):
        return {**provider.table, **self.keys}


class SubscribedEmulator(InfobipEmulator):
    """Infobip with a subscription: the reports go where that says, with its user name and password."""

    message_features = InfobipEmulator.message_features - {MessageFeature.WEBHOOK_URL}
    verification_keys = frozenset({"webhook_basic"})

    def __init__(self, **where):
        super().__init__(**where)
        self.subscribed = True

    @property
    def table(self):
        return self.subscription_table


class TestSubscription(TestConformance):
    emulator = SubscribedEmulator


class ViberEmulator(InfobipEmulator):
    # The sender is the account's, whatever the message says.
    message_features = InfobipEmulator.message_features - {MessageFeature.SENDER}


class TestViber(TestConformance):
    emulator = ViberEmulator
    keys = {"channel": "viber", "default_sender": "Amazing Casino"}


class WhatsappEmulator(InfobipEmulator):
    # A template message has no lifetime of its own, and no field for labels.
    message_features = frozenset({MessageFeature.WEBHOOK_URL, MessageFeature.CONNECTIONS})


class TestWhatsapp(TestConformance):
    emulator = WhatsappEmulator
    keys = {
        "channel": "whatsapp",
        "default_sender": "447700900999",
        "template": {"name": "news", "language": "en_GB"},
    }
