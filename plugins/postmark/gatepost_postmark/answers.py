"""Postmark's answers: its ErrorCodes, and what they mean for a mail. Pure functions."""

from collections.abc import Mapping

import msgspec

from gatepost import wire
from gatepost.errors import Rejected, Unavailable

_UNKNOWN_STREAM = "the server has no message stream of this ID: check message_stream"
# No mail can be sent until the operator has acted.
_FAULTS_OF_THE_ACCOUNT: Mapping[int, str] = {
    10: "Postmark does not know this server_token: copy it from the server's page API Tokens",
    405: "the account has run out of credits: buy more, or choose a larger plan",
    409: "a header of the request did not arrive: check base_url and connection",
    412: "the account is pending approval: until then only addresses of the sender's own domain get mail",
    413: "Postmark has not approved this account for sending: ask its support",
    422: "the server or the account is not valid any more: check at Postmark whether it was closed",
    1226: _UNKNOWN_STREAM,
    1235: _UNKNOWN_STREAM,
    1236: "no mail can be sent through this message stream: check message_stream",
    1480: "this machine's IP address may not send: add it to the server's IP allowlist",
}
# Mails from other senders may be accepted.
_FAULTS_OF_THE_SENDER: Mapping[int, str] = {
    400: "Postmark does not know this sender: verify its domain, or add a sender signature",
    401: "the sender signature is not confirmed: open the mail with which Postmark asks for it",
}
_INVALID = "Postmark does not accept the mail, such as its address, a header or a text above 5 MB"
_REFUSALS: Mapping[int, str] = {11: _INVALID, 300: _INVALID, 402: _INVALID, 403: _INVALID, 411: _INVALID}
_SUPPRESSED = 406
_PASSING = {100, 101, 429}  # Maintenance, an error of Postmark's own, too many requests.

# 415 means that base_url leads elsewhere, as 404 and 405 do.
_MISCONFIGURED = wire.MISCONFIGURED | {415}


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
    if number in _PASSING:
        wait = wire.retry_after(reply.headers)
        raise Unavailable("Postmark can't take mails now", code=code, retry_after=wait)
    if reply.sends and number == _SUPPRESSED:
        raise Suppressed("Postmark has suppressed this recipient", code=code)
    if reply.sends and number and reply.status in {200, 422}:
        raise Rejected(_REFUSALS.get(number, "Postmark refused the mail"), code=code)
    wire.expect_success(reply, code=code, accepted={200}, misconfigured=_MISCONFIGURED)
