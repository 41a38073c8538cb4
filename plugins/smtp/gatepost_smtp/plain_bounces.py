"""Bounces in words: what a mail system says that sends no delivery-status, judged by flufl.bounce."""

import logging
import re
from email.message import Message
from enum import StrEnum

from flufl.bounce import all_failures

from gatepost_smtp.identify import Arrived
from gatepost_smtp.mail_parts import field, text, texts

# It logs what it is given, and what it is given holds addresses.
logging.getLogger("flufl.bounce").disabled = True

# Its patterns take time that grows with the square or the cube of a line's length, and they hold the interpreter
# meanwhile. No clock can stop them, so what they see is bounded: the worst that we could build of it takes 0.1 s,
# as long as the parser takes for such a mail.
MAX_LINES, MAX_LINE = 200, 160
"""Lines, and characters of each, of a mail's texts that are looked at."""
_MAX_BRACKETS = 4

_SYSTEM = re.compile(r"daemon|post_?master", re.IGNORECASE)
_GOES_ON = re.compile(
    r"not yet been delivered|has been delayed|will be retried|will continue to (?:be made|try)"
    r"|no action is required|(?:just a|is a) warning|warning message only",
    re.IGNORECASE,
)
# DragonFly's form, which flufl.bounce does not know.
_GAVE_UP = re.compile(r"there was an error delivering your mail to", re.IGNORECASE)


class Verdict(StrEnum):
    """What became of a mail, as its mail system says."""

    FAILED = "failed"
    DELAYED = "delayed"
    NO_REPORT = "no report"
    MALFORMED = "malformed"


def judge(mail: Arrived) -> Verdict:
    """Say whether a mail system gave a mail up.

    Only a mail that comes from a mail system is judged: people quote bounces, and their notes of absence
    name addresses.
    """
    head = mail.heads[-1]
    if not _SYSTEM.search(field(head, "from")[:MAX_LINE]) and not field(head, "x-failed-recipients"):
        return Verdict.NO_REPORT
    outline = _outline(head, mail.parts)
    try:
        temporary, permanent = all_failures(outline)
    except Exception:  # noqa: BLE001  its patterns may raise for malformed mails
        return Verdict.MALFORMED
    if temporary or _says(outline, _GOES_ON):
        return Verdict.DELAYED if temporary or permanent else Verdict.NO_REPORT
    return Verdict.FAILED if permanent or _says(outline, _GAVE_UP) else Verdict.NO_REPORT


def _says(outline: Message, words: re.Pattern[str]) -> bool:
    return any(words.search(text(part)) for part in texts(list(outline.walk())))


def _outline(head: Message, parts: list[Message]) -> Message:
    """The mail as flufl.bounce is to see it: a few fields, and the beginnings of its texts."""
    outline = Message()
    for name in ("from", "x-failed-recipients", "x-mailer"):
        if value := field(head, name):
            outline[name] = _calm(value)
    outline["content-type"] = head.get_content_type()
    said = _said(parts)
    if head.get_content_maintype() != "multipart":
        outline.set_payload("".join(said))
        return outline
    for part, lines in zip(texts(parts), said, strict=True):
        shown = Message()
        shown["content-type"] = part.get_content_type()
        shown["content-description"] = _calm(field(part, "content-description"))
        shown.set_payload(lines)
        outline.attach(shown)
    # The last part is taken for the returned mail by some of its patterns.
    outline.attach(Message())
    return outline


def _said(parts: list[Message]) -> list[str]:
    """Each text's beginning, so that all together have at most MAX_LINES."""
    said = []
    left = MAX_LINES
    for part in texts(parts):
        lines = text(part).splitlines()[:left]
        left -= len(lines)
        said.append("".join(f"{_calm(line)}\n" for line in lines))
    return said


def _calm(line: str) -> str:
    """A line as its patterns can stand it: short, in ASCII, with a few brackets, without two commas."""
    beginning = line[:MAX_LINE].encode("ascii", "ignore").decode("ascii")
    if beginning.count("<") > _MAX_BRACKETS:
        return ""
    # One pattern takes any address between two commas for one that failed.
    first, comma, rest = beginning.partition(",")
    return first + comma + rest.replace(",", " ")
