"""Text in headers: folded if it is plain ASCII, encoded by RFC 2047 otherwise. Pure functions."""

import binascii
import re

from gatepost.errors import Rejected

_MAX_LINE_LENGTH = 76
# C0, DEL, C1, the line and paragraph separators, lone surrogates.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ENCODED_WORD = re.compile(r"=\?([^?]*)\?([bq])\?(.*?)\?=", re.IGNORECASE)
_HEX_BYTE = re.compile(rb"=([0-9A-Fa-f]{2})")
_WORD_START, _WORD_END = "=?utf-8?b?", "?="


def reject_control_characters(field: str, text: str) -> None:
    """Raise Rejected if ``text`` holds a control character, or hides one in an encoded word."""
    if _CONTROL.search(text) or _hides_control_character(text):
        raise Rejected(f"{field} holds a control character")


def _hides_control_character(text: str) -> bool:
    """Tell whether a control character appears when the RFC 2047 words are decoded, repeatedly if nested."""
    # The mail encodes "=?", so that its reader sees it unchanged. This check is for servers on the way that
    # decode headers and write them again, so that one line becomes two. The core has a check of its own when it
    # accepts a message; the two share no code, because either may miss what the other finds.
    for _ in range(4):
        if "=?" not in text:
            return False
        text, count = _ENCODED_WORD.subn(_decode_word, text)
        if _CONTROL.search(text):
            return True
        if not count:
            return False
    return True


def _decode_word(word: re.Match[str]) -> str:
    charset, encoding, content = word.groups()
    raw = content.encode("utf-8", "replace")
    if encoding in "bB":
        try:
            raw = binascii.a2b_base64(raw + b"===")
        except binascii.Error:
            return ""
    else:
        raw = _HEX_BYTE.sub(lambda match: bytes([int(match[1], 16)]), raw.replace(b"_", b" "))
    if any(byte < 0x20 or byte == 0x7F for byte in raw):
        return "\n"
    try:
        return raw.decode(charset.partition("*")[0], "replace")
    except (LookupError, ValueError):
        return raw.decode("latin-1")


def fold(text: str, used: int) -> str:
    """Break printable ASCII text before spaces, so that no line has more than 76 characters.

    ``used`` is the number of characters before it on the first line. Returns an empty text if the text can't
    be folded unchanged: it needs encoded words then.
    """
    if not text.isascii() or "=?" in text:
        return ""
    lines: list[str] = []
    current = ""
    for word in text.split(" "):
        room = _MAX_LINE_LENGTH - (used if not lines else 1)
        if not word or len(word) >= _MAX_LINE_LENGTH - used:
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
    """Encode ``text`` as RFC 2047 words on lines of at most 76 characters, each of whole characters."""
    words: list[str] = []
    chunk = b""
    room = _word_capacity(used)
    for character in text:
        encoded = character.encode()
        if len(chunk) + len(encoded) > room:
            words.append(_encode_word(chunk))
            chunk = b""
            room = _word_capacity(1)
        chunk += encoded
    if chunk:
        words.append(_encode_word(chunk))
    return "\r\n ".join(words)


def _word_capacity(used: int) -> int:
    """Return the bytes of text that a word can hold on a line with ``used`` characters before it."""
    return (min(75, _MAX_LINE_LENGTH - used) - len(_WORD_START) - len(_WORD_END)) // 4 * 3


def _encode_word(chunk: bytes) -> str:
    return f"{_WORD_START}{binascii.b2a_base64(chunk, newline=False).decode('ascii')}{_WORD_END}"
