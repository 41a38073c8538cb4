"""What a mail client would not show: elements that are hidden by an attribute or an inline style."""

import re
from typing import NamedTuple

from gatepost.delivery.html_text.tokens import attributes, decode_value

_LONGEST_STYLE = 4096
"""Characters of a style that are looked at."""

_WORTH = ("hid", "none", "opacity", "height", "font-size", "white-space")
"""One of these is in every tag that this module has something to say about."""

_HIDES = re.compile(
    r"(?:^|[;\s])(?:display\s*+:\s*+none|visibility\s*+:\s*+hidden|mso-hide\s*+:\s*+all"
    r"|opacity\s*+:\s*+0(?:\.0*+)?+\s*+(?:[;!]|\Z))"
)
_NO_HEIGHT = re.compile(r"(?:^|[;\s])(?:max-)?height\s*+:\s*+0(?:px|em|%)?+\s*+(?:[;!]|\Z)")
_OVERFLOW = re.compile(r"(?:^|[;\s])overflow\s*+:\s*+hidden")
_FONT_SIZE = re.compile(r"(?:^|[;\s])font-size\s*+:\s*+([0-9]*+(?:\.[0-9]++)?+)\s*+(px|pt|)")
_PRE = re.compile(r"(?:^|[;\s])white-space\s*+:\s*+(?:pre|break-spaces)")


class Look(NamedTuple):
    """What a tag says about the look of its element."""

    hidden: bool = False
    tiny: bool | None = None
    """Whether its letters are too small to be seen; None: as around it."""
    pre: bool = False
    """Whether line breaks in it are line breaks."""


PLAIN = Look()
"""Nothing in particular."""


def look(written: str) -> Look:
    """Read a tag's attributes, which are given as they are written."""
    if not written:
        return PLAIN
    lower = written.lower()
    if not any(word in lower for word in _WORTH):
        return PLAIN
    found = attributes(lower)
    style = decode_value(found.get("style", "")[:_LONGEST_STYLE])
    size = _FONT_SIZE.search(style)
    return Look(
        hidden="hidden" in found
        or bool(_HIDES.search(style))
        or bool(_NO_HEIGHT.search(style) and _OVERFLOW.search(style)),
        tiny=_is_tiny(size.group(1), size.group(2)) if size else None,
        pre=bool(_PRE.search(style)),
    )


def _is_tiny(number: str, unit: str) -> bool:
    # In units of its own letters (em, %) a small number may be a normal size.
    try:
        size = float(number[:20] or "1")
    except ValueError:
        return False
    return size == 0 or (size <= 1 and bool(unit))
