"""Bounces in plain text, from mail systems that send no delivery-status; flufl.bounce recognises them."""

import logging
import re
from email.message import Message
from enum import StrEnum

from gatepost_smtp.incoming_mail import IncomingMail, decoded_text, field, text_parts

# It logs its input, which holds addresses.
logging.getLogger("flufl.bounce").disabled = True

# The time of its patterns grows with the square or the cube of a line's length, and they hold the interpreter
# meanwhile. No timeout can stop them, so their input is limited: the worst input that we could build takes
# 0.1 s, as long as the parser needs for such a mail.
MAX_LINES, MAX_LINE_LENGTH = 200, 160
_MAX_BRACKETS = 4

_MAIL_SYSTEM = re.compile(r"daemon|post_?master", re.IGNORECASE)
_STILL_TRYING = re.compile(
    r"not yet been delivered|has been delayed|will be retried|will continue to (?:be made|try)"
    r"|no action is required|(?:just a|is a) warning|warning message only",
    re.IGNORECASE,
)
# The form of DragonFly, which flufl.bounce does not know.
_DRAGONFLY_FAILURE = re.compile(r"there was an error delivering your mail to", re.IGNORECASE)


class Verdict(StrEnum):
    """What a mail says about the delivery of another mail."""

    FAILED = "failed"
    DELAYED = "delayed"
    AUTO_REPLY = "auto_reply"
    NO_REPORT = "no_report"
    MALFORMED = "malformed"


def classify(mail: IncomingMail) -> Verdict:
    """Tell whether the mail reports that a mail system gave a mail up.

    Only mails from a mail system are examined: people quote bounces, and their out-of-office replies name
    addresses.
    """
    header = mail.headers[-1]
    from_mail_system = _MAIL_SYSTEM.search(field(header, "from")[:MAX_LINE_LENGTH])
    if not from_mail_system and not field(header, "x-failed-recipients"):
        return Verdict.AUTO_REPLY if _is_auto_reply(header) else Verdict.NO_REPORT
    excerpt = _excerpt(header, mail.parts)
    # Loaded late: a gateway that gets no such mail does not need it.
    from flufl.bounce import all_failures  # noqa: PLC0415

    try:
        temporary, permanent = all_failures(excerpt)
    except Exception:  # noqa: BLE001  its patterns may raise anything for a malformed mail
        return Verdict.MALFORMED
    if temporary or _matches(excerpt, _STILL_TRYING):
        return Verdict.DELAYED if temporary or permanent else Verdict.NO_REPORT
    return Verdict.FAILED if permanent or _matches(excerpt, _DRAGONFLY_FAILURE) else Verdict.NO_REPORT


def _is_auto_reply(header: Message) -> bool:
    """Tell whether a program answered for a person: RFC 3834, or what programs wrote before it."""
    submitted = field(header, "auto-submitted").partition(";")[0].strip().lower()
    if submitted not in {"", "no"} or field(header, "precedence").strip().lower() == "auto_reply":
        return True
    return any(field(header, name).strip() for name in ("x-autoreply", "x-autorespond"))


def _matches(excerpt: Message, pattern: re.Pattern[str]) -> bool:
    return any(pattern.search(decoded_text(part)) for part in text_parts(list(excerpt.walk())))


def _excerpt(header: Message, parts: list[Message]) -> Message:
    """Return the input for flufl.bounce: a few fields, and the beginnings of the texts."""
    excerpt = Message()
    for name in ("from", "x-failed-recipients", "x-mailer"):
        if value := field(header, name):
            excerpt[name] = _limit_line(value)
    excerpt["content-type"] = header.get_content_type()
    texts = _text_beginnings(parts)
    if header.get_content_maintype() != "multipart":
        excerpt.set_payload("".join(texts))
        return excerpt
    for part, text in zip(text_parts(parts), texts, strict=True):
        excerpt_part = Message()
        excerpt_part["content-type"] = part.get_content_type()
        excerpt_part["content-description"] = _limit_line(field(part, "content-description"))
        excerpt_part.set_payload(text)
        excerpt.attach(excerpt_part)
    # Some of its patterns take the last part for the returned mail.
    excerpt.attach(Message())
    return excerpt


def _text_beginnings(parts: list[Message]) -> list[str]:
    """Return the beginning of each text, together at most MAX_LINES lines."""
    texts = []
    lines_left = MAX_LINES
    for part in text_parts(parts):
        lines = decoded_text(part).splitlines()[:lines_left]
        lines_left -= len(lines)
        texts.append("".join(f"{_limit_line(line)}\n" for line in lines))
    return texts


def _limit_line(line: str) -> str:
    """Return the line in a form that the patterns handle fast: short, ASCII, few brackets, one comma."""
    beginning = line[:MAX_LINE_LENGTH].encode("ascii", "ignore").decode("ascii")
    if beginning.count("<") > _MAX_BRACKETS:
        return ""
    # One pattern takes any address between two commas for a failed recipient.
    first, comma, rest = beginning.partition(",")
    return first + comma + rest.replace(",", " ")
