"""The durable store between the rooms: put, claim, record."""

from gatepost.outbox.queries import Depth
from gatepost.outbox.records import (
    Call,
    Called,
    Claim,
    NewMessage,
    Policy,
    Recorded,
    Reported,
    SendResult,
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
    "Policy",
    "Recorded",
    "Reported",
    "Retried",
    "SendResult",
    "Stored",
    "Swept",
    "new_id",
    "open_outbox",
]
