"""``gatepost init``: writes a first gatepost.toml and the files of its secrets, by asking or by options."""

import asyncio
import os
import re
import sys
from pathlib import Path

import rich_click as click

from gatepost.cli.check import print_findings
from gatepost.cli.common import config_option, fail, printable
from gatepost.cli.config_checks import check_config
from gatepost.cli.first_config import files, next_steps
from gatepost.cli.first_config.answer_text import key_path
from gatepost.cli.first_config.draft import Draft
from gatepost.cli.first_config.interview import Interview
from gatepost.cli.first_config.questions import ask_everything, new_authorization, put_listen
from gatepost.config.toml_file import config_path
from gatepost.observe.leaves import KeyPath
from gatepost.plugin_host import discovery

_CLIENT = re.compile(r"[A-Za-z0-9_-]+")

_OPTIONS = {
    "allow_ips": "clients.{client}.allow_ips",
    "callback_hosts": "clients.{client}.callback_hosts",
    "callback_api_key": "clients.{client}.callback_api_key",
    "authorization": "clients.{client}.authorization",
    "contacts": "contacts.sources",
    "email": "routes.email",
    "sms": "routes.sms",
    "store": "store.url",
    "public_url": "server.public_url",
    "trusted_proxies": "server.trusted_proxies",
}
"""The key that each option sets."""


@click.command()
@click.option("--client", help="The client's name, which you choose. Default: smartico.")
@click.option("--allow-ips", help="Smartico's addresses and networks, with commas between.")
@click.option("--callback-hosts", help="Hosts that callbacks may go to. Default: *.smartico.ai.")
@click.option("--callback-api-key", help="Smartico's API key, as env:NAME or file:/path.")
@click.option(
    "--authorization", help="What Smartico sends, as env:NAME or file:/path. Default: a new secret."
)
@click.option("--contacts", help="The installed plugin that knows the users.")
@click.option("--email", help="The installed plugins that send email, in order, with commas between.")
@click.option("--sms", help="The installed plugins that send text messages, in the same way.")
@click.option("--store", help="sqlite:///PATH, or a PostgreSQL URL. Default: sqlite:///gatepost.db.")
@click.option("--public-url", help="The URL of this gateway as seen from outside.")
@click.option(
    "--trusted-proxies", help="The addresses of the proxy before this gateway, with commas between."
)
@click.option("--listen", help="The address and port to listen on. Default: 127.0.0.1:8080.")
@click.option(
    "--set",
    "settings",
    metavar="TABLE.KEY=VALUE",
    multiple=True,
    help="Any other key, such as plugins.relay.host=mail.example; may be repeated.",
)
@click.option("--no-input", is_flag=True, help="Ask nothing: take the options and the defaults.")
@config_option
def command(
    client: str | None,
    listen: str | None,
    settings: tuple[str, ...],
    no_input: bool,
    config: Path | None,
    **options: str | None,
) -> None:
    """Write a first gatepost.toml, by asking or by options, and check it.

    The secret that Smartico must send is made. Every secret goes into a file of its own in the folder secrets beside
    the configuration, which only this user can read. An existing file is never changed.

    Without a terminal, or with --no-input, everything that is missing or wrong is listed, and nothing is written. The
    exit code is 1 then, and also if the check of what was written finds a fault.
    """
    path = config_path(config)
    if problem := files.problem_of_place(path):
        fail(problem)
    terminal = not no_input and _has_terminal()
    client = _client_name(client, terminal=terminal)
    keys = {name: key.format(client=client) for name, key in _OPTIONS.items()}
    flags = {key: f"--{name.replace('_', '-')}" for name, key in keys.items()} | {"listen": "--listen"}
    interview = Interview(Draft(path), flags, terminal=terminal)
    _take_options(interview, {keys[name]: text for name, text in options.items() if text is not None})
    _take_settings(interview, settings)
    if listen is not None and (problem := put_listen(interview.draft, listen)):
        interview.refuse("listen", problem)
    if terminal:
        _stop_on(interview.problems())
    secret = _authorization(interview.draft, client)
    ask_everything(interview, client)
    if not terminal:
        _stop_on(interview.problems(interview.draft.faults()))
    sys.exit(_finish(interview, client, secret))


