"""The text that a mail's HTML shows, written as its tags and texts are read.

Of the open elements only the names are counted. So an end tag that fits none is known at once, each element is
closed once, and the whole is linear in the number of tags, however they are nested.
"""

import re
from typing import NamedTuple

from gatepost.delivery.html_text.elements import (
    BLOCKS,
    CLOSES,
    HIDDEN,
    INLINE,
    PARAGRAPHS,
    PREFORMATTED,
    SCOPES,
    UNFOLLOWED,
    VOID,
)
from gatepost.delivery.html_text.page import BLANK, LINE, SPACE, Page
from gatepost.delivery.html_text.styles import PLAIN, Look, look
from gatepost.delivery.html_text.tokens import Token, attributes, decode, decode_value

_MAX_INDENT = 8
_LONGEST_VALUE = 4096
"""Characters of a link's target and of a picture's description."""

_TARGET = re.compile(r"https?://|mailto:|tel:|\{\{|\{%|%%|\[\[", re.IGNORECASE)
"""What a link leads to that is worth to be shown: an address, or a field that is filled in later."""
_PREFIX = re.compile(r"(?:https?://|mailto:|tel:)?+(?:www\.)?+", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,6}")


class _List:
    """A list, and how its next item is marked."""

    def __init__(self, number: int | None) -> None:
        self._number = number

    def mark(self) -> str:
        if self._number is None:
            return "* "
        self._number += 1
        return f"{self._number - 1}. "


class _State(NamedTuple):
    """What an element hands down to those in it."""

    hidden: bool = False
    tiny: bool = False
    pre: bool = False
    indent: str = ""
    items: _List | None = None


def _inside(outside: _State, shows: Look) -> _State:
    """The state in an element that looks so."""
    if shows is PLAIN:
        return outside
    hidden, tiny, pre, indent, items = outside
    return _State(
        hidden or shows.hidden, tiny if shows.tiny is None else shows.tiny, pre or shows.pre, indent, items
    )


_Open = tuple[str, _State, dict[str, int] | None]
"""An element that is open; what is in force again when it ends; the names that are open around it, where those
inside are counted apart."""


class _Link:
    """A link that is open."""

    def __init__(self, target: str, page: Page) -> None:
        self.target = target
        self.mark, self.size = page.here(), page.size
        """Where on the page it begins."""
        self.picture = False
        """Whether it shows a picture, of which no text says what it is."""


