"""URLs and targets as requests need them."""

import re

import yarl

from gatepost.wire.dialing import Origin

# Not "#": what follows it is no part of a request.
_ENCODED = re.compile('[!"$-~]*')
"""A URL in which nothing has to be percent-encoded."""


def parse_base_url(text: str) -> tuple[Origin, str]:
    """Return the server that a base URL names, and the path before that of each request."""
    url = _parse(text)
    assert url.raw_host is not None
    assert url.port is not None
    return Origin(url.scheme == "https", url.raw_host, url.port), url.raw_path.rstrip("/")


def target(path: str) -> str:
    """Return a path with its query as it is sent: as it is; what can't be sent so is percent-encoded."""
    if _ENCODED.fullmatch(path) is None:
        path = _parse(f"http://host{path}").raw_path_qs
    return path if path.startswith("/") else f"/{path}"


def _parse(text: str) -> yarl.URL:
    # Otherwise yarl would decode some characters in a path, such as %3B: many servers cut a segment at a semicolon.
    return yarl.URL(text, encoded=_ENCODED.fullmatch(text) is not None)
