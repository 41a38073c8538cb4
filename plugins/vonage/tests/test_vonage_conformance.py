"""Gatepost's checks of every plugin, run on this one."""

from typing import ClassVar

import pytest

from gatepost.model import Status
from gatepost.testing.suites import (
    EMULATED,
    FailureMode,
    LifespanSuite,
    PingSuite,
    ReportFeature,
    SmsSuite,
    WebhookSuite,
)
from gatepost_vonage import Vonage
from gatepost_vonage.testing import VonageEmulator


class TestConformance(LifespanSuite, PingSuite, SmsSuite, WebhookSuite):
    plugin = Vonage
    channel: ClassVar = {"default_sender": "Amazing"}
    failure_modes = {*EMULATED, FailureMode.UNREACHABLE}
    # Vonage sends one report per request.
    report_features = {ReportFeature.BODY_SIGNED, ReportFeature.TIME_SIGNED}
    meanings = {
        "submitted": [Status.ACCEPTED],
        "delivered": [Status.DELIVERED],
        "read": [Status.OPENED],
        "undeliverable": [Status.FAILED],
        "rejected:1120": [Status.REJECTED],
        "rejected:1260": [Status.FAILED],
        "rejected:1240": [Status.UNSUBSCRIBED, Status.REJECTED],
        "priced": [],
    }
    verification_keys = {"signature_secret"}

    @pytest.fixture
    async def provider(self):
        # With the real clock, which the checks use too.
        async with VonageEmulator() as emulator:
            yield emulator

    @pytest.fixture
    def table(self, provider):
        return {
            "application_id": provider.application_id,
            "private_key": provider.private_key,
            "signature_secret": provider.signature_secret,
            "base_url": provider.base_url,
            **self.channel,
        }

    def table_for_port(self, port):
        return {"base_url": f"http://127.0.0.1:{port}"}


class TestViber(TestConformance):
    channel: ClassVar = {"channel": "viber", "default_sender": "Amazing Casino"}


class TestWhatsapp(TestConformance):
    channel: ClassVar = {
        "channel": "whatsapp",
        "default_sender": "447700900999",
        "template": {"name": "news", "language": "en-GB"},
    }
