"""A sender and a person for each route and client, so that the route takes the message."""

from collections.abc import Iterator
from typing import NamedTuple

from gatepost.config.client import Client
from gatepost.config.routes import Route
from gatepost.config.settings import Settings
from gatepost.intake.client_policy import may_send_as
from gatepost.model import Channel, Secret
from gatepost.prove.canaries import Canaries, Person
from gatepost.prove.numbers import number_for
from gatepost.prove.outcomes import Outcomes
from gatepost.routing.router import Router

_EMAIL_SENDER, _SMS_SENDER = "prove@brand.example", "Prove"


class RouteTest(NamedTuple):
    """A message that a route takes."""

    channel: Channel
    route: Route
    client: str
    sender: str
    person: Person

    @property
    def where(self) -> str:
        """The client and the route, in words."""
        return f"{self.client}, {self.channel} route {self.route.name}"


def route_tests(settings: Settings, canaries: Canaries, outcomes: Outcomes) -> Iterator[RouteTest]:
    """Yield a message for each route and each of its clients; note in ``outcomes`` where there can be none."""
    router = Router(settings)
    for channel in Channel:
        for route in settings.routes.of(channel):
            person = _person(channel, route, canaries)
            for client in route.clients or settings.clients:
                where = f"{client}, {channel} route {route.name}"
                if not person.recipient(channel):
                    why = "any number that the rule takes may be somebody's"
                    outcomes.missing(where, "every message", why)
                    continue
                found = _sender(router, settings.clients[client], channel, route, client, person)
                if found is None:
                    why = "the rules before it, or the client's senders, leave it no message of a canary"
                    outcomes.missing(where, "every message", why)
                else:
                    yield RouteTest(channel, route, client, found, person)


def usual_sender(client: Client, channel: Channel) -> str:
    """Return a sender that the client may use."""
    listed = client.email_senders if channel is Channel.EMAIL else client.sms_senders
    default = _EMAIL_SENDER if channel is Channel.EMAIL else _SMS_SENDER
    return _address(listed[0]) if listed else default


def _person(channel: Channel, route: Route, canaries: Canaries) -> Person:
    if channel is Channel.EMAIL:
        domain = route.domains[0].replace("*", "prove") if route.domains else ""
        return canaries.add(domain=domain)
    numbers = (number_for(country, route.prefixes) for country in route.countries or ("",))
    phone = next(filter(None, numbers), "")
    return canaries.add(phone=phone, without_phone=not phone)


def _sender(
    router: Router, client: Client, channel: Channel, route: Route, name: str, person: Person
) -> str | None:
    recipient = Secret(person.recipient(channel))
    candidates = [*map(_address, route.senders), usual_sender(client, channel)]
    # Beside the listed ones: a rule before may take those.
    candidates += map(_address, client.email_senders if channel is Channel.EMAIL else client.sms_senders)
    for sender in candidates:
        if may_send_as(client, channel, sender) and (
            router.decide(channel, name, sender, recipient).route == route
        ):
            return sender
    return None


def _address(sender: str) -> str:
    """Return a sender's address; a domain, such as @brand.example, becomes one."""
    return f"prove{sender}" if sender.startswith("@") else sender
