"""The plain text that an HTML mail shows, for those who sent none."""

import asyncio
import re
from html import unescape

THREAD_FROM = 8_000
"""Characters from which on the work goes to a thread: about a millisecond of it."""

_LONGEST = 400_000
"""Characters of HTML that are looked at; a mail's text part need not be longer."""


async def from_html(html: str) -> str:
    """What a reader without HTML shall see; empty where the HTML shows no text. Never raises."""
    if len(html) < THREAD_FROM:
        return _text(html)
    return await asyncio.to_thread(_text, html[:_LONGEST])


def _text(html: str) -> str:
    # Late: only for callers who send no text, and it brings lxml along.
    from inscriptis import get_text  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        text = get_text(html)
    except Exception:  # noqa: BLE001  it is a parser of what anybody may write
        text = unescape(re.sub(r"<[^>]*>", " ", re.sub(r"(?is)<(script|style).*?</\1>", " ", html)))
    lines = [line.rstrip() for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
