"""The requests and answers of the operations; the results of changes are defined in ``outbox``."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from gatepost.config.changes import Change
from gatepost.model import Channel
from gatepost.observe.redaction import redact_patterns
from gatepost.outbox import suppressions
from gatepost.outbox.cancellations import Progress
from gatepost.outbox.console_users import ConsoleUser
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.pauses import Scope

MAX_IDS = 500
"""Messages in one request."""

MAX_REASON = 200
"""Characters of an operator's reason."""

MAX_USER = 512
"""Characters of an ext_user_id, as in a request of Smartico."""

_USER_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}")

_DATE = re.compile(r"\b\d{4}-\d\d-\d\d\b", re.ASCII)

OPERATION_REFUSED = 400
"""The HTTP status of an operation that is refused; the body says why, for the operator."""

Ids = Annotated[
    Sequence[Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f-]{36}\Z")]], msgspec.Meta(max_length=MAX_IDS)
]
"""Ids of messages. In no other form: they are stored in the audit log, and anything could be typed in their place."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all requests: an unknown field is an error, because command and gateway may be of two versions."""


def reason_problem(reason: str) -> str:
    """Return why this can't be an operator's reason, which is stored and shown; empty where it can."""
    if len(reason) > MAX_REASON or not reason.isprintable():
        return f"a reason must be a text of at most {MAX_REASON} characters, on one line"
    # A date has as many digits as a phone number.
    undated = _DATE.sub("", reason)
    if redact_patterns(undated) != undated:
        return "the reason looks like it holds an address or a phone number: use a word or two"
    return ""


class ReloadRequest(Request, frozen=True, kw_only=True):
    """A request to read the configuration again; with ``dry`` nothing is taken over."""

    dry: bool = False


class MetricsRequest(Request, frozen=True, kw_only=True):
    """For the metrics of a gateway; ``parent`` is the process that has started the one that asks."""

    parent: int


class ReloadProblem(msgspec.Struct, frozen=True):
    """Why a configuration can't be taken over."""

    key: str
    problem: str


class Reload(msgspec.Struct, frozen=True, kw_only=True):
    """What a reload has changed, or why it has changed nothing."""

    changes: list[Change]
    """What differs from the configuration in use; empty where the file can't be used."""
    problems: list[ReloadProblem]
    """Empty: the configuration can be taken over."""
    environment: list[str]
    """The environment variables that the file names. A running process keeps the values that it was started with."""


class ReasonedRequest(Request, frozen=True, kw_only=True):
    """The base of requests for which an operator may give a reason. Raises ValueError for an unusable one."""

    reason: str = ""

    def __post_init__(self) -> None:
        if problem := reason_problem(self.reason):
            raise ValueError(problem)


class RetryRequest(Request, frozen=True, kw_only=True):
    """For ``retry`` and ``tell``; the answer is a list of MessageRetry or CallbackRetry."""

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


class SuppressRequest(ReasonedRequest, frozen=True, kw_only=True):
    """For ``suppress-add``; the answer is null."""

    client: str
    ext_user_id: str
    ends_at: float | None = None
    """Seconds since the epoch; None: it does not end."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.reason.strip()) <= suppressions.MAX_REASON:
            raise ValueError(f"the reason must be a text of 1 to {suppressions.MAX_REASON} characters")
        ReasonedRequest.__post_init__(self)


class UnsuppressRequest(ReasonedRequest, frozen=True, kw_only=True):
    """For ``suppress-remove``; the answer is whether the user was suppressed."""

    client: str
    ext_user_id: str


class ConsoleUserRequest(Request, frozen=True, kw_only=True):
    """For ``console-user-put``; the answer is whether the user is new."""

    user: ConsoleUser

    def __post_init__(self) -> None:
        if not _USER_NAME.fullmatch(self.user.name):
            raise ValueError("a name has 1 to 64 letters, digits and . _ - + @")


class RemoveConsoleUserRequest(Request, frozen=True, kw_only=True):
    """For ``console-user-remove``; the answer is whether there was such a user."""

    name: str


class ForgetRequest(Request, frozen=True, kw_only=True):
    """For ``forget``; the answer is the last Forgetting."""

    client: str
    ext_user_id: str


class ExportRequest(Request, frozen=True, kw_only=True):
    """For ``export``, which only records that it is done; the answer is null."""

    client: str
    ext_user_id: str


class ContactRequest(Request, frozen=True, kw_only=True):
    """For ``contact``; the answer is a ContactReport."""

    client: str
    ext_user_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_USER)]


class RevealRequest(Request, frozen=True, kw_only=True):
    """For ``reveal``, which only records that it is done; the answer is null."""

    client: str
    ext_user_id: str


class StatusRequest(Request, frozen=True, kw_only=True):
    """For ``status``; the answer is a GatewayStatus."""


class PauseRequest(ReasonedRequest, frozen=True, kw_only=True):
    """For ``pause``; the answer is the Pause."""

    scope: Scope
    ends_at: float | None = None
    """Seconds since the epoch; None: it ends when it is resumed."""


class ResumeRequest(Request, frozen=True, kw_only=True):
    """For ``resume``; the answer is a list of the pauses that it ended."""

    scope: Scope | None
    """Exactly that of the pause; None: all pauses."""


class CancelRequest(ReasonedRequest, frozen=True, kw_only=True):
    """For ``cancel``: one step of an order; the answer is the Progress for the next step."""

    wanted: MessageFilter
    progress: Progress | None = None
    """The answer to the step before; None: this is the first step."""


class CancelIdsRequest(ReasonedRequest, frozen=True, kw_only=True):
    """For ``cancel-ids``; the answer is a list of MessageCancellation."""

    ids: Ids
