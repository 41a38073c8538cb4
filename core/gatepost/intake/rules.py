"""The operator's rules for a message: its route, the parts of a text, and the limits on how many are accepted."""

from typing import NamedTuple

from gatepost.config.routes import Route
from gatepost.config.settings import Client, Settings
from gatepost.errors import Code, Refused
from gatepost.intake.requests import EmailRequest, SmsRequest
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
        self._client_limits = {
            (name, channel): tuple(_client_limits(name, client, channel))
            for name, client in settings.clients.items()
            for channel in Channel
        }
        self._route_limits = {
            (channel, route.name): limits.route_limits(channel, route.name, route.per_day)
            for channel in Channel
            for route in settings.routes.of(channel)
        }
        self._queue_limits = {
            name: (limits.queue_limit(name, client.max_queued),) if client.max_queued else ()
            for name, client in settings.clients.items()
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
        if isinstance(request, SmsRequest):
            _check_parts(self._clients[name], request.text)
        route = decision.route
        return Routing(route.name if route else "", country, self._limits(name, request, route))

    def _limits(
        self, name: str, request: EmailRequest | SmsRequest, route: Route | None
    ) -> tuple[Limit, ...]:
        """Return the limits of a message. The daily ones come first: their answer, code 14, precedes code 12."""
        of_route = self._route_limits[request.channel, route.name] if route else ()
        is_preview = isinstance(request, EmailRequest) and request.preview_to is not None
        cap = self._clients[name].per_user_per_day
        # A preview goes to an address of the operator, not to the user.
        of_user = (limits.user_limit(name, request.ext_user_id, cap),) if cap and not is_preview else ()
        return self._client_limits[name, request.channel] + of_user + of_route + self._queue_limits[name]


def _client_limits(name: str, client: Client, channel: Channel) -> list[Limit]:
    setting = f"{channel}_per_day"
    cap = client.email_per_day if channel is Channel.EMAIL else client.sms_per_day
    return [Limit(f"{setting}/{name}", cap, f"the client's {setting}")] if cap else []


def _check_parts(client: Client, text: str) -> None:
    """Raise Refused(RULES_REFUSE) for a text that is sent in more parts than the client may use."""
    limit = client.sms_max_parts
    if limit and (parts := count_parts(text)) > limit:
        problem = f"the text would be sent in {parts} parts; the client's sms_max_parts is {limit:,}"
        raise Refused(Code.RULES_REFUSE, problem)
