"""Messages whose route is not known: decided when they are claimed, because it depends on the recipient.

A message without a route was accepted while its contact source was away. A message with a route that the configuration
does not have was accepted under another configuration, perhaps by a replica that still has it: its route is decided in
memory only, for one attempt.
"""

from gatepost.config.routes import Route
from gatepost.content import EmailContent, decode_content
from gatepost.delivery.leases import lease_for
from gatepost.delivery.routes import Lookups, SendingRoute
from gatepost.delivery.waiting_room import SLOT_TIMEOUT
from gatepost.model import Channel, Secret
from gatepost.outbox import Claim
from gatepost.routing.countries import country_of
from gatepost.routing.router import Decision, Router
from gatepost.throttle import Throttle

MAX_LOOKUPS = 16
"""Messages of unknown routes that are in hand at once."""


def lookup_routes(timeout: float) -> list[SendingRoute]:
    """Return the routes of messages whose own route is not known; ``timeout``: seconds that a lookup may take."""
    lookups = Lookups(Throttle(concurrency=MAX_LOOKUPS, per_second=0.0), lease_for(timeout + SLOT_TIMEOUT))
    return [SendingRoute(channel, Route(name=""), [lookups]) for channel in Channel]


def decide(router: Router, claim: Claim, recipient: Secret) -> tuple[Decision, str]:
    """Return the decision of the rules about a claimed message, and the country of its recipient.

    Raises ValueError when the content can't be decoded.
    """
    content = decode_content(claim.channel, claim.content)
    sender = content.sender.address if isinstance(content, EmailContent) else content.sender or ""
    country = country_of(recipient.reveal()) if claim.channel is Channel.SMS else ""
    return router.decide(claim.channel, claim.client, sender, recipient, country), country
