"""Gatepost's checks of every plugin, run on this one."""

import pytest

from gatepost.model import Status
from gatepost.testing.suites import EmailSuite, FailureMode, LifespanSuite, PingSuite, WebhookSuite
from gatepost_smtp import SmtpRelay

SECRET = "a shared secret 0815"

ANSWERS = {
    FailureMode.REFUSE: ("RCPT", "550 5.1.1 no such mailbox"),
    FailureMode.THROTTLE: ("RCPT", "451 4.7.1 too many, come back later"),
    FailureMode.OUTAGE: ("END", "451 4.3.0 our disk is full"),
    FailureMode.DENY: ("MAIL", "530 5.7.0 sign in first"),
    FailureMode.REDIRECT: ("RCPT", "551 5.1.6 moved, try <other@elsewhere.example>"),
    FailureMode.NONSENSE: ("END", "299 2.9.9 \x01\xff"),
}

RETURNED = """\
From: MAILER-DAEMON@relay.example
To: postmaster@amazing.example
MIME-Version: 1.0
Content-Type: multipart/report; report-type={kind}; boundary=limit

--limit
Content-Type: text/plain

Sorry: {recipient}
--limit
Content-Type: message/{kind}

{fields}
--limit
Content-Type: text/rfc822-headers

To: {recipient}
Message-ID: <{message_id}@amazing.example>
--limit--
"""
BOUNCE = "Reporting-MTA: dns; relay.example\n\nFinal-Recipient: rfc822; {0}\nAction: {1}\nStatus: 5.1.1\n"
COMPLAINT = "Feedback-Type: {1}\nUser-Agent: relay/1\nVersion: 1\nOriginal-Rcpt-To: {0}\n"


class Relay:
    """The sink as the provider of the checks; a ping signs in and ends with NOOP."""

    def __init__(self, sink):
        self._sink = sink

    @property
    def attempts(self):
        return sum(line.upper().startswith(b"MAIL") for line in self._sink.commands)

    def simulate(self, failure):
        self._sink._faults.clear()
        if failure in ANSWERS:
            stage, answer = ANSWERS[failure]
            self._sink.answer(stage, answer)
            self._sink.answer("NOOP", answer)
            if failure is FailureMode.DENY:
                self._sink.answer("AUTH", "535 5.7.8 bad credentials")
        elif failure is FailureMode.HANG:
            self._sink.stall("END", seconds=0)
            self._sink.stall("NOOP", seconds=0)
        elif failure is FailureMode.DRIP:
            self._sink.drip("END", f"250 2.0.0 {'so slow ' * 40}", seconds=0.1)
        elif failure is FailureMode.LOSE:
            self._sink.hang_up("END")
        elif failure is FailureMode.DROP:
            self._sink.hang_up("DATA")
            self._sink.hang_up("NOOP")

    def taken(self, message_id):
        return [
            b"\n".join((*mail.recipients, mail.content)).decode("utf-8", "replace")
            for mail in self._sink.mails
            if message_id.encode() in mail.content
        ]

    def report(self, kinds, message_id, *, spoiled=False):
        (kind,) = kinds
        (mail,) = self.taken(message_id)
        recipient = mail.partition("<")[2].partition(">")[0]
        complaint = kind in {"abuse", "virus"}
        text = RETURNED.format(
            kind="feedback-report" if complaint else "delivery-status",
            recipient=recipient,
            fields=(COMPLAINT if complaint else BOUNCE).format(recipient, kind),
            message_id=message_id,
        )
        return text.encode()

    def sign(self, body, at, *, forged=False):
        token = "another secret" if forged else SECRET
        return {"Authorization": f"Bearer {token}", "Content-Type": "message/rfc822"}


class TestConformance(LifespanSuite, PingSuite, EmailSuite, WebhookSuite):
    plugin = SmtpRelay
    failure_modes = {
        *ANSWERS,
        FailureMode.HANG,
        FailureMode.DRIP,
        FailureMode.LOSE,
        FailureMode.DROP,
        FailureMode.UNREACHABLE,
    }
    # A bearer token proves who reports, but signs neither the body nor the time.
    report_features = set()
    meanings = {
        "failed": [Status.FAILED],
        "delivered": [Status.DELIVERED],
        "delayed": [],
        "abuse": [Status.COMPLAINED],
        "virus": [],
    }
    verification_keys = {"webhook_secret"}

    @pytest.fixture
    def provider(self, sink):
        return Relay(sink)

    @pytest.fixture
    def table(self, sink):
        sink.extensions.append("AUTH PLAIN")
        return {
            "host": "127.0.0.1",
            "port": sink.port,
            "security": "none",
            "username": "gatepost",
            "password": "a relay's password 4711",
            "webhook_secret": SECRET,
            "helo": "gateway.example",
        }

    def table_for_port(self, port):
        return {"port": port}
