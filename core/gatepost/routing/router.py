"""The router: which rule of a channel takes a message.

A rule takes a message that meets all of its conditions, and the first such rule in the configuration is the message's
route. The decision needs no store and waits for nothing.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from gatepost.config.routes import Route
from gatepost.config.settings import Settings
from gatepost.model import Channel, Secret
from gatepost.routing.conditions import Conditions
from gatepost.routing.countries import country_of


class RouteOutcome(StrEnum):
    """The outcome of a decision."""

    TAKEN = "taken"
    """The rule sends the message."""
    REFUSED = "refused"
    """The rule refuses the message: code 14 with its text."""
    NO_ROUTE = "no_route"
    """The message fits no rule: code 8."""
    UNDECIDED = "undecided"
    """It depends on the recipient, who is not known yet."""


class Decision(NamedTuple):
    """What the rules say of a message."""

    outcome: RouteOutcome
    route: Route | None = None
    """The rule that takes or refuses the message."""


class SkippedRule(NamedTuple):
    """A rule before the one that takes a message, and why it does not take it."""

    position: int
    """Counted from 1, as in faults."""
    route: Route
    reasons: Sequence[str]
    """Conditions that the message does not meet; none of them names the recipient."""


class _Rule(NamedTuple):
    route: Route
    conditions: Conditions
    needs_recipient: bool
    decision: Decision


_NO_ROUTE = Decision(RouteOutcome.NO_ROUTE)
_UNDECIDED = Decision(RouteOutcome.UNDECIDED)


class Router:
    """The rules of a configuration, in the form in which messages are compared with them."""

    def __init__(self, settings: Settings) -> None:
        self._rules = {
            channel: tuple(_rule(route, channel) for route in settings.routes.of(channel))
            for channel in Channel
        }
        # Of each client the rules that can fit its messages; a client that is not configured has the last entry.
        self._by_client: Mapping[Channel, Mapping[str, Sequence[_Rule]]] = {
            channel: {name: _for_client(rules, name) for name in settings.clients}
            for channel, rules in self._rules.items()
        }
        self._unknown_client = {
            channel: tuple(rule for rule in rules if not rule.conditions.clients)
            for channel, rules in self._rules.items()
        }

    def may_fit(self, channel: Channel, client: str) -> bool:
        """Return whether there is a rule that could fit a message of this client: without one all get code 8."""
        return bool(self._by_client[channel].get(client, self._unknown_client[channel]))

    def route(self, channel: Channel, name: str) -> Route | None:
        """Return the rule with this name; None where the configuration does not have it (any more)."""
        return next((rule.route for rule in self._rules[channel] if rule.route.name == name), None)

    def decide(
        self,
        channel: Channel,
        client: str,
        sender: str,
        recipient: Secret | None,
        country: str | None = None,
    ) -> Decision:
        """Return the decision about a message.

        ``sender`` is the canonical address of an email's sender, or the sender of a text message; empty for
        none. ``recipient`` is a canonical address or number, or None while it is not known. ``country`` is that
        of the number where it is known already; else it is found when a rule needs it.
        """
        rules = self._by_client[channel].get(client, self._unknown_client[channel])
        for _route, conditions, needs_recipient, decision in rules:
            if conditions.senders and not conditions.sender_fits(sender):
                continue
            if needs_recipient:
                if recipient is None:
                    return _UNDECIDED
                if not conditions.recipient_fits(recipient.reveal()):
                    continue
                if conditions.countries:
                    country = country_of(recipient.reveal()) if country is None else country
                    if country not in conditions.countries:
                        continue
            return decision
        return _NO_ROUTE

    def explain(
        self, channel: Channel, client: str, sender: str, recipient: Secret | None
    ) -> list[SkippedRule]:
        """Return the rules before the one that `decide` finds, with the reasons why they don't take the message."""
        skipped = []
        for position, rule in enumerate(self._rules[channel], start=1):
            reasons = list(rule.conditions.unmet(client, sender, recipient))
            if not reasons:
                break
            skipped.append(SkippedRule(position, rule.route, reasons))
        return skipped


def _rule(route: Route, channel: Channel) -> _Rule:
    conditions = Conditions.of(route, channel)
    outcome = RouteOutcome.REFUSED if route.refuse else RouteOutcome.TAKEN
    return _Rule(route, conditions, conditions.needs_recipient, Decision(outcome, route))


def _for_client(rules: Sequence[_Rule], client: str) -> tuple[_Rule, ...]:
    return tuple(rule for rule in rules if not rule.conditions.clients or client in rule.conditions.clients)
