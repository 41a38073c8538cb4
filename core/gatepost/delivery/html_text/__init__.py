"""The plain text of an HTML mail, for mails that bring no text part.

The HTML comes from outside, so the work on any HTML is bounded. The time is linear in the length (see
``tokens`` and ``render``). The text is never more than a few characters longer than the HTML. After every
SLICE_LENGTH characters other tasks get a turn. Only one mail of each client is converted at a time, so a hundred
mails take no more of the others' turns than one.
"""

import asyncio
from collections.abc import Generator, Iterable

from gatepost.delivery.html_text.render import Renderer
from gatepost.html_tokens import tokens
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.slices import run_in_slices

SLICE_LENGTH = 16_384
"""Characters of HTML after which other tasks get a turn."""

MAX_LENGTH = 1_048_576
"""Characters of HTML that are converted; mail programs cut a mail off after a tenth of that."""

MAX_MARKUP = 20_000
"""Tags, comments and character references that are converted. They take most of the time; a newsletter has some
hundreds or thousands of them."""

_log = logs.get(__name__)


class HtmlTooLarge(ValueError):
    """The HTML is larger than any mail that people can read."""


def conversion(
    html: str, *, max_length: int = MAX_LENGTH, max_markup: int = MAX_MARKUP
) -> Generator[None, None, str]:
    """Convert HTML to text in steps of SLICE_LENGTH characters; return the text. Raises HtmlTooLarge."""
    if len(html) > max_length:
        raise HtmlTooLarge
    renderer = Renderer()
    next_stop, markup = SLICE_LENGTH, 0
    for token in tokens(html.replace("\r\n", "\n").replace("\r", "\n")):
        end, tag, data = token
        markup += data.count("&") + (1 if tag or not data else 0)
        if markup > max_markup:
            raise HtmlTooLarge
        renderer.add(token)
        if end >= next_stop:
            next_stop = end + SLICE_LENGTH
            yield
    return renderer.text()


class TextParts:
    """The conversion of mails to text parts for one gateway."""

    def __init__(self, clients: Iterable[str], metrics: Metrics) -> None:
        self._counter = metrics.text_parts
        self._locks = {client: asyncio.Lock() for client in clients}

    async def derive(self, message_id: str, client: str, html: str) -> str:
        """Return the text of the HTML; empty where it has none or can't be converted. Never raises."""
        try:
            async with self._locks[client]:
                text = await run_in_slices(conversion(html))
            outcome = "derived" if text else "empty"
        except HtmlTooLarge:
            text, outcome = "", "too_large"
            _log.warning(
                "text_part_left_out", message=message_id, client=client, reason="the HTML is too large"
            )
        except Exception as error:  # noqa: BLE001  the HTML comes from outside
            text, outcome = "", "failed"
            _log.error("text_part_failed", message=message_id, client=client, exc_info=error)
        self._counter.labels(client, outcome).inc()
        return text
