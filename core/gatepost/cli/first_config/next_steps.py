"""What an operator does after the first configuration is written."""

import os
from collections.abc import Iterator

import rich_click as click

from gatepost.cli.common import printable
from gatepost.cli.first_config.draft import Draft
from gatepost.cli.first_config.plugin_choice import takes_reports

_NO_URL = "https://YOUR-GATEWAY"
"""What stands for the gateway's URL where it is not known."""


def show(draft: Draft, client: str, authorization: str) -> None:
    """Print the steps; ``authorization`` is a new secret to be shown, or empty."""
    base = str(draft.table(("server",)).get("public_url") or _NO_URL).rstrip("/")
    click.echo("")
    click.secho("Next", bold=True)
    for number, step in enumerate(_steps(draft, client, authorization, base), start=1):
        click.echo(f"{number:3}. {printable(step)}")


def _steps(draft: Draft, client: str, authorization: str, base: str) -> Iterator[str]:
    if os.geteuid() == 0:
        yield "The files belong to root: give them to the user that the gateway runs as (chown)."
    routes = draft.table(("routes",))
    urls = " and ".join(f"{base}/{channel}" for channel in ("email", "sms") if routes.get(channel))
    secret = authorization or f"the value of clients.{client}.authorization"
    shown = " (shown only now; it is in its file)" if authorization else ""
    yield f"In Smartico enter the URL {urls} and the Authorization{shown}: {secret}"
    for name, table in draft.table(("plugins",)).items():
        if takes_reports(str(table.get("use", ""))):
            yield f"At the provider of {name} enter the URL for reports: {base}/webhooks/{name}"
    yield "Start it: gatepost serve"
    yield "The pages of Gatepost's documentation on Smartico and on each plugin say what each value is: docs/how-to/."
