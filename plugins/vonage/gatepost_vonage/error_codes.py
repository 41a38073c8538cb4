"""The codes in Vonage's error objects: RFC 7807's type, title and detail; earlier code and reason. Pure functions."""

import re

from gatepost import wire

# All but the type is free text, which often quotes phone numbers. They have at least seven digits; codes have four.
_NUMERIC_CODE = re.compile(r"(?:^|[#/])([0-9]{1,5})/?\Z")
_WORD_CODE = re.compile(r"#([A-Za-z]+(?:-[A-Za-z]+)*)\Z")


def error_code(error: object) -> str:
    """Return Vonage's code of an error, such as ``"1120"`` or ``"low-balance"``; empty if there is none.

    The code is the end of the ``type``, a URL. In a status webhook the ``title`` is the same number; version v0.1
    has it in ``code``. The error may be inside another object, under ``error``: Vonage's SDK for Kotlin reads it there.
    """
    if isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    if not isinstance(error, dict):
        return ""
    places = [(_NUMERIC_CODE, error.get(key)) for key in ("type", "title", "code")]
    for pattern, value in [*places, (_WORD_CODE, error.get("type"))]:
        found = pattern.search(str(value)) if isinstance(value, str | int) else None
        if found:
            return wire.safe_code(found[1])
    return ""
