"""The forms of Mailgun's Messages API. Pure functions."""

import secrets
from collections.abc import Iterable, Iterator, Mapping

from gatepost import wire
from gatepost.model import Email
from gatepost_mailgun.settings import Settings

ID_VARIABLE = "gp_id"
"""The variable that holds our id. Every webhook about the mail repeats it."""

_SHORTEST, _LONGEST = 5, 24 * 60
"""Minutes for which Mailgun can be told to try."""


def mail_form(message: Email, settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the fields of ``POST /v3/{domain}/messages``, without empty parts."""
    yield "from", wire.quoted_mailbox(message.sender)
    yield "to", message.recipient.reveal()
    yield "subject", message.subject
    if message.text:
        yield "text", message.text
    if message.html:
        yield "html", message.html
    if message.reply_to:
        yield "h:Reply-To", wire.quoted_mailbox(message.reply_to)
    for name, value in message.headers.items():
        yield f"h:{name}", value
    for tag in message.tags:
        yield "o:tag", tag
    if settings.open_tracking is not None:
        yield "o:tracking-opens", "yes" if settings.open_tracking else "no"
    if settings.click_tracking is not None:
        # Not in plain text, where the reader would see the rewritten link.
        yield "o:tracking-clicks", "htmlonly" if settings.click_tracking else "no"
    yield "o:deliver-within", _window(message.lifetime)
    yield f"v:{ID_VARIABLE}", message.id


def encode_form(fields: Iterable[tuple[str, str]]) -> tuple[bytes, Mapping[str, str]]:
    """Return a form in multipart/form-data, and its headers: to percent-encode a mail takes milliseconds of CPU."""
    boundary = f"gatepost-{secrets.token_hex(16)}"
    head = f"--{boundary}\r\nContent-Disposition: form-data; name="
    body = "".join(f'{head}"{name}"\r\n\r\n{value}\r\n' for name, value in fields)
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return f"{body}--{boundary}--\r\n".encode("utf-8", "replace"), headers


def _window(lifetime: float) -> str:
    """Return how long Mailgun tries to deliver, such as ``1h30m``."""
    hours, minutes = divmod(max(_SHORTEST, min(int(lifetime) // 60, _LONGEST)), 60)
    return f"{hours}h{minutes}m" if hours and minutes else f"{hours}h" if hours else f"{minutes}m"
