"""What Infobip answers to a send: the error of each status that refuses a message. Pure functions."""

import re
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from gatepost import wire
from gatepost.errors import Rejected, SendError, Unavailable, Uncertain
from gatepost.model import Receipt, Status

_TAKEN = frozenset({0, 1, 3})
"""The groups of statuses that mean that Infobip has the message: accepted, pending, delivered."""

# By the ids of Infobip's statuses; any other status of a group that is not in _TAKEN is Rejected.
_REFUSALS: Mapping[int, Callable[..., SendError]] = {
    6: partial(Unavailable, "the Infobip account does not cover the number's network", message_only=True),
    11: partial(
        Unavailable,
        "the sender is not registered at Infobip: register it",
        misconfigured=True,
        content_only=True,
    ),
    12: partial(Unavailable, "the Infobip account has no credit: top it up", misconfigured=True),
    13: partial(Unavailable, "the Infobip account blocks this sender", misconfigured=True, content_only=True),
    14: partial(
        Rejected, "the number is on Infobip's blocklist: the user opted out", status=Status.UNSUBSCRIBED
    ),
    17: partial(Unavailable, "the credit of the Infobip account has expired: top it up", misconfigured=True),
    18: partial(
        Unavailable,
        "the Infobip account is a trial, which sends to its verified number only",
        misconfigured=True,
    ),
    19: partial(
        Unavailable,
        "the Infobip account has no route: ask Infobip's support to set it up",
        misconfigured=True,
    ),
    20: partial(Unavailable, "Infobip takes no more messages to this number in this hour", message_only=True),
    21: partial(Unavailable, "Infobip had an error of its own"),
    23: partial(Uncertain, "Infobip already has a message with this id"),
    100: partial(
        Unavailable, "Infobip could not take the message: it is invalid, or try later", content_only=True
    ),
}
_FIELDS = frozenset(
    (
        "to",
        "sender",
        "from",
        "text",
        "placeholders",
        "templateName",
        "language",
        "url",
        "notifyUrl",
        "messageId",
    )
)
"""The fields of a request that may stand in a code, where Infobip names those that are wrong."""


class Verdict(msgspec.Struct, rename="camel"):
    """A ``status`` or an ``error`` in an answer or a report."""

    group_id: int = -1
    id: int = 0
    name: object = ""

    @property
    def code(self) -> str:
        """Its name, such as ``REJECTED_NETWORK``; its id where the name is not of that form."""
        name = wire.safe_code(self.name)
        return name if name.isupper() else wire.safe_code(self.id)


class _Message(msgspec.Struct, rename="camel"):
    status: Verdict
    message_id: object = ""
    message_count: object = 0
    details: dict[str, object] = {}


class _Answer(msgspec.Struct):
    messages: list[_Message]


def read_answer(reply: wire.Reply) -> Receipt:
    """Return the Receipt of an answer 200 to a send, or raise what its status means."""
    answer = reply.decode(_Answer)
    if answer is None or len(answer.messages) != 1:
        raise Uncertain("the answer is not Infobip's: check base_url", code=str(reply.status))
    (message,) = answer.messages
    status = message.status
    if status.group_id not in _TAKEN:
        raise _REFUSALS.get(status.id, partial(Rejected, "Infobip refused the message"))(code=status.code)
    parts = message.details.get("messageCount", message.message_count)
    counted = type(parts) is int and 0 <= parts <= 255
    return Receipt(wire.safe_id(message.message_id), parts=parts if counted else 0)  # type: ignore[arg-type]


def error_code(reply: wire.Reply) -> str:
    """Return the code of an error, such as ``E400 sender`` with a field that is wrong; empty where there is none."""
    match reply.json():
        case {"errorCode": code, "violations": [*violations]}:
            fields = [one.get("property") for one in violations if isinstance(one, dict)]
        case {"requestError": {"serviceException": {"messageId": code, "validationErrors": dict(wrong)}}}:
            fields = list(wrong)
        case {"errorCode": code} | {"requestError": {"serviceException": {"messageId": code}}}:
            fields = []
        case _:
            return ""
    last_words = {
        word for field in fields if isinstance(field, str) for word in re.findall(r"[A-Za-z]+", field)[-1:]
    }
    return " ".join([wire.safe_code(code), *sorted(last_words & _FIELDS)[:2]]).strip()
