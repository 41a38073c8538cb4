"""``gatepost audit``: shows who changed what, when and why."""

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import rich_click as click

from gatepost.cli import store
from gatepost.cli.common import config_option, printable, report_faults
from gatepost.cli.message_view import print_json, utc
from gatepost.config.toml_file import config_path
from gatepost.outbox import audit, user_hash
from gatepost.outbox.audit import AuditView


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
