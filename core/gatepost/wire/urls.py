"""URLs and targets as requests need them."""

import re
from base64 import b64encode

import yarl

from gatepost.wire.dialing import Origin, Proxy

# Not "#": what follows it is no part of a request.
_ENCODED = re.compile('[!"$-~]*')
"""A URL in which nothing has to be percent-encoded."""


def parse_origin(base_url: str) -> Origin:
    """Return the server that a base URL names."""
    url = _parse(base_url)
    assert url.raw_host is not None
    assert url.port is not None
    return Origin(url.scheme == "https", url.raw_host, url.port)


def parse_path(base_url: str) -> str:
    """Return the path of a base URL, which stands before that of each request."""
    return _parse(base_url).raw_path.rstrip("/")


def parse_proxy(url: str) -> Proxy:
    """Return the proxy that a URL names, with its credentials."""
    parts = yarl.URL(url)
    assert parts.raw_host is not None
    assert parts.port is not None
    login = f"{parts.user}:{parts.password or ''}" if parts.user is not None else ""
    authorization = f"Basic {b64encode(login.encode('latin-1')).decode()}" if login else ""
    return Proxy(parts.raw_host, parts.port, authorization)


def target(path: str) -> str:
    """Return a path with its query as it is sent: as it is; what can't be sent so is percent-encoded."""
    if not path.startswith("/"):
        path = f"/{path}"
    return path if _ENCODED.fullmatch(path) else _parse(f"http://host{path}").raw_path_qs


def _parse(text: str) -> yarl.URL:
    # Otherwise yarl would decode some characters in a path, such as %3B: many servers cut a segment at a semicolon.
    return yarl.URL(text, encoded=_ENCODED.fullmatch(text) is not None)
