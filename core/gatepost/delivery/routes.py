"""The routes as the worker uses them: their members, and which of them gets the next message."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from gatepost.config.routes import Route, Routes
from gatepost.delivery.leases import lease_for
from gatepost.links.mail import without_unsubscribe
from gatepost.model import Channel, Email, Sms
from gatepost.outbox import Fallback, Queue
from gatepost.outbox.startup import warmup_plan
from gatepost.outbox.turns import Rate, shared_rate
from gatepost.outbox.warmup_steps import Warmup
from gatepost.plugin_host.instances import Instance
from gatepost.routing.shares import NO_SHARES, Shares
from gatepost.routing.split import Split
from gatepost.throttle import BreakerState, Throttle

MAX_CHOICE_LENGTH = 200
"""Characters of the text that says why an instance was chosen."""


class WarmingUp:
    """The warm-up of an instance, as this process knows it."""

    def __init__(self, plan: Warmup) -> None:
        self.plan = plan
        self.full_until = -math.inf
        """Until when other members get its messages, because no place is left; by the clock of the worker."""


class RouteMember(NamedTuple):
    """A sending instance and its throttle; an instance on two routes is one member of both."""

    instance: Instance
    throttle: Throttle
    rate: Rate | None = None
    """The rate, where the replicas share it."""
    warmup: WarmingUp | None = None

    @property
    def name(self) -> str:
        """The name of the instance."""
        return self.instance.name

    @property
    def lease(self) -> float:
        """Seconds for which a claim for this member is held."""
        return lease_for(self.instance.settings.timeout)


def route_member(
    instance: Instance, *, clients: int, shared: bool, earlier: RouteMember | None = None
) -> RouteMember:
    """Return the member for an instance; ``shared``: other replicas may use the store, and share its rate.

    ``clients`` is the number of clients whose messages it may send. ``earlier``, which had this name in the
    configuration before, stays if it has the same instance: its slots are in use, and it may rest.
    """
    if earlier and earlier.instance is instance:
        earlier.throttle.clients = clients
        return earlier
    settings = instance.settings
    rate = shared_rate(settings.name, settings.per_second) if shared and settings.per_second else None
    per_second = 0.0 if rate else settings.per_second
    throttle = Throttle(concurrency=settings.concurrency, per_second=per_second, clients=clients)
    plan = warmup_plan(settings)
    return RouteMember(instance, throttle, rate, WarmingUp(plan) if plan else None)


class Lookups(NamedTuple):
    """The slots of messages whose route is not known: to look up their recipients."""

    throttle: Throttle
    lease: float
    name: str = ""
    rate: None = None
    warmup: None = None


Member: TypeAlias = RouteMember | Lookups
"""What has slots for messages."""


def is_full(member: Member, now: float) -> bool:
    """Return whether the cap of a member that warms up is used."""
    return member.warmup is not None and now < member.warmup.full_until


def is_usable(member: Member, now: float) -> bool:
    """Return whether a member works and is not full, also where it has no free slot: a busy member is waited for."""
    if is_full(member, now):
        return False
    state = member.throttle.state(now)
    return state is BreakerState.USABLE or (
        state is BreakerState.PROBING and member.throttle.sends_allowed(now) > 0
    )


class SendingRoute:
    """A route and its members: in their order, or with a split of the messages between them."""

    def __init__(
        self, channel: Channel, rule: Route, members: Sequence[Member], shares: Shares = NO_SHARES
    ) -> None:
        """Take the members in the order of the rule's instances; ``shares`` may change the weights of a split."""
        self.name = rule.name
        """The name in the configuration."""
        self.key = channel, rule.name
        self.urgent = rule.urgent
        self.members = members
        self.is_split = bool(rule.split)
        self._rule = rule
        self._shares = shares
        self._following: dict[str, SendingRoute] = {}
        self._first_choice = ""
        """Why the first member of a list gets a message; empty where it needs no reason."""
        # By country, because the shares are.
        self._splits: dict[str, Split] = {}
        self._last_country = ""

    def following(self, passed: Collection[str]) -> "SendingRoute | None":
        """Return the route of a message that these members had: the members after them; None where none is left."""
        if not passed:
            return self
        names = [member.name for member in self.members]
        left = [name for name in names if name not in passed]
        if not self.is_split:
            left = list(Fallback(names, 0.0).after(passed))
        if not left:
            return None
        channel, name = self.key
        # A key of its own, because messages that wait for a slot wait by route.
        name = f"{name}>{' '.join(left)}"
        if name not in self._following:
            split = {one: self._rule.split[one] for one in left} if self.is_split else {}
            rule = msgspec.structs.replace(self._rule, use=() if split else tuple(left), split=split)
            members = [member for member in self.members if member.name in left]
            following = SendingRoute(channel, rule, members, self._shares)
            following.key = channel, name
            if not self.is_split:
                following._first_choice = f"after {names[-len(left) - 1]}, which did not deliver it"
            self._following[name] = following
        return self._following[name]

    def for_member(self, message: Email | Sms, member: RouteMember) -> Email | Sms:
        """Return the message as this member sends it: it expires when the next one gets it.

        A member that adds its own headers for unsubscribing does not get ours.
        """
        if member.instance.settings.own_unsubscribe and isinstance(message, Email):
            message = without_unsubscribe(message)
        wait = self._rule.next_after
        if not wait or member is self.members[-1] or message.lifetime <= wait:
            return message
        return msgspec.structs.replace(message, lifetime=wait)

    def usable_members(self, now: float, paused: Collection[str] = ()) -> Sequence[Member]:
        """Return the members that may get a message now: of a list only the first one that works.

        ``paused`` are names of members that get none.
        """
        usable = (member for member in self.members if is_usable(member, now) and member.name not in paused)
        if self.is_split:
            return [member for member in usable if self._rule.split[member.name]]
        first = next(usable, None)
        return [] if first is None else [first]

    def foresee(self, usable: Sequence[Member]) -> Callable[[], Member]:
        """Return a function that returns with each call the member of one more message, without any effect."""
        if not self.is_split:
            return lambda: usable[0]
        # The country is known only when the message is claimed; most routes have a single one.
        country = self._last_country
        split = self._split(country).copy()
        return lambda: self._choose(split, usable, country)

    def assign(self, slots: Mapping[Member, int], usable: Sequence[Member], country: str) -> Member:
        """Return the member of a message that was claimed for a split route: one that has ``slots``."""
        self._last_country = country
        split = self._split(country).copy()
        chosen = self._choose(split, usable, country)
        if slots.get(chosen, 0) <= 0:
            # The plan was made for messages to another country: a member with a slot helps out.
            split = self._split(country).copy()
            chosen = self._choose(split, [one for one in usable if slots.get(one, 0) > 0], country)
        self._splits[country] = split
        return chosen

    def next_claim_in(self, now: float, paused: Collection[str] = ()) -> float | None:
        """Return the seconds until a member may send that can't now; None where that takes an event."""
        usable = self.usable_members(now, paused)
        # A member of a list is waited for although a later one is free; so is each member of a split.
        candidates = [
            member
            for member in self.members
            if member.name not in paused
            and (not is_usable(member, now) or (member in usable and not member.throttle.sends_allowed(now)))
        ]
        waits = [_next_allowed_in(member, now) for member in candidates]
        return min((wait for wait in waits if wait is not None), default=None)

    def members_after(self, member: RouteMember) -> Sequence[RouteMember]:
        """Return the members that may take a message for which this one was unavailable, in their order."""
        position = self.members.index(member)
        earlier = self.members[:position] if self.is_split else ()
        others = *self.members[position + 1 :], *earlier
        return [other for other in others if isinstance(other, RouteMember)]

    def choice(self, member: Member, country: str, now: float) -> str:
        """Return why this member got a message to a country; empty for the first member of a list."""
        if not self.is_split and member is self.members[0]:
            return self._first_choice
        resting = "".join(
            f"; {other.name} {'is at its warm-up cap' if is_full(other, now) else 'rests'}"
            for other in self.members
            if other is not member and not is_usable(other, now)
        )
        if self.is_split:
            weights = ":".join(f"{weight:g}" for weight in self._rule.split.values())
            reason = self._shares.explain(self.name, country, member.name) or f"split {weights}"
            return f"{reason}{resting}"[:MAX_CHOICE_LENGTH]
        return f"the first of the route that works{resting}"[:MAX_CHOICE_LENGTH]

    def _split(self, country: str) -> Split:
        if country not in self._splits:
            self._splits[country] = Split(self._rule.split)
        return self._splits[country]

    def _choose(self, split: Split, usable: Sequence[Member], country: str) -> Member:
        names = {member.name: member for member in usable}
        unusable = self._rule.split.keys() - names.keys()
        chosen = split.choose(unusable, self._shares.factors(self.name, country))
        assert chosen is not None, "no usable member"
        return names[chosen]


