"""What Brevo's answers mean. Pure functions."""

from collections.abc import Mapping

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


def names_sender(text: object) -> bool:
    """Return whether a free text of Brevo's is about the sender: an address in it may have the word too."""
    return isinstance(text, str) and any("sender" in word for word in text.lower().split() if "@" not in word)


def id_of(value: object) -> str:
    """Return Brevo's id: of a mail its Message-ID without brackets, of a text message a number."""
    return wire.safe_id(str(value).strip("<>")) if type(value) in {str, int} else ""


def _read(reply: wire.Reply) -> tuple[Mapping[str, object], str]:
    """Return the fields of an answer, each of any type, and its code where that is a documented one."""
    answer = reply.json()
    fields = answer if isinstance(answer, dict) else {}
    code = wire.safe_code(fields.get("code"))
    return fields, code if code in CODES else ""


def expect_success(reply: wire.Reply) -> None:
    """Return for an answer of success; raise the error that any other one means."""
    fields, code = _read(reply)
    status = reply.status
    if code == "invalid_parameter" and names_sender(fields.get("message")):
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
    fields, code = _read(reply)
    if reply.status == 400 and code in _DUPLICATE_CODES:
        if has_key:
            return Receipt()
        raise Uncertain("Brevo says that it has this message already", code=code)
    expect_success(reply)
    provider_id, parts = id_of(fields.get("messageId")), fields.get("smsCount")
    if not provider_id:
        raise Uncertain("the answer has no messageId: check base_url", code=str(reply.status))
    return Receipt(provider_id, parts if type(parts) is int and 0 < parts < 256 else 0)
