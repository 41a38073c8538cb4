"""Messages and their statuses as text and as JSON, for ``gatepost messages``."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import rich_click as click
from rich.text import Text

from gatepost.cli.common import plural, printable
from gatepost.outbox import CallbackRetry
from gatepost.outbox.queries import MessageView, StatusView, TryView
from gatepost.outbox.states import CallbackState, State
from gatepost.web.admin.requests import RestingInstance

_COLOURS = {
    State.SENT: "green",
    State.REJECTED: "red",
    State.FAILED: "red",
    State.SUSPECT: "yellow",
    State.HELD: "yellow",
    State.UNCERTAIN: "yellow",
    State.AWAITING: "cyan",
}
_CALLBACK_STATES = {
    CallbackState.NONE: "recorded",
    CallbackState.WAITING: "waits for the status before it",
    CallbackState.QUEUED: "to be called back",
    CallbackState.CALLING: "is being called back",
    CallbackState.ACKNOWLEDGED: "acknowledged",
    CallbackState.DEAD: "given up",
}


def print_json(value: msgspec.Struct | Sequence[msgspec.Struct]) -> None:
    """Print structs as JSON, with their times as ``utc`` writes them."""
    readable = _with_utc_times(msgspec.to_builtins(value))
    click.echo(msgspec.json.format(msgspec.json.encode(readable)).decode())


def _with_utc_times(value: Any) -> Any:
    """Return the value with each number whose name ends in ``_at`` as UTC text."""
    match value:
        case dict():
            return {
                name: utc(one) if name.endswith("_at") and one is not None else _with_utc_times(one)
                for name, one in value.items()
            }
        case list():
            return [_with_utc_times(one) for one in value]
    return value


def callback_retry_text(retry: CallbackRetry) -> str:
    """Return what a retry of a message's callbacks changed, or why it changed nothing."""
    if retry.problem:
        return f"not changed: {retry.problem}"
    return f"{plural(retry.callbacks, 'callback')} to {printable(retry.target)} to be made now"


def short_text(message: MessageView) -> Text:
    """Return a message in a few lines, as ``gatepost messages list`` shows it."""
    text = Text(no_wrap=False)
    text.append(f"{utc(message.created_at)}  {message.id}  {message.channel} ")
    text.append(message.state, _COLOURS.get(State(message.state), "bold"))
    text.append(
        f"\n    {printable(message.client)}, user {printable(message.ext_user_id)}, uid {printable(message.uid)}",
        "dim",
    )
    if message.statuses:
        statuses = [f"{status.status} {_callback_text(status)}" for status in message.statuses]
        text.append(f"\n    {'; '.join(statuses)}")
    if message.reason:
        text.append(f"\n    {_reason(message)}", "yellow")
    return text


def full_text(message: MessageView, resting: str, paused: str) -> Text:
    """Return a message with all that is stored of it, as ``gatepost messages show`` shows it.

    ``resting`` says which of its instances rest, ``paused`` which pauses it waits for.
    """
    rows = {
        "ext_message_id": message.id,
        "uid": message.uid,
        "channel": message.channel,
        "route": message.route or "not decided yet",
        "country": message.country,
        "client": message.client,
        "user": message.ext_user_id,
        "state": message.state,
        "accepted": utc(message.created_at),
        "next step": "" if message.due_at is None else utc(message.due_at),
        "ended": "" if message.ended_at is None else utc(message.ended_at),
        "tried until": "" if message.ended_at is not None else utc(message.expires_at),
        "attempts": str(message.attempts),
        "process died": f"{plural(message.deaths, 'time')} while it was sending this message"
        if message.deaths
        else "",
        "last instance": message.instance,
        "provider's id": ", ".join(one.provider_id for one in message.tries if one.provider_id),
        "reason": _reason(message) if message.reason else "",
        "resting": resting,
        "paused": paused,
        "content": "stored" if message.has_content else "erased",
    }
    text = Text()
    for name, value in rows.items():
        if value:
            text.append(f"{name:16}", "dim")
            style = _COLOURS.get(State(message.state), "bold") if name == "state" else ""
            text.append(f"{printable(value)}\n", style)
    _append_history(text, message)
    text.rstrip()
    return text


def _append_history(text: Text, message: MessageView) -> None:
    """Append a message's tries and statuses, a line each."""
    text.append("tries\n" if message.tries else "", "dim")
    for one in message.tries:
        text.append(f"  {utc(one.started_at)}  {_try_text(one)}\n")
    text.append("statuses\n" if message.statuses else "no status yet\n", "dim")
    for status in message.statuses:
        code = f" [{printable(status.code)}]" if status.code else ""
        text.append(f"  {utc(status.recorded_at)}  {status.status}{code}: {_callback_text(status)}")
        text.append(f", next attempt {utc(status.next_attempt_at)}\n" if status.next_attempt_at else "\n")


def _callback_text(status: StatusView) -> str:
    text = _CALLBACK_STATES[CallbackState(status.callback_state)]
    if status.callback_state == CallbackState.ACKNOWLEDGED or not status.problem:
        return text
    return f"{text} ({status.attempts} {'attempt' if status.attempts == 1 else 'attempts'}: {printable(status.problem)})"


def _try_text(one: TryView) -> str:
    parts = plural(one.parts, "part") if one.parts else ""
    price = one.price and f"{one.price} {one.currency}".rstrip()
    details = [f"{one.duration:.2f} s", one.choice, parts, price, one.reason, one.code and f"[{one.code}]"]
    return printable(f"{one.instance}: {one.outcome} ({', '.join(filter(None, details))})")


def _reason(message: MessageView) -> str:
    instance = f"{message.instance}: " if message.instance else ""
    return printable(f"{instance}{message.reason}{f' [{message.code}]' if message.code else ''}")


def rest_text(rest: RestingInstance) -> str:
    """Return which instance rests, for how long and why."""
    duration = (
        f"for {math.ceil(rest.seconds)} s more" if rest.seconds else "until one message shows that it works"
    )
    return f"{rest.instance} {duration}{f': {rest.reason}' if rest.reason else ''}"


def utc(moment: float) -> str:
    """Return seconds since the epoch as UTC text in the log's format (ISO 8601)."""
    return f"{datetime.fromtimestamp(moment, UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"
