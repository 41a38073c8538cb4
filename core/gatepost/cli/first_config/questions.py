"""The questions of ``gatepost init``, in their order, and what comes after it."""

import secrets

import rich_click as click

from gatepost.cli.first_config.draft import Draft
from gatepost.cli.first_config.interview import Interview, Question, key_question
from gatepost.cli.first_config.plugin_choice import ask_keys, choose
from gatepost.config.networks import parse_listen
from gatepost.hookspecs import SEND_HOOKS
from gatepost.model import Channel

DEFAULT_LISTEN = "127.0.0.1:8080"

_SECRET_BYTES = 32


def ask_everything(interview: Interview, client: str) -> None:
    """Get every answer that a first configuration needs."""
    _ask_client(interview, ("clients", client))
    _ask_plugins(interview)
    _ask_store(interview)
    _ask_addresses(interview)


def new_authorization() -> str:
    """Return a secret that Smartico can send as its Authorization header."""
    return f"Bearer {secrets.token_hex(_SECRET_BYTES)}"


def _ask_client(interview: Interview, table: tuple[str, ...]) -> None:
    interview.ask(
        Question(
            (*table, "allow_ips"),
            "Smartico's addresses",
            "Smartico's addresses and networks, with commas between; requests from others are refused",
            may_be_empty=True,
        )
    )
    interview.ask(
        Question(
            (*table, "callback_hosts"),
            "Hosts of callbacks",
            "the hosts that statuses may be reported to, with commas between; ask Smartico",
            default="*.smartico.ai",
        )
    )
    interview.ask(
        Question(
            (*table, "callback_api_key"),
            "Smartico's API key",
            "the key that Smartico gave you, which goes with every callback",
            may_be_empty=True,
        )
    )


def _ask_plugins(interview: Interview) -> None:
    draft = interview.draft
    sources = Question(
        ("contacts", "sources"), "Contact source", "The plugin that knows your users' addresses."
    )
    lists = [
        (sources, "find_contact"),
        (_senders(Channel.EMAIL, "email"), SEND_HOOKS[Channel.EMAIL]),
        (_senders(Channel.SMS, "text messages"), SEND_HOOKS[Channel.SMS]),
    ]
    complete: set[str] = set()
    for question, hook in lists:
        for name in choose(interview, question, hook):
            if name not in complete:
                ask_keys(interview, name)
                complete.add(name)
    for name in [name for name in draft.table(("plugins",)) if name not in complete]:
        ask_keys(interview, name)
    if not interview.terminal and not draft.table(("routes",)):
        interview.refuse("routes.email", "is missing, and so is --sms: name a plugin that sends")


def _senders(channel: Channel, what: str) -> Question:
    return Question(
        ("routes", channel.value),
        f"Plugins for {what}",
        f"The plugins that send {what}, in order, with commas between; Enter: none.",
        may_be_empty=True,
    )


def _ask_store(interview: Interview) -> None:
    key = ("store", "url")
    if interview.draft.has(key) or not interview.terminal:
        return
    click.echo("")
    click.secho("sqlite: a file, for one process; postgresql: a server, for one or several", dim=True)
    store = click.prompt("Store", type=click.Choice(["sqlite", "postgresql"]), default="sqlite")
    if store == "postgresql":
        interview.ask(key_question(interview.draft, key, required=True))


def _ask_addresses(interview: Interview) -> None:
    interview.ask(
        Question(
            ("server", "public_url"),
            "Public URL",
            "This gateway's URL as seen from outside, such as https://gateway.example.com",
            default="",
            may_be_empty=True,
        )
    )
    proxies = Question(
        ("server", "trusted_proxies"),
        "The proxy's addresses",
        "The proxy as this gateway sees it; from there the client's address in X-Forwarded-For is believed",
        default="127.0.0.1, ::1" if interview.terminal else "",
        may_be_empty=True,
    )
    if interview.terminal and not interview.draft.has(proxies.key):
        click.echo("")
        if click.confirm("Will this gateway be behind a proxy with TLS?", default=True):
            interview.ask(proxies)
        else:
            click.secho("Then set certificate and key in [server]: secrets must be encrypted.", dim=True)
    _ask_listen(interview)


def _ask_listen(interview: Interview) -> None:
    if not interview.terminal or interview.draft.has(("server", "host")):
        return
    click.echo("")
    while problem := put_listen(
        interview.draft, click.prompt("Address and port to listen on", default=DEFAULT_LISTEN)
    ):
        click.secho(problem, fg="red")


def put_listen(draft: Draft, text: str) -> str:
    """Use ``127.0.0.1:8080`` as the listening address; return why that can't be, or an empty text."""
    try:
        host, port = parse_listen(text)
    except ValueError as error:
        return str(error)
    draft.put(("server", "host"), host)
    draft.put(("server", "port"), port)
    return ""
