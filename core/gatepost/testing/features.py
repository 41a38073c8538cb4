"""What a suite or an emulator declares: how a provider can fail, what it can carry, and how it reports."""

from enum import StrEnum


class FailureMode(StrEnum):
    """A way in which a provider fails. A suite declares in ``failure_modes`` what its provider simulates."""

    REFUSE = "refuse"
    """The message is refused for good: an answer such as 400."""
    THROTTLE = "throttle"
    """Too many requests: an answer such as 429, with a pause of 7 seconds where the provider can name one."""
    RETRY_AFTER = "retry after"
    """Not simulated itself: declares that the answer of THROTTLE names the 7 seconds."""
    OUTAGE = "outage"
    """The provider has an error of its own: an answer such as 503."""
    DENY = "deny"
    """The key is refused: an answer such as 401."""
    HANG = "hang"
    """The whole message is read, and no answer comes."""
    DRIP = "drip"
    """The answer comes byte by byte, for longer than any deadline."""
    LOSE = "lose"
    """The message is taken, and the connection is closed without an answer."""
    DROP = "drop"
    """The connection is closed before the message is read."""
    REDIRECT = "redirect"
    """A redirect to another place: 307."""
    NONSENSE = "nonsense"
    """An answer of success with a body that the provider would never send."""
    UNREACHABLE = "unreachable"
    """No server is there. The suite's ``table_for_port`` leads the plugin to such a port."""
    UNTRUSTED = "untrusted"
    """A server whose certificate no authority has signed. The suite's ``table_for_tls_port`` leads the plugin there."""


class MessageFeature(StrEnum):
    """A part of a message that the provider's API can carry. A suite declares in ``message_features`` those that it has.

    Recipient, content and subject are always compared with what the provider has received.
    """

    SENDER = "sender"
    """The message's own sender, where it has one; not declared where the account has one sender for all messages."""
    REPLY_TO = "reply to"
    """The reply address of an email."""
    HEADERS = "headers"
    """The further headers of an email."""
    TAGS = "tags"
    """The labels for the provider's statistics."""
    CLIENT = "client"
    """The name of the client whose message it is, in a field of its own."""
    UID = "uid"
    """Smartico's own id of the message."""
    LIFETIME = "lifetime"
    """How long the message is worth delivering."""
    WEBHOOK_URL = "webhook url"
    """Where the reports on this message go."""
    IDEMPOTENCY_KEY = "idempotency key"
    """The key with which the provider drops repeats."""
    CONNECTIONS = "connections"
    """No part of a message: the emulated provider counts the connections that the plugin opens."""


class ReportFeature(StrEnum):
    """A property of a provider's reports. A suite declares in ``report_features`` those of its provider."""

    BODY_SIGNED = "body signed"
    """A signature is valid for one body only, byte for byte."""
    IDS_SIGNED = "ids signed"
    """A signature is valid for the ids in one report only, wherever they stand: in the body, the URL or a header."""
    URL_SIGNED = "url signed"
    """A signature is valid for one URL only."""
    TIME_SIGNED = "time signed"
    """A signature holds its time, and is invalid after 26 hours."""
    BATCHED = "batched"
    """One request may hold several reports."""
    POLLED = "polled"
    """The plugin fetches reports by itself and passes them to ``context.report``."""


class ContactFeature(StrEnum):
    """A property of a contact source. A suite declares in ``contact_features`` those of its source."""

    BLOCKS = "blocks"
    """The source knows which users must not be contacted."""


Need = FailureMode | MessageFeature | ReportFeature | ContactFeature
"""What a check needs."""
