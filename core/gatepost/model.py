"""The types that the core and the plugins share.

All of them are immutable. Everything that identifies a person is in a Secret: printing, logging or encoding a Secret
shows nothing, and the code that needs the value calls ``reveal()``.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, Never, final
from urllib.parse import parse_qsl

import msgspec

from gatepost.blocked import BLOCKED as BLOCKED  # noqa: PLC0414  plugins import them from here
from gatepost.blocked import blocked_reason as blocked_reason  # noqa: PLC0414
from gatepost.blocked import reason_of as reason_of  # noqa: PLC0414
from gatepost.errors import BadSignature, BadWebhook
from gatepost.status import Status as Status  # noqa: PLC0414  plugins import it from here

MAX_SIGNATURE_AGE = 26 * 3600
"""Seconds after which a signature is too old. A provider may repeat a request for a day with the first signature."""
MAX_CLOCK_LEAD = 300
"""Seconds that a provider's clock may be ahead of the gateway's."""

MAX_QUERY_BYTES = 8_192
"""Bytes of a webhook's query that are parsed. Anyone may send one; providers need a few hundred bytes."""
MAX_QUERY_PARAMETERS = 128
MAX_FORM_FIELDS = 1_000
"""Fields of a webhook's form that are parsed."""

NO_ATTRIBUTES: Mapping[str, str] = {}
NO_COUNTS: Mapping[str, int] = {}
NO_HEADERS: Mapping[str, str] = {}


class Channel(StrEnum):
    """The two kinds of message."""

    EMAIL = "email"
    SMS = "sms"


@final
class Secret:
    """A text that must not be shown: a key, a password, an address, a phone number.

    Its repr, its str and every format of it are the same five dots. It can't be pickled or encoded; the settings
    decode it with their own msgspec hook. Two Secrets are equal when their values are equal.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """Return the value; call this only where the value is used."""
        return self.__value

    def __repr__(self) -> str:
        return "•••••"

    __str__ = __repr__

    def __format__(self, spec: str, /) -> str:
        return format(repr(self), spec)

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        return self.__value == other.__value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __reduce__(self) -> Never:
        raise TypeError("a Secret can't be stored: call reveal() where the value is used")


class Contact(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """What a contact source knows about a user.

    ``email`` and ``phone`` are as the source has them (the core makes them canonical); ``None``: the user has none.
    ``attributes`` holds at most 1,000 further values, with 65,536 characters in all: for merge fields, and for the plugin.
    ``blocked`` says why the user must not be contacted, such as ``self-excluded``; empty: the user may be. A word or two:
    operators and Smartico read it, and it is stored, without addresses, numbers, and attributes of 4 letters or more.
    """

    email: Secret | None = None
    phone: Secret | None = None
    attributes: Mapping[str, str] = NO_ATTRIBUTES
    blocked: str = ""

    def __repr__(self) -> str:
        blocked = " blocked" if self.blocked else ""
        return f"<Contact email={self.email!r} phone={self.phone!r}{blocked}>"


class Mailbox(msgspec.Struct, frozen=True):
    """A sender: an address, and its display name, which may be empty."""

    address: str
    """An address that email-validator accepts, with the domain in ASCII and without control characters."""
    name: str = ""
    """Unicode without control characters, also after decoding RFC 2047 words."""


class Email(msgspec.Struct, frozen=True, kw_only=True):
    """One email as a plugin gets it to send."""

    id: str
    """Our id, 36 characters [0-9a-f-]: Smartico's ext_message_id. Send it along, so that reports can contain it."""
    recipient: Secret
    """One address, ``local@domain``, the domain in ASCII (IDNA)."""
    sender: Mailbox
    reply_to: Mailbox | None = None
    subject: str
    """May be empty; without control characters, also after decoding RFC 2047 words."""
    html: str
    text: str
    """Plain text from Smartico, or derived from the HTML. Empty only where the HTML has no visible text."""
    lifetime: float
    """Seconds after which the message is not worth delivering any more."""
    attributes: Mapping[str, str] = NO_ATTRIBUTES
    """The contact's further attributes."""
    headers: Mapping[str, str] = NO_HEADERS
    """Further headers of the mail, such as List-Unsubscribe; names and values in ASCII, without control characters."""
    client: str = ""
    """The name of the client whose message it is."""
    uid: str = ""
    """Smartico's own id of the message."""
    urgent: bool = False
    """Whether its route is urgent; for a provider that has a fast lane."""
    tags: Sequence[str] = ()
    """Labels for the provider's statistics: the client and the route, each at most 64 characters [A-Za-z0-9_.-]."""
    idempotency_key: str = ""
    """For a provider that drops repeats: the same for repeats of identical bytes, and another for every other try. At most 64
    characters [0-9a-f-]."""

    def __repr__(self) -> str:
        return f"<Email {self.id}>"


class Sms(msgspec.Struct, frozen=True, kw_only=True):
    """One text message as a plugin gets it to send."""

    id: str
    """The ext_message_id, as in Email."""
    recipient: Secret
    """One number in E.164 with its plus sign: ``+447700900123``."""
    sender: str | None
    """The sender that Smartico requested; None for the plugin's default."""
    text: str
    lifetime: float
    """Seconds after which the message is not worth delivering any more."""
    attributes: Mapping[str, str] = NO_ATTRIBUTES
    """The contact's further attributes."""
    client: str = ""
    """The name of the client whose message it is."""
    uid: str = ""
    """Smartico's own id of the message."""
    urgent: bool = False
    """Whether its route is urgent; for a provider that has a fast lane."""
    tags: Sequence[str] = ()
    """Labels for the provider's statistics, as in Email."""
    idempotency_key: str = ""
    """As in Email."""

    def __repr__(self) -> str:
        return f"<Sms {self.id}>"


