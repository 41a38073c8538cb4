"""The durable store between the rooms: put, claim, record."""

from gatepost.outbox.operating import Retried, Retry
from gatepost.outbox.reading import Depth
from gatepost.outbox.records import (
    Call,
    Called,
    Claim,
    NewMessage,
    Outcome,
    Policy,
    Recorded,
    Reported,
    Stored,
    Swept,
)
from gatepost.outbox.store import Outbox, new_id, open_outbox

__all__ = [
    "Call",
    "Called",
    "Claim",
    "Depth",
    "NewMessage",
    "Outbox",
    "Outcome",
    "Policy",
    "Recorded",
    "Reported",
    "Retried",
    "Retry",
    "Stored",
    "Swept",
    "new_id",
    "open_outbox",
]