class Renderer:
    """Takes tags and texts in their order; ``text`` is what they show."""

    def __init__(self) -> None:
        self._page = Page()
        self._state = _State()
        self._open: list[_Open] = []
        self._names: dict[str, int] = {}
        """How many of each name are open, in the innermost table or list."""
        self._tables: list[bool] = []
        """For each open table, whether it holds data: it has a heading."""
        self._link: _Link | None = None
        self._pre_begins = False

    def take(self, token: Token) -> None:
        """The next tag or text."""
        self._page.read, tag, data = token
        if not tag:
            self._text(data)
        elif tag[0] == "/":
            self._end(tag[1:])
        else:
            self._start(tag, data)

    def text(self) -> str:
        """All of it, when the document has ended."""
        self._end_link()
        while self._open:
            self._pop()
        return self._page.text()

    def _text(self, text: str) -> None:
        state = self._state
        if state.hidden or state.tiny or not text:
            return
        text = decode(text)
        if not state.pre:
            self._page.words(text)
            return
        if self._pre_begins:
            text = text.removeprefix("\n")
            self._pre_begins = False
        self._page.lines(text)

    def _start(self, name: str, written: str) -> None:
        if name in VOID:
            self._void(name, written)
            return
        for closed in CLOSES.get(name, ()):
            self._close(closed)
        if name in {"td", "th"} and "tr" not in self._names:
            self._start("tr", "")
        if name in UNFOLLOWED:
            return
        shows = look(written) if written else PLAIN
        if name in INLINE:
            self._inline(name, written, shows)
            return
        if name in BLOCKS or name in PARAGRAPHS:
            self._close("p")
        if name in HIDDEN:
            shows = Look(hidden=True)
        elif name in PREFORMATTED:
            shows = shows._replace(pre=True)
        self._push(name, _inside(self._state, shows))
        if not self._state.hidden:
            self._begin(name, written)

    def _inline(self, name: str, written: str, shows: Look) -> None:
        state = self._state
        if shows is not PLAIN or state.hidden or state.tiny:
            self._push(name, _inside(state, shows))
        if name == "a" and not self._state.hidden:
            self._start_link(written)

    def _push(self, name: str, inside: _State) -> None:
        around = None
        if name in SCOPES:
            around, self._names = self._names, {}
        self._open.append((name, self._state, around))
        self._names[name] = self._names.get(name, 0) + 1
        self._state = inside

    def _begin(self, name: str, written: str) -> None:
        """What an element does that has begun and is seen."""
        page, state = self._page, self._state
        self._pre_begins = name in PREFORMATTED
        if name in PARAGRAPHS:
            page.want(LINE if state.items and name in {"ul", "ol", "menu"} else BLANK)
        elif name in BLOCKS:
            page.want(LINE)
        if name in {"ul", "ol", "menu"}:
            items = _List(_first_number(written) if name == "ol" else None)
            self._state = _State(state.hidden, state.tiny, state.pre, state.indent, items)
        elif name == "li":
            page.mark = state.items.mark() if state.items else "* "
            self._indent(len(page.mark))
        elif name in {"blockquote", "dd"}:
            self._indent(2)
        elif name == "table":
            self._tables.append(False)
        elif name == "tr":
            page.begin_row()
        elif name in {"td", "th"}:
            if name == "th" and self._tables:
                self._tables[-1] = True
            page.begin_cell()

    def _indent(self, width: int) -> None:
        hidden, tiny, pre, indent, items = self._state
        indent = (indent + " " * width)[:_MAX_INDENT]
        self._state = _State(hidden, tiny, pre, indent, items)
        self._page.indent = indent

    def _void(self, name: str, written: str) -> None:
        page, state = self._page, self._state
        if state.hidden or (state.tiny and name != "img"):
            return
        if name == "br":
            page.want(BLANK if page.gap >= LINE else LINE)
        elif name == "hr":
            self._close("p")
            page.rule()
        elif name in {"img", "area"} and not look(written).hidden:
            alternative = decode_value(attributes(written).get("alt", "")[:_LONGEST_VALUE])
            page.want(SPACE)
            page.words(alternative)
            page.want(SPACE)
            if self._link:
                self._link.picture = True

    def _end(self, name: str) -> None:
        if name == "a":
            self._end_link()
        elif name in {"br", "p"} and name not in self._names and not self._state.hidden:
            # To browsers </br> is a <br>, and a </p> alone an empty paragraph.
            self._page.want(LINE if name == "br" else BLANK)
        self._close(name)

    def _close(self, name: str) -> None:
        """Close the innermost element of this name, and all that was opened in it."""
        if name not in self._names:
            return
        while self._pop() != name:
            pass

    def _pop(self) -> str:
        """Close the innermost element; returns its name."""
        name, around, scope = self._open.pop()
        if scope is not None:
            self._names = scope
        elif self._names[name] == 1:
            del self._names[name]
        else:
            self._names[name] -= 1
        inside, self._state = self._state, around
        if inside.hidden:
            return name
        page = self._page
        page.indent = around.indent
        if name in PARAGRAPHS:
            page.want(LINE if around.items and name in {"ul", "ol", "menu"} else BLANK)
        elif name in BLOCKS:
            page.want(LINE)
        if name == "li":
            page.mark = ""
        elif name == "tr":
            page.end_row(data=bool(self._tables and self._tables[-1]))
        elif name == "table":
            self._tables.pop()
        return name

    def _start_link(self, written: str) -> None:
        self._end_link()
        target = attributes(written).get("href", "")
        if len(target) > _LONGEST_VALUE:
            return
        target = decode_value(target).translate(_NO_BREAKS).strip()
        if _TARGET.match(target):
            self._link = _Link(target, self._page)

    def _end_link(self) -> None:
        """Write where the link leads to, unless its text says that or it shows nothing."""
        link, self._link = self._link, None
        page = self._page
        if link is None or self._state.hidden:
            return
        target = _shown(link.target)
        if page.size == link.size:
            if link.picture:
                page.words(target)
        elif page.size - link.size > len(target) + 16 or _bare(page.since(link.mark)) != _bare(target):
            page.add(f" ({target})")


_NO_BREAKS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000)])


def _bare(target: str) -> str:
    """A text or a target as far as two of them are compared."""
    return _PREFIX.sub("", target.strip(" \n()*"), count=1).rstrip("/").casefold()


def _shown(target: str) -> str:
    """A target as it is shown: a mail address and a number without their scheme."""
    scheme, found, rest = target.partition(":")
    return rest.partition("?")[0] if found and scheme.lower() in {"mailto", "tel"} else target


def _first_number(written: str) -> int:
    number = _NUMBER.fullmatch(attributes(written).get("start", "").strip())
    return int(number.group()) if number else 1
