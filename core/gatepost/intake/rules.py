"""The operator's rules for a message: its route, the parts of a text, and the limits on how many are accepted."""

from typing import NamedTuple

from gatepost.config.client import Client
from gatepost.config.routes import Route
from gatepost.config.settings import Settings
from gatepost.errors import Code, Refused
from gatepost.intake.requests import EmailRequest, SmsRequest
from gatepost.merge_fields.fields import without_fields
from gatepost.model import Channel, Secret
from gatepost.outbox import Limit, limits
from gatepost.routing.countries import country_of
from gatepost.routing.router import RouteOutcome, Router
from gatepost.sms_parts import count_parts


class Routing(NamedTuple):
    """Where a message goes."""

    route: str = ""
    """The name of its route; empty where it depends on the recipient, who is not known yet."""
    country: str = ""
    """The country of the recipient's number; empty where it is not known."""
    limits: tuple[Limit, ...] = ()
    """The limits that may refuse the message."""


class Rules:
    """The rules of one configuration for messages that arrive."""

    def __init__(self, settings: Settings) -> None:
        self._router = Router(settings)
        self._clients = settings.clients
        self._limits = {
            (name, channel, route and route.name): _limits(name, client, channel, route)
            for name, client in settings.clients.items()
            for channel in Channel
            for route in (None, *settings.routes.of(channel))
        }

    def check_channel(self, name: str, channel: Channel) -> None:
        """Raise Refused(NO_PROVIDER) unless some rule of the channel could take a message of this client."""
        if not self._router.may_fit(channel, name):
            problem = f"routes.{channel} has no rule for messages of this client"
            raise Refused(Code.NO_PROVIDER, problem)

    def routing(self, name: str, request: EmailRequest | SmsRequest, recipient: Secret | None) -> Routing:
        """Return where a message goes; ``recipient`` is None while it is not known. Raises Refused."""
        channel = request.channel
        sender = request.sender.address if isinstance(request, EmailRequest) else request.sender or ""
        country = country_of(recipient.reveal()) if channel is Channel.SMS and recipient else ""
        decision = self._router.decide(channel, name, sender, recipient, country if recipient else None)
        if decision.outcome is RouteOutcome.NO_ROUTE:
            problem = f"no rule of routes.{channel} takes a message from this sender to this recipient"
            raise Refused(Code.NO_PROVIDER, problem)
        if decision.outcome is RouteOutcome.REFUSED and decision.route:
            raise Refused(Code.RULES_REFUSE, decision.route.refuse)
        client = self._clients[name]
        if isinstance(request, SmsRequest):
            # The values are counted when they are known: right before the send.
            _check_parts(client, without_fields(request.text) if client.merge_fields else request.text)
        route = decision.route and decision.route.name
        applicable = self._limits[name, channel, route]
        # A preview goes to an address of the operator, not to the user.
        if client.per_user_per_day and not (isinstance(request, EmailRequest) and request.preview_to):
            applicable = (limits.user_limit(name, request.ext_user_id, client.per_user_per_day), *applicable)
        return Routing(route or "", country, applicable)


def _limits(name: str, client: Client, channel: Channel, route: Route | None) -> tuple[Limit, ...]:
    """Return the limits of all messages of a client on a route, None where the route is not known yet.

    The daily ones come first: their answer, code 14, precedes code 12.
    """
    of_client = limits.client_limits(name, channel, client.per_day(channel))
    of_route = limits.route_limits(channel, route.name, route.per_day) if route else ()
    of_queue = (limits.queue_limit(name, client.max_queued),) if client.max_queued else ()
    return of_client + of_route + of_queue


def _check_parts(client: Client, text: str) -> None:
    """Raise Refused(RULES_REFUSE) for a text that is sent in more parts than the client may use."""
    limit = client.sms_max_parts
    if limit and (parts := count_parts(text)) > limit:
        problem = f"the text would be sent in {parts} parts; the client's sms_max_parts is {limit:,}"
        raise Refused(Code.RULES_REFUSE, problem)
