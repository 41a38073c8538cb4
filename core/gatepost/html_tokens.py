"""A tokenizer for HTML: it splits a document into tags and texts, in one pass.

It follows the HTML standard where that can be seen in a mail: comments and conditional comments, elements whose
content is text, quotes around a `>`, references without a semicolon. It builds no tree, because code that inspects
the open elements at every tag takes quadratic time for some documents.

The time is linear in the length, for three reasons: every expression is possessive (it never backtracks), each step
begins where the last one ended, and a search that finds nothing ends the document.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from html import unescape
from html.entities import html5
from itertools import islice

MAX_TEXT_LENGTH = 4096
"""Characters of one text token at most; longer texts are split."""

MAX_ATTRIBUTES = 100
"""Attributes of a tag that are read."""

# A quote begins a value only behind a name and `=`, and a name may begin with `=`: as browsers read broken tags.
_NAME = r"/?+[a-zA-Z][^\t\n\f />]*+"
_ATTRIBUTES = (
    r"""(?:[\t\n\f /]++|[^\t\n\f />][^\t\n\f />=]*+"""
    r"""(?:[\t\n\f ]*+=[\t\n\f ]*+(?:"[^"]*+"|'[^']*+'|[^\t\n\f >"'][^\t\n\f >]*+|(?=>))|(?![\t\n\f ]*+=)))*+"""
)
_TAG = re.compile(rf"<({_NAME})({_ATTRIBUTES})>")
_TEXT = re.compile(r"[^<]*+(?:<(?![a-zA-Z/!?])[^<]*+)*+")
_COMMENT_STARTS = ("!", "?", "/")
_COMMENT_END = re.compile(r"--!?>")
ATTRIBUTE = re.compile(
    r"""([^\t\n\f />][^\t\n\f />=]*+)"""
    r"""(?:[\t\n\f ]*+=[\t\n\f ]*+(?:"([^"]*+)"|'([^']*+)'|([^\t\n\f >"'][^\t\n\f >]*+)?+))?+"""
)
"""An attribute in the source of a tag: its name, and its value in double quotes, in single quotes or without any."""
_REFERENCE = re.compile(r"&(?:#[xX][0-9a-fA-F]++|#[0-9]++|[a-zA-Z][a-zA-Z0-9]*+);?+")
_MAX_NAME_LENGTH = 32
"""Characters in the name of a reference; the longest name is CounterClockwiseContourIntegral."""
_MAX_BARE_NAME_LENGTH = 6
"""Characters in a name that needs no semicolon; Aacute is one of the longest."""

_TEXT_ONLY = ("iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp")
# Without ASCII a dotless i would be an i, and the "end tag" be none for browsers.
_ENDS = {name: re.compile(rf"</{name}(?=[\t\n\f />])", re.ASCII | re.IGNORECASE) for name in _TEXT_ONLY}

_END_OF_NAME = r"[\t\n\f />]"


@lru_cache(maxsize=8)
def _before_end_tag(name: str) -> re.Pattern[str]:
    """Return an expression for all tokens up to an end tag, or to a tag after which what follows is text."""
    stops = "|".join((*_TEXT_ONLY, "plaintext", f"/{name}"))
    return re.compile(
        rf"(?:[^<]++|<(?![a-zA-Z/!?])|<(?!(?i:{stops}){_END_OF_NAME}){_NAME}{_ATTRIBUTES}>"
        r"|<!--(?:-?>|(?>.*?--!?>))|<(?:!(?!--)|\?|/(?![a-zA-Z]))[^>]*+>)*+",
        re.DOTALL,
    )


def find_end_tag(html: str, name: str) -> int:
    """Return where the first end tag of this element begins, as ``tokens`` would find it; the length where there is none.

    It takes a third of the time of ``tokens``.
    """
    # Line ends are single characters for all of these expressions, so that the position holds for the HTML as it is.
    source = html.replace("\r", "\n")
    passed, end = _before_end_tag(name), len(source)
    at = 0
    while at < end:
        if matched := passed.match(source, at):
            at = matched.end()
        tag = _TAG.match(source, at)
        if tag is None:
            return end
        found = tag.group(1).lower()
        if found not in _ENDS:
            return at if found == f"/{name}" else end
        close = _ENDS[found].search(source, tag.end())
        at = close.start() if close else end
    return end


Token = tuple[int, str, str]
"""The number of characters read so far; the name of a tag, as ``p`` or ``/p``, or an empty name for a text; and the
source of the text or of the tag's attributes. A comment is an empty text."""


def tokens(html: str) -> Iterator[Token]:
    """Split HTML whose line ends are LF into tokens. Never raises."""
    at, length = 0, len(html)
    match_tag, match_text = _TAG.match, _TEXT.match
    while at < length:
        tag = match_tag(html, at)
        if tag is not None:
            at = tag.end()
            name, source = tag.groups()
            name = name.lower()
            yield at, name, source
            if name in _ENDS:
                end = _ENDS[name].search(html, at)
                until = end.start() if end else length
                yield from _pieces(html, at, until)
                at = until
            elif name == "plaintext":
                yield from _pieces(html, at, length)
                return
            continue
        text = match_text(html, at)
        until = text.end() if text else at
        if until - at > MAX_TEXT_LENGTH:
            yield from _pieces(html, at, until)
            at = until
        elif until > at:
            yield until, "", html[at:until]
            at = until
        elif html[at + 1 : at + 2] in _COMMENT_STARTS:
            at = _after_comment(html, at)
            yield at, "", ""
        else:
            # A tag that does not end hides the rest of the document.
            return


def _after_comment(html: str, at: int) -> int:
    """Return the position after a comment, which begins with ``<!``, ``<?`` or ``</``."""
    if html.startswith("<!--", at):
        if html.startswith(("<!-->", "<!--->"), at):
            return html.index(">", at) + 1
        end = _COMMENT_END.search(html, at + 4)
        return end.end() if end else len(html)
    return html.find(">", at) + 1 or len(html)


def _pieces(html: str, start: int, end: int) -> Iterator[Token]:
    while start < end:
        until = min(start + MAX_TEXT_LENGTH, end)
        if until < end:
            # A character reference must not be split.
            reference = html.rfind("&", until - _MAX_NAME_LENGTH - 2, until)
            until = reference if reference > start else until
        yield until, "", html[start:until]
        start = until


def attributes(source: str) -> dict[str, str]:
    """Return a tag's attributes by their names in lower case; the first of several with the same name counts."""
    values: dict[str, str] = {}
    for match in islice(ATTRIBUTE.finditer(source), MAX_ATTRIBUTES):
        name, double, single, bare = match.groups()
        values.setdefault(name.lower(), double or single or bare or "")
    return values


def decode(text: str) -> str:
    """Return the text with its character references resolved."""
    return _REFERENCE.sub(_resolve, text) if "&" in text else text


def decode_value(text: str) -> str:
    """Return the value of an attribute with its references resolved.

    ``&copy=`` is not a reference there: it begins the next parameter of a URL.
    """
    return _REFERENCE.sub(_resolve_in_value, text) if "&" in text else text


def _resolve(match: re.Match[str]) -> str:
    source = match.group()
    if source[1] == "#":
        return _character(source)
    name = source[1 : _MAX_NAME_LENGTH + 2]
    character = html5.get(name)
    if character is not None:
        return character
    for end in range(min(len(name), _MAX_BARE_NAME_LENGTH), 1, -1):
        character = html5.get(name[:end])
        if character is not None:
            return character + source[end + 1 :]
    return source


def _resolve_in_value(match: re.Match[str]) -> str:
    source = match.group()
    if source[1] == "#":
        return _character(source)
    followed = match.string[match.end() : match.end() + 1]
    if not source.endswith(";") and followed == "=":
        return source
    return html5.get(source[1 : _MAX_NAME_LENGTH + 2], source)


@lru_cache(maxsize=1024)
def _unescape(reference: str) -> str:
    return unescape(reference)


def _character(source: str) -> str:
    digits = source[2:].rstrip(";")
    hexadecimal = digits[0] in "xX"
    digits = digits.lstrip("xX0") or "0"
    if len(digits) > 7:
        return "\ufffd"
    return _unescape(f"&#{'x' if hexadecimal else ''}{digits};")
