"""Gatepost's checks of every plugin, run on this one."""

import pytest

from gatepost.model import Status
from gatepost.testing.suites import (
    EMULATED,
    EmailSuite,
    FailureMode,
    LifespanSuite,
    PingSuite,
    ReportFeature,
    WebhookSuite,
)
from gatepost_sendgrid import SendGrid


class TestConformance(LifespanSuite, PingSuite, EmailSuite, WebhookSuite):
    plugin = SendGrid
    failure_modes = {*EMULATED, FailureMode.UNREACHABLE}
    report_features = set(ReportFeature)
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

    def table_for_port(self, port):
        return {"base_url": f"http://127.0.0.1:{port}"}
