"""Gatepost's checks of every plugin, run on this one."""

import pytest

from gatepost.model import Status  # <send>
from gatepost.testing.suites import (
    EMULATED,
    ContactFeature,  # <contacts>
    ContactsSuite,  # <contacts>
    EmailSuite,  # <email>
    FailureMode,
    LifespanSuite,
    PingSuite,
    ReportFeature,  # <send>
    SmsSuite,  # <sms>
    WebhookSuite,  # <send>
)
from gatepost_example import Example


class TestConformance(
    LifespanSuite,
    PingSuite,
    ContactsSuite,  # <contacts>
    EmailSuite,  # <email>
    SmsSuite,  # <sms>
    WebhookSuite,  # <send>
):
    plugin = Example
    failure_modes = {*EMULATED, FailureMode.UNREACHABLE}
    # <contacts>
    contact_features = set(ContactFeature)
    # </contacts>
    # <send>
    report_features = set(ReportFeature)
    meanings = {
        "sent": [Status.ACCEPTED],
        "delivered": [Status.DELIVERED],
        "failed": [Status.FAILED],
        "blocked": [Status.REJECTED],
        # <email>
        "opened": [Status.OPENED],
        "complained": [Status.COMPLAINED],
        # </email>
        "unsubscribed": [Status.UNSUBSCRIBED],
        "priced": [],
    }
    verification_keys = {"webhook_secret"}
    # </send>

    # <contacts>
    @pytest.fixture(autouse=True)
    def users(self, provider, contacts):
        for name, contact in contacts.items():
            provider.users[name] = {
                "id": name,
                "email": contact.email and contact.email.reveal(),
                "phone": contact.phone and contact.phone.reveal(),
                "blocked": contact.blocked,
            }

    # </contacts>
    @pytest.fixture
    def table(self, provider):
        return {
            "api_key": provider.api_key,
            "base_url": provider.base_url,
            # <send>
            "webhook_secret": provider.webhook_secret,
            # </send>
        }

    def table_for_port(self, port):
        return {"base_url": f"http://127.0.0.1:{port}"}
