"""Twilio's error codes, and what they mean for a message. Pure functions."""

from collections.abc import Mapping, Sequence

from gatepost import wire
from gatepost.errors import Rejected, SendError, Unavailable
from gatepost.model import Status

OPTED_OUT = "21610"

# Every message would get these: only the operator can change them.
_ACCOUNT: Mapping[str, str] = {
    **dict.fromkeys(
        ("10001", "20005", "20009", "20010", "30002", "90010"),
        "the account is not active: look for missing credit or a suspension in the Twilio console",
    ),
    "20003": "Twilio refuses the credentials: compare account_sid and the key or token with those of this region",
    "20006": "the API key may not send messages: give it the permission to create messages",
    "20008": "these are test credentials, which send nothing: use the live ones",
    "20403": "Twilio refuses access: check the API key's permissions",
    "20404": "Twilio does not know this account: check account_sid and base_url",
    "21609": "Twilio can't reach server.public_url: it must be a public host name",
    **dict.fromkeys(("21655", "92006"), "Twilio does not know this content template: check template"),
    **dict.fromkeys(
        ("21701", "21702", "21704", "21705"),
        "the Messaging Service can't send: check messaging_service and its sender pool",
    ),
    **dict.fromkeys(
        ("63002", "63007"), "Twilio does not know this WhatsApp sender: check default_sender and messaging_service"
    ),
    "63008": "the channel is not set up at Twilio: check its configuration in the console",
}

# These concern the sender, the country or the recipient: other messages may be accepted.
_CONTENT: Mapping[str, str] = {
    **dict.fromkeys(
        ("21408", "21215"), "the account may not send to this country: allow it in the Messaging geo permissions"
    ),
    **dict.fromkeys(
        ("21601", "21606", "21607", "21616", "21657", "21659", "21660", "21661", "21715"),
        "the account can't send from this sender: check its numbers, short codes and sender ids",
    ),
    "21603": "no sender: set default_sender or messaging_service",
    **dict.fromkeys(
        ("21703", "21708", "21709", "21711", "21712"),
        "the Messaging Service has no such sender, or none for this recipient: check its sender pool",
    ),
    **dict.fromkeys(
        ("10002", "21219", "21608", "30044"), "the account is a trial, which sends to verified numbers only: upgrade it"
    ),
    "21910": "sender and recipient are of different channels: check channel and default_sender",
    "63015": "the WhatsApp sandbox sends to numbers that have joined it only: use a sender of your own",
    "63016": "outside a conversation WhatsApp takes nothing but templates: check template",
}

# The sender's queue is full; other senders have their own.
_SENDER_THROTTLED = frozenset({"21611", "30001"})
# About this recipient alone, whom another provider may reach.
_MESSAGE_ONLY: Mapping[str, str] = {
    "14107": "too many messages to this recipient in a short time",
    "21612": "Twilio can't reach this number from this sender",
}

# In reports. Codes that are not listed follow the report's status: undelivered is failed, failed is rejected.
_NOT_REACHED: frozenset[str] = frozenset(
    "30003 30005 30006 30008 30009 30017 30021 30036 30410 30485 63003 63009 63010 63012 63017 63023 63024 63029 63036"
    .split()
)
_REFUSED: frozenset[str] = frozenset(
    "30001 30002 30004 30007 30010 30018 30019 30022 30023 30024 30027 30032 30033 30034 30035 30037 30038 30040 30041 "
    "30042 30044 30450 30453 30454 63001 63002 63005 63006 63007 63008 63013 63014 63015 63016 63018 63020 63021 63022 "
    "63026 63027 63028 63030 63031 63032 63033 63038 63040 63041 63042 63049 63051".split()
)


def refusal(code: str, retry_after: float | None) -> SendError | None:
    """Return what a code in an answer means for the message; None for a code whose HTTP status says it."""
    if code == OPTED_OUT:
        return Rejected("the user has opted out", code=code, status=Status.UNSUBSCRIBED)
    if code in _ACCOUNT:
        return Unavailable(_ACCOUNT[code], code=code, misconfigured=True)
    if code in _CONTENT:
        return Unavailable(_CONTENT[code], code=code, misconfigured=True, content_only=True)
    if code in _SENDER_THROTTLED:
        return Unavailable("the sender's queue at Twilio is full", code=code, content_only=True)
    if code in _MESSAGE_ONLY:
        return Unavailable(_MESSAGE_ONLY[code], code=code, message_only=True)
    if code == "20429":
        return Unavailable("too many requests at one time", code=code, retry_after=retry_after)
    return None


def statuses_of_failure(status: str, code: str) -> Sequence[Status]:
    """Return what a report ``failed`` or ``undelivered`` with this code means."""
    if code == OPTED_OUT:
        # The cause before its effect.
        return [Status.UNSUBSCRIBED, Status.REJECTED]
    if code in _NOT_REACHED:
        return [Status.FAILED]
    if code in _REFUSED:
        return [Status.REJECTED]
    return [Status.FAILED if status == "undelivered" else Status.REJECTED]


def error_code(value: object) -> str:
    """Return a code of Twilio's, a number of up to five digits, as text; otherwise an empty text."""
    code = wire.safe_code(value)
    return code if code.isdecimal() and len(code) <= 5 else ""
