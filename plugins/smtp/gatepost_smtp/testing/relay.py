"""A relay on this machine as the conformance kit needs it, whose returned mail is the report."""

import email
import email.policy
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Self

from gatepost.model import Status, WebhookRequest
from gatepost.testing.features import FailureMode, MessageFeature
from gatepost.testing.kit_emulator import PROSE, KitEmulator
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.webhook_requests import webhook_request, with_headers
from gatepost_smtp.testing.sink import Received, Sink

_ANSWERS = {
    FailureMode.REFUSE: ("RCPT", f"550 5.1.1 {PROSE}"),
    FailureMode.THROTTLE: ("RCPT", f"451 4.7.1 {PROSE}"),
    FailureMode.OUTAGE: ("END", f"451 4.3.0 {PROSE}"),
    FailureMode.DENY: ("MAIL", f"530 5.7.0 {PROSE}"),
    FailureMode.REDIRECT: ("RCPT", "551 5.1.6 moved, try <other@elsewhere.example>"),
    FailureMode.NONSENSE: ("END", "299 2.9.9 \x01\xff"),
}

_RETURNED = """\
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
_BOUNCE = "Reporting-MTA: dns; relay.example\n\nFinal-Recipient: rfc822; {0}\nAction: {1}\nStatus: 5.1.1\n"
_COMPLAINT = "Feedback-Type: {1}\nUser-Agent: relay/1\nVersion: 1\nOriginal-Rcpt-To: {0}\n"


class EmulatedRelay(KitEmulator):
    """A sink that takes every mail; a ping signs in and ends with NOOP. A bearer token proves who reports."""

    failure_modes = frozenset(FailureMode) - {FailureMode.RETRY_AFTER}
    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.REPLY_TO,
            MessageFeature.HEADERS,
            MessageFeature.CONNECTIONS,
        }
    )
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "failed": [Status.FAILED],
        "delivered": [Status.DELIVERED],
        "delayed": [],
        "abuse": [Status.COMPLAINED],
        "virus": [],
    }
    verification_keys = frozenset({"webhook_secret"})

    def __init__(self) -> None:
        self._webhook_secret = secrets.token_hex(16)
        self._sink = Sink()
        self._sink.extensions.append("AUTH PLAIN")
        self._sink.drip_pause = 0.25

    @property
    def table(self) -> Mapping[str, Any]:
        """The keys of the plugin's table that lead to this relay."""
        return {
            "host": "127.0.0.1",
            "port": self._sink.port,
            "security": "none",
            "username": "gatepost",
            "password": "a relay's password 4711",
            "webhook_secret": self._webhook_secret,
            "helo": "gateway.example",
        }

    @classmethod
    def table_for_port(cls, port: int) -> Mapping[str, Any]:
        """Return the keys of the table that lead to another port of this machine."""
        return {"port": port}

    @classmethod
    def table_for_tls_port(cls, port: int) -> Mapping[str, Any]:
        """Return the keys of the table that lead to a TLS server on this machine."""
        return {"port": port, "security": "tls"}

    @property
    def attempts(self) -> int:
        """The number of mails that have begun."""
        return sum(line.upper().startswith(b"MAIL") for line in self._sink.commands)

    @property
    def connections(self) -> int:
        """The number of connections so far."""
        return self._sink.sessions

    def simulate(self, failure: FailureMode | None) -> None:
        """Fail in this way from now on; None: work as usual."""
        sink = self._sink
        sink.clear_faults()
        match failure:
            case FailureMode.HANG:
                sink.stall("END")
                sink.stall("NOOP")
            case FailureMode.DRIP:
                sink.drip("END", f"250 2.0.0 {'so slow ' * 40}")
            case FailureMode.LOSE:
                sink.hang_up("END")
            case FailureMode.DROP:
                sink.hang_up("DATA")
                sink.hang_up("NOOP")
            case FailureMode():
                stage, answer = _ANSWERS[failure]
                sink.answer(stage, answer)
                sink.answer("NOOP", answer)
                if failure is FailureMode.DENY:
                    sink.answer("AUTH", "535 5.7.8 bad credentials")

    def received(self) -> Sequence[ReceivedMessage]:
        """Return every mail that was taken, in order."""
        return [_received(mail) for mail in self._sink.mails]

    def report(
        self,
        kinds: Sequence[str],
        message_id: str,
        *,
        to: str,
        spoiled: bool = False,  # noqa: ARG002  a mail is one report
    ) -> WebhookRequest:
        """Return a returned mail about a message, as a request that is not signed; ``spoiled`` changes nothing."""
        (kind,) = kinds
        (recipient,) = next(one.recipients for one in self.received() if one.id == message_id)
        complaint = kind in {"abuse", "virus"}
        text = _RETURNED.format(
            kind="feedback-report" if complaint else "delivery-status",
            recipient=recipient,
            fields=(_COMPLAINT if complaint else _BOUNCE).format(recipient, kind),
            message_id=message_id,
        )
        return webhook_request(to, text.encode(), headers={"Content-Type": "message/rfc822"})

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        """Return the request with the bearer token; ``forged``: with another one."""
        token = "another secret" if forged else self._webhook_secret
        return with_headers(request, {"Authorization": f"Bearer {token}", "Content-Type": "message/rfc822"})

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._sink.serving())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


def _received(mail: Received) -> ReceivedMessage:
    """Return a mail in the words of the plugin contract."""
    content = email.message_from_bytes(mail.content, policy=email.policy.default)
    sender, reply_to = content["From"].addresses[0], content["Reply-To"]
    parts = {one.get_content_type(): one.get_content() for one in content.walk() if not one.is_multipart()}
    return ReceivedMessage(
        id=content["Message-ID"].strip().removeprefix("<").partition("@")[0],
        # Of the envelope, which alone decides where a mail goes.
        recipients=[line.decode().partition("<")[2].partition(">")[0] for line in mail.recipients],
        sender=sender.addr_spec,
        sender_name=sender.display_name,
        reply_to=reply_to.addresses[0].addr_spec if reply_to else "",
        subject=content["Subject"] or "",
        text=parts.get("text/plain", ""),
        html=parts.get("text/html", ""),
        headers=dict(content.items()),
        raw=b"\n".join((mail.mail, *mail.recipients, mail.content)).decode("utf-8", "replace"),
    )
