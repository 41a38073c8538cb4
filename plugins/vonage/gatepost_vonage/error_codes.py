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
    type_url, title = error.get("type"), error.get("title")
    numbers = (_code_at_end(_NUMERIC_CODE, value) for value in (type_url, title, error.get("code")))
    return next(filter(None, numbers), "") or _code_at_end(_WORD_CODE, type_url)


def _code_at_end(pattern: re.Pattern[str], value: object) -> str:
    text = str(value) if isinstance(value, int) else value
    found = pattern.search(text) if isinstance(text, str) else None
    return found[1] if found and len(found[1]) <= _MAX_CODE_LENGTH else ""
