"""What an operator does after the first configuration is written."""

import os
from collections.abc import Iterator

import rich_click as click

from gatepost.cli.common import printable
from gatepost.cli.first_config.draft import Draft
from gatepost.cli.first_config.plugin_choice import takes_reports

_CHANNELS = ("email", "sms")
_NO_URL = "https://YOUR-GATEWAY"
"""What stands for the gateway's URL where it is not known."""


def show(draft: Draft, *, authorization: str, has_faults: bool) -> None:
    """Print the steps; ``authorization`` says what Smartico must send, or where that is."""
    base = str(draft.table(("server",)).get("public_url") or _NO_URL).rstrip("/")
    steps = [*_at_others(draft, authorization, base), *_at_home(has_faults)]
    click.echo("")
    click.secho("Next", bold=True)
    for number, step in enumerate(steps, start=1):
        click.echo(f"{number:3}. {printable(step)}")


def _at_others(draft: Draft, authorization: str, base: str) -> Iterator[str]:
    routes = draft.table(("routes",))
    channels = [channel for channel in _CHANNELS if routes.get(channel)] or _CHANNELS
    urls = " and ".join(f"{base}/{channel}" for channel in channels)
    yield f"In Smartico enter the URL {urls} and as Authorization {authorization}"
    yield "For all that Smartico and you must agree on, read docs/how-to/smartico.md."
    for name, table in draft.table(("plugins",)).items():
        if takes_reports(str(table.get("use", ""))):
            yield f"At the provider of {name} enter the URL for reports: {base}/webhooks/{name}"


def _at_home(has_faults: bool) -> Iterator[str]:
    if os.geteuid() == 0:
        yield "The files belong to root: give them to the user that the gateway runs as (chown)."
    if has_faults:
        yield "Mend the faults above, until gatepost check finds none."
    yield "Start the gateway: gatepost serve"
