"""``gatepost messages cancel``: cancels messages that wait, by their ids or by what they have in common."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click
from rich.console import Console

from gatepost.cli import store
from gatepost.cli.changes import change_messages, check_reason, open_changes
from gatepost.cli.common import config_option, refuse_empty, report_faults
from gatepost.cli.known_names import require_known
from gatepost.cli.message_ids import find_ids
from gatepost.cli.message_options import filter_of, filter_options
from gatepost.cli.message_view import print_json
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path
from gatepost.content_keys import ContentKeys
from gatepost.outbox import cancellations
from gatepost.outbox.cancellations import CANCELLABLE, MessageCancellation, Progress
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.states import State
from gatepost.outbox.text_pattern import MAX_PATTERN
from gatepost.web.admin.requests import CancelIdsRequest, CancelRequest
from gatepost.web.admin.words import plural

_COUNT_TIME = 0.5
"""Seconds of one read while messages are counted: a longer one would hold up the cleaning of the store."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What the command prints as JSON where messages were chosen by options."""

    found: int
    """Messages that wait."""
    cancelled: int
    """How many of these were cancelled; 0 with --dry-run."""
    maybe_sent: int
    """Messages that were not cancelled, because they are being sent or their outcome is uncertain."""


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filter_options
@click.option(
    "--sender", default="", callback=refuse_empty, help="With exactly this address or number as sender."
)
@click.option(
    "--text",
    default="",
    callback=refuse_empty,
    help="With this subject (email) or text (SMS); * stands for any letters.",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in CANCELLABLE]),
    help="Only in this state; may be repeated.",
)
@click.option("--reason", default="", callback=check_reason, help="Why; for the audit log and the message.")
@click.option("--dry-run", is_flag=True, help="Only count the messages.")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@config_option
def cancel(
    ids: Sequence[str],
    *,
    reason: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    config: Path | None,
    **conditions: Any,
) -> None:
    """Cancel messages that wait to be sent, for good: those with these IDs, or all for which the given options hold.

    The content of a cancelled message is erased, and Smartico is told `rejected`; it can't be sent again. What is being
    sent, or was perhaps sent, is not cancelled, only counted. Pause first what still comes in. An ID is any id that show
    accepts.
    """
    wanted = _filter_of(conditions)
    if bool(ids) != wanted.is_empty:
        raise click.UsageError(
            "give either IDs, or at least one of --client, --channel, --route, --user, --since, --until, --sender, --text"
        )
    if ids and (wanted.states or dry_run):
        raise click.UsageError("--state and --dry-run don't go with IDs")
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        if ids:
            _print_results(asyncio.run(_cancel_ids(settings, ids, reason)), as_json=as_json)
        else:
            require_known(settings, client=wanted.client, route=wanted.route)
            _cancel_filtered(settings, wanted, reason, ask=not yes, dry_run=dry_run, as_json=as_json)


def _filter_of(conditions: Mapping[str, Any]) -> MessageFilter:
    if len(conditions["text"]) > MAX_PATTERN:
        raise click.UsageError(f"--text may have at most {MAX_PATTERN} letters")
    return msgspec.structs.replace(
        filter_of(conditions),
        sender=conditions["sender"],
        text=conditions["text"],
        states=tuple(State(state) for state in conditions["states"]),
    )


async def _cancel_ids(settings: Settings, ids: Sequence[str], reason: str) -> list[MessageCancellation]:
    found = await find_ids(settings, ids)
    return await change_messages(
        settings, "cancel-ids", found, lambda part: CancelIdsRequest(ids=part, reason=reason)
    )


def _print_results(results: Sequence[MessageCancellation], *, as_json: bool) -> None:
    """Print what became of each message, and end the command: with 1 unless all were cancelled."""
    if as_json:
        print_json(results)
    else:
        for result in results:
            click.echo(
                f"{result.id}  {'cancelled' if result.cancelled else f'not cancelled: {result.problem}'}"
            )
        click.echo(f"{plural(sum(result.cancelled for result in results), 'message')} cancelled")
    sys.exit(0 if all(result.cancelled for result in results) else 1)


def _cancel_filtered(
    settings: Settings, wanted: MessageFilter, reason: str, *, ask: bool, dry_run: bool, as_json: bool
) -> None:
    counted: Progress | None = None
    if ask or dry_run:
        counted = asyncio.run(_count(settings, wanted))
    if counted is not None and (dry_run or not counted.found):
        _print_totals(counted, 0, as_json=as_json, dry_run=dry_run)
        return
    if counted is not None:
        question = f"Cancel {plural(counted.found, 'message')}? Their content is erased, and Smartico is told `rejected`."
        click.confirm(question, abort=True, err=True)
    first = None if counted is None else Progress(accepted_until=counted.accepted_until)
    total = f" of {counted.found:,}" if counted is not None else ""
    done = asyncio.run(_cancel(settings, CancelRequest(wanted=wanted, reason=reason, progress=first), total))
    _print_totals(done, done.found, as_json=as_json)


async def _count(settings: Settings, wanted: MessageFilter) -> Progress:
    """Count the messages that would be cancelled now."""
    progress = Progress(accepted_until=await store.fetch(settings, store.clock(settings)))
    keys = ContentKeys(settings.store.content_keys)
    with Console(stderr=True).status("counting") as status:
        while not progress.done:
            query = partial(
                cancellations.count, wanted=wanted, progress=progress, keys=keys, seconds=_COUNT_TIME
            )
            progress = await store.fetch(settings, query)
            status.update(f"{progress.found:,} counted")
    return progress


async def _cancel(settings: Settings, request: CancelRequest, total: str) -> Progress:
    """Take one step after the other until all are cancelled; without this command nothing goes on."""
    with Console(stderr=True).status("cancelling") as status:
        async with open_changes(settings) as changes:
            while True:
                progress: Progress = await changes.run("cancel", request)
                if progress.done:
                    return progress
                status.update(f"{progress.found:,}{total} cancelled")
                request = msgspec.structs.replace(request, progress=progress)


def _print_totals(progress: Progress, cancelled: int, *, as_json: bool, dry_run: bool = False) -> None:
    if as_json:
        print_json(Totals(found=progress.found, cancelled=cancelled, maybe_sent=progress.maybe_sent))
        return
    if dry_run:
        click.echo(f"{plural(progress.found, 'message')} would be cancelled")
    else:
        click.echo(f"{plural(cancelled, 'message')} cancelled")
    if progress.maybe_sent:
        verb = "is" if progress.maybe_sent == 1 else "are"
        click.echo(
            f"{plural(progress.maybe_sent, 'message')} {verb} being sent now, or the outcome is uncertain: not cancelled"
        )
