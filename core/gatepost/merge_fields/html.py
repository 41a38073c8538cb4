"""The merge fields of HTML: a value may stand in a text, and in the quoted value of a few attributes.

Everywhere else a value could become markup, a script, or an address where a link leads, so such a field is refused. The
time is linear in the length, because it is that of the tokenizer: each character is looked at a few times, in order.
"""

import re
from collections.abc import Generator
from itertools import islice

from gatepost.html_tokens import ATTRIBUTE, MAX_ATTRIBUTES, decode, decode_value, tokens
from gatepost.merge_fields.fields import (
    Context,
    Pieces,
    Template,
    TemplateError,
    field_position,
    find_fields,
    read_field,
)

SLICE_LENGTH = 16_384
"""Characters after which other tasks get a turn."""

MAX_LENGTH = 1_048_576
"""Characters of HTML with merge fields; mail programs cut a mail off after a tenth of that."""

MAX_MARKUP = 20_000
"""Tags and comments before the last merge field. They take most of the time."""

TEXT_ATTRIBUTES = frozenset({"alt", "title", "aria-label", "summary"})
"""Attributes whose value is a text."""

URL_ATTRIBUTES = {
    "href": frozenset({"a", "area"}),
    "src": frozenset({"img"}),
    "background": frozenset({"body", "table", "td", "th"}),
}
"""Attributes whose value is a URL that nothing is executed from, and their elements."""

_RAW_TEXT = frozenset({"script", "style", "iframe", "noembed", "noframes", "xmp", "plaintext"})
"""Elements whose content is no HTML."""

_AMBIGUOUS = frozenset({"svg", "math", "noscript", "select", "frameset", "template"})
"""Elements after which programs read the same tags in different ways."""

_OUTSIDE = "inside a tag, outside of the quoted value of one of its first 100 attributes"

# The scheme and the host are the template's own; of a mailto: also the address.
_URL_START = re.compile(r"[\t\n\f ]*+(?:(?ai:https?)://[^\s/?#\\{}]++[/?#]|(?ai:mailto):[^\s?#{}]++\?)")

_NAME_CHARACTERS = "#0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def html_template(html: str) -> Generator[None, None, Template]:
    """Read HTML whose line ends are LF, in steps of SLICE_LENGTH characters; raise TemplateError."""
    if len(html) > MAX_LENGTH:
        raise TemplateError(f"HTML with merge fields has at most {MAX_LENGTH:,} characters", 0)
    reader = _Reader(html)
    text_at = at = markup = 0
    next_stop = SLICE_LENGTH
    next_field = field_position(html, 0)
    for end, name, data in tokens(html):
        # A long text comes in several tokens, and a field may be in two of them.
        if name or not data:
            reader.pass_text(text_at, at)
            if next_field < end:
                reader.read_text(text_at, at)
                reader.read_markup(at, end, name, data)
                next_field = field_position(html, end)
                if next_field == len(html):
                    return reader.pieces.template()
            reader.enter(name)
            text_at = end
            markup += 1
            if markup > MAX_MARKUP:
                raise TemplateError(f"before a merge field are more than {MAX_MARKUP:,} tags", at)
        at = end
        if at >= next_stop:
            next_stop = at + SLICE_LENGTH
            yield
    reader.read_text(text_at, at)
    reader.forbid(at, len(html), "inside a tag that does not end")
    return reader.pieces.template()


class _Reader:
    """Collects the pieces of a template, from the tokens of its HTML in their order."""

    def __init__(self, html: str) -> None:
        self._html = html
        self.pieces = Pieces(html)
        self._last_tag = ""
        self._ambiguous = False

    def enter(self, name: str) -> None:
        """Note a tag that was passed; an empty name is that of a comment."""
        if name:
            self._last_tag = name
            self._ambiguous = self._ambiguous or name in _AMBIGUOUS

    def pass_text(self, start: int, end: int) -> None:
        """Note a text: a script that holds `<!--` may go on behind its end tag."""
        if self._last_tag == "script" and self._html.find("<!--", start, end) >= 0:
            self._ambiguous = True

    def read_text(self, start: int, end: int) -> None:
        """Read a text."""
        self._forbid_here(start, end)
        for found in find_fields(self._html, start, end):
            self._add(found.start, found.end, decode(found.inside), Context.HTML)

    def read_markup(self, start: int, end: int, name: str, data: str) -> None:
        """Read a tag or a comment."""
        self._forbid_here(start, end)
        if not name:
            self.forbid(start, end, "inside a comment")
        elif name[0] == "/":
            self.forbid(start, end, _OUTSIDE)
        else:
            self._read_tag(start, end, name, data)

    def _forbid_here(self, start: int, end: int) -> None:
        """Raise TemplateError for a field inside or behind an element that must not have one there."""
        if self._ambiguous:
            names = ", ".join(sorted(_AMBIGUOUS))
            self.forbid(
                start, end, f"inside or after {names}, or a script with <!--, which programs read differently"
            )
        if self._last_tag in _RAW_TEXT:
            self.forbid(start, end, f"inside {self._last_tag}")

    def forbid(self, start: int, end: int, why: str) -> None:
        """Raise TemplateError for a field between these positions."""
        for found in find_fields(self._html, start, end):
            raise TemplateError(f"a merge field must not stand {why}", found.start)

    def _read_tag(self, start: int, end: int, name: str, data: str) -> None:
        at, data_at = start, end - 1 - len(data)
        for match in islice(ATTRIBUTE.finditer(data), MAX_ATTRIBUTES):
            quoted = 2 if match.group(2) is not None else 3
            if not match.group(quoted):
                continue
            begin, stop = data_at + match.start(quoted), data_at + match.end(quoted)
            self.forbid(at, begin, _OUTSIDE)
            self._read_value(begin, stop, name, match.group(1).lower())
            at = stop
        self.forbid(at, end, _OUTSIDE)

    def _read_value(self, start: int, end: int, element: str, attribute: str) -> None:
        is_url = element in URL_ATTRIBUTES.get(attribute, ())
        if not is_url and attribute not in TEXT_ATTRIBUTES:
            texts, urls = sorted(TEXT_ATTRIBUTES), [*URL_ATTRIBUTES]
            self.forbid(
                start,
                end,
                f"in this attribute, only in {', '.join(texts)} and in the URLs of {', '.join(urls)}",
            )
        for number, found in enumerate(find_fields(self._html, start, end)):
            begin = decode_value(self._html[start : found.start]) if is_url and not number else ""
            if is_url and not number and not _URL_START.match(begin):
                problem = "a merge field may stand in a URL only after https://HOST/ or mailto:ADDRESS?"
                raise TemplateError(problem, found.start)
            context = Context.HTML_URL if is_url else Context.HTML
            self._add(found.start, found.end, decode_value(found.inside), context)

    def _add(self, start: int, end: int, inside: str, context: Context) -> None:
        literal = self._html[self.pieces.at : start]
        # The first letters of a value would be those of a reference or of a tag: `&{{…}}` and `lt;`, `<{{…}}` and `b>`.
        if literal.endswith("<") or literal.rstrip(_NAME_CHARACTERS).endswith(("&", "</")):
            raise TemplateError("a merge field must not stand right behind < or an unfinished & or </", start)
        self.pieces.add(start, end, read_field(inside, context, start))
