"""What stands in a mail's header because Smartico said so: subjects, and senders, which are also compared.

Nothing here can end a header's line, not even after a reader has decoded what RFC 2047 hides.
"""

import base64
import binascii
import quopri
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

from gatepost.contacts.addresses import canonical_sender
from gatepost.errors import Code, Refused
from gatepost.model import Mailbox

MAX_LINE = 998
"""Characters of a subject and of a sender: what RFC 5322 lets a header's line have."""

# What starts a new line somewhere, or can't be shown: C0, DEL, C1, and Unicode's own line ends.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ENCODED_WORD = re.compile(r"=\?([^?]*)\?([bq])\?([^?]*)\?=", re.IGNORECASE)


def refuse_control(name: str, text: str, limit: int = MAX_LINE) -> None:
    """Raise Refused for what is too long, or could end a header's line, encoded words included."""
    if len(text) > limit:
        raise Refused(Code.MALFORMED, f"{name} is longer than {limit} characters")
    if not text.isprintable() and _CONTROL.search(text):
        raise Refused(Code.MALFORMED, f"{name} must not contain control characters")
    if "=?" in text and _hides_control(text):
        raise Refused(Code.MALFORMED, f"{name} must not contain control characters inside an encoded word")


def _hides_control(text: str) -> bool:
    """Whether some reader of RFC 2047 words would find a control character in them."""
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
            return False  # one character too many: nobody can decode it
    # As bytes (any charset's reader), and as the charset that the word names (UTF-7, UTF-16).
    texts = [data.decode("latin-1")]
    with suppress(LookupError, ValueError):
        texts.append(data.decode(charset.partition("*")[0], "replace"))
    # C1 is UTF-8's and every Asian charset's second half, so of the bytes only C0 and DEL are looked at.
    return (
        bool(re.search("[\x00-\x1f\x7f]", texts[0]))
        or any(_CONTROL.search(part) for part in texts[1:])
        or any("=?" in part and _hides_control(part) for part in texts)
    )


@lru_cache(maxsize=1024)
def mailbox(name: str, text: str) -> Mailbox:
    """``address`` or ``Name <address>``; kept, because a brand sends from a few."""
    refuse_control(name, text)
    text = text.strip()
    shown, address = "", text
    if text.endswith(">"):
        shown, found, address = text[:-1].rpartition("<")
        shown, address = shown.strip(), address.strip() if found else ""
        if len(shown) > 1 and shown[0] == shown[-1] == '"':
            shown = re.sub(r"\\(.)", r"\1", shown[1:-1])
            refuse_control(name, shown)
    canonical = canonical_sender(address)
    if canonical is None:
        raise Refused(
            Code.MALFORMED, f"{name} is not an address, alone or as in: Name <address>; its name is ASCII"
        )
    return Mailbox(canonical, shown)


@lru_cache(maxsize=256)
def permitted(entries: tuple[str, ...]) -> frozenset[str]:
    """A client's ``email_senders`` as they compare: addresses and @domains in canonical form."""
    found = (_canonical_entry(entry) for entry in entries)
    return frozenset(entry for entry in found if entry)


def _canonical_entry(entry: str) -> str | None:
    if entry.startswith("@"):
        address = canonical_sender("x" + entry)
        return address and address[1:]
    return canonical_sender(entry)


def faults(entries: Sequence[str]) -> list[str]:
    """What is wrong with a client's ``email_senders``, an unusable entry each; empty when nothing is."""
    return [
        f"entry {position} is neither an address nor an @domain"
        for position, entry in enumerate(entries, 1)
        if _canonical_entry(entry) is None
    ]
