"""Checks of the subjects and senders that Smartico sends and that become mail headers."""

import re
from functools import lru_cache

from gatepost.contacts.addresses import canonical_sender
from gatepost.errors import Code, Refused
from gatepost.header_text import MAX_LINE, header_problem
from gatepost.model import Mailbox


def check_header_text(name: str, text: str, limit: int = MAX_LINE) -> None:
    """Raise Refused for a text that is too long or has control characters, also within encoded words.

    ``name`` is the request's field, for the message.
    """
    if problem := header_problem(text, limit):
        raise Refused(Code.MALFORMED, f"{name} {problem}")


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
