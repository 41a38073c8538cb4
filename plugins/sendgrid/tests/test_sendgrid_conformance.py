"""Gatepost's checks of every plugin, run on this one."""

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
    def table(self, provider):
        return {
            "api_key": provider.api_key,
            "base_url": provider.base_url,
            "webhook_public_key": provider.public_key,
        }

    def at_port(self, port):
        return {"base_url": f"http://127.0.0.1:{port}"}
