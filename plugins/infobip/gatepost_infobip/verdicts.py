"""What Infobip answers to a send, and the errors that it means. Pure functions."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gatepost import wire
from gatepost.errors import Rejected, SendError, Unavailable, Uncertain
from gatepost.model import Receipt, Status

_misconfigured = partial(Unavailable, misconfigured=True)
_REFUSALS: Mapping[int, Callable[..., SendError]] = {
    6: partial(Unavailable, "the account does not cover the number's network", message_only=True),
    11: partial(_misconfigured, "the sender is not registered: register it at Infobip", content_only=True),
    12: partial(_misconfigured, "the account has no credit: top it up"),
    13: partial(_misconfigured, "the account blocks this sender", content_only=True),
    14: partial(Rejected, "the number is on the blocklist: the user opted out", status=Status.UNSUBSCRIBED),
    17: partial(_misconfigured, "the account's credit has expired: top it up"),
    18: partial(_misconfigured, "the account is a trial, which sends to its verified number only"),
    19: partial(_misconfigured, "the account has no route: ask Infobip's support for one"),
    20: partial(Unavailable, "Infobip takes no more messages to this number in this hour", message_only=True),
    21: partial(Unavailable, "Infobip has an error of its own"),
    23: partial(Uncertain, "Infobip already has a message with this id"),
    100: partial(Unavailable, "the message is invalid, or Infobip can't take it now", content_only=True),
}
"""By the ids of statuses; any other status that refuses is Rejected."""
_FIELD = re.compile(
    rb'"[\w\[\].]+\.(to|sender|from|text|placeholders|templateName|language|url)(?:\[\d+\])?"'
)
"""The end of a path to a wrong field, where Infobip names one."""


def code_of(verdict: Mapping[Any, object]) -> str:
    """Return the name of a ``status`` or ``error``, such as ``REJECTED_NETWORK``; its id where it has no such name."""
    name = wire.safe_code(verdict.get("name"))
    return name if name.isupper() else wire.safe_code(verdict.get("id"))


def read_answer(reply: wire.Reply) -> Receipt:
    """Return the Receipt of an answer 200 to a send, or raise what its status means."""
    match reply.json():
        # Accepted, pending or delivered.
        case {"messages": [{"status": {"groupId": 0 | 1 | 3}, **message}]}:
            parts = wire.resolve(message, ("details", "messageCount"), message.get("messageCount"))
            counted = parts if type(parts) is int and 0 <= parts <= 255 else 0
            return Receipt(wire.safe_id(message.get("messageId")), parts=counted)
        case {"messages": [{"status": {"groupId": int(), "id": int(number)} as status}]}:
            refusal = _REFUSALS.get(number, partial(Rejected, "Infobip refused the message"))
            raise refusal(code=code_of(status))
    raise Uncertain("the answer is not Infobip's: check base_url", code=str(reply.status))


def error_code(reply: wire.Reply) -> str:
    """Return the code of an error, such as ``E400 sender`` with a field that is wrong; empty where there is none."""
    match reply.json():
        case {"errorCode": code} | {"requestError": {"serviceException": {"messageId": code}}}:
            fields = sorted({field.decode() for field in _FIELD.findall(reply.body)})
            return " ".join([wire.safe_code(code), *fields[:2]]).strip()
    return ""