class Receipt(msgspec.Struct, frozen=True):
    """The result of a send: the provider confirmed that it has the message."""

    provider_id: str = ""
    """The provider's id of the message, an opaque text of at most 255 characters; empty where there is none."""
    parts: int = 0
    """The parts of a text message, as the provider counts them, at most 255; 0 where it does not say."""
    price: Decimal | None = None
    """What the whole message costs, at most 1,000,000 and with at most 6 decimals; None where the provider does not
    say."""
    currency: str = ""
    """The currency of the price, three letters of ISO 4217."""


class StatusEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One status of one message, which is identified by our id, else by the provider's id, else by its recipient.

    With both ids, the provider's id is recorded for the message where the send left none and it is not one that looks like
    an address or a number.
    """

    status: Status
    message_id: str = ""
    """Our id, which was sent along with the message; empty where the report does not contain it."""
    provider_id: str = ""
    """The value of Receipt.provider_id, for reports without our id."""
    recipient: Secret | None = None
    """The user's number with its country code (E.164) or address, for what users do without reference to a message, such as
    a STOP. The core asks the contact sources whose it is, and records the status for that user's last message through
    this instance. They are asked only where neither id is of a known message."""
    code: str = ""
    """The reason: the provider's code or a word from a closed list; never free text."""


class WebhookAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to a provider's request that holds something, such as a challenge or TwiML.

    An answer that breaks the limits given here is a violation of the contract, and is replaced by an empty one.
    """

    body: bytes = b""
    """At most 64 KiB; empty with the statuses 204, 205 and 304."""
    content_type: str = "text/plain; charset=utf-8"
    """1 to 255 characters of printable ASCII."""
    status: int = 200
    """The HTTP status, 200 to 499: some providers stop repeating only at a 4xx of their own."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The content of one webhook request, or of what a plugin heard from its provider in another way."""

    events: Sequence[StatusEvent] = ()
    """The events, in the order in which Smartico gets them."""
    ignored: Mapping[str, int] = NO_COUNTS
    """How many events had no status, by kind (``{"click": 3, "malformed": 1}``); kinds are from a closed list."""
    answer: WebhookAnswer | None = None
    """The answer to the provider, sent once every event is on disk; None: an empty answer with status 200. It has no
    meaning in ``Context.report``."""


class WebhookRequest(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """An HTTP request of a provider, as it was received."""

    method: str
    """``POST`` or ``GET``. A HEAD comes as a GET; the core leaves the body of the answer out."""
    url: str
    """The URL with its query, as the provider sees it: `server.public_url` (where it is set) and the path."""
    headers: Mapping[str, str]
    """Names are in lower case; the values of a repeated header are joined with a comma and a space."""
    header_list: Sequence[tuple[str, str]] = ()
    """Every header as it came, in order; names are in lower case."""
    body: bytes
    """The raw bytes, over which signatures are computed."""
    received_at: float
    """Seconds since the epoch, by the gateway's clock."""
    network_listed: bool = False
    """Whether it comes from a network that the instance's ``webhook_networks`` lists; False where it has none."""

    def __repr__(self) -> str:
        return f"<WebhookRequest {self.method} {len(self.body)} bytes>"

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The parameters of the URL's query, the last of each name; parsed at the first access.

        Raises BadWebhook when the query has more than 128 parameters or 8 KiB.
        """
        text = self.url.partition("?")[2]
        if len(text) > MAX_QUERY_BYTES or text.count("&") >= MAX_QUERY_PARAMETERS:
            raise BadWebhook(
                f"the query has more than {MAX_QUERY_BYTES:,} bytes or {MAX_QUERY_PARAMETERS} parameters"
            )
        return dict(parse_qsl(text, keep_blank_values=True))

    @cached_property
    def form(self) -> Sequence[tuple[str, str]]:
        """The pairs of a body in ``application/x-www-form-urlencoded``, in order; parsed at the first access.

        Raises BadWebhook for a body that is no such form.
        """
        text = self.body.decode("ascii", "replace")
        if "\ufffd" in text or text.count("&") >= MAX_FORM_FIELDS:
            raise BadWebhook(f"the body is not a form of at most {MAX_FORM_FIELDS} fields")
        with suppress(ValueError):
            return parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
        raise BadWebhook(f"the body is not a form of at most {MAX_FORM_FIELDS} fields")

    def json(self) -> Any:
        """Return the decoded JSON body; raise BadWebhook, whose text holds nothing of it."""
        with suppress(ValueError, RecursionError):
            return msgspec.json.decode(self.body)
        # Outside an except block: the decoder's error, which holds the body, would become this error's context.
        raise BadWebhook("the body is not JSON")

    def expect_fresh(self, signed_at: float) -> None:
        """Raise BadSignature for a signature that is older than 26 hours or from the future.

        ``signed_at`` (seconds since the epoch) is the time that the signature states: verify the signature first.
        It is compared with ``received_at``, so that a request does not become too old while it waits here.
        """
        if not self.received_at - MAX_SIGNATURE_AGE <= signed_at <= self.received_at + MAX_CLOCK_LEAD:
            raise BadSignature(
                "the signature is older than 26 hours, or from the future: check this machine's clock"
            )
