"""The statuses of a message. Plugins import them from ``gatepost.model``."""

from enum import StrEnum


class Status(StrEnum):
    """The statuses of a message that callbacks report to Smartico; there are no others."""

    ACCEPTED = "accepted"
    """The provider accepted the message."""
    DELIVERED = "delivered"
    """The message reached the mailbox or the handset."""
    FAILED = "failed"
    """The message did not reach the mailbox or the handset, and there will be no further attempt."""
    REJECTED = "rejected"
    """The provider, the recipient's server or the gateway refused the message."""
    COMPLAINED = "complained"
    """The user marked the message as spam."""
    OPENED = "opened"
    """The user opened or read the message."""
    UNSUBSCRIBED = "unsubscribed"
    """The user opted out."""
