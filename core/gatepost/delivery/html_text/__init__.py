"""The plain text that an HTML mail shows, for those who sent none.

What is in a mail is written by others, so the work on it is bounded whatever that is: it is linear in the length
(see ``tokens`` and ``render``), the text is never longer than the HTML and a few characters, and no more is done at
once than SLICE characters allow: in between everybody else has a turn. One mail of a client is converted at a time,
so that a hundred of them take no more turns than one.
"""

import asyncio
from collections.abc import Generator, Iterable

from gatepost.delivery.html_text.render import Renderer
from gatepost.delivery.html_text.tokens import tokens
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics

SLICE = 16_384
"""Characters of HTML after which others have their turn."""

MAX_LENGTH = 1_048_576
"""Characters of HTML that are converted; clients of mail cut off after a tenth of that."""

MAX_MARKS = 20_000
"""Tags, comments and character references that are converted: they take the time, and a newsletter has some
hundreds or thousands."""

_log = logs.get(__name__)


class TooMuch(ValueError):
    """The HTML is larger than any mail that is meant to be read."""


def conversion(
    html: str, *, max_length: int = MAX_LENGTH, max_marks: int = MAX_MARKS
) -> Generator[None, None, str]:
    """Convert in steps of SLICE characters; returns the text. Raises TooMuch."""
    if len(html) > max_length:
        raise TooMuch
    renderer = Renderer()
    turn, marks = SLICE, 0
    for token in tokens(html.replace("\r\n", "\n").replace("\r", "\n")):
        end, tag, data = token
        marks += data.count("&") + (1 if tag or not data else 0)
        if marks > max_marks:
            raise TooMuch
        renderer.take(token)
        if end >= turn:
            turn = end + SLICE
            yield
    return renderer.text()


def text_of(html: str, *, max_length: int = MAX_LENGTH, max_marks: int = MAX_MARKS) -> str:
    """Convert in one go. Raises TooMuch."""
    steps = conversion(html, max_length=max_length, max_marks=max_marks)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return str(end.value)


class TextParts:
    """Derives the text parts of one gateway's mails."""

    def __init__(self, clients: Iterable[str], metrics: Metrics) -> None:
        self._counter = metrics.text_parts
        self._turns = {client: asyncio.Lock() for client in clients}

    async def derive(self, message_id: str, client: str, html: str) -> str:
        """The text that the HTML shows; empty where it shows none or can't be converted. Never raises."""
        try:
            async with self._turns[client]:
                text = await _convert(html)
            outcome = "derived" if text else "empty"
        except TooMuch:
            text, outcome = "", "too_large"
            _log.warning(
                "text_part_left_out", message=message_id, client=client, reason="the HTML is too large"
            )
        except Exception as error:  # noqa: BLE001  what it reads is written by others
            text, outcome = "", "failed"
            _log.error("text_part_failed", message=message_id, client=client, exc_info=error)
        self._counter.labels(client, outcome).inc()
        return text


async def _convert(html: str) -> str:
    steps = conversion(html)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return str(end.value)
        await asyncio.sleep(0)
