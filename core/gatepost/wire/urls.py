"""URLs as requests need them."""

import re
from functools import lru_cache

import yarl

_ENCODED = re.compile("[!-~]*")
"""A URL in which nothing has to be percent-encoded."""


def parse_url(text: str) -> yarl.URL:
    """Return a URL whose path and query are sent as they are; what can't be sent so is percent-encoded."""
    # A query may hold a message, which stays in no cache.
    return _parse(text) if "?" in text else _parse_cached(text)


@lru_cache(maxsize=128)
def _parse_cached(text: str) -> yarl.URL:
    return _parse(text)


def _parse(text: str) -> yarl.URL:
    # Otherwise yarl would decode some characters in a path, such as %3B: many servers cut a segment at a semicolon.
    return yarl.URL(text, encoded=_ENCODED.fullmatch(text) is not None)
