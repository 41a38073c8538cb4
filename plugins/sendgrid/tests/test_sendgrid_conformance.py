"""What every plugin has to do; the checks are Gatepost's own."""

import pytest

from gatepost.model import Status
from gatepost.testing.suites import (
    EMULATED,
    EmailSuite,
    Form,
    LifespanSuite,
    PingSuite,
    Trouble,
    WebhookSuite,
)
from gatepost_sendgrid import SendGrid


class TestConformance(LifespanSuite, PingSuite, EmailSuite, WebhookSuite):
    plugin = SendGrid
    plays = {*EMULATED, Trouble.UNREACHABLE}
    reports_are = set(Form)
    meanings = {
        "processed": [Status.ACCEPTED],
        "deferred": [Status.ACCEPTED],
        "delivered": [Status.DELIVERED],
        "bounce": [Status.FAILED],
        "blocked": [Status.FAILED],
        "dropped": [Status.REJECTED],
        "open": [Status.OPENED],
        "machine_open": [],
        "click": [],
        "spamreport": [Status.COMPLAINED],
        "unsubscribe": [Status.UNSUBSCRIBED],
        "group_unsubscribe": [Status.UNSUBSCRIBED],
        "group_resubscribe": [],
    }
    verification_keys = {"webhook_public_key"}

    @pytest.fixture
    def provider(self, vendor):
        return vendor

    @pytest.fixture
    def table(self, vendor):
        return {
            "api_key": vendor.api_key,
            "base_url": vendor.base_url,
            "webhook_public_key": vendor.public_key,
        }

    def at_port(self, port):
        return {"base_url": f"http://127.0.0.1:{port}"}
