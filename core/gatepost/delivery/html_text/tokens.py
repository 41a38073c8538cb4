"""HTML cut into tags and texts, from its first character to its last, in one pass.

It follows the HTML standard where that shows in a mail: comments and conditional comments, elements whose content
is text, quotes around a `>`, references without a semicolon. It builds no tree: whatever has to look at the open
elements for each tag takes quadratic time for somebody's mail.

Linear in the length, by construction: every expression is possessive (what it took it never gives back), each
step begins where the last one ended, and a search that finds nothing ends the document.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from html import unescape
from html.entities import html5
from itertools import islice

PIECE = 4096
"""Characters of text that are handed out at once, at the most."""

MAX_ATTRIBUTES = 100
"""Attributes of a tag that are looked at."""

_TAG = re.compile(
    r"""<(/?+[a-zA-Z][^\t\n\f />]*+)"""
    r"""((?:[^>=]++|=[\t\n\f ]*+(?:"[^"]*+"|'[^']*+'|[^\t\n\f >"'][^\t\n\f >]*+)?+)*+)>"""
)
_TEXT = re.compile(r"[^<]*+(?:<(?![a-zA-Z/!?])[^<]*+)*+")
_NO_TAG = ("!", "?", "/")
_COMMENT_END = re.compile(r"--!?>")
_ATTRIBUTE = re.compile(
    r"""([^\t\n\f />=][^\t\n\f />=]*+)[\t\n\f ]*+"""
    r"""(?:=[\t\n\f ]*+(?:"([^"]*+)"|'([^']*+)'|([^\t\n\f >]++)))?+"""
)
_REFERENCE = re.compile(r"&(?:#[xX][0-9a-fA-F]++|#[0-9]++|[a-zA-Z][a-zA-Z0-9]*+);?+")
_LONGEST_NAME = 32
"""Characters of a reference's name; the longest is CounterClockwiseContourIntegral."""
_LONGEST_BARE_NAME = 6
"""Characters of a name that may stand without a semicolon; Aacute is one of the longest."""

_TEXT_ONLY = ("iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp")
_ENDS = {name: re.compile(rf"</{name}(?=[\t\n\f />])", re.IGNORECASE) for name in _TEXT_ONLY}


Token = tuple[int, str, str]
"""How much of the document has been read; a tag's name, as ``p`` or ``/p``, or empty where it is text; and the
text or the tag's attributes, as they are written. A comment is an empty text."""


def tokens(html: str) -> Iterator[Token]:
    """Cut HTML whose line ends are LF. Never raises."""
    at, length = 0, len(html)
    match_tag, match_text = _TAG.match, _TEXT.match
    while at < length:
        tag = match_tag(html, at)
        if tag is not None:
            at = tag.end()
            name, written = tag.groups()
            name = name.lower()
            yield at, name, written
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
        if until - at > PIECE:
            yield from _pieces(html, at, until)
            at = until
        elif until > at:
            yield until, "", html[at:until]
            at = until
        elif html[at + 1 : at + 2] in _NO_TAG:
            at = _after_comment(html, at)
            yield at, "", ""
        else:
            # A tag without an end takes all the rest with it.
            return


def _after_comment(html: str, at: int) -> int:
    """Where the document goes on behind what begins with ``<!``, ``<?`` or ``</``."""
    if html.startswith("<!--", at):
        # Two back: `<!-->` is a whole comment.
        end = _COMMENT_END.search(html, at + 2)
        return end.end() if end else len(html)
    return html.find(">", at) + 1 or len(html)


def _pieces(html: str, start: int, end: int) -> Iterator[Token]:
    while start < end:
        until = min(start + PIECE, end)
        if until < end:
            # No reference is cut in two.
            cut = html.rfind("&", until - _LONGEST_NAME - 2, until)
            until = cut if cut > start else until
        yield until, "", html[start:until]
        start = until


def attributes(written: str) -> dict[str, str]:
    """A tag's attributes, names in lower case; of several with one name the first."""
    found: dict[str, str] = {}
    for one in islice(_ATTRIBUTE.finditer(written), MAX_ATTRIBUTES):
        name, double, single, bare = one.groups()
        found.setdefault(name.lower(), double or single or bare or "")
    return found


def decode(text: str) -> str:
    """The text with its character references resolved."""
    return _REFERENCE.sub(_resolve, text) if "&" in text else text


def decode_value(text: str) -> str:
    """The value of an attribute, where ``&copy=`` is no reference: it is the next parameter of a URL."""
    return _REFERENCE.sub(_resolve_in_value, text) if "&" in text else text


def _resolve(match: re.Match[str]) -> str:
    written = match.group()
    if written[1] == "#":
        return _character(written)
    name = written[1 : _LONGEST_NAME + 2]
    found = html5.get(name)
    if found is not None:
        return found
    for end in range(min(len(name), _LONGEST_BARE_NAME), 1, -1):
        found = html5.get(name[:end])
        if found is not None:
            return found + written[end + 1 :]
    return written


def _resolve_in_value(match: re.Match[str]) -> str:
    written = match.group()
    if written[1] == "#":
        return _character(written)
    followed = match.string[match.end() : match.end() + 1]
    if not written.endswith(";") and followed == "=":
        return written
    return html5.get(written[1 : _LONGEST_NAME + 2], written)


@lru_cache(maxsize=1024)
def _short(reference: str) -> str:
    return unescape(reference)


def _character(written: str) -> str:
    digits = written[2:].rstrip(";")
    hexadecimal = digits[0] in "xX"
    digits = digits.lstrip("xX0") or "0"
    if len(digits) > 7:
        return "\ufffd"
    return _short(f"&#{'x' if hexadecimal else ''}{digits};")
