"""The durable store between the rooms: put, claim, record."""

from gatepost.outbox.queries import QueueDepth
from gatepost.outbox.records import (
    Callback,
    CallbackResult,
    Claim,
    NewMessage,
    Policy,
    RecordResult,
    ReportedEvents,
    SendResult,
    StoredMessage,
    SweepResult,
)
from gatepost.outbox.retries import CallbackRetry, MessageRetry
from gatepost.outbox.store import Outbox, new_id, open_outbox

__all__ = [
    "Callback",
    "CallbackResult",
    "CallbackRetry",
    "Claim",
    "MessageRetry",
    "NewMessage",
    "Outbox",
    "Policy",
    "QueueDepth",
    "RecordResult",
    "ReportedEvents",
    "SendResult",
    "StoredMessage",
    "SweepResult",
    "new_id",
    "open_outbox",
]
