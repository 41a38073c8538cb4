"""The words that every room and every plugin uses.

Everything here is immutable, and everything that says who a person is stands in a Secret: printing,
logging or encoding one shows nothing, and whoever needs the value asks for it with ``reveal()``.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import cached_property
from typing import Any, Never, final
from urllib.parse import parse_qsl

import msgspec

from gatepost.errors import BadSignature, BadWebhook

STALE = 26 * 3600
"""Seconds after which a signature is too old: an honest repeat may be a day old, and not signed anew."""
AHEAD = 300
"""Seconds that a provider's clock may be ahead of ours."""

MAX_QUERY = 8_192
"""Bytes of a webhook's query that are taken apart: anybody may send one, and providers need a few hundred."""
MAX_PARAMETERS = 128
"""Parameters of it."""

NO_TEXT: Mapping[str, str] = {}
NO_COUNTS: Mapping[str, int] = {}


class Channel(StrEnum):
    """The two ways to a person."""

    EMAIL = "email"
    SMS = "sms"


class Status(StrEnum):
    """What Smartico can be told of a message. No other value ever leaves."""

    ACCEPTED = "accepted"
    """The provider took the message."""
    DELIVERED = "delivered"
    """It reached the mailbox or the handset."""
    FAILED = "failed"
    """It was tried and finally did not reach it."""
    REJECTED = "rejected"
    """The provider, the recipient's server or the gateway refused it."""
    COMPLAINED = "complained"
    """The user marked it as spam."""
    OPENED = "opened"
    """The user opened or read it."""
    UNSUBSCRIBED = "unsubscribed"
    """The user opted out."""


@final
class Secret:
    """A text that must not be seen: a key, a password, an address, a phone number.

    Its repr, its str and every format of it are the same five dots. It can't be pickled or encoded;
    msgspec decodes it through the settings' own hook. Two Secrets are equal when their values are.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The value itself; the place of the call is where it leaves."""
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
        raise TypeError("a Secret is not to be stored; reveal() it where it leaves")


class Contact(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """What a contact source knows about a user.

    ``email`` and ``phone`` are as the source has them: the core judges them and makes them canonical.
    ``None`` means that the user has none. ``attributes`` is whatever else the source keeps; it reaches
    the sending plugin and nobody else.
    """

    email: Secret | None = None
    phone: Secret | None = None
    attributes: Mapping[str, str] = NO_TEXT

    def __repr__(self) -> str:
        return f"<Contact email={self.email!r} phone={self.phone!r}>"


class Mailbox(msgspec.Struct, frozen=True):
    """A sender: an address, and the name that is shown for it (may be empty)."""

    address: str
    """ASCII domain, no control characters, valid by email-validator."""
    name: str = ""
    """Unicode; no control characters, not even after decoding RFC 2047 words."""


class Email(msgspec.Struct, frozen=True, kw_only=True):
    """One email, ready to be handed to a provider."""

    id: str
    """Smartico's ext_message_id: 36 characters [0-9a-f-]. Send it along, so that reports find home."""
    recipient: Secret
    """One address, ``local@domain``, the domain in ASCII (IDNA)."""
    sender: Mailbox
    reply_to: Mailbox | None = None
    subject: str
    """May be empty; no control characters, not even after decoding RFC 2047 words."""
    html: str
    text: str
    """Plain text: Smartico's own, or derived from the HTML. Empty only where the HTML shows no text."""
    lifetime: float
    """Seconds after which the message is not worth delivering any more."""
    attributes: Mapping[str, str] = NO_TEXT
    """The contact's further attributes."""

    def __repr__(self) -> str:
        return f"<Email {self.id}>"


class Sms(msgspec.Struct, frozen=True, kw_only=True):
    """One text message, ready to be handed to a provider."""

    id: str
    """As in Email."""
    recipient: Secret
    """One number in E.164 with its plus sign: ``+447700900123``."""
    sender: str | None
    """The sender id that Smartico asked for; None: the plugin's own default."""
    text: str
    lifetime: float
    """Seconds after which the message is not worth delivering any more."""
    attributes: Mapping[str, str] = NO_TEXT
    """The contact's further attributes."""

    def __repr__(self) -> str:
        return f"<Sms {self.id}>"


class Receipt(msgspec.Struct, frozen=True):
    """The provider has the message."""

    provider_id: str = ""
    """The provider's own id of it, opaque, at most 255 characters; empty where it gives none."""


class StatusEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One report about one message, found by our id or else by the provider's."""

    status: Status
    message_id: str = ""
    """Our id, as it travelled with the message; empty where the report does not bear it."""
    provider_id: str = ""
    """What Receipt.provider_id was, for reports that lack our id."""
    code: str = ""
    """Why, in the provider's codes or words of a closed list; never free text."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What one webhook request said."""

    events: Sequence[StatusEvent] = ()
    """In the order in which they are to become known."""
    ignored: Mapping[str, int] = NO_COUNTS
    """What meant no status, counted by kind (``{"click": 3, "malformed": 1}``); kinds from a closed list."""


class WebhookRequest(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A provider's HTTP request, as it came."""

    method: str
    """``POST`` or ``GET``."""
    url: str
    """As the outside sees it, query included: `server.public_url` + path where that is set."""
    headers: Mapping[str, str]
    """Names in lower case; where one came several times, its values joined with a comma and a space."""
    body: bytes
    """Raw: signatures are made over exactly this."""
    received_at: float
    """Seconds since the epoch by the core's clock."""

    def __repr__(self) -> str:
        return f"<WebhookRequest {self.method} {len(self.body)} bytes>"

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The parameters of the URL's query, the last of each name; taken apart when first asked for.

        Raises BadWebhook when there are more than 128, or more than 8 KiB.
        """
        text = self.url.partition("?")[2]
        if len(text) > MAX_QUERY or text.count("&") >= MAX_PARAMETERS:
            raise BadWebhook(f"the query has more than {MAX_QUERY:,} bytes or {MAX_PARAMETERS} parameters")
        return dict(parse_qsl(text, keep_blank_values=True))

    def json(self) -> Any:
        """The body as JSON; raises BadWebhook, which holds nothing of it."""
        with suppress(ValueError, RecursionError):
            return msgspec.json.decode(self.body)
        # Not in an except block: the decoder's error, which holds the body, would be this one's context.
        raise BadWebhook("the body is not JSON")

    def expect_fresh(self, signed_at: float) -> None:
        """Raise BadSignature for a signature of more than 26 hours ago, or from the future.

        ``signed_at`` (seconds since the epoch) is what the signature itself says: verify it first. By the
        time of arrival, so that a request that waited here is not too old for that.
        """
        if not self.received_at - STALE <= signed_at <= self.received_at + AHEAD:
            raise BadSignature(
                "the signature is older than 26 hours, or from the future: check this machine's clock"
            )
