"""Mailgun's answers, which have a text and no code, and what they mean for a mail. Pure functions."""

import re
from collections.abc import Sequence

from gatepost import wire
from gatepost.errors import Unavailable

_KEYS = "check api_key, domain and base_url (a domain in the EU region needs the EU's)"
# Words of Mailgun's text in lower case, ours for the code, and what to do. The first match counts.
_FAULTS: Sequence[tuple[str, str, str]] = (
    ("sandbox subdomains", "sandbox", "a sandbox domain sends only to authorized recipients: add your own"),
    ("free accounts", "free_account", "a free account sends only to authorized recipients: upgrade it"),
    ("unverified", "unverified", "the domain is not verified: set the DNS records that Mailgun shows"),
    ("activate your", "inactive", "the account is not activated: open the mail that Mailgun sent about it"),
    ("cant be used", "ip", "the domain's IP address can't be used: ask Mailgun's support"),
    ("large batches", "volume", "the domain may not send this much yet: ask Mailgun's support"),
    ("domain not found", "domain", f"this region has no such domain: {_KEYS}"),
    ("not allowed to send", "not_allowed", "the domain may not send: Mailgun's control panel says why"),
)
_REFUSALS: Sequence[tuple[str, str]] = (
    ("parameter is missing", "missing"),
    ("from parameter", "from"),
    ("to parameter", "to"),
    ("need at least one of", "text"),
    ("limited to 16", "options"),
    ("header name", "header"),
)
_PAUSE = re.compile(r"try again after (\w{3}, \d{1,2} \w{3} \d{4} [\d:]{8} UTC)", re.ASCII)

MISSING = "400 missing"
"""The code for a request without a recipient, which Mailgun refuses after it has accepted key and domain."""


def expect_success(reply: wire.Reply) -> None:
    """Raise the error that an answer means, unless its status is 200.

    The code of an error is the HTTP status and, for a text that is known, a word: ``400 sandbox``.
    """
    answer = reply.json()
    text = str(answer.get("message")) if isinstance(answer, dict) else ""
    # Some answers have the names of parameters in quotes, and some don't.
    lower = text.lower().replace("'", "")
    date = _PAUSE.search(text)
    if reply.status == 429 or date:
        names = [name for name in ("request", "recipient", "bytes") if f"{name} limit" in lower]
        pause = wire.retry_after({"Retry-After": date[1]} if date else reply.headers)
        raise Unavailable("Mailgun's limit is reached", code=_code(reply.status, names), retry_after=pause)
    if reply.status == 401:
        raise Unavailable(f"Mailgun does not accept the key: {_KEYS}", code="401", misconfigured=True)
    for words, name, advice in _FAULTS:
        if words in lower and reply.status in {400, 403, 404}:
            raise Unavailable(advice, code=_code(reply.status, [name]), misconfigured=True)
    names = [name for words, name in _REFUSALS if words in lower and reply.status == 400]
    wire.expect_success(reply, code=_code(reply.status, names), accepted={200})


def _code(status: int, names: Sequence[str]) -> str:
    return " ".join([str(status), *names[:1]])
