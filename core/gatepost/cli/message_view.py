"""Messages as text and as JSON, for ``gatepost messages``."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import rich_click as click
from rich.console import Console
from rich.text import Text

from gatepost.cli.common import printable
from gatepost.outbox import CallbackRetry
from gatepost.outbox.queries import MessageView
from gatepost.outbox.refusals import RefusalView
from gatepost.outbox.states import State
from gatepost.web.admin.message_facts import facts, problems
from gatepost.web.admin.message_timeline import Step, refusal_text
from gatepost.web.admin.words import moment_text, plural, utc

_COLOURS = {
    State.SENT: "green",
    State.REJECTED: "red",
    State.FAILED: "red",
    State.SUSPECT: "yellow",
    State.HELD: "yellow",
    State.UNCERTAIN: "yellow",
    State.AWAITING: "cyan",
}
_STEP_COLOURS = {"status": "green", "operator": "cyan", "next": "bold"}

_TIME_WIDTH = len(moment_text(0.0)) + 2
_NAME_WIDTH = 16
_MIN_WIDTH = 20
"""Columns for a text beside its time, at the least."""


def output() -> Console:
    """Return the console for a command's result. Only a terminal has its lines wrapped."""
    return Console(highlight=False, soft_wrap=True)


def _width(console: Console) -> int | None:
    return console.width if console.is_terminal else None


def print_json(value: msgspec.Struct | Sequence[msgspec.Struct] | Mapping[str, Any]) -> None:
    """Print structs as JSON, with their times as ``utc`` writes them."""
    click.echo(json_text(value))


def json_text(value: msgspec.Struct | Sequence[msgspec.Struct] | Mapping[str, Any]) -> str:
    """Return structs as JSON, as ``print_json`` prints it."""
    readable = _with_utc_times(msgspec.to_builtins(value))
    return msgspec.json.format(msgspec.json.encode(readable)).decode()


def _with_utc_times(value: Any) -> Any:
    """Return the value with each number whose name is ``at`` or ends in ``_at`` as UTC text."""
    match value:
        case dict():
            return {
                name: utc(one)
                if isinstance(one, float) and (name == "at" or name.endswith("_at"))
                else _with_utc_times(one)
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


def list_text(found: Sequence[MessageView]) -> Text:
    """Return messages as ``gatepost messages list`` shows them: two lines each, and a third where something is wrong."""
    heads = [
        (
            one.client,
            f"{one.channel} {one.country}".rstrip(),
            one.state,
            one.statuses[-1].status if one.statuses else "-",
            one.instance or "-",
        )
        for one in found
    ]
    widths = [max(map(len, column)) for column in zip(*heads, strict=True)]
    text = Text()
    for message, head in zip(found, heads, strict=True):
        text.append(f"{moment_text(message.created_at)}")
        for name, width in zip(head, widths, strict=True):
            colour = _COLOURS.get(State(message.state), "bold") if name is head[2] else ""
            text.append(f"  {printable(name)}{' ' * (width - len(name))}", colour)
        text.rstrip()
        text.append(
            f"\n  {message.id}  {printable(f'user {message.ext_user_id}  uid {message.uid}')}\n", "dim"
        )
        for problem in problems(message):
            text.append(f"  {printable(problem)}\n", "yellow")
    text.rstrip()
    return text


def refusals_text(found: Sequence[RefusalView]) -> Text:
    """Return refused requests as ``gatepost messages list --refused`` shows them."""
    text = Text()
    for one in found:
        client, user, uid = (printable(value or "-") for value in (one.client, one.ext_user_id, one.uid))
        text.append(f"{moment_text(one.refused_at)}  {client}  {one.channel or '-'}\n")
        text.append(f"  user {user}  uid {uid}\n", "dim")
        text.append(f"  {printable(refusal_text(one))}\n", "yellow")
    text.rstrip()
    return text


def full_text(
    message: MessageView, happened: Iterable[Step], following: Iterable[Step], width: int | None
) -> Text:
    """Return a message with all that is stored of it, as ``gatepost messages show`` shows it."""
    text = Text()
    for name, value in facts(message).items():
        style = _COLOURS.get(State(message.state), "bold") if name == "state" else ""
        _append(text, f"{name:{_NAME_WIDTH}}", value, style, width)
    text.append("\nWhat happened (UTC)\n", "bold")
    for step in happened:
        colour = "yellow" if step.failed else _STEP_COLOURS.get(step.kind, "")
        _append(text, f"{moment_text(step.at or 0.0)}  ", step.text, colour, width)
    steps = [*following]
    text.append("\nWhat comes next\n" if steps else "", "bold")
    for step in steps:
        moment = "" if step.at is None else moment_text(step.at)
        command = f": gatepost messages {step.operation} {message.id}" if step.operation else ""
        _append(text, f"{moment:{_TIME_WIDTH}}", step.text + command, "", width)
    text.rstrip()
    return text


def _append(text: Text, label: str, value: str, style: str, width: int | None) -> None:
    """Append a label and a text; the lines of a long one stand below each other, beside the label."""
    shown = printable(value)
    room = None if width is None else max(_MIN_WIDTH, width - len(label))
    lines = [shown] if room is None else textwrap.wrap(shown, room, break_on_hyphens=False)
    for number, line in enumerate(lines):
        text.append(" " * len(label) if number else label, "dim")
        text.append(f"{line}\n", style)


def print_message(message: MessageView, happened: Iterable[Step], following: Iterable[Step]) -> None:
    """Print a message as ``full_text`` has it, as wide as the terminal is."""
    console = output()
    console.print(full_text(message, happened, following, _width(console)))
