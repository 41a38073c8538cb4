"""The heads of requests. Pure functions, but for the version of Gatepost that they name."""

import re
from collections.abc import Mapping

from gatepost import __version__

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""A name of a header (RFC 9110 §5.6.2)."""

_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*")
"""A value that ends with its line, and that UTF-8 can hold."""

# Those that the client sets, and those that ask for what it does not do: another encoding of the answer, an answer before
# the body, another protocol.
_OWN_HEADERS = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "accept-encoding",
        "expect",
        "upgrade",
        "te",
    }
)

_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class UnusableHeader(ValueError):
    """A header can't be sent. The text has nothing of it, because its value may be private."""


def can_set_header(name: str) -> bool:
    """Return whether settings may have a header of this name: it is one, and no part of the protocol."""
    return HEADER_NAME.fullmatch(name) is not None and name.lower() not in _OWN_HEADERS


class Heads:
    """Writes the heads of requests."""

    def __init__(self, usual: Mapping[str, str]) -> None:
        """``usual``: what each request has unless it has a header of that name itself. Raises UnusableHeader."""
        self._usual = with_headers({"User-Agent": f"gatepost/{__version__}", "Accept": "*/*"}, usual)
        self._lines = _lines(self._usual)

    def write(
        self,
        method: str,
        target: str,
        authority: str,
        own: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> bytes:
        """Return the head of a request with these headers of its own; raise UnusableHeader."""
        lines = _lines(with_headers(self._usual, own)) if own else self._lines
        if body is not None or method in _METHODS_WITH_BODY:
            lines = f"{lines}Content-Length: {len(body or b'')}\r\n"
        head = f"{method} {target} HTTP/1.1\r\nHost: {authority}\r\nAccept-Encoding: identity\r\n{lines}\r\n"
        return head.encode()


def with_headers(usual: Mapping[str, str], own: Mapping[str, str]) -> Mapping[str, str]:
    """Return both; one of ``own`` replaces the usual one of its name, in whatever case the two are written."""
    names = {name.lower() for name in own}
    return {**{name: value for name, value in usual.items() if name.lower() not in names}, **own}


def _lines(headers: Mapping[str, str]) -> str:
    if not all(can_set_header(name) and _VALUE.fullmatch(value) for name, value in headers.items()):
        raise UnusableHeader("a header has a name or a value that can't be sent")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())
