"""The durable store between the rooms: put, claim, record."""

from gatepost.outbox.queries import Depth
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
from gatepost.outbox.retries import Hastened, Retried
from gatepost.outbox.store import Outbox, new_id, open_outbox

__all__ = [
    "Call",
    "Called",
    "Claim",
    "Depth",
    "Hastened",
    "NewMessage",
    "Outbox",
    "Outcome",
    "Policy",
    "Recorded",
    "Reported",
    "Retried",
    "Stored",
    "Swept",
    "new_id",
    "open_outbox",
]
