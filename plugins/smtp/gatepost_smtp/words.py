"""Text in headers: what is refused, what goes as it is, and RFC 2047 for the rest."""

import binascii
import re

from gatepost.errors import Rejected

_LINE = 76
# C0, DEL, C1, the separators of line and paragraph, lone surrogates.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_WORD = re.compile(r"=\?([^?]*)\?([bq])\?(.*?)\?=", re.IGNORECASE)
_HEX = re.compile(rb"=([0-9A-Fa-f]{2})")
_OPENING, _CLOSING = "=?utf-8?b?", "?="


def refuse_control(field: str, text: str) -> None:
    """Raise Rejected where ``text`` holds a control character, or hides one in an encoded word."""
    if _CONTROL.search(text) or hides_control(text):
        raise Rejected(f"{field} holds a control character")


def hides_control(text: str) -> bool:
    """Whether decoding RFC 2047 words, as often as there are any, brings out a control character."""
    # We write "=?" out encoded, so that a reader sees it as it was; this is for the server that decodes
    # headers on its way and writes them anew, which is how one line becomes two. The core refuses such texts
    # at the door by a reader of its own: two locks that have nothing in common, as either has its blind spots.
    for _ in range(4):
        if "=?" not in text:
            return False
        text, found = _WORD.subn(_decoded, text)
        if _CONTROL.search(text):
            return True
        if not found:
            return False
    return True


def _decoded(word: re.Match[str]) -> str:
    charset, encoding, content = word.groups()
    raw = content.encode("utf-8", "replace")
    if encoding in "bB":
        try:
            raw = binascii.a2b_base64(raw + b"===")
        except binascii.Error:
            return ""
    else:
        raw = _HEX.sub(lambda found: bytes([int(found[1], 16)]), raw.replace(b"_", b" "))
    if any(byte < 0x20 or byte == 0x7F for byte in raw):
        return "\n"
    try:
        return raw.decode(charset.partition("*")[0], "replace")
    except (LookupError, ValueError):
        return raw.decode("latin-1")


def fold(text: str, used: int) -> str:
    """Printable ASCII as it is, broken before spaces so that no line passes 76 characters.

    ``used`` is what stands before it on the first line. Empty where that can't be done without
    changing the text: it needs encoded words then.
    """
    if not text.isascii() or "=?" in text:
        return ""
    lines: list[str] = []
    current = ""
    for word in text.split(" "):
        room = _LINE - (used if not lines else 1)
        if not word or len(word) >= _LINE - used:
            return ""
        if not current:
            current = word
        elif len(current) + 1 + len(word) <= room:
            current += " " + word
        else:
            lines.append(current)
            current = word
    return "\r\n ".join([*lines, current])


def encoded_words(text: str, used: int) -> str:
    """``text`` as RFC 2047 words on lines of at most 76 characters, never cut inside a character."""
    words: list[str] = []
    chunk = b""
    room = _room(used)
    for character in text:
        encoded = character.encode()
        if len(chunk) + len(encoded) > room:
            words.append(_word(chunk))
            chunk = b""
            room = _room(1)
        chunk += encoded
    if chunk:
        words.append(_word(chunk))
    return "\r\n ".join(words)


def _room(used: int) -> int:
    """Bytes of text that one word may hold on a line where ``used`` characters stand already."""
    return (min(75, _LINE - used) - len(_OPENING) - len(_CLOSING)) // 4 * 3


def _word(chunk: bytes) -> str:
    return f"{_OPENING}{binascii.b2a_base64(chunk, newline=False).decode('ascii')}{_CLOSING}"
