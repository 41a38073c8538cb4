"""Values of a provider that pass to operators, and values that a request needs. Pure functions."""

import re
from email.utils import quote

from gatepost.errors import Rejected
from gatepost.model import Mailbox, Sms

_OWN_ID = re.compile(r"[0-9a-f-]{36}")
_ID = re.compile(r"[\x21-\x7e]{1,255}")
# At most six digits in a row: a phone number has at least seven.
_CODE = re.compile(r"(?!.*[0-9]{7})[A-Za-z0-9]+(?:[_.:/-][A-Za-z0-9]+)*")
_MAX_CODE_LENGTH = 40
_STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})


def own_id(value: object) -> str:
    """Return ``value`` if it has the form of a message's ``id`` of Gatepost; otherwise empty."""
    return value if isinstance(value, str) and _OWN_ID.fullmatch(value) else ""


def safe_id(value: object) -> str:
    """Return ``value`` if it can be an id: a text of at most 255 ASCII characters without spaces; otherwise empty."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


def safe_code(value: object) -> str:
    """Return a provider's code as text if it can be one, otherwise an empty text.

    A code is a number or a word of at most 40 characters, such as 21610, ``4.2.1`` or ``invalid_recipient``. Free text
    does not pass, because it may quote an address, and neither does anything with seven digits in a row.
    """
    text = value
    # Seven digits are too many anyway, and Python refuses to write out thousands.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6:
        text = str(value)
    if isinstance(text, str) and len(text) <= _MAX_CODE_LENGTH and _CODE.fullmatch(text):
        return text
    return ""


def quoted_mailbox(mailbox: Mailbox) -> str:
    """Return a mailbox as a header's text, its name in quotes (RFC 5322), so that a comma in it separates nothing.

    The name is not encoded: for providers that take Unicode in an address.
    """
    return f'"{quote(mailbox.name)}" <{mailbox.address}>' if mailbox.name else mailbox.address


def says_stop(text: object, *more: str) -> bool:
    """Return whether a text of a user is an opt-out: one of the words that networks know, in any case.

    They are STOP, STOPALL, UNSUBSCRIBE, CANCEL, END and QUIT, and those in ``more``, in capitals. Blanks, dots and
    exclamation marks around the word do not count.
    """
    word = text.strip(" .!\r\n").upper() if isinstance(text, str) else ""
    return word in _STOP_WORDS or word in more


def sender_of(message: Sms, default_sender: str, *, code: str = "") -> str:
    """Return the sender that Smartico requested, or the default one.

    Raises Rejected, with the provider's ``code`` for a wrong sender, where there is neither.
    """
    sender = message.sender or default_sender
    if not sender:
        raise Rejected("no sender: set default_sender, or let Smartico send a from_number", code=code)
    return sender
