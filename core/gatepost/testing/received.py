"""What an emulated provider has received, in the words of the plugin contract."""

from collections.abc import Mapping, Sequence

import msgspec


class ReceivedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message that a provider has taken, whatever the form of its API."""

    id: str
    """Our id, as it came with the message; empty where it did not."""
    recipients: Sequence[str]
    """Everybody it goes to, copies included: addresses, and numbers in E.164 with their plus sign."""
    sender: str = ""
    """The address of an email's From, or the sender of a text message."""
    sender_name: str = ""
    """The display name in an email's From."""
    reply_to: str = ""
    """The reply address of an email."""
    subject: str = ""
    text: str = ""
    html: str = ""
    lifetime: float | None = None
    """Seconds; None where the message does not say."""
    webhook_url: str = ""
    """Where the reports on this message go; empty where the message does not say."""
    headers: Mapping[str, str] = {}
    """The further headers of an email."""
    tags: Sequence[str] = ()
    """The labels for the provider's statistics."""
    client: str = ""
    """The name of the client whose message it is."""
    uid: str = ""
    """Smartico's own id of the message."""
    idempotency_key: str = ""
    raw: str = ""
    """The whole request as text, with its headers."""
