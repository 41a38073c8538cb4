"""The batches of one message that Sinch is sent, and what its answers mean. Pure functions."""

import re
from datetime import UTC, datetime, timedelta

import msgspec

from gatepost import wire
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Receipt, Sms

SENDER = re.compile(r"\+?[0-9]{1,15}|[A-Za-z0-9][A-Za-z0-9 ]{0,10}")
SENDER_FORM = "a number of up to 15 digits, or up to 11 letters, digits and spaces"

# Sinch allows 3 days. The rest is for clocks that differ.
_SHORTEST, _LONGEST = 60.0, 3 * 86_400 - 300.0
_HALF_A_CHARACTER = re.compile(r"[\ud800-\udfff]")

# With the status 400 or 403; beside them Sinch writes free text, which may quote a number.
MESSAGE_CODES = frozenset(
    {
        *("syntax_invalid_json", "syntax_invalid_parameter_format", "syntax_constraint_violation"),
        *("unknown_group", "illegal_number_type"),
    }
)
"""This message is refused."""
ACCOUNT_CODES = frozenset({"unknown_campaign", "missing_callback_url", "blocked_account"})
"""Only the operator can fix the cause."""


class _Answer(msgspec.Struct):
    code: str = ""
    id: str = ""


def batch_of(message: Sms, *, default_sender: str, callback_url: str | None) -> bytes:
    """Return the body of ``POST …/batches``; raise Rejected if Sinch would refuse the message.

    Its reports go to ``callback_url``; if that is empty, to the service plan's own; None: it asks for none.
    """
    if _HALF_A_CHARACTER.search(message.text):
        raise Rejected("the text has half of a Unicode character", code="syntax_invalid_json")
    sender = message.sender or default_sender
    if sender and not SENDER.fullmatch(sender):
        problem = f"Sinch does not accept the sender: it must be {SENDER_FORM}"
        raise Rejected(problem, code="syntax_invalid_parameter_format")
    seconds = max(_SHORTEST, min(message.lifetime, _LONGEST))
    ends = (datetime.now(UTC) + timedelta(seconds=seconds)).replace(tzinfo=None)
    batch = {
        "from": sender,
        "to": [message.recipient.reveal()],
        "type": "mt_text",
        "body": message.text,
        # Sinch refuses a batch that asks for reports where neither it nor the service plan says where to.
        "delivery_report": None if callback_url is None else "per_recipient",
        "expire_at": f"{ends.isoformat(timespec='milliseconds')}Z",
        "callback_url": callback_url,
        "client_reference": message.id,
    }
    return msgspec.json.encode({name: value for name, value in batch.items() if value})


def receipt(reply: wire.Reply) -> Receipt:
    """Return the Receipt of a send, or raise the error that the answer means."""
    expect_success(reply, 201)
    answer = reply.decode(_Answer)
    batch_id = wire.safe_id(answer.id) if answer else ""
    if not batch_id:
        raise Uncertain("the answer has no id of a batch: check base_url", code="201")
    return Receipt(batch_id)


def expect_success(reply: wire.Reply, status: int) -> None:
    """Return for the status of a success; raise the error that any other answer means."""
    answer = reply.decode(_Answer)
    code = answer.code if answer and answer.code in MESSAGE_CODES | ACCOUNT_CODES else ""
    if reply.sends and reply.status in {400, 403} and code in MESSAGE_CODES:
        raise Rejected(f"Sinch refuses the message ({reply.status})", code=code)
    if reply.sends and reply.status in {400, 403} and code in ACCOUNT_CODES:
        problem = "Sinch refuses messages of this service plan: check the account, its numbers and campaigns"
        # A campaign belongs to a sender.
        raise Unavailable(problem, code=code, misconfigured=True, content_only=code == "unknown_campaign")
    misconfigured = wire.MISCONFIGURED | {415} if reply.sends else wire.ANY_REFUSAL
    wire.expect_success(reply, code=code, accepted={status}, misconfigured=misconfigured)
