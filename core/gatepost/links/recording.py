"""Recording what a user does by a link, in the same way as what a provider reports."""

from enum import StrEnum

from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import Outbox, ReportedEvents


class LinkOutcome(StrEnum):
    """What came of a request for a link."""

    RECORDED = "recorded"
    REPEATED = "repeated"
    MACHINE = "machine"
    """Loaded by a mail system without a person, and not counted."""
    UNKNOWN = "unknown"
    """The message is no longer remembered."""
    INVALID = "invalid"
    """No token of these keys."""
    UNAVAILABLE = "unavailable"
    """The store can't take it now."""


async def record_status(outbox: Outbox, message_id: str, status: Status) -> LinkOutcome:
    """Record a status of a mail, once, for the instance that sent it; it is on disk afterwards. Raises StoreError."""
    event = StatusEvent(status=status, message_id=message_id)
    result = await outbox.record(
        ReportedEvents(instance="", events=[event], channels=frozenset({Channel.EMAIL}))
    )
    if result.unknown:
        return LinkOutcome.UNKNOWN
    return LinkOutcome.RECORDED if result.new else LinkOutcome.REPEATED
