"""The texts that become mail headers.

A text without a problem can't end a header line, not even after a mail reader has decoded its RFC 2047 encoded words.
"""

import base64
import binascii
import quopri
import re
from contextlib import suppress

MAX_LINE = 998
"""Characters of a subject and of a sender: the limit of RFC 5322 for a header line."""

# Characters that some program treats as a line end or can't display: C0, DEL, C1, and Unicode's line separators.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ENCODED_WORD = re.compile(r"=\?([^?]*)\?([bq])\?([^?]*)\?=", re.IGNORECASE)


def header_problem(text: str, limit: int = MAX_LINE) -> str:
    """Return what is wrong with a text that is too long or has control characters; empty where nothing is.

    Control characters within encoded words count too.
    """
    if len(text) > limit:
        return f"is longer than {limit} characters"
    if not text.isprintable() and _CONTROL.search(text):
        return "must not contain control characters"
    if "=?" in text and _hides_control(text):
        return "must not contain control characters inside an encoded word"
    return ""


def _hides_control(text: str) -> bool:
    """Return whether some decoder of RFC 2047 encoded words would produce a control character."""
    return any(_word_hides_control(*word.groups()) for word in _ENCODED_WORD.finditer(text))


def _word_hides_control(charset: str, encoding: str, payload: str) -> bool:
    data = payload.encode()
    if encoding in "qQ":
        data = quopri.decodestring(data, header=True)
    else:
        data = re.sub(rb"[^A-Za-z0-9+/]", b"", data)
        try:
            data = base64.b64decode(data + b"=" * (-len(data) % 4))
        except binascii.Error:
            return False  # no decoder accepts this length
    # As bytes, and in the charset that the word names (such as UTF-7 or UTF-16).
    texts = [data.decode("latin-1")]
    with suppress(LookupError, ValueError):
        texts.append(data.decode(charset.partition("*")[0], "replace"))
    # In UTF-8 and in Asian charsets the bytes of C1 are parts of other characters: only C0 and DEL count there.
    return (
        bool(re.search("[\x00-\x1f\x7f]", texts[0]))
        or any(_CONTROL.search(part) for part in texts[1:])
        or any("=?" in part and _hides_control(part) for part in texts)
    )
