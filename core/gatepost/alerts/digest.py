"""The text of a message about several changes, for any service: plain lines, without markup."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from gatepost.alerts.changes import Change, News
from gatepost.observe import redaction

MAX_CHANGES = 20
"""Changes in one message; some services take few characters."""

_COUNTED = {News.BEGAN: "new", News.LASTS: "still there", News.OVER: "over"}


class Item(NamedTuple):
    """One change, and the host whose gateway has the problem; empty where it is in the store that all share."""

    host: str
    change: Change


class Message(NamedTuple):
    """A message to the people on call."""

    title: str
    body: str


TEST = Message(
    "Gatepost: a test", "Alerts from this gateway reach you. gatepost check --live has sent this message."
)
"""What ``gatepost check --live`` sends."""


def digest(items: Sequence[Item]) -> Message:
    """Return one message about all these changes: the new ones first and the most urgent of them, each with what to do."""
    urgent_first = sorted(items, key=lambda one: one.change.announcement.urgency)
    by_news = {news: [one for one in urgent_first if one.change.news is news] for news in News}
    counts = ", ".join(f"{len(some)} {_COUNTED[news]}" for news, some in by_news.items() if some)
    shown = [one for some in by_news.values() for one in some][:MAX_CHANGES]
    lines = [line for one in shown for line in _lines(one)]
    if more := len(items) - len(shown):
        lines.append(f"and {more} more: gatepost status shows all that last")
    return Message(f"Gatepost: {counts}", "\n".join(lines))


def _lines(item: Item) -> list[str]:
    news, one = item.change
    where = f"on {item.host}, " if item.host else ""
    since = "" if news is News.BEGAN else f" (since {_utc(one.began_at)})"
    line = f"{news.value}: {where}{_plain(one.text)}{since}"
    return [line] if news is News.OVER else [line, f"   What to do: {_plain(one.cure)}"]


def _plain(text: str) -> str:
    """Return a text in one line. Providers' words may be in it, so it is redacted like a line of the log."""
    return redaction.redact(" ".join(text.split()))


def _utc(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"
