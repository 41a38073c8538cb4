"""The codes in Vonage's error objects (RFC 7807: type, title, detail, instance; earlier: code, reason).

Title, detail and reason are free text and often quote phone numbers. Only what can't be a number passes.
"""

import re

# Codes have four digits today; a phone number has at least seven.
_NUMERIC_CODE = re.compile(r"(?:^|[#/])([0-9]{1,5})/?\Z")
_WORD_CODE = re.compile(r"#([A-Za-z]+(?:-[A-Za-z]+)*)\Z")
_MAX_CODE_LENGTH = 40


def error_code(error: object) -> str:
    """Return Vonage's code of an error, such as ``"1120"`` or ``"low-balance"``; empty if there is none.

    ``error`` is any JSON value. The code is the end of its ``type`` URL. In a status webhook the ``title``
    is the same number, and version v0.1 has the number in ``code``. The error may be inside another object, under
    ``error``: the vendor's SDK for Kotlin reads it there.
    """
    if isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    if not isinstance(error, dict):
        return ""
    places = [(_NUMERIC_CODE, error.get(key)) for key in ("type", "title", "code")]
    for pattern, value in [*places, (_WORD_CODE, error.get("type"))]:
        found = pattern.search(str(value)) if isinstance(value, str | int) else None
        if found and len(found[1]) <= _MAX_CODE_LENGTH:
            return found[1]
    return ""
