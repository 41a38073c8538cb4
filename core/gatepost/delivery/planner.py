"""The plan of the next claims: which queue gets how many of the slots that are free, and at which instances.

The free slots of an instance are dealt out one by one: first between urgent and other routes, then evenly between the
routes that would use the instance now, then evenly between the clients of a route. What a queue was dealt and did not
use costs it nothing, so a client with few messages is served at once.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

from gatepost.delivery.fair_queueing import FairQueueing
from gatepost.delivery.routes import Member, SendingRoute
from gatepost.outbox import Claim, Queue, polling

MAX_CLAIMS = 16
"""Queues that get slots in one plan; each costs a statement. The others are next."""

URGENT_SHARE = 9.0
"""Slots that urgent routes get for each one of the others, while both wait."""

Paused = Callable[[Queue, str], bool]
"""Whether the messages of a queue wait for the operator: at the instance of this name, or with "" at every instance."""


def never_paused(_queue: Queue, _instance: str) -> bool:
    """Return False."""
    return False


def is_paused(paused: Paused, queue: Queue, instance: str) -> bool:
    """Return whether the messages of a queue wait for the operator, at this instance or at every one."""
    return paused(queue, "") or paused(queue, instance)


class Demand(NamedTuple):
    """A queue that may have due messages, and its route."""

    queue: Queue
    route: SendingRoute
    limit: int | None = None
    """The number of its messages, where it is known."""

    @property
    def paused_as(self) -> Queue:
        """The queue with the name of its route that pauses have: the key of a route may name its members too."""
        return self.queue if self.queue.id else self.queue._replace(route=self.route.name)


class Deal(NamedTuple):
    """Slots for one queue."""

    demand: Demand
    members: Sequence[Member]
    """A member for each message."""
    usable: Sequence[Member]
    """All members of the route that work."""
    contended: bool
    """Whether other queues waited too."""


class Planner:
    """Deals out the free slots of the instances. It reads throttles, and changes none."""

    def __init__(self, paused: Paused = never_paused) -> None:
        self._paused = paused
        self._order = FairQueueing()
        self._plans = 0
        self._spare: Counter[str] = Counter()
        """By instance the free slots that the last plan left."""

    def plan(self, demands: Iterable[Demand], now: float) -> list[Deal]:
        """Return the slots for each demand that gets any, at most MAX_CLAIMS of them."""
        lines = self._lines(demands, now)
        if len(lines) == 1 and (deal := lines[0].sole_deal(now)):
            return [deal] if deal.members else []
        places = self._places(lines, now)
        deals: dict[Queue, tuple[_Line, Demand, list[Member]]] = {}
        # A line of a split route moves on to another instance with each slot, so no place is done before all are.
        while waiting := [(place, line) for place in places if (line := place.next_line())]:
            for place, line in waiting:
                if line.target is not place.member:
                    continue
                if dealt := line.deal(deals, full=len(deals) >= MAX_CLAIMS):
                    place.take(line)
                    deals.setdefault(dealt.queue, (line, dealt, []))[2].append(place.member)
                    line.go_on()
        self._spare = Counter({place.member.name: place.free for place in places})
        return [
            Deal(demand, members, line.usable, contended=True) for line, demand, members in deals.values()
        ]

    def assign(self, deal: Deal, claims: Sequence[Claim]) -> Sequence[Member]:
        """Return the member for each claim that was made for a deal, and note that these have used their slots."""
        route = deal.demand.route
        used = self._assign_split(deal, claims) if route.is_split else deal.members[: len(claims)]
        self._order.charge(route.key, deal.demand.queue, len(used))
        if deal.contended:
            for member in dict.fromkeys(used):
                count = used.count(member)
                self._order.charge(member.name, route.urgent, count / (URGENT_SHARE if route.urgent else 1.0))
                self._order.charge((member.name, route.urgent), route.key, count)
        return used

    def _assign_split(self, deal: Deal, claims: Sequence[Claim]) -> list[Member]:
        """Assign each message by the shares for its country; the plan could only guess the countries."""
        if any(member.rate or member.warmup for member in deal.usable):
            # Turns and places were taken for the planned members.
            slots = Counter(deal.members[: len(claims)])
        else:
            slots = Counter(deal.members) + Counter({one: self._spare[one.name] for one in deal.usable})
        used = []
        for claim in claims:
            member = deal.demand.route.assign(slots, deal.usable, claim.country)
            slots[member] -= 1
            used.append(member)
        for member, count in (Counter(used) - Counter(deal.members)).items():
            self._spare[member.name] -= count
        return used

    def can_send(self, demand: Demand, now: float) -> bool:
        """Return whether the messages of a demand are not paused, and an instance of its route works."""
        if self._paused(demand.paused_as, ""):
            return False
        return bool(demand.route.usable_members(now, self._paused_members(demand)))

    def has_free_slot(self, demands: Iterable[Demand], now: float) -> bool:
        """Return whether an instance that would get a message of one of these demands may send one now."""
        return any(
            member.throttle.sends_allowed(now) > 0
            for demand in demands
            if not self._paused(demand.paused_as, "")
            for member in demand.route.usable_members(now, self._paused_members(demand))
        )

    def next_claim_in(self, demands: Iterable[Demand], now: float) -> float:
        """Return the seconds until a demand may be dealt slots that are not free now, and at most POLL_INTERVAL."""
        routes = {
            (demand.route, self._paused_members(demand))
            for demand in demands
            if not self._paused(demand.paused_as, "")
        }
        waits = [wait for route, paused in routes if (wait := route.next_claim_in(now, paused)) is not None]
        return min([polling.POLL_INTERVAL, *waits])

    def _lines(self, demands: Iterable[Demand], now: float) -> "list[_Line]":
        """Return the demands that can be met at all, by route and by the members that are paused for them."""
        grouped: dict[tuple[SendingRoute, frozenset[str]], list[Demand]] = {}
        for demand in demands:
            if not self._paused(demand.paused_as, ""):
                grouped.setdefault((demand.route, self._paused_members(demand)), []).append(demand)
        return [
            _Line(route, usable, group, self._order)
            for (route, paused), group in grouped.items()
            if (usable := route.usable_members(now, paused))
        ]

    def _paused_members(self, demand: Demand) -> frozenset[str]:
        if self._paused is never_paused:
            return frozenset()
        return frozenset(
            member.name for member in demand.route.members if self._paused(demand.paused_as, member.name)
        )

    def _places(self, lines: "Sequence[_Line]", now: float) -> "list[_Place]":
        """Return the instances with free slots that any of the lines may use, beginning with another one each time."""
        lines_by_member: dict[str, tuple[Member, list[_Line]]] = {}
        for line in lines:
            for member in line.usable:
                lines_by_member.setdefault(member.name, (member, []))[1].append(line)
        places = [
            _Place(member, free, at_member, self._order)
            for member, at_member in lines_by_member.values()
            if (free := member.throttle.sends_allowed(now)) > 0
        ]
        self._plans += 1
        first = self._plans % max(1, len(places))
        return places[first:] + places[:first]


class _Line:
    """The demands of one route, and the member that gets the next message of the route."""

    def __init__(
        self, route: SendingRoute, usable: Sequence[Member], demands: Sequence[Demand], order: FairQueueing
    ) -> None:
        self.route = route
        self.usable = usable
        self._foresee = route.foresee(usable)
        self.target = self._foresee()
        self._demands = demands
        tags = order.enter(route.key, [demand.queue for demand in demands])
        self._heap = [(tags[demand.queue], number, demand) for number, demand in enumerate(demands)]
        heapify(self._heap)
        self._dealt: dict[Queue, int] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether a demand of the route may take another slot."""
        return bool(self._heap)

    def sole_deal(self, now: float) -> Deal | None:
        """Return the deal of a line that is alone, where it is clear without dealing slot by slot."""
        if len(self._demands) > 1 or self.route.is_split:
            return None
        demand = self._demands[0]
        free = self.target.throttle.sends_allowed(now)
        limit = free if demand.limit is None else min(free, demand.limit)
        return Deal(demand, [self.target] * limit, self.usable, contended=False)

    def deal(self, deals: Collection[Queue], *, full: bool) -> Demand | None:
        """Return the demand that takes a slot; ``full``: only one of those that have a deal may."""
        while full and self._heap and self._heap[0][2].queue not in deals:
            heappop(self._heap)
        if not self._heap:
            return None
        tag, number, demand = self._heap[0]
        count = self._dealt[demand.queue] = self._dealt.get(demand.queue, 0) + 1
        if count == demand.limit:
            heappop(self._heap)
        else:
            heapreplace(self._heap, (tag + 1.0, number, demand))
        return demand

    def go_on(self) -> None:
        """Choose the member for the next message, after a slot was dealt."""
        self.target = self._foresee()


