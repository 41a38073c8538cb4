"""Checks of the subjects and senders that Smartico sends and that become mail headers.

A text that passes can't end a header line, not even after a mail reader has decoded its RFC 2047 encoded words.
"""

import base64
import binascii
import quopri
import re
from contextlib import suppress
from functools import lru_cache

from gatepost.contacts.addresses import canonical_sender
from gatepost.errors import Code, Refused
from gatepost.model import Mailbox

MAX_LINE = 998
"""Characters of a subject and of a sender: the limit of RFC 5322 for a header line."""

# Characters that some program treats as a line end or can't display: C0, DEL, C1, and Unicode's line separators.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ENCODED_WORD = re.compile(r"=\?([^?]*)\?([bq])\?([^?]*)\?=", re.IGNORECASE)


def check_header_text(name: str, text: str, limit: int = MAX_LINE) -> None:
    """Raise Refused for a text that is too long or has control characters, also within encoded words.

    ``name`` is the request's field, for the message.
    """
    if len(text) > limit:
        raise Refused(Code.MALFORMED, f"{name} is longer than {limit} characters")
    if not text.isprintable() and _CONTROL.search(text):
        raise Refused(Code.MALFORMED, f"{name} must not contain control characters")
    if "=?" in text and _hides_control(text):
        raise Refused(Code.MALFORMED, f"{name} must not contain control characters inside an encoded word")


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


@lru_cache(maxsize=1024)
def parse_mailbox(name: str, text: str) -> Mailbox:
    """Parse ``address`` or ``Name <address>``; raise Refused for anything else.

    The results are cached, because a brand has few senders.
    """
    check_header_text(name, text)
    text = text.strip()
    display_name, address = "", text
    if text.endswith(">"):
        display_name, found, address = text[:-1].rpartition("<")
        display_name, address = display_name.strip(), address.strip() if found else ""
        if len(display_name) > 1 and display_name[0] == display_name[-1] == '"':
            display_name = re.sub(r"\\(.)", r"\1", display_name[1:-1])
            check_header_text(name, display_name)
    canonical = canonical_sender(address)
    if canonical is None:
        raise Refused(
            Code.MALFORMED,
            f"{name} must be an address, alone or as in: Name <address>; the part before the @ must be ASCII",
        )
    return Mailbox(canonical, display_name)
