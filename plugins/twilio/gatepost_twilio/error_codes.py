"""Twilio's error codes, and what they mean for a message. Pure functions."""

from collections.abc import Callable, Sequence
from functools import partial

from gatepost.errors import Rejected, SendError, Unavailable
from gatepost.model import Status

_OPTED_OUT = partial(Rejected, status=Status.UNSUBSCRIBED)
_ACCOUNT = partial(Unavailable, misconfigured=True)  # every message would get it
_CONTENT = partial(Unavailable, misconfigured=True, content_only=True)  # about the sender, country or content
_QUEUE = partial(Unavailable, content_only=True)  # other senders have queues of their own
_MESSAGE = partial(Unavailable, message_only=True)  # another provider may reach this recipient

_REFUSALS: Sequence[tuple[Callable[..., SendError], str, str]] = (
    (_OPTED_OUT, "21610", "the user has opted out"),
    (Rejected, "21211 21214 21217 21604 21614 21635 63003 63024", "Twilio does not accept the number"),
    (Rejected, "21212 21213", "Twilio does not accept the sender"),
    (Rejected, "21602 21605 21617 21618 21619 21656 92007", "Twilio does not accept the text"),
    (_ACCOUNT, "10001 20005 20009 20010 30002 90010", "the account is suspended, or has no credit"),
    (_ACCOUNT, "20003 20006 20008 20403 20404 70051", "wrong login: check account_sid, api_key and base_url"),
    (_ACCOUNT, "21609", "Twilio does not accept server.public_url: it must have a public host name"),
    (_ACCOUNT, "21655 92006", "Twilio does not know this content template: check template"),
    (_ACCOUNT, "21701 21702 21704 21705", "the Messaging Service can't send: check it and its sender pool"),
    (_ACCOUNT, "63002 63007 63008", "this is not a WhatsApp sender of the account: check default_sender"),
    (_CONTENT, "21215 21408", "the account may not send to this country: allow it in the geo permissions"),
    (_CONTENT, "21601 21606 21607 21616 21657 21659 21660 21661 21715", "the account can't use this sender"),
    (_CONTENT, "21603 21910", "there is no sender of this channel: check default_sender and channel"),
    (_CONTENT, "21703 21708 21709 21711 21712", "the Messaging Service has no such sender for this country"),
    (_CONTENT, "10002 21219 21608 30044", "a trial account sends short texts to verified numbers only"),
    (_CONTENT, "63015", "the WhatsApp sandbox sends only to numbers that have joined: use your own sender"),
    (_CONTENT, "63016", "outside a conversation WhatsApp takes nothing but templates: check template"),
    (_QUEUE, "21611 30001", "the sender's queue at Twilio is full"),
    (_MESSAGE, "14107 21612", "Twilio can't reach this recipient from this sender now"),
)
_BY_CODE = {code: (error, reason) for error, codes, reason in _REFUSALS for code in codes.split()}

# In reports. Any other code follows the report's status; those of the channels, 63xxx, are refusals.
_NOT_REACHED = """30003 30005 30006 30008 30009 30017 30021 30036 30410 30485
    63003 63009 63010 63012 63017 63023 63024 63029 63036"""
_REFUSED = """30001 30002 30004 30007 30010 30018 30019 30022 30023 30024 30027 30032 30033 30034 30035 30037 30038
    30040 30041 30042 30044 30450 30453 30454"""


def refusal(code: str) -> SendError | None:
    """Return what a code in an answer means for the message; None where its HTTP status says that."""
    error, reason = _BY_CODE.get(code, (None, ""))
    return error and error(reason, code=code)


def statuses_of_failure(status: str, code: str) -> Sequence[Status]:
    """Return what a report ``failed`` or ``undelivered`` with this code means."""
    if code == "21610":
        return (Status.UNSUBSCRIBED, Status.REJECTED)  # the cause before its effect
    if code in _NOT_REACHED.split():
        return (Status.FAILED,)
    is_refused = status == "failed" or code.startswith("63") or code in _REFUSED.split()
    return (Status.REJECTED,) if is_refused else (Status.FAILED,)
