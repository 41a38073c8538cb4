"""Postmark's answers to a send: its ErrorCodes, and what they mean for the mail. Pure functions."""

from collections.abc import Mapping

import msgspec

from gatepost import wire
from gatepost.errors import Rejected, Unavailable, Uncertain

_SUPPRESSED = 406

# No mail can be sent until the operator has acted.
_FAULTS_OF_THE_ACCOUNT: Mapping[int, str] = {
    10: "Postmark does not know this server_token: copy it from the server's page API Tokens",
    405: "the account has run out of credits: buy more, or choose a larger plan",
    412: "the account is pending approval: until Postmark approves it, only addresses of the sender's own domain get mail",
    413: "Postmark has not approved this account for sending: ask its support",
    422: "the server or the account is not valid any more: check at Postmark whether it was deleted or closed",
    1226: "the server has no message stream of this ID: check message_stream",
    1235: "the server has no message stream of this ID: check message_stream",
    1236: "no mail can be sent through this message stream: check message_stream",
    1480: "the server takes no mail from this machine's IP address: add it to the server's IP allowlist",
}
# Mails from other senders may be accepted.
_FAULTS_OF_THE_SENDER: Mapping[int, str] = {
    400: "Postmark does not know this sender: verify its domain, or add a sender signature",
    401: "the sender signature is not confirmed: open the mail with which Postmark asks for it",
}
_TRY_AGAIN: Mapping[int, str] = {
    100: "Postmark is offline for maintenance",
    101: "Postmark had an error of its own",
}
_REFUSALS: Mapping[int, str] = {
    11: "Postmark found several faults in the mail",
    300: "Postmark found a fault in the mail, such as an invalid address or a text above 5 MB",
    402: "Postmark could not read the request",
    403: "Postmark does not accept a field of the request",
    _SUPPRESSED: "Postmark has suppressed this recipient",
    411: "Postmark does not accept the type of an attachment",
    701: "Postmark does not accept the type of an attachment",
}

# 415 means that base_url leads elsewhere, as 404 and 405 do.
_MISCONFIGURED = wire.MISCONFIGURED | {415}

# Postmark answers 200 or 422 to a request that it has checked; other statuses speak for themselves.
_CHECKED = frozenset({200, 422})


class Suppressed(Rejected):
    """Postmark has suppressed the recipient, and does not say why."""


class _Answer(msgspec.Struct):
    error_code: int = msgspec.field(name="ErrorCode", default=0)


def expect_success(reply: wire.Reply) -> None:
    """Raise the error that an answer means, unless it has the status 200 and no ErrorCode.

    The code of an error is the HTTP status and the ErrorCode: ``422 300``.
    """
    answer = reply.decode(_Answer)
    number = answer.error_code if answer else 0
    code = f"{reply.status} {wire.safe_code(number)}" if number else str(reply.status)
    if advice := _FAULTS_OF_THE_ACCOUNT.get(number):
        raise Unavailable(advice, code=code, misconfigured=True)
    if advice := _FAULTS_OF_THE_SENDER.get(number):
        raise Unavailable(advice, code=code, misconfigured=True, content_only=True)
    if problem := _TRY_AGAIN.get(number):
        raise Unavailable(problem, code=code)
    if number and reply.status in _CHECKED and reply.sends:
        refusal = Suppressed if number == _SUPPRESSED else Rejected
        raise refusal(_REFUSALS.get(number, "Postmark refused the mail"), code=code)
    accepted = () if number else {200}
    wire.expect_success(reply, code=code, accepted=accepted, misconfigured=_MISCONFIGURED)


def message_id(reply: wire.Reply) -> str:
    """Return Postmark's id of the mail that it took; raise Uncertain where the answer is not Postmark's."""
    match reply.json():
        case {"ErrorCode": 0, "MessageID": str(value)}:
            return wire.safe_id(value)
    raise Uncertain("the answer is not Postmark's: check base_url", code=str(reply.status))