def _next_allowed_in(member: Member, now: float) -> float | None:
    """Return the seconds until a member may get a message that gets none now; None where that takes the end of a send."""
    wait = member.throttle.next_allowed_in(now)
    if wait is None or not member.warmup:
        return wait
    return max(wait, member.warmup.full_until - now)


def sending_routes(
    routes: Routes, members: Mapping[str, RouteMember], shares: Shares = NO_SHARES
) -> Iterator[SendingRoute]:
    """Yield the configured routes that send; ``members`` are all sending instances by name."""
    for channel in Channel:
        for rule in routes.of(channel):
            if rule.instances:
                yield SendingRoute(channel, rule, [members[name] for name in rule.instances], shares)


class RouteTable:
    """The routes of this configuration that send, by channel and name."""

    def __init__(self, routes: Iterable[SendingRoute], lookups: Iterable[SendingRoute]) -> None:
        """``lookups`` are the routes, one for each channel, of messages whose own route is not known."""
        self._routes = {route.key: route for route in routes}
        self._lookups = {route.key[0]: route for route in lookups}

    def of(self, queue: Queue) -> SendingRoute:
        """Return the route of a queue; the lookups where it is not decided or not in this configuration."""
        return self._routes.get((queue.channel, queue.route)) or self._lookups[queue.channel]

    def find(self, channel: Channel, name: str) -> SendingRoute:
        """Return the route of this name, which is one that sends."""
        return self._routes[channel, name]
