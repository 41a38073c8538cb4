"""HTTP answers, and what they mean for a message. Pure functions."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec

from gatepost.errors import Rejected, SendError, Unavailable, Uncertain

T = TypeVar("T")

MAX_REPLY_BYTES = 64 * 1024
"""Bytes of an answer's body that are read; a provider's answer to a send has a few hundred."""

MISCONFIGURED: frozenset[int] = frozenset({401, 402, 403, 404, 405, 407})
"""HTTP statuses whose cause only the operator can fix: a wrong key, no credit, no permission, a wrong base_url, a proxy
that wants other credentials."""

_TRY_AGAIN = frozenset({408, 425, 429})

ANY_REFUSAL: frozenset[int] = frozenset(range(400, 500)) - _TRY_AGAIN
"""What is ``misconfigured`` in the answer to a ping, which is about no message."""

ANY_SUCCESS: Collection[int] = range(200, 300)

READING_METHODS: Collection[str] = frozenset({"GET", "HEAD"})
"""The methods of requests that send no message, unless their plugin says that they do."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer with any status."""

    status: int
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes
    """The first MAX_REPLY_BYTES bytes at most, or as many as the client reads."""
    sends: bool = True
    """Whether the request sent a message."""

    def __repr__(self) -> str:
        return f"<Reply {self.status}>"

    def json(self) -> object:
        """Return the decoded body; None where it is not JSON."""
        if not self.body:
            return None
        try:
            return msgspec.json.decode(self.body)
        except (ValueError, RecursionError):
            return None

    def decode(self, wanted: type[T]) -> T | None:
        """Return the decoded body as this type, such as a Struct; None where it is not JSON of that form."""
        try:
            return msgspec.json.decode(self.body, type=wanted)
        except (ValueError, RecursionError):
            return None


def expect_success(
    reply: Reply,
    *,
    code: str = "",
    accepted: Collection[int] = ANY_SUCCESS,
    misconfigured: Collection[int] = MISCONFIGURED,
    reset_header: str = "",
) -> None:
    """Return when the status is in ``accepted``; raise the error that any other status means for the message.

    - any other 2xx: Uncertain, because the answer is not this provider's;
    - ``misconfigured`` statuses and redirects: Unavailable, with ``misconfigured`` set;
    - 408, 425, 429 and 5xx: Unavailable, with the wait that ``retry_after`` finds in the headers;
    - any other 4xx: Rejected.

    The answer to a request that sends no message raises Unavailable in place of Uncertain and Rejected.

    ``code`` is the provider's own code from the body; when it is empty the HTTP status is used. ``reset_header`` is the
    one that ``retry_after`` reads.
    """
    status = reply.status
    if status not in accepted:
        raise _error(reply, code or str(status), misconfigured, reset_header)


def _error(reply: Reply, code: str, misconfigured: Collection[int], reset_header: str) -> SendError:
    status = reply.status
    problem = f"the provider answered {status}"
    if status in misconfigured:
        account = "the account and its credit, " if reply.sends else ""
        advice = f"check the key, {account}and base_url"
        return Unavailable(f"{problem}: {advice}", code=code, misconfigured=True)
    if status in _TRY_AGAIN or status >= 500:
        return Unavailable(problem, code=code, retry_after=retry_after(reply.headers, reset_header))
    if status >= 400:
        return Rejected(problem, code=code) if reply.sends else Unavailable(problem, code=code)
    problem = f"{problem}: check base_url"
    if status < 300 and reply.sends:
        return Uncertain(problem, code=str(status))
    return Unavailable(problem, code=code, misconfigured=True)


def retry_after(headers: Mapping[str, str], reset_header: str = "") -> float | None:
    """Return the seconds that an answer asks to wait, never negative; None where it has no valid value.

    Retry-After (RFC 9110 §10.2.3) is a number of seconds or an HTTP date. Without it the header named
    ``reset_header`` is read: the time, in seconds since the epoch, at which the provider accepts requests again.
    """
    now = datetime.now(UTC)
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    if value:
        try:
            return max(0.0, (parsedate_to_datetime(value).astimezone(UTC) - now).total_seconds())
        except (ValueError, OverflowError):
            pass
    reset = headers.get(reset_header, "").strip() if reset_header else ""
    if reset.isascii() and reset.isdigit():
        return max(0.0, float(reset[:12]) - now.timestamp())
    return None
