"""The effect of a tag's attributes: elements that a mail program hides because of an attribute or an inline style."""

import re
from functools import lru_cache
from typing import NamedTuple

from gatepost.html_tokens import attributes, decode_value

_MAX_STYLE_LENGTH = 4096
"""Characters of a style that are read."""

_MAX_REMEMBERED_LENGTH = 512
"""Characters of the attributes of a tag whose effect is remembered: the same few come in all rows of all mails."""

_KEYWORDS = ("hid", "display", "opacity", "height", "font-size", "white-space")
"""Words of which at least one is in each tag that can have an effect."""

_HIDES = re.compile(
    r"(?:^|[;\s])(?:display\s*+:\s*+none|visibility\s*+:\s*+hidden|mso-hide\s*+:\s*+all"
    r"|opacity\s*+:\s*+0(?:\.0*+)?+\s*+(?:[;!]|\Z))"
)
_NO_HEIGHT = re.compile(r"(?:^|[;\s])(?:max-)?height\s*+:\s*+0(?:px|em|%)?+\s*+(?:[;!]|\Z)")
_OVERFLOW = re.compile(r"(?:^|[;\s])overflow\s*+:\s*+hidden")
_FONT_SIZE = re.compile(r"(?:^|[;\s])font-size\s*+:\s*+([0-9]*+(?:\.[0-9]++)?+)\s*+(px|pt|)")
_PRE = re.compile(r"(?:^|[;\s])white-space\s*+:\s*+(?:pre|break-spaces)")


class Style(NamedTuple):
    """The effect of a tag's attributes on how its element is shown."""

    hidden: bool = False
    tiny: bool | None = None
    """Whether the letters are too small to be seen; None: the size does not change."""
    pre: bool = False
    """Whether line breaks and blanks are shown as they are."""


PLAIN = Style()
"""No effect."""


def style_of(source: str) -> Style:
    """Return the effect of a tag's attributes, from their source text."""
    if not source:
        return PLAIN
    return _remembered(source) if len(source) <= _MAX_REMEMBERED_LENGTH else _read(source)


def _read(source: str) -> Style:
    lower = source.lower()
    if not any(word in lower for word in _KEYWORDS):
        return PLAIN
    values = attributes(lower)
    style = decode_value(values.get("style", "")[:_MAX_STYLE_LENGTH])
    size = _FONT_SIZE.search(style)
    return Style(
        hidden="hidden" in values
        or bool(_HIDES.search(style))
        or bool(_NO_HEIGHT.search(style) and _OVERFLOW.search(style)),
        tiny=_is_tiny(size.group(1), size.group(2)) if size else None,
        pre=bool(_PRE.search(style)),
    )


_remembered = lru_cache(maxsize=1024)(_read)


def _is_tiny(number: str, unit: str) -> bool:
    # In units that depend on the font (em, %) a small number may be a normal size.
    try:
        size = float(number[:20] or "1")
    except ValueError:
        return False
    return size == 0 or (size <= 1 and bool(unit))