def _finish(interview: Interview, client: str, secret: str) -> int:
    """Write the files, check them, and say what comes next; returns the exit code."""
    path = interview.draft.path
    written = _write(interview.draft)
    code = print_findings(path, asyncio.run(check_config(path, live=False)))
    file = written.get(("clients", client, "authorization", 0))
    # A script's output is often stored where others can read it.
    where = f"the content of {file}" if file else f"the value of clients.{client}.authorization"
    if file and interview.terminal:
        where = f"{secret} (it is shown only now, and is in {file})"
    next_steps.show(interview.draft, authorization=where, has_faults=code > 0)
    return code


def _has_terminal() -> bool:
    return sys.stdin.isatty()


def _client_name(name: str | None, *, terminal: bool) -> str:
    """Return the client's name, as given, as typed, or the default."""
    if name is None and terminal:
        click.secho("A client is one Smartico account, such as a brand. You choose its name.", dim=True)
    while True:
        typed = name is None and terminal
        found = name or (click.prompt("Name of the client", default="smartico") if typed else "smartico")
        if _CLIENT.fullmatch(found):
            return str(found)
        problem = "a client's name may have only a-z, A-Z, 0-9, - and _"
        if not typed:
            fail(f"--client: {problem}")
        click.secho(problem, fg="red")


def _take_options(interview: Interview, texts: dict[str, str]) -> None:
    for key, text in texts.items():
        interview.take_option(tuple(key.split(".")), text)


def _take_settings(interview: Interview, settings: tuple[str, ...]) -> None:
    """Take the texts of --set; those that say what a plugin is first, because the types of its keys depend on that."""
    pairs = [(key_path(text.partition("=")[0]), text.partition("=")[2]) for text in settings if "=" in text]
    if len(pairs) < len(settings) or any(len(key) < 2 for key, _ in pairs):
        raise click.UsageError("--set: write TABLE.KEY=VALUE, such as plugins.relay.host=mail.example")
    for section, name in [key[:2] for key, _ in pairs]:
        # An installed plugin needs no `use`: that is its name.
        if section == "plugins" and name in discovery.installed():
            interview.draft.put((section, name, "use"), name)
    for key, text in sorted(pairs, key=lambda pair: pair[0][-1] != "use"):
        interview.take_option(key, text)
    if interview.terminal:
        # What is missing is asked for later; what is wrong never would be.
        for key, _text in pairs:
            for checked in (key, (*key[:2], "use")):
                for fault in interview.draft.faults(".".join(checked)):
                    interview.refuse(fault.key, fault.problem)


def _stop_on(problems: list[str]) -> None:
    """End the command with every problem, if there are any."""
    if problems:
        for problem in problems:
            click.echo(f"gatepost: {problem}", err=True)
        click.echo("Nothing was written.", err=True)
        sys.exit(1)


def _authorization(draft: Draft, client: str) -> str:
    """Make the secret that Smartico sends, unless an option says where it is; returns it, or an empty text."""
    key = ("clients", client, "authorization")
    if draft.has(key):
        return ""
    secret = new_authorization()
    draft.put(key, [secret])
    return secret


def _write(draft: Draft) -> dict[KeyPath, str]:
    """Write the files, or end the command; returns the files of the secrets as they are shown."""
    try:
        written = files.write(draft)
    except FileExistsError:
        fail(f"{draft.path} has been created meanwhile; nothing was changed")
    except OSError as error:
        fail(f"can't write to {draft.path.absolute().parent} ({error.strerror}); nothing was changed")
    shown = {key: printable(os.path.relpath(file)) for key, file in written.items()}
    click.echo("")
    for file in (printable(str(draft.path)), *shown.values()):
        click.echo(f"Written: {file}")
    click.echo("")
    return shown
