"""JSON pointers (RFC 6901): where a value stands in an answer or a report. Pure functions."""

import re
from typing import Any

_ESCAPE = re.compile(r"~(?![01])")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")

Pointer = tuple[str, ...]
"""The tokens of a pointer; empty for the whole document."""


def parse_pointer(text: str) -> Pointer:
    """Return the tokens of a JSON pointer; raises ValueError where it is none."""
    if (text and not text.startswith("/")) or _ESCAPE.search(text):
        raise ValueError("must be a JSON pointer (RFC 6901), such as /results/0/id")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:])


def resolve(document: Any, pointer: Pointer, default: Any = None) -> Any:
    """Return what a pointer points to; ``default`` where there is nothing."""
    for token in pointer:
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif isinstance(document, list) and _INDEX.fullmatch(token) and int(token) < len(document):
            document = document[int(token)]
        else:
            return default
    return document
