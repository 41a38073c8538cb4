"""The renderer: it writes the text of a mail while the tags and texts of the HTML are read.

It counts the names of the open elements. So an end tag without an open element is recognised at once, each element is
closed once, and the time is linear in the number of tags, however they are nested.
"""

import re
from typing import NamedTuple

from gatepost.delivery.html_text import links
from gatepost.delivery.html_text.elements import (
    BLOCKS,
    HIDDEN,
    IGNORED,
    IMPLIED_ENDS,
    INLINE,
    PARAGRAPHS,
    PREFORMATTED,
    SCOPES,
    VOID,
)
from gatepost.delivery.html_text.links import Link
from gatepost.delivery.html_text.page import BLANK, LINE, SPACE, Page
from gatepost.delivery.html_text.styles import PLAIN, Style, style_of
from gatepost.html_tokens import Token, attributes, decode, decode_value

_MAX_INDENT = 8
"""Characters."""
_MAX_DESCRIPTION_LENGTH = 4096
"""Characters of a picture's description that are read."""

_NUMBER = re.compile(r"[0-9]{1,6}")


class _List:
    """An open list, with the number of its next item."""

    def __init__(self, number: int | None) -> None:
        self._number = number

    def bullet(self) -> str:
        """Return the bullet or number of the next item."""
        if self._number is None:
            return "* "
        self._number += 1
        return f"{self._number - 1}. "


class _State(NamedTuple):
    """The settings that the elements inside an element inherit."""

    hidden: bool = False
    tiny: bool = False
    pre: bool = False
    indent: str = ""
    items: _List | None = None


def _inside(outside: _State, style: Style) -> _State:
    """Return the state inside an element of this style."""
    if style is PLAIN:
        return outside
    hidden, tiny, pre, indent, items = outside
    return _State(
        hidden or style.hidden, tiny if style.tiny is None else style.tiny, pre or style.pre, indent, items
    )


_Open = tuple[str, _State, dict[str, int] | None]
"""The name of an open element; the state to restore when it ends; and the counts of the names that are open around
it, where the names inside are counted separately."""


class Renderer:
    """A renderer of one document: ``add`` takes its tags and texts in order, ``text`` returns the result.

    One class in spite of its many methods: they are the effects of tags on the same open elements.
    """

    def __init__(self) -> None:
        self._page = Page()
        self._state = _State()
        self._open: list[_Open] = []
        self._names: dict[str, int] = {}
        """The number of open elements by name, in the innermost table or list."""
        self._tables: list[bool] = []
        """For each open table whether it contains data: it has a heading cell."""
        self._link: Link | None = None
        self._pre_begins = False

    def add(self, token: Token) -> None:
        """Render the next tag or text."""
        self._page.html_size, tag, data = token
        if not tag:
            self._text(data)
        elif tag[0] == "/":
            self._end(tag[1:])
        else:
            self._start(tag, data)

    def text(self) -> str:
        """Close what is open at the end of the document; return the whole text."""
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
            self._page.add_words(text)
            return
        if self._pre_begins:
            text = text.removeprefix("\n")
            self._pre_begins = False
        self._page.add_lines(text)

    def _start(self, name: str, source: str) -> None:
        if name in VOID:
            self._void(name, source)
            return
        for closed in IMPLIED_ENDS.get(name, ()):
            self._close(closed)
        if name in {"td", "th"} and "tr" not in self._names:
            self._start("tr", "")
        if name in IGNORED:
            return
        style = style_of(source) if source else PLAIN
        if name in INLINE:
            self._inline(name, source, style)
            return
        if name in BLOCKS or name in PARAGRAPHS:
            self._close("p")
        if name in HIDDEN:
            style = Style(hidden=True)
        elif name in PREFORMATTED:
            style = style._replace(pre=True)
        self._push(name, _inside(self._state, style))
        if not self._state.hidden:
            self._begin(name, source)

    def _inline(self, name: str, source: str, style: Style) -> None:
        state = self._state
        if style is not PLAIN or state.hidden or state.tiny:
            self._push(name, _inside(state, style))
        if name == "a" and not self._state.hidden:
            self._start_link(source)

    def _push(self, name: str, inside: _State) -> None:
        around = None
        if name in SCOPES:
            around, self._names = self._names, {}
        self._open.append((name, self._state, around))
        self._names[name] = self._names.get(name, 0) + 1
        self._state = inside

    def _begin(self, name: str, source: str) -> None:
        """Write the effect of a start tag whose element is not hidden."""
        page, state = self._page, self._state
        self._pre_begins = name in PREFORMATTED
        if name in PARAGRAPHS:
            page.request_gap(LINE if state.items and name in {"ul", "ol", "menu"} else BLANK)
        elif name in BLOCKS:
            page.request_gap(LINE)
        if name in {"ul", "ol", "menu"}:
            items = _List(_first_number(source) if name == "ol" else None)
            self._state = _State(state.hidden, state.tiny, state.pre, state.indent, items)
        elif name == "li":
            page.bullet = state.items.bullet() if state.items else "* "
            self._indent(len(page.bullet))
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

    def _void(self, name: str, source: str) -> None:
        page, state = self._page, self._state
        if state.hidden or (state.tiny and name != "img"):
            return
        if name == "br":
            page.request_gap(BLANK if page.gap >= LINE else LINE)
        elif name == "hr":
            self._close("p")
            page.add_rule()
        elif name in {"img", "area"} and not style_of(source).hidden:
            alternative = decode_value(attributes(source).get("alt", "")[:_MAX_DESCRIPTION_LENGTH])
            page.request_gap(SPACE)
            page.add_words(alternative)
            page.request_gap(SPACE)
            if self._link:
                self._link.picture = True

    def _end(self, name: str) -> None:
        if name == "a":
            self._end_link()
        elif name in {"br", "p"} and name not in self._names and not self._state.hidden:
            # Browsers read </br> as <br>, and a </p> without <p> as an empty paragraph.
            self._page.request_gap(LINE if name == "br" else BLANK)
        self._close(name)

    def _close(self, name: str) -> None:
        """Close the innermost element of this name, and all elements inside it."""
        if name not in self._names:
            return
        while self._pop() != name:
            pass

    def _pop(self) -> str:
        """Close the innermost element; return its name."""
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
            page.request_gap(LINE if around.items and name in {"ul", "ol", "menu"} else BLANK)
        elif name in BLOCKS:
            page.request_gap(LINE)
        if name == "li":
            page.bullet = ""
        elif name == "tr":
            page.end_row(data=bool(self._tables and self._tables[-1]))
        elif name == "table":
            self._tables.pop()
        return name

    def _start_link(self, source: str) -> None:
        self._end_link()
        target = links.target_of(source)
        if target:
            self._link = Link(target, self._page)

    def _end_link(self) -> None:
        link, self._link = self._link, None
        if link is not None and not self._state.hidden:
            link.end()


def _first_number(source: str) -> int:
    number = _NUMBER.fullmatch(attributes(source).get("start", "").strip())
    return int(number.group()) if number else 1
