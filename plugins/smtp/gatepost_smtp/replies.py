"""What a server's answer means, kept as codes: its text quotes the recipient more often than not."""

import re

from aiosmtplib import SMTPResponseException

from gatepost.errors import Rejected, SendError, Unavailable

CLOSING = 421
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?!\S)")

# "Authentication required" and its like (RFC 4954 §6), at whatever command they come.
_SIGN_IN = frozenset({530, 534, 535, 538})
_TOO_LARGE = 552


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
    # Greylisting and full mailboxes are the recipient's; 421 and the rest of 4xx are the relay's.
    return Unavailable(reason, code=shown, message_only=command == "RCPT" and code != CLOSING)
