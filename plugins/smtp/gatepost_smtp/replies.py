"""The meaning of a server's answers, reduced to codes, because their texts often quote the recipient."""

import re

from gatepost.errors import Rejected, SendError, Unavailable

SERVICE_CLOSING = 421
_ENHANCED_CODE = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?!\S)")

# "Authentication required" and similar (RFC 4954 §6), in answer to any command.
_SIGN_IN = frozenset({530, 534, 535, 538})
_TOO_LARGE = 552
_NO_STORAGE = 452

# The subject of an enhanced code, its second number (RFC 3463 §3).
_ADDRESS, _MAIL_SYSTEM, _NETWORK, _POLICY = "1", "3", "4", "7"


def full_code(code: int, text: str) -> str:
    """Return ``550 5.1.1``: the code, and the enhanced code if the text begins with one (RFC 2034)."""
    enhanced = _ENHANCED_CODE.match(text)
    return f"{code} {enhanced[1]}" if enhanced else str(code)


def refusal(command: str, code: int, text: str, *, configured_sender: bool) -> SendError:
    """Return the error for an answer that refuses MAIL, RCPT, DATA or the mail.

    ``configured_sender`` says that the envelope sender is from the settings. If the relay refuses it, the
    configuration is wrong and not the message.
    """
    full = full_code(code, text)
    reason = f"the relay answered {full} to {command}"
    if code in _SIGN_IN:
        return Unavailable(f"{reason}: check username and password", code=full, misconfigured=True)
    if command == "MAIL" and configured_sender and 500 <= code < 600 and code != _TOO_LARGE:
        return Unavailable(f"{reason}: check return_path or bounce_domain", code=full, misconfigured=True)
    if 500 <= code < 600:
        return Rejected(reason, code=full)
    scope = _scope(command, code, _subject(full), configured_sender=configured_sender)
    return Unavailable(reason, code=full, **scope)


def asks_to_slow_down(error: Unavailable) -> bool:
    """Tell whether the relay may have refused a connection or a mail because there were too many of them.

    Relays say 4xx x.7.x then, or 421 without an enhanced code.
    """
    if error.message_only or error.content_only or error.misconfigured:
        return False
    return error.code == str(SERVICE_CLOSING) or (
        error.code.startswith("4") and _subject(error.code) == _POLICY
    )


def _subject(full: str) -> str:
    """Return the subject of an enhanced code; empty if there is no enhanced code."""
    return full.partition(" ")[2].partition(".")[2].partition(".")[0]


def _scope(command: str, code: int, subject: str, *, configured_sender: bool) -> dict[str, bool]:
    """Return which messages a temporary refusal affects, as arguments of Unavailable; empty: all of them.

    Greylisting and a full mailbox affect one recipient, whatever the code is, because many relays pass on the
    answer of the next server. A refused sender affects the mails of that sender. A refusal after DATA may be
    about the content.
    """
    if code == SERVICE_CLOSING:
        return {}
    if command == "RCPT":
        return {"message_only": True}
    if code == _NO_STORAGE or subject in {_MAIL_SYSTEM, _NETWORK}:
        return {}
    if command == "MAIL" and (configured_sender or subject != _ADDRESS):
        return {}
    return {"content_only": True}
