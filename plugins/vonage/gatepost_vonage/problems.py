"""The codes in Vonage's error objects (RFC 7807: type, title, detail, instance; of old: code, reason).

Title, detail and reason are free text and like to quote numbers; only what can't be one is taken.
"""

import re

# Codes have four digits today; a phone number has at least seven.
_NUMBER = re.compile(r"(?:^|[#/])([0-9]{1,5})/?\Z")
_WORDS = re.compile(r"#([A-Za-z]+(?:-[A-Za-z]+)*)\Z")
_LONGEST = 40


def problem_code(problem: object) -> str:
    """Vonage's own code of what went wrong: ``"1120"``, ``"low-balance"``; empty where there is none.

    ``problem`` is anything that came as JSON. The code is the end of the ``type`` URL; in status webhooks
    the ``title`` is the number too. Those of v0.1 have it as their ``code``.
    """
    if not isinstance(problem, dict):
        return ""
    kind, title = problem.get("type"), problem.get("title")
    numbers = (_at_end(_NUMBER, value) for value in (kind, title, problem.get("code")))
    return next(filter(None, numbers), "") or _at_end(_WORDS, kind)


def _at_end(form: re.Pattern[str], value: object) -> str:
    text = str(value) if isinstance(value, int) else value
    found = form.search(text) if isinstance(text, str) else None
    return found[1] if found and len(found[1]) <= _LONGEST else ""
