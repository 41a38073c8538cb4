"""What Brevo's answers mean. Pure functions."""

import msgspec

from gatepost import wire
from gatepost.errors import Unavailable, Uncertain
from gatepost.model import Receipt

# The codes that Brevo documents for all of its API. Beside them it writes free text, which may quote an address.
_ACCOUNT_CODES = frozenset(
    {
        *("unauthorized", "permission_denied", "account_under_validation", "not_enough_credits"),
        *("method_not_allowed", "document_not_found"),
    }
)
_DUPLICATE_CODES = frozenset({"duplicate_parameter", "duplicate_request"})
CODES = (
    _ACCOUNT_CODES
    | _DUPLICATE_CODES
    | {
        *("invalid_parameter", "missing_parameter", "out_of_range", "bad_request", "not_acceptable"),
        *("unprocessable_entity", "campaign_processing", "campaign_sent"),
    }
)


class _Answer(msgspec.Struct, rename="camel"):
    code: str = ""
    message: str = ""
    message_id: str | int = ""
    sms_count: int = 0


def expect_success(reply: wire.Reply) -> None:
    """Return for an answer of success; raise the error that any other one means."""
    error = reply.decode(_Answer) or _Answer()
    status, code = reply.status, error.code if error.code in CODES else ""
    if code == "invalid_parameter" and "sender" in error.message.lower():
        problem = "Brevo does not know this sender: verify its address, or authenticate its domain"
        raise Unavailable(problem, code=f"{code} sender", misconfigured=True, content_only=True)
    # The seconds until then, where others have a time.
    reset = reply.headers.get("x-sib-ratelimit-reset", "")
    if status == 429 and "Retry-After" not in reply.headers and reset.isascii() and reset.isdigit():
        raise Unavailable("the provider answered 429", code=code or "429", retry_after=float(reset[:9]))
    statuses = wire.MISCONFIGURED if reply.sends else wire.ANY_REFUSAL
    if code in _ACCOUNT_CODES and status < 500:
        statuses |= {status}
    wire.expect_success(reply, code=code, misconfigured=statuses)


def receipt(reply: wire.Reply, *, has_key: bool) -> Receipt:
    """Return the Receipt of a send, or raise the error that the answer means.

    ``has_key``: the request had an idempotencyKey, so that only its own first try can be the duplicate.
    """
    answer = reply.decode(_Answer)
    if reply.status == 400 and answer is not None and answer.code in _DUPLICATE_CODES:
        if has_key:
            return Receipt()
        raise Uncertain("Brevo says that it has this message already", code=answer.code)
    expect_success(reply)
    provider_id = wire.safe_id(str(answer.message_id).strip("<>")) if answer else ""
    if answer is None or not provider_id:
        raise Uncertain("the answer has no messageId: check base_url", code=str(reply.status))
    return Receipt(provider_id, answer.sms_count if 0 < answer.sms_count < 256 else 0)
