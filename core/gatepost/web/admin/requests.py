"""The requests and answers of the operations; the results of changes are defined in ``outbox``."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from gatepost.model import Channel
from gatepost.outbox.cancellations import Progress
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.overview import Overview
from gatepost.outbox.pauses import Scope

MAX_IDS = 500
"""Messages in one request."""

OPERATION_REFUSED = 400
"""The HTTP status of an operation that is refused; the body says why, for the operator."""

Ids = Annotated[Sequence[str], msgspec.Meta(max_length=MAX_IDS)]
"""Ids of messages."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all requests: an unknown field is an error, because command and gateway may be of two versions."""


class RetryRequest(Request, frozen=True, kw_only=True):
    """For ``retry`` and ``retry-callbacks``; the answer is a list of MessageRetry or CallbackRetry."""

    ids: Ids


class RestingInstancesRequest(Request, frozen=True, kw_only=True):
    """For ``resting-instances``; the answer is a list of RestingInstance in the order of the route."""

    channel: Channel


class RestingInstance(msgspec.Struct, frozen=True, kw_only=True):
    """A sending instance whose breaker is resting or probing."""

    instance: str
    seconds: float
    """Until the instance gets its next message."""
    reason: str


class SendRequest(Request, frozen=True, kw_only=True):
    """For ``send``; the answer is the one that ``/email`` and ``/sms`` give."""

    client: str
    """The client whose senders, callbacks and routes are used."""
    channel: Channel
    fields: Mapping[str, str]
    """The fields as Smartico would send them."""


class SuppressRequest(Request, frozen=True, kw_only=True):
    """For ``suppress-add``; the answer is null."""

    client: str
    ext_user_id: str
    reason: str
    ends_at: float | None = None
    """Seconds since the epoch; None: it does not end."""


class UnsuppressRequest(Request, frozen=True, kw_only=True):
    """For ``suppress-remove``; the answer is whether the user was suppressed."""

    client: str
    ext_user_id: str
    reason: str = ""


class StatusRequest(Request, frozen=True, kw_only=True):
    """For ``status``; the answer is a Status."""


class InstanceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The breaker of a sending instance."""

    instance: str
    state: str
    """``usable``, ``resting`` or ``probing``."""
    seconds: float
    """Until the rest is over; 0 without one."""
    misconfigured: bool
    reason: str
    """Why it rests or is misconfigured; empty after a success."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator sees first."""

    gateway: str
    """``running``, or why nothing is known of the gateway."""
    problems: Sequence[str]
    """What an operator should look at now."""
    plugins: Sequence[InstanceStatus]
    """The sending instances; empty where no gateway answered."""
    store: Overview


class PauseRequest(Request, frozen=True, kw_only=True):
    """For ``pause``; the answer is the Pause."""

    scope: Scope
    reason: str = ""
    ends_at: float | None = None
    """Seconds since the epoch; None: it ends when it is resumed."""


class ResumeRequest(Request, frozen=True, kw_only=True):
    """For ``resume``; the answer is a list of the pauses that it ended."""

    scope: Scope | None
    """Exactly that of the pause; None: all pauses."""


class CancelRequest(Request, frozen=True, kw_only=True):
    """For ``cancel``: one step of an order; the answer is the Progress for the next step."""

    wanted: MessageFilter
    reason: str = ""
    progress: Progress | None = None
    """The answer to the step before; None: this is the first step."""


class CancelIdsRequest(Request, frozen=True, kw_only=True):
    """For ``cancel-ids``; the answer is a list of MessageCancellation."""

    ids: Ids
    reason: str = ""