class _Place:
    """The free slots of one instance, and the lines that may use them."""

    def __init__(self, member: Member, free: int, lines: Sequence[_Line], order: FairQueueing) -> None:
        self.member = member
        self.free = free
        self._lines = lines
        self._class_tags = order.enter(member.name, {line.route.urgent for line in lines})
        self._route_tags = {
            key: tag
            for urgent in self._class_tags
            for key, tag in order.enter(
                (member.name, urgent), {line.route.key for line in lines if line.route.urgent is urgent}
            ).items()
        }

    def next_line(self) -> _Line | None:
        """Return the line that takes the next slot; None where no slot is free, or no line waits for this instance."""
        if not self.free:
            return None
        waiting = [line for line in self._lines if line.target is self.member and line.is_waiting]
        if len(waiting) < 2:
            return waiting[0] if waiting else None
        tags = self._class_tags
        urgent = min({line.route.urgent for line in waiting}, key=lambda urgent: (tags[urgent], not urgent))
        return min(
            (line for line in waiting if line.route.urgent is urgent),
            key=lambda line: self._route_tags[line.route.key],
        )

    def take(self, line: _Line) -> None:
        """Give a slot to this line."""
        self.free -= 1
        self._class_tags[line.route.urgent] += 1.0 / (URGENT_SHARE if line.route.urgent else 1.0)
        self._route_tags[line.route.key] += 1.0
