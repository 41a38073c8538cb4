"""The durable store between acceptance, delivery, webhooks and callbacks: put, claim, record."""

from gatepost.outbox.messages import new_id
from gatepost.outbox.queries import QueueDepth
from gatepost.outbox.records import (
    Callback,
    CallbackResult,
    Claim,
    Fallback,
    Limit,
    NewMessage,
    Policy,
    Queue,
    RecordResult,
    ReportedEvents,
    SendResult,
    StoredMessage,
    SweepResult,
    Try,
)
from gatepost.outbox.retries import CallbackRetry, MessageRetry, RetryOrder
from gatepost.outbox.startup import open_outbox, outbox_policy
from gatepost.outbox.store import Outbox

__all__ = [
    "Callback",
    "CallbackResult",
    "CallbackRetry",
    "Claim",
    "Fallback",
    "Limit",
    "MessageRetry",
    "NewMessage",
    "Outbox",
    "Policy",
    "Queue",
    "QueueDepth",
    "RecordResult",
    "ReportedEvents",
    "RetryOrder",
    "SendResult",
    "StoredMessage",
    "SweepResult",
    "Try",
    "new_id",
    "open_outbox",
    "outbox_policy",
]
