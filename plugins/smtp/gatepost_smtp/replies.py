"""What a server's answer means, kept as codes: its text quotes the recipient more often than not."""

import re

from aiosmtplib import SMTPResponseException

from gatepost.errors import Rejected, SendError, Unavailable

CLOSING = 421
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?!\S)")

# "Authentication required" and its like (RFC 4954 §6), at whatever command they come.
_SIGN_IN = frozenset({530, 534, 535, 538})
_TOO_LARGE = 552
_NO_STORAGE = 452

# What an enhanced code is about, its second number (RFC 3463 §3): the address, the mail system, the network.
_ADDRESS, _SYSTEM, _NETWORK = "1", "3", "4"


def code_of(code: int, text: str) -> str:
    """``550 5.1.1``: the code, and the enhanced one where the text begins with it (RFC 2034)."""
    enhanced = _ENHANCED.match(text)
    return f"{code} {enhanced[1]}" if enhanced else str(code)


def failure_code(error: Exception) -> str:
    """The code in what aiosmtplib raised; empty where the server gave none."""
    if isinstance(error, SMTPResponseException) and error.code > 0:
        return code_of(error.code, error.message)
    return ""


def refusal(command: str, code: int, text: str, *, own_sender: bool) -> SendError:
    """What an answer other than success to MAIL, RCPT or DATA means: the message was not taken.

    ``own_sender`` says that the envelope sender is out of the settings, so that the operator and not
    the message is to blame where it is refused.
    """
    shown = code_of(code, text)
    reason = f"the relay answered {shown} to {command}"
    if code in _SIGN_IN:
        return Unavailable(f"{reason}: check username and password", code=shown, misconfigured=True)
    if command == "MAIL" and own_sender and 500 <= code < 600 and code != _TOO_LARGE:
        return Unavailable(f"{reason}: check return_path or bounce_domain", code=shown, misconfigured=True)
    if 500 <= code < 600:
        return Rejected(reason, code=shown)
    return Unavailable(reason, code=shown, **_concern(command, code, _about(shown), own_sender=own_sender))


def _about(shown: str) -> str:
    return shown.partition(" ")[2].partition(".")[2].partition(".")[0]


def _concern(command: str, code: int, about: str, *, own_sender: bool) -> dict[str, bool]:
    """Whom a temporary refusal concerns, as Unavailable takes it; empty: everybody who asks now.

    Greylisting and full mailboxes are the recipient's, whatever the code: many relays pass on what the next
    server said. A sender's address is refused for that sender. What is refused with its content was read.
    """
    if code == CLOSING:
        return {}
    if command == "RCPT":
        return {"message_only": True}
    if code == _NO_STORAGE or about in {_SYSTEM, _NETWORK}:
        return {}
    if command == "MAIL" and (own_sender or about != _ADDRESS):
        return {}
    return {"content_only": True}
