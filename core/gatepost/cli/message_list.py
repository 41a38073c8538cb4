"""``gatepost messages list``: the messages for which some conditions hold, page by page."""

import asyncio
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click
from click.core import ParameterSource

from gatepost.cli import store
from gatepost.cli.common import config_option, printable, refuse_empty, report_faults
from gatepost.cli.known_names import require_known
from gatepost.cli.message_options import filter_of, filter_options
from gatepost.cli.message_view import list_text, output, print_json, refusals_text
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path
from gatepost.model import Status
from gatepost.outbox import message_search, refusals
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.states import State
from gatepost.web.admin import known_names
from gatepost.web.admin.words import moment_text

_PLACE = re.compile(r"[0-9a-f-]{13,36}")
_OF_MESSAGES = ("states", "route", "status", "plugin", "dead")
"""What a refused request does not have."""


@click.command("list")
@click.argument("states", nargs=-1, metavar="[STATE]...", type=click.Choice([state.value for state in State]))
@click.option(
    "--status",
    type=click.Choice([status.value for status in Status]),
    help="Messages that have this status, also if others followed.",
)
@filter_options
@click.option("--plugin", default="", callback=refuse_empty, help="Messages that this plugin was given.")
@click.option("--dead", is_flag=True, help="Messages with a callback that was given up.")
@click.option("--refused", is_flag=True, help="Requests that were refused, of the last day.")
@click.option("--after", default="", callback=refuse_empty, help="The page after this place.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="The largest number of messages on a page.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@config_option
@click.pass_context
def command(context: click.RichContext, /, *, config: Path | None, as_json: bool, **conditions: Any) -> None:
    """List messages for which all the given options hold, the newest first: in all states or only in the given ones.

    Each one is shown with its client, channel and country, state, last status and plugin, and with what went wrong. If
    there are more, the command for the next page stands at the end.

    A STATE is queued, suspect, sending, uncertain, held, awaiting, sent, rejected, failed or cancelled.
    """
    after = conditions["after"]
    if conditions["refused"]:
        wrong = [name for name in _OF_MESSAGES if conditions[name]]
        if wrong:
            raise click.UsageError(
                f"a refused request has no {wrong[0]}: leave it out, or leave out --refused"
            )
    if after and not (
        after.isascii() and after.isdigit() if conditions["refused"] else _PLACE.fullmatch(after)
    ):
        raise click.UsageError("--after takes what the page before has printed")
    wanted = msgspec.structs.replace(
        filter_of(conditions),
        states=tuple(State(state) for state in conditions["states"]),
        status=Status(conditions["status"]) if conditions["status"] else None,
        plugin=conditions["plugin"],
        dead_callbacks=conditions["dead"],
    )
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        require_known(settings, client=wanted.client, route=wanted.route)
        show = _show_refusals if conditions["refused"] else _show_messages
        following = show(settings, wanted, after, conditions["limit"], as_json=as_json)
    if following and not as_json:
        click.echo(f"next page: {_next_command(context, following)}")


def _show_messages(
    settings: Settings, wanted: MessageFilter, after: str, limit: int, *, as_json: bool
) -> str:
    """Print a page of messages; return where the next one begins."""
    query = partial(message_search.find, wanted=wanted, after=after, limit=limit)
    page = asyncio.run(store.fetch(settings, query))
    if as_json:
        print_json(page)
        return page.next
    if page.messages:
        output().print(list_text(page.messages))
    click.echo(
        _count_text(len(page.messages), page.matching, at_least=page.matching_at_least, what="message")
    )
    if page.oldest_searched_at is not None:
        _note_unknown_plugin(settings, wanted.plugin)
        click.echo(
            f"Only those since {moment_text(page.oldest_searched_at)} were looked at; the next page goes on."
        )
    if wanted.user:
        _note_refusals(settings, wanted.user)
    return page.next


def _note_refusals(settings: Settings, user: str) -> None:
    query = partial(refusals.find_page, wanted=MessageFilter(user=user), limit=1)
    number = asyncio.run(store.fetch(settings, query)).matching
    if number:
        click.echo(
            f"Requests for this user that were refused in the last day: {number:,}; add --refused to see them"
        )


def _note_unknown_plugin(settings: Settings, name: str) -> None:
    known = known_names.plugins(settings)
    if name and name not in known:
        advice = known_names.advice(name, known)
        click.echo(f"No route of the configuration has a plugin {printable(name)}; {advice}")


def _show_refusals(
    settings: Settings, wanted: MessageFilter, after: str, limit: int, *, as_json: bool
) -> str:
    """Print a page of refused requests; return where the next one begins."""
    query = partial(refusals.find_page, wanted=wanted, before=int(after) if after else None, limit=limit)
    page = asyncio.run(store.fetch(settings, query))
    following = "" if page.next is None else str(page.next)
    if as_json:
        print_json(
            {"refusals": msgspec.to_builtins(page.refusals), "matching": page.matching, "next": following}
        )
        return following
    if page.refusals:
        output().print(refusals_text(page.refusals))
    click.echo(_count_text(len(page.refusals), page.matching, at_least=False, what="refused request"))
    if refusals.is_hidden(wanted.user):
        click.echo(
            f"This user's id looks like a phone number. Refused requests are kept without such an id, as {refusals.HIDDEN}: "
            "leave out --user."
        )
    return following


def _count_text(shown: int, matching: int, *, at_least: bool, what: str) -> str:
    if not shown:
        return f"No {'further ' if matching else ''}{what} matches{' so far' if at_least else ''}."
    of = f" of {'more than ' if at_least else ''}{matching:,}" if at_least or matching > shown else ""
    return f"{shown:,}{of} {what}{'' if matching == 1 else 's'}"


def _next_command(context: click.Context, after: str) -> str:
    """Return this command with its options, for the page after this place."""
    words = ["gatepost", "messages", "list"]
    for parameter in context.command.params:
        name = str(parameter.name)
        if name != "after" and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            words += _words(parameter, context.params[name])
    return shlex.join([*words, "--after", after])


def _words(parameter: click.Parameter, value: Any) -> Iterator[str]:
    if isinstance(parameter, click.Argument):
        yield from value
        return
    yield parameter.opts[0]
    if isinstance(value, float):
        # Not `2h`: the next page is of the same messages.
        yield datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    elif value is not True:
        yield str(value)
