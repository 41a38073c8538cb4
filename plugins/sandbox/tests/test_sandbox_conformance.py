"""Gatepost's checks of every plugin, run on this one."""

import pytest

from gatepost.model import Channel, Secret, Status
from gatepost.testing.suites import (
    EmailSuite,
    FailureMode,
    LifespanSuite,
    PingSuite,
    ReportFeature,
    SmsSuite,
    WebhookSuite,
)
from gatepost_sandbox import Sandbox
from gatepost_sandbox.reports import ReportItem, encode_body, signed_headers

# The beginning of an address and the ending of a number that select the scenario for each failure.
RECIPIENTS = {
    FailureMode.REFUSE: ("reject", 92),
    FailureMode.OUTAGE: ("down", 97),
    FailureMode.LOSE: ("lost", 98),
}
SECRET = "shared by both sides"


class Folder:
    """The folder as the provider: the recipient selects the outcome of a send; in an outage the folder is away."""

    def __init__(self, path):
        self._path = path
        self.attempts = 0

    def simulate(self, failure):
        away = self._path.with_name("away")
        if failure is FailureMode.OUTAGE:
            self._path.rename(away)
        elif away.exists():
            away.rename(self._path)

    def taken(self, message_id):
        return [file.read_bytes().decode() for file in self._path.glob(f"{message_id}*")]

    def report(self, kinds, message_id, *, spoiled=False):
        items = [ReportItem(message=message_id, status=kind) for kind in kinds]
        if not spoiled:
            return encode_body(items)
        junk = [None, 7, {}, {"message": message_id}, {"message": "", "status": "delivered"}]
        return encode_body([*junk, *(part for item in items for part in (item, *junk))])

    def sign(self, body, at, *, forged=False):
        return signed_headers(Secret("another secret" if forged else SECRET), body, at)


class TestConformance(LifespanSuite, PingSuite, EmailSuite, SmsSuite, WebhookSuite):
    plugin = Sandbox
    failure_modes = set(RECIPIENTS)
    report_features = set(ReportFeature)
    meanings = {
        "delivered": [Status.DELIVERED],
        "bounced": [Status.FAILED],
        "complained": [Status.COMPLAINED],
        "opened": [Status.OPENED],
        "unsubscribed": [Status.UNSUBSCRIBED],
        "priced": [],
    }
    verification_keys = {"webhook_secret"}

    def recipient(self, channel, number, failure):
        word, ending = RECIPIENTS.get(failure, ("canary", 10 + number % 80))
        if channel is Channel.EMAIL:
            return f"{word}.{number}+tag@people.example"
        return f"+44770{number:05}{ending}"

    @pytest.fixture
    def provider(self, tmp_path):
        return Folder(tmp_path / "mail")

    @pytest.fixture
    def table(self):
        return {"folder": "mail", "webhook_secret": SECRET}
