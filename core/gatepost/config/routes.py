"""The routes of a channel as frozen structs: rules that say which plugins send which message."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gatepost.config.numbers import MAX_SECONDS, Limit
from gatepost.model import Channel


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule of a channel: conditions on a message, and the plugins that send the messages that meet all of them."""

    name: Annotated[str, Meta(description="unique; you choose it", examples=["uk-codes"])]
    clients: Annotated[tuple[str, ...], Meta(description="the client is one of these")] = ()
    countries: Annotated[tuple[str, ...], Meta(description="the recipient's number is of one of these")] = ()
    prefixes: Annotated[
        tuple[str, ...], Meta(description="the recipient's number begins with one of these")
    ] = ()
    domains: Annotated[tuple[str, ...], Meta(description="the recipient's address is at one of these")] = ()
    senders: Annotated[
        tuple[str, ...], Meta(description="the sender is one of these; of emails also @domains")
    ] = ()
    urgent: Annotated[bool, Meta(description="sent before messages that are not urgent")] = False
    use: Annotated[tuple[str, ...], Meta(description="the plugins that send, tried in this order")] = ()
    split: Annotated[
        Mapping[str, float],
        Meta(description="instead of use: plugins share messages by these weights"),
    ] = {}
    balance: Annotated[
        Literal["", "receipts"], Meta(description="with split: the shares follow what is delivered")
    ] = ""
    per_day: Annotated[
        Limit, Meta(description="messages accepted per day (UTC); above it code 14; 0: no limit")
    ] = 0
    refuse: Annotated[str, Meta(description="instead of use: refuse with code 14 and this text")] = ""
    next_after: Annotated[
        float,
        Meta(
            ge=0,
            le=MAX_SECONDS,
            description="with use: try the next when not *delivered* in these seconds",
        ),
    ] = 0.0

    @property
    def instances(self) -> tuple[str, ...]:
        """The names of the instances that send, in order; empty where the rule refuses."""
        return self.use or tuple(self.split)


class Routes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The plugins that send on each channel, in the order in which they are tried."""

    email: Annotated[
        tuple[Route, ...],
        Meta(description="plugins that send email; the second is used when the first can't take a message"),
    ] = ()
    sms: Annotated[
        tuple[Route, ...], Meta(description="plugins that send text messages, in the same way")
    ] = ()

    @staticmethod
    def listed(channel: Channel, instances: tuple[str, ...]) -> tuple[Route, ...]:
        """Return the short form of a channel's routes, a list of instances: one rule, named as the channel."""
        return (Route(name=channel.value, use=instances),) if instances else ()

    def of(self, channel: Channel) -> tuple[Route, ...]:
        """Return the rules of the channel, in their order."""
        return self.email if channel is Channel.EMAIL else self.sms

    def instances(self, channel: Channel) -> tuple[str, ...]:
        """Return the names of all instances on the channel's routes, in order, each once."""
        return tuple(dict.fromkeys(name for route in self.of(channel) for name in route.instances))

    @property
    def balanced(self) -> dict[str, Mapping[str, float]]:
        """The weights of the split routes that follow receipts, by the names of the routes."""
        rules = *self.email, *self.sms
        return {route.name: route.split for route in rules if route.balance == "receipts"}

    def key(self, channel: Channel, position: int, name: str = "") -> str:
        """Return the path in the file of a rule, or of its key ``name``; positions count from 0."""
        rule = self.of(channel)[position]
        if self.of(channel) == self.listed(channel, rule.use):
            return f"routes.{channel}"
        return rule_key(channel, position, rule.name) + (name and f".{name}")


def rule_key(channel: str, position: int, name: str) -> str:
    """Return the path in the file of a rule in the long form, such as ``routes.sms[2 uk-codes]``."""
    return f"routes.{channel}[{position + 1}{name and f' {name}'}]"
