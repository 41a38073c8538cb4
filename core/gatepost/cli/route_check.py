"""``gatepost check --route``: which rule takes a message, and why not the rules before."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatepost import app
from gatepost.cli.common import client_of, fail, printable, report_faults
from gatepost.config.routes import Route
from gatepost.config.settings import Settings
from gatepost.config.toml_table import closest_name, suggestion
from gatepost.contacts.addresses import canonical_email, canonical_phone, canonical_sender
from gatepost.errors import ConfigError
from gatepost.intake.client_policy import may_send_as
from gatepost.model import Channel, Secret
from gatepost.routing.router import Decision, RouteOutcome, Router
from gatepost.routing.split import Split


class RouteQuestion(NamedTuple):
    """The message whose route is looked for, as the options of the command describe it."""

    channel: Channel
    client: str | None
    recipient: str | None
    sender: str | None


def report(path: Path, question: RouteQuestion) -> int:
    """Print which rule takes the message; returns the exit code, which is 0 when a plugin would send it."""
    with report_faults(path):
        settings = _settings(path)
    channel, client = question.channel, _client(settings, question.client)
    sender, recipient = _sender(settings, client, question), _recipient(settings, question)
    if question.sender and not may_send_as(settings.clients[client], channel, sender):
        fail(
            f"the gateway refuses this message with code 10: --from is not one of the client's {channel}_senders"
        )
    router = Router(settings)
    decision = router.decide(channel, client, sender, recipient)
    console = Console(highlight=False)
    table = Table.grid(padding=(0, 1))
    for position, route, reasons in router.explain(channel, client, sender, recipient):
        table.add_row("", Text("·"), _line(position, route, "; ".join(reasons)))
    sent = decision.outcome is RouteOutcome.TAKEN
    mark = ("✓", "green") if sent else ("✗", "bold red")
    table.add_row("", Text(*mark), _verdict(settings, channel, decision))
    console.print(table)
    return 0 if sent else 1


def _settings(path: Path) -> Settings:
    settings, _instances, faults = app.examine(path)
    if settings is None or faults:
        raise ConfigError(faults)
    return settings


def _client(settings: Settings, name: str | None) -> str:
    clients, name = list(settings.clients), client_of(settings, name)
    if name not in clients:
        fail(f"--client is not a [clients.NAME] table; {suggestion(closest_name(name, clients), clients)}")
    return name


def _sender(settings: Settings, client: str, question: RouteQuestion) -> str:
    if question.channel is Channel.SMS:
        return question.sender or settings.clients[client].sms_default_sender
    if question.sender is None:
        if any(route.senders for route in settings.routes.email):
            fail("some rules have senders: say with --from who sends the email")
        return ""
    sender = canonical_sender(question.sender)
    return sender or fail("--from is not an address such as noreply@example.com")


def _recipient(settings: Settings, question: RouteQuestion) -> Secret | None:
    if question.recipient is None:
        return None
    if question.channel is Channel.EMAIL:
        recipient = canonical_email(question.recipient)
        return Secret(recipient) if recipient else fail("--to is not an address such as anna@example.com")
    recipient = canonical_phone(question.recipient, settings.contacts.default_region)
    return Secret(recipient) if recipient else fail("--to is not a phone number such as +447700900123")


def _verdict(settings: Settings, channel: Channel, decision: Decision) -> Text:
    rules = settings.routes.of(channel)
    if decision.route is None:
        if decision.outcome is RouteOutcome.UNDECIDED:
            return Text("it depends on the recipient: name one with --to")
        return Text(
            "no rule fits: refused with code 8" if rules else f"no route for {channel}: refused with code 8"
        )
    route = decision.route
    action = f"refused with code 14: {route.refuse}" if route.refuse else "; ".join(_actions(route))
    return _line(rules.index(route) + 1, route, action)


def _actions(route: Route) -> Iterator[str]:
    if route.split:
        shares = Split(route.split).shares()
        yield "sent by " + ", ".join(f"{name} ({shares.get(name, 0.0):.0%})" for name in route.split)
    else:
        yield f"sent by {', then '.join(route.use)}"
    if route.balance:
        yield "the shares follow what is delivered"
    if route.next_after:
        yield f"by the next after {route.next_after:g} s without a delivery"
    if route.urgent:
        yield "urgent"
    if route.per_day:
        yield f"at most {route.per_day:,} a day"


def _line(position: int, route: Route, text: str) -> Text:
    return Text.assemble((f"{position} {route.name}: ", "bold"), printable(text))
