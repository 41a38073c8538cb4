"""``gatepost audit``: shows who changed what, when and why, and verifies that nothing of it was changed."""

import asyncio
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import rich_click as click

from gatepost.cli import store
from gatepost.cli.common import config_option, printable, report_faults
from gatepost.cli.message_view import print_json
from gatepost.config.toml_file import config_path
from gatepost.outbox import audit, audit_chain, user_hash
from gatepost.outbox.audit import AuditView
from gatepost.outbox.audit_chain import Head
from gatepost.web.admin.words import utc

_HEAD = re.compile(r"([0-9]{1,15}):([0-9a-f]{64})", re.ASCII)


@click.group()
def command() -> None:
    """Show what operators did with this gateway: who, when and why."""


@command.command("list")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="The largest number of entries.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@config_option
def list_(limit: int, as_json: bool, config: Path | None) -> None:
    """List the newest entries of the audit log, the newest first."""
    with report_faults(config_path(config)):
        query = partial(audit.list_entries, limit=limit)
        entries = asyncio.run(store.fetch(store.load_settings(config), query))
    if as_json:
        print_json(entries)
        return
    for entry in entries:
        click.echo(_line(entry))
    if not entries:
        click.echo("The audit log is empty.")


def _heads(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> Sequence[Head]:
    found = [_HEAD.fullmatch(value) for value in values]
    if not all(found):
        raise click.BadParameter("give seq and hash of a line audit_appended or audit_head, as SEQ:HASH")
    return [Head(int(one[1]), one[2]) for one in found if one]


@command.command()
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="SEQ:HASH",
    callback=_heads,
    help="seq and hash of a line of the gateway's log; may be repeated.",
)
@config_option
def verify(heads: Sequence[Head], config: Path | None) -> None:
    """Verify that no entry was changed, removed, inserted or moved since it was written.

    With a head from the log this also finds entries that were cut off at the end, and a log that was written anew. The
    exit code is 1 if something is wrong; then the first such entry is named.
    """
    with report_faults(config_path(config)):
        query = partial(audit_chain.verify, known=heads)
        found = asyncio.run(store.fetch(store.load_settings(config), query))
    whole = "1 entry" if found.head.seq == 1 else f"{found.head.seq:,} entries"
    if found.fault is None:
        click.echo(f"The audit log is whole: {whole}, the head is {found.head.seq}:{found.head.hash}")
        return
    click.echo(f"The audit log is not whole: {found.fault.problem}.")
    click.echo(f"First wrong entry: {found.fault.seq}. Before it {whole} can be trusted.")
    sys.exit(1)


def _line(entry: AuditView) -> str:
    reason = f": {entry.reason}" if entry.reason else ""
    text = f"{utc(entry.recorded_at)}  {entry.actor}  {entry.operation}  {_target_text(entry.target)}{reason}"
    return printable(text)


def _target_text(target: Mapping[str, object]) -> str:
    return " ".join(f"{name}={_value_text(name, value)}" for name, value in target.items())


def _value_text(name: str, value: object) -> str:
    if name == audit.USER:
        return str(value)[: user_hash.SHOWN]
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
