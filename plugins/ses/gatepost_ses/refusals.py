"""What SES's errors mean for a message. Pure functions."""

from collections.abc import Callable, Mapping
from functools import partial

from gatepost import wire
from gatepost.errors import Rejected, SendError, Unavailable

_misconfigured = partial(Unavailable, misconfigured=True)
_sender = partial(_misconfigured, content_only=True)
_BUSY = partial(Unavailable, "SES is asked too often: set per_second to the account's rate", retry_after=1.0)
_QUOTA = partial(Unavailable, "the account's quota of 24 hours is used up", retry_after=600.0)
_PAUSED = partial(_misconfigured, "the account or configuration_set is paused: see AWS's console")
_FORBIDDEN = partial(_misconfigured, "the access key or role has ended, or may not do this in this region")
_SET = partial(_misconfigured, "configuration_set does not exist in this region, or base_url is wrong")

REFUSALS: Mapping[str, Callable[..., SendError]] = {
    "MessageRejected": partial(Rejected, "SES refused the mail's content"),
    "BadRequestException": partial(Rejected, "SES found the request invalid"),
    "MailFromDomainNotVerifiedException": partial(_sender, "this sender's MAIL FROM domain is not verified"),
    **dict.fromkeys(("AccountSuspendedException", "SendingPausedException"), _PAUSED),
    "NotFoundException": _SET,
    "LimitExceededException": _QUOTA,
    # Of every AWS service: those whose status is 400, or has been. For the others the status says what to do.
    **dict.fromkeys(("TooManyRequestsException", "ThrottlingException"), _BUSY),
    "RequestExpired": partial(_misconfigured, "the signature is not valid now: check this machine's clock"),
    "IncompleteSignature": partial(_misconfigured, "the signature did not arrive whole: check base_url"),
    **dict.fromkeys(("NotAuthorized", "AccessDeniedException", "ExpiredTokenException"), _FORBIDDEN),
}
# How the texts of several errors begin. An address may follow.
_PHRASES: Mapping[str, Callable[..., SendError]] = {
    "Email address is not verified": partial(_sender, "sender, or a sandbox's recipient, is not verified"),
    **dict.fromkeys(("Sending paused for this account", "Sending suspended for this account"), _PAUSED),
    "Configuration set <": _SET,
    "Daily message quota exceeded": _QUOTA,
}


def expect_success(reply: wire.Reply) -> None:
    """Return for a success; raise the error that any other answer means."""
    code = wire.safe_code(reply.headers.get("x-amzn-ErrorType", "").partition(":")[0].rpartition("#")[2])
    text = str(wire.resolve(reply.json(), ("message",)))
    meanings = [meaning for phrase, meaning in _PHRASES.items() if code and text.startswith(phrase)]
    for refusal in (*meanings, *filter(None, [REFUSALS.get(code)])):
        error = refusal(code=code)
        if reply.sends or isinstance(error, Unavailable):
            raise error
    misconfigured = wire.MISCONFIGURED if reply.sends else wire.ANY_REFUSAL
    wire.expect_success(reply, code=code, accepted={200}, misconfigured=misconfigured)
