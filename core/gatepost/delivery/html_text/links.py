"""Links: their targets are written behind their texts, unless the text shows the target already."""

import re

from gatepost.delivery.html_text.page import Page
from gatepost.html_tokens import attributes, decode_value

_MAX_TARGET_LENGTH = 4096
"""Characters; a link with a longer target is shown without it."""

_SHOWN = re.compile(r"https?://|mailto:|tel:|\{\{|\{%|%%|\[\[", re.IGNORECASE)
"""The targets that are shown: an address, or a field that is filled in later."""
_PREFIX = re.compile(r"(?:https?://|mailto:|tel:)?+(?:www\.)?+", re.IGNORECASE)
_NO_BREAKS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000)])


def target_of(source: str) -> str:
    """Return the target in a tag's attributes; empty where it is not shown."""
    target = attributes(source).get("href", "")
    if len(target) > _MAX_TARGET_LENGTH:
        return ""
    target = decode_value(target).translate(_NO_BREAKS).strip()
    return target if _SHOWN.match(target) else ""


class Link:
    """A link that has begun and not ended."""

    def __init__(self, target: str, page: Page) -> None:
        self._target = target
        self._page = page
        self._start, self._size = page.position(), page.size
        self.picture = False
        """Whether the link contains a picture."""

    def end(self) -> None:
        """Write the target, unless the text shows it already or the link shows nothing."""
        page = self._page
        target = _without_scheme(self._target)
        length = page.size - self._size
        if not length:
            if self.picture:
                page.add_words(target)
        elif length > len(target) + 16 or _bare(page.text_since(self._start)) != _bare(target):
            page.add(f" ({target})")


def _bare(target: str) -> str:
    """Return the bare form of a text or a target, by which the two are compared."""
    return _PREFIX.sub("", target.strip(" \n()*"), count=1).rstrip("/").casefold()


def _without_scheme(target: str) -> str:
    """Return mail addresses and numbers without their scheme, and any other target unchanged."""
    scheme, colon, rest = target.partition(":")
    return rest.partition("?")[0] if colon and scheme.lower() in {"mailto", "tel"} else target
