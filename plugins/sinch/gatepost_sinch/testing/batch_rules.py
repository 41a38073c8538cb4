"""What ``POST /xms/v1/{service_plan_id}/batches`` accepts: every field of a text batch, with its type and limits."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

_MSISDN = re.compile(r"(?:\+|00)?[1-9][0-9]{6,14}")
_SHORT_CODE_OR_LETTERS = re.compile(r"[0-9]{3,8}|[A-Za-z0-9][A-Za-z0-9 ]{0,10}")
_PARAMETER = re.compile(r"[A-Za-z0-9._-]{1,16}")
_LONGEST = timedelta(days=3)

Error = tuple[str, str]
"""Sinch's code and its text."""


class TextBatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename={"sender": "from"}):
    """A batch of the type mt_text."""

    to: Annotated[list[str], Meta(min_length=1, max_length=1000)]
    body: Annotated[str, Meta(min_length=1, max_length=2000)]
    sender: str | UnsetType = UNSET
    type: Literal["mt_text"] = "mt_text"
    delivery_report: Literal["none", "summary", "full", "per_recipient", "per_recipient_final"] = "none"
    send_at: datetime | UnsetType = UNSET
    expire_at: datetime | UnsetType = UNSET
    callback_url: Annotated[str, Meta(pattern=r"\Ahttps?://\S+\Z", max_length=2048)] | UnsetType = UNSET
    client_reference: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET
    parameters: dict[str, dict[str, Annotated[str, Meta(max_length=160)]]] | UnsetType = UNSET
    feedback_enabled: bool = False
    flash_message: bool = False
    truncate_concat: bool = False
    max_number_of_message_parts: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    from_ton: Annotated[int, Meta(ge=0, le=6)] | UnsetType = UNSET
    from_npi: Annotated[int, Meta(ge=0, le=18)] | UnsetType = UNSET


def read_batch(body: bytes, now: datetime) -> TextBatch | Error:
    """Return the batch of a request, or the first thing that Sinch would say against it."""
    try:
        batch = msgspec.json.decode(body, type=TextBatch)
    except msgspec.ValidationError as error:
        text = str(error)
        missing_or_limit = (
            "required field" in text or "Expected `str` of length" in text or "`array` of" in text
        )
        return (
            "syntax_constraint_violation" if missing_or_limit else "syntax_invalid_parameter_format"
        ), text
    except (ValueError, RecursionError) as error:
        return "syntax_invalid_json", str(error)
    return next(_errors(batch, now), batch)


def _errors(batch: TextBatch, now: datetime) -> Iterator[Error]:
    if wrong := [one for one in batch.to if not _MSISDN.fullmatch(one)]:
        yield "syntax_invalid_parameter_format", f"'{wrong[0]}' is not a valid identifier"
    if batch.sender is not UNSET and not (
        _MSISDN.fullmatch(batch.sender) or _SHORT_CODE_OR_LETTERS.fullmatch(batch.sender)
    ):
        yield "syntax_invalid_parameter_format", f"'{batch.sender}' is not a valid originator"
    if batch.parameters is not UNSET and not all(_PARAMETER.fullmatch(name) for name in batch.parameters):
        yield "syntax_invalid_parameter_format", "a parameter's name has other characters"
    begins = now if batch.send_at is UNSET else max(now, batch.send_at)
    if batch.expire_at is not UNSET and not begins < batch.expire_at <= begins + _LONGEST:
        yield "syntax_constraint_violation", "expire_at must be after send_at, by 3 days at most"
