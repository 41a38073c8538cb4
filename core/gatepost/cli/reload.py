"""``gatepost reload``: lets the running gateway take over its changed configuration."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from gatepost.cli import admin_client, store
from gatepost.cli.common import config_option, fail, fault_line, printable, report_faults
from gatepost.cli.message_view import print_json
from gatepost.config.changes import Change
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path
from gatepost.errors import Fault
from gatepost.web.admin.requests import Reload, ReloadRequest


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@config_option
def command(as_json: bool, config: Path | None) -> None:
    """Let the running gateway take over its changed configuration, without a stop.

    It reads the file again, and the files that `file:` names. If nothing is wrong, new requests and messages are
    treated by the new configuration, and what is in hand goes on with the old one. If something is wrong, every fault is
    printed, the old configuration stays in use, and the exit code is 1. `gatepost config --diff` shows the changes
    beforehand.
    """
    answer = ask(config, dry=False)
    if as_json:
        print_json(answer)
    elif not answer.problems:
        click.echo(f"Taken over: {count_text(answer.changes)}." if answer.changes else "Nothing has changed.")
        show_changes(answer)
    sys.exit(1 if answer.problems else 0)


def ask(config: Path | None, *, dry: bool) -> Reload:
    """Let the running gateway read its configuration again; print the problems; end the command where none runs."""
    path = config_path(config)
    with report_faults(path):
        settings = store.load_address(config)
    try:
        answers = asyncio.run(_request(settings, dry=dry))
    except admin_client.AdminError as error:
        fail(str(error))
    # Where several gateways run with this configuration, one that refuses goes before.
    answer = max(answers, key=lambda answer: (bool(answer.problems), len(answer.changes)))
    for one in answer.problems:
        click.echo(fault_line(path, Fault(one.key, one.problem)), err=True)
    if answer.problems:
        click.echo(refusal_text(answers, dry=dry), err=True)
    return answer


def refusal_text(answers: Sequence[Reload], *, dry: bool) -> str:
    """Return what has become of a reload that at least one of the gateways has refused."""
    done = sum(not answer.problems for answer in answers)
    if dry or not done:
        return "Nothing was taken over: the gateway goes on with the configuration that it has."
    return (
        f"{done} of {len(answers)} gateways have taken it over; the others go on with the configuration that they have: "
        "reload again when this is mended."
    )


async def _request(settings: Settings, *, dry: bool) -> list[Reload]:
    """Return the answer of each gateway that runs with this configuration."""
    answers: list[Reload] = []
    async with admin_client.open_gateways(settings) as gateways:
        for gateway in gateways:
            answer = await gateway.request("reload", ReloadRequest(dry=dry))
            answers.append(admin_client.decode(answer, Reload))
    return answers


def show_changes(answer: Reload) -> None:
    """Print each change in a line, and what a reload can't change."""
    for one in answer.changes:
        click.echo(printable(f"  {one.key}: {one.old} -> {one.new}"))
    if answer.environment:
        names = ", ".join(answer.environment)
        click.echo(
            printable(f"Values from the environment stay as they were at the start of the gateway: {names}")
        )


def count_text(changes: list[Change]) -> str:
    """Return how many keys have changed."""
    return "1 key has changed" if len(changes) == 1 else f"{len(changes)} keys have changed"
