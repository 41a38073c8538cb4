"""An emulated SendGrid: as strict about a mail as the vendor, and reporting with real signatures.

async with SendGridEmulator() as sendgrid:
    settings = {"api_key": sendgrid.api_key, "base_url": sendgrid.base_url,
                "webhook_public_key": sendgrid.public_key}
"""

import base64
import itertools
import re
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatepost.testing.emulator import Emulator, Event, Taken

MAX_BODY = 30 * 1024 * 1024
MAX_WEBHOOK = 768 * 1024
"""Bytes at which a batch of events is full."""

_SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
_TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"

# Headers that SendGrid writes itself; in lower case.
_RESERVED = frozenset(
    {
        *("x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"),
        *("to", "from", "subject", "reply-to", "cc", "bcc"),
    }
)
_CONTENT_ORDER = ("text/plain", "text/x-amp-html", "text/html")

_Filled = Annotated[str, msgspec.Meta(min_length=1)]
_Category = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    """What is not named is refused, as are null and the wrong type."""


class _Address(_Strict):
    email: _Filled
    name: str | msgspec.UnsetType = msgspec.UNSET


class _Content(_Strict):
    type: _Filled
    value: _Filled


class _Personalization(_Strict):
    to: Annotated[list[_Address], msgspec.Meta(min_length=1)]
    cc: Annotated[list[_Address], msgspec.Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    bcc: Annotated[list[_Address], msgspec.Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    subject: _Filled | msgspec.UnsetType = msgspec.UNSET
    headers: dict[str, str] = {}
    custom_args: dict[str, str] = {}


class _Switch(_Strict):
    enable: bool


class _ClickTracking(_Switch):
    enable_text: bool | msgspec.UnsetType = msgspec.UNSET


class _Tracking(_Strict):
    click_tracking: _ClickTracking | msgspec.UnsetType = msgspec.UNSET
    open_tracking: _Switch | msgspec.UnsetType = msgspec.UNSET


class _MailSettings(_Strict):
    sandbox_mode: _Switch | msgspec.UnsetType = msgspec.UNSET


class _Mail(_Strict, kw_only=True, rename={"sender": "from"}):
    personalizations: Annotated[list[_Personalization], msgspec.Meta(min_length=1, max_length=1000)]
    sender: _Address
    reply_to: _Address | msgspec.UnsetType = msgspec.UNSET
    subject: str = ""
    content: Annotated[list[_Content], msgspec.Meta(min_length=1)]
    headers: dict[str, str] = {}
    custom_args: dict[str, str] = {}
    categories: Annotated[list[_Category], msgspec.Meta(max_length=10)] = []
    tracking_settings: _Tracking | msgspec.UnsetType = msgspec.UNSET
    mail_settings: _MailSettings = msgspec.field(default_factory=_MailSettings)


# What the events of each kind hold beside what all of them hold. The reasons quote the address as real
# ones do. `blocked` and `machine_open` are bounces and opens of a special sort.
_EVENTS: Mapping[str, Mapping[str, Any]] = {
    "processed": {"send_at": 0},
    "deferred": {"response": "451 4.7.1 <{email}> greylisted", "attempt": "2"},
    "delivered": {"response": "250 2.0.0 OK <{email}>", "ip": "192.0.2.1", "tls": 1},
    "bounce": {"type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 <{email}>: no such mailbox"},
    "blocked": {"event": "bounce", "type": "blocked", "reason": "421 4.7.0 mail to {email} is not wanted"},
    "dropped": {"reason": "Bounced Address", "status": "5.0.0"},
    "open": {"ip": "192.0.2.2", "useragent": "Mozilla/5.0", "sg_machine_open": False},
    "machine_open": {"event": "open", "ip": "192.0.2.3", "sg_machine_open": True},
    "click": {"ip": "192.0.2.2", "url": "https://example.com/?to={email}", "url_offset": {"index": 0}},
    "spamreport": {},
    "unsubscribe": {"sg_event_id": None},
    "group_unsubscribe": {"asm_group_id": 7, "ip": "192.0.2.2", "url": "https://example.com/"},
    "group_resubscribe": {"asm_group_id": 7, "ip": "192.0.2.2", "url": "https://example.com/"},
}


class SendGridEmulator(Emulator):
    """SendGrid's v3 Mail Send, its key's scopes, and its signed Event Webhook."""

    # The vendor names only the end, 24 hours.
    retry_pauses = (60.0, 300.0, 1800.0, 7200.0)

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__(tls=tls, port=port)
        self.api_key = "SG.emulated"
        self.scopes = ["mail.send"]
        """What the key may do."""
        self.senders: frozenset[str] | None = None
        """Verified sender identities; None: every address is one."""
        self.validated: list[Any] = []
        """Mails that were checked in sandbox mode and went nowhere."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._other_key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key(self) -> str:
        """The verification key as SendGrid shows it: base64 of DER."""
        der = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return self.refuse(401, "the authorization grant is invalid")
        match request.method, request.path:
            case "GET", "/v3/scopes":
                return web.json_response({"scopes": self.scopes})
            case "POST", "/v3/mail/send" if "mail.send" not in self.scopes:
                return self.refuse(403, "access forbidden")
            case "POST", "/v3/mail/send":
                return await self._send(request, body)
            case _, "/v3/scopes" | "/v3/mail/send":
                return self.refuse(405, "method not allowed")
        return self.refuse(404, "no such endpoint")

    def error(self, status: int, why: str) -> object:  # noqa: ARG002  others' errors hold it
        return _errors([(None, why)])

    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.content_type != "application/json":
            return self.refuse(415, "Content-Type should be application/json.")
        if len(body) > MAX_BODY:
            return self.refuse(413, "the payload is too large")
        mail, faults = _check(body)
        if mail is None or faults:
            why = "; ".join(f"{field}: {problem}" for field, problem in faults)
            return self.refuse(400, why, body=_errors(faults))
        message = msgspec.json.decode(body)
        if self.senders is not None and message["from"]["email"] not in self.senders:
            why = "The from address does not match a verified Sender Identity."
            return self.refuse(403, why, body=_errors([("from", why)]))
        if mail.mail_settings.sandbox_mode and mail.mail_settings.sandbox_mode.enable:
            self.validated.append(message)
            return web.Response(status=200)
        return await self._accept(request, mail, message)

    async def _accept(self, request: web.BaseRequest, mail: _Mail, message: Any) -> web.Response:
        provider_id = secrets.token_urlsafe(16)
        for personalization, decoded in zip(mail.personalizations, message["personalizations"], strict=True):
            await self.take(
                Taken(
                    id=(mail.custom_args | personalization.custom_args).get("gp_id", ""),
                    provider_id=provider_id,
                    message={**message, "personalizations": [decoded]},
                    headers=request.headers,
                )
            )
        return web.Response(status=202, headers={"X-Message-Id": provider_id})

    def event(self, kind: str, taken: Taken) -> Event:
        """An event of one of the kinds of the vendor's table, or ``blocked`` or ``machine_open``."""
        message = taken.message
        personalization = message["personalizations"][0]
        email = personalization["to"][0]["email"]
        categories = message.get("categories", [])
        common = {
            "email": email,
            "timestamp": int(time.time()),
            "smtp-id": f"<{secrets.token_hex(8)}@geopod-ismtpd-0>",
            "event": kind,
            "sg_event_id": secrets.token_urlsafe(16),
            "sg_message_id": f"{taken.provider_id}.recvd-{secrets.token_hex(5)}-1-{secrets.token_hex(4)}-6.0",
        }
        if categories:
            common["category"] = categories[0] if len(categories) == 1 else categories
        special = {
            name: value.replace("{email}", email) if isinstance(value, str) else value
            for name, value in _EVENTS[kind].items()
        }
        arguments = message.get("custom_args", {}) | personalization.get("custom_args", {})
        event = arguments | common | special
        return {name: value for name, value in event.items() if value is not None}

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:
        """Arrays of ``batch`` events, or as many as fit; with line ends between and after, as they come."""
        bodies: list[bytes] = []
        waiting: list[bytes] = []
        size = 0
        for event in events:
            encoded = msgspec.json.encode(event)
            if waiting and (len(waiting) == batch or size + len(encoded) > MAX_WEBHOOK - 64):
                bodies.append(_array(waiting))
                waiting, size = [], 0
            waiting.append(encoded)
            size += len(encoded) + 3
        return [*bodies, _array(waiting)]

    def sign(self, body: bytes, at: float, *, forged: bool) -> dict[str, str]:
        timestamp = str(int(at))
        key = self._other_key if forged else self._key
        signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        return {_TIMESTAMP: timestamp, _SIGNATURE: base64.b64encode(signature).decode()}


def _array(encoded: Sequence[bytes]) -> bytes:
    return b"[" + b",\r\n".join(encoded) + b"]\r\n"


_Fault = tuple[str | None, str]
"""A field, where it lies in one, and what is wrong."""


def _errors(faults: Sequence[_Fault]) -> object:
    return {"errors": [{"message": problem, "field": field, "help": None} for field, problem in faults]}


def _check(body: bytes) -> tuple[_Mail | None, list[_Fault]]:
    try:
        mail = msgspec.json.decode(body, type=_Mail)
    except msgspec.ValidationError as error:
        return None, [_located(error)]
    except ValueError:
        return None, [(None, "Bad Request")]
    return mail, list(_faults(mail))


def _located(error: msgspec.ValidationError) -> _Fault:
    """A field as the vendor names it (``personalizations.0.to.0.email``), and what is wrong with it."""
    problem, _, path = str(error).partition(" - at `")
    steps = re.sub(r"\[(\w+|\.\.\.)\]", r".\1", path.rstrip("`").removeprefix("$")).split(".")[1:]
    if missing := re.search(r"missing required field `(\w+)`", problem):
        steps.append(missing[1])
    return ".".join(steps) or None, problem


def _faults(mail: _Mail) -> Iterator[_Fault]:
    """What the types can't say."""
    if not mail.subject and any(one.subject is msgspec.UNSET for one in mail.personalizations):
        yield "subject", "The subject is required."
    if not _is_address(mail.sender.email):
        yield "from.email", "Does not contain a valid address."
    if mail.reply_to is not msgspec.UNSET and not _is_address(mail.reply_to.email):
        yield "reply_to.email", "Does not contain a valid address."
    yield from _content_faults(mail.content)
    yield from _header_faults("headers", mail.headers)
    if len(set(mail.categories)) != len(mail.categories):
        yield "categories", "The categories must be unique."
    recipients = 0
    for number, one in enumerate(mail.personalizations):
        where = f"personalizations.{number}"
        yield from _recipient_faults(where, one)
        yield from _header_faults(f"{where}.headers", one.headers)
        if len(msgspec.json.encode(mail.custom_args | one.custom_args)) >= 10_000:
            yield f"{where}.custom_args", "The custom arguments must stay under 10000 bytes."
        recipients += len(list(_recipients(one)))
    if recipients > 1000:
        yield "personalizations", "There is a limit of 1000 recipients in a request."


def _content_faults(content: Sequence[_Content]) -> Iterator[_Fault]:
    for number, part in enumerate(content):
        if re.search(r"[;\r\n]", part.type):
            yield f"content.{number}.type", "The content type must not contain ; or line ends."
    places = [_CONTENT_ORDER.index(part.type) for part in content if part.type in _CONTENT_ORDER]
    if places != sorted(set(places)):
        yield "content", "If present, text/plain must be first, followed by text/x-amp-html and text/html."


def _header_faults(where: str, headers: Mapping[str, str]) -> Iterator[_Fault]:
    for name in headers:
        if name.lower() in _RESERVED:
            yield f"{where}.{name}", "The header is reserved."
        elif not re.fullmatch(r"[!-9;-~]+", name):
            yield where, "A header's name must be printable ASCII."


def _recipients(personalization: _Personalization) -> Iterator[tuple[str, _Address]]:
    for kind in ("to", "cc", "bcc"):
        addresses = getattr(personalization, kind)
        for number, address in enumerate(() if addresses is msgspec.UNSET else addresses):
            yield f"{kind}.{number}", address


def _recipient_faults(where: str, personalization: _Personalization) -> Iterator[_Fault]:
    for place, address in _recipients(personalization):
        if not _is_address(address.email):
            yield f"{where}.{place}.email", "Does not contain a valid address."
    emails = sorted(address.email.lower() for _, address in _recipients(personalization))
    if any(one == other for one, other in itertools.pairwise(emails)):
        yield where, "Each address should be unique between to, cc and bcc."


def _is_address(text: str) -> bool:
    return bool(
        re.fullmatch(r"[!#-'*+\-/-9=?A-Z^-~]+(\.[!#-'*+\-/-9=?A-Z^-~]+)*@[\w-]+(\.[\w-]+)+", text, re.ASCII)
    )
