"""The codes in Vonage's error objects (RFC 7807: type, title, detail, instance).

Title and detail are free text and like to quote numbers; only what can't be one is taken.
"""

import re

# Codes have four digits today; a phone number has at least seven.
_NUMBER = re.compile(r"(?:^|[#/])([0-9]{1,5})/?")
_WORDS = re.compile(r"#([A-Za-z]+(?:-[A-Za-z]+)*)")
_LONGEST = 40


def problem_code(problem: object) -> str:
    """Vonage's own code of what went wrong: ``"1120"``, ``"low-balance"``; empty where there is none.

    ``problem`` is anything that came as JSON. The code is the end of the ``type`` URL; in status webhooks
    the ``title`` is the number too.
    """
    if not isinstance(problem, dict):
        return ""
    kind, title = problem.get("type"), problem.get("title")
    return _number_at_end(kind) or _number_at_end(title) or _words_at_end(kind)


def _number_at_end(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if 0 <= value < 100_000 else ""
    if not isinstance(value, str):
        return ""
    end = _NUMBER.fullmatch(value[_last_separator(value) :])
    return end[1] if end else ""


def _words_at_end(value: object) -> str:
    if not isinstance(value, str):
        return ""
    end = _WORDS.fullmatch(value[value.rfind("#") :]) if "#" in value else None
    return end[1] if end and len(end[1]) <= _LONGEST else ""


def _last_separator(url: str) -> int:
    """Where the last ``#`` or ``/`` stands that is not the very end; 0 where there is none."""
    trimmed = url.rstrip("/")
    return max(trimmed.rfind("#"), trimmed.rfind("/"), 0)
