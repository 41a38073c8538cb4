"""The search for secrets, addresses and numbers in texts, in every form in which they turn up there."""

import base64
import hashlib
import quopri
import re
import traceback
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

_MIN_FORM_LENGTH = 5
"""Characters of the shortest form that is searched for. A shorter one would be found by chance."""


def text_of(error: object) -> str:
    """Return every text in an exception: also of its causes, contexts, notes, groups and attributes.

    Empty for an object that is not an exception.
    """
    texts: list[str] = []
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        texts += [str(one), repr(one), repr(one.args), repr(vars(one)), *traceback.format_exception_only(one)]
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        waiting += [item for item in one.args if isinstance(item, BaseException)]
    return "\n".join(texts)


def forms(secret: str) -> Iterator[str]:
    """Yield the forms of a value: plain, URL-encoded, quoted-printable, hexadecimal, base64, parts of it."""
    plain = secret.lstrip("+")
    for text in (secret, plain):
        raw = text.encode("utf-8", "replace")
        yield text
        yield quote(text, safe="", errors="replace")
        yield quote_plus(text, errors="replace")
        yield quopri.encodestring(raw).decode().replace("=\n", "")
        yield raw.hex()
        for shift in range(3):
            # Inside a longer base64 text the value has one of three forms.
            middle = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
            yield middle[(0, 2, 3)[shift] : -1]
    if "@" in secret:
        yield secret.partition("@")[0]
    elif secret.startswith("+"):
        # The national number, as people write it.
        yield secret[3:]


_HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s", "sha3_256")
_LAST_DIGITS = 4
"""Digits at the end of a number that are a fragment of it."""


def fragment_in(text: str, recipient: str) -> str:
    """Return what of a recipient stands in ``text``, in words: its last digits or a hash of it; empty for nothing."""
    lower = text.lower()
    for spelling in _spellings(recipient):
        for name in _HASHES:
            digest = hashlib.new(name, spelling.encode(), usedforsecurity=False).digest()
            # Shortened ones are as good: few numbers have the same first twelve digits of a hash.
            if digest.hex()[:12] in lower or base64.b64encode(digest).decode()[:12] in text:
                return f"a plain hash ({name}) of the recipient"
    digits = recipient.lstrip("+")
    if digits.isdigit() and re.search(rf"(?<![0-9a-f.:]){digits[-_LAST_DIGITS:]}(?![0-9a-z.:])", lower):
        return "the end of the recipient's number"
    if digits.isdigit() and re.search(rf"(?<![0-9a-f]){digits[:-3]}", lower):
        return "the beginning of the recipient's number"
    return ""


def _spellings(recipient: str) -> set[str]:
    plain = recipient.lstrip("+")
    local = recipient.partition("@")[0] if "@" in recipient else recipient
    return {
        recipient,
        plain,
        f"00{plain}",
        recipient.lower(),
        local,
        f"mailto:{recipient}",
        f"tel:{recipient}",
    }


def contains_any(text: str, values: Iterable[str]) -> bool:
    """Return whether ``text`` contains one of the values in any form, in upper or lower case."""
    lower = text.lower()
    return any(
        form.lower() in lower
        for value in values
        if value
        for form in forms(value)
        if len(form) >= _MIN_FORM_LENGTH
    )
