"""The sandbox's folder as the provider of the demo and of the conformance kit."""

import email
import email.policy
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import msgspec

from gatepost.model import Channel, Secret, Status, WebhookRequest
from gatepost.testing.demo_provider import Arrival
from gatepost.testing.features import FailureMode, MessageFeature, ReportFeature
from gatepost.testing.kit_emulator import KitEmulator
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.webhook_requests import webhook_request, with_headers
from gatepost_sandbox.reports import ReportItem, encode_body, signed_headers

_RECIPIENTS = {
    FailureMode.REFUSE: ("reject", 92),
    FailureMode.OUTAGE: ("down", 97),
    FailureMode.LOSE: ("lost", 98),
}
"""The beginning of an address and the ending of a number that select the scenario for each failure."""


class SandboxFolder(KitEmulator):
    """A folder of its own that the sandbox writes messages into. It exists while this is entered.

    The recipient selects the outcome of a send; in an outage the folder is away.
    """

    failure_modes = frozenset(_RECIPIENTS)
    message_features = frozenset({MessageFeature.SENDER, MessageFeature.REPLY_TO, MessageFeature.HEADERS})
    report_features = frozenset(
        {
            ReportFeature.BODY_SIGNED,
            ReportFeature.IDS_SIGNED,
            ReportFeature.TIME_SIGNED,
            ReportFeature.BATCHED,
        }
    )
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "delivered": [Status.DELIVERED],
        "bounced": [Status.FAILED],
        "complained": [Status.COMPLAINED],
        "opened": [Status.OPENED],
        "unsubscribed": [Status.UNSUBSCRIBED],
        "priced": [],
    }
    verification_keys = frozenset({"webhook_secret"})

    def __init__(self) -> None:
        self.webhook_url = ""
        """Not used: the sandbox reports to the gateway that it runs in."""
        self.attempts = 0
        """Not counted: no server sees them."""
        self._webhook_secret = secrets.token_hex(16)

    @property
    def table(self) -> Mapping[str, str]:
        """The keys of the plugin's table that lead to this folder."""
        return {"folder": str(self._path), "webhook_secret": self._webhook_secret}

    @classmethod
    def recipient(cls, channel: Channel, number: int, failure: FailureMode | None) -> str:
        """Return an address or number that selects the scenario for this failure."""
        word, ending = ("canary", 10 + number % 80) if failure is None else _RECIPIENTS[failure]
        if channel is Channel.EMAIL:
            return f"{word}.{number}+tag@people.example"
        return f"+44770{number:05}{ending}"

    def simulate(self, failure: FailureMode | None) -> None:
        """Take the folder away in an outage; the recipients do the rest."""
        away = self._path.with_name("away")
        if failure is FailureMode.OUTAGE:
            self._path.rename(away)
        elif away.exists():
            away.rename(self._path)

    def received(self) -> Sequence[ReceivedMessage]:
        """Return the messages in the folder, in the order of their files' times."""
        return [
            _mail(file) if file.suffix == ".eml" else _text(file)
            for file in sorted(self._path.glob("[!.]*.*"), key=lambda file: file.stat().st_mtime_ns)
        ]

    def arrivals(self) -> list[Arrival]:
        """Return the messages in the folder, for the demo."""
        return [
            Arrival(id=one.id, recipient=one.recipients[0], text=one.subject or one.text)
            for one in self.received()
        ]

    async def report_status(self, message_id: str, status: Status) -> None:
        """Do nothing: the sandbox itself reports what the recipient's address or number says."""

    def report(
        self, kinds: Sequence[str], message_id: str, *, to: str, spoiled: bool = False
    ) -> WebhookRequest:
        """Return an unsigned request with reports about a message; ``spoiled``: with invalid ones around them."""
        items: list[Any] = [ReportItem(message=message_id, status=kind) for kind in kinds]
        if spoiled:
            junk = [None, 7, {}, {"message": message_id}, {"message": "", "status": "delivered"}]
            items = [*junk, *(part for item in items for part in (item, *junk))]
        return webhook_request(to, encode_body(items))

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        """Return the request signed at ``received_at``; ``forged``: with another secret."""
        secret = Secret("another secret" if forged else self._webhook_secret)
        return with_headers(request, signed_headers(secret, request.body, request.received_at))

    async def __aenter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="gatepost-sandbox-")
        self._path = Path(self._folder.name) / "mail"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._folder.cleanup()


def _mail(file: Path) -> ReceivedMessage:
    mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    sender, reply_to = mail["From"].addresses[0], mail["Reply-To"]
    parts = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
    return ReceivedMessage(
        id=file.name.partition(".")[0],
        recipients=[address.addr_spec for address in mail["To"].addresses],
        sender=sender.addr_spec,
        sender_name=sender.display_name,
        reply_to=reply_to.addresses[0].addr_spec if reply_to else "",
        subject=mail["Subject"] or "",
        text=parts.get("text/plain", ""),
        html=parts.get("text/html", ""),
        headers=dict(mail.items()),
        raw=file.read_bytes().decode(),
    )


def _text(file: Path) -> ReceivedMessage:
    text = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    return ReceivedMessage(
        id=text["id"],
        recipients=[text["to"]],
        sender=text["from"],
        text=text["text"],
        raw=file.read_bytes().decode(),
    )
