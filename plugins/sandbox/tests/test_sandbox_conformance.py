"""What every plugin has to do; the checks are Gatepost's own."""

import pytest

from gatepost.model import Channel, Secret, Status
from gatepost.testing.suites import (
    EmailSuite,
    Form,
    LifespanSuite,
    PingSuite,
    SmsSuite,
    Trouble,
    WebhookSuite,
)
from gatepost_sandbox import Sandbox
from gatepost_sandbox.reports import Line, encode, signed_headers

# What a recipient begins or ends with, for the stand-in to misbehave.
WORDS = {Trouble.REFUSE: ("reject", 92), Trouble.OUTAGE: ("down", 97), Trouble.LOSE: ("lost", 98)}
SECRET = "shared by both sides"


class Folder:
    """The folder as a provider: to a message it does as the recipient says; in an outage it is gone."""

    def __init__(self, path):
        self._path = path
        self.attempts = 0

    def play(self, trouble):
        away = self._path.with_name("away")
        if trouble is Trouble.OUTAGE:
            self._path.rename(away)
        elif away.exists():
            away.rename(self._path)

    def taken(self, message_id):
        return [file.read_bytes().decode() for file in self._path.glob(f"{message_id}*")]

    def report(self, kinds, message_id, *, spoiled=False):
        lines = [Line(message=message_id, status=kind) for kind in kinds]
        if not spoiled:
            return encode(lines)
        junk = [None, 7, {}, {"message": message_id}, {"message": "", "status": "delivered"}]
        return encode([*junk, *(part for line in lines for part in (line, *junk))])

    def sign(self, body, at, *, forged=False):
        return signed_headers(Secret("somebody else's" if forged else SECRET), body, at)


class TestConformance(LifespanSuite, PingSuite, EmailSuite, SmsSuite, WebhookSuite):
    plugin = Sandbox
    plays = set(WORDS)
    reports_are = set(Form)
    meanings = {
        "delivered": [Status.DELIVERED],
        "bounced": [Status.FAILED],
        "complained": [Status.COMPLAINED],
        "opened": [Status.OPENED],
        "unsubscribed": [Status.UNSUBSCRIBED],
        "priced": [],
    }
    verification_keys = {"webhook_secret"}

    def recipient(self, channel, number, trouble):
        word, ending = WORDS.get(trouble, ("canary", 10 + number % 80))
        if channel is Channel.EMAIL:
            return f"{word}.{number}+tag@people.example"
        return f"+44770{number:05}{ending}"

    @pytest.fixture
    def provider(self, tmp_path):
        return Folder(tmp_path / "mail")

    @pytest.fixture
    def table(self):
        return {"folder": "mail", "webhook_secret": SECRET}
