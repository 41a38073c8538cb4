"""The planner: never more than the free slots, even shares between routes and clients, nobody forgotten."""

from collections import Counter
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.config.routes import Route
from gatepost.config.settings import InstanceSettings
from gatepost.delivery.planner import MAX_CLAIMS, Demand, Planner
from gatepost.delivery.routes import RouteMember, SendingRoute
from gatepost.errors import Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel
from gatepost.outbox import Claim, Queue
from gatepost.outbox.cohorts import Group
from gatepost.outbox.turns import Rate
from gatepost.plugin_host.instances import Instance
from gatepost.routing.balance import Share
from gatepost.routing.shares import Shares
from gatepost.throttle import Throttle


class Nothing:
    """A provider that is never called."""

    @hookimpl
    async def send_sms(self, message):
        raise AssertionError


def member(name, concurrency=4, per_second=0.0):
    instance = Instance(InstanceSettings(name=name, use=name), Nothing())
    return RouteMember(instance, Throttle(concurrency=concurrency, per_second=per_second))


def route(name, *members, weights=None, **rule):
    names = [one.name for one in members]
    choice = {"split": dict(zip(names, weights, strict=True))} if weights else {"use": tuple(names)}
    return SendingRoute(Channel.SMS, Route(name=name, **choice, **rule), members)


class Deployment:
    """Queues with messages, and a provider behind each member that answers when the test says so."""

    def __init__(self, paused=None):
        self.planner = Planner(paused) if paused else Planner()
        self.now = 0.0
        self.ids = count(1)
        self.routes = {}
        self.backlog = Counter()
        self.in_flight = Counter()
        self.sends = []
        """The queue and the member of each message, in the order in which they were claimed."""

    def queue(self, its_route, client="brand", messages=0):
        queue = Queue(next(self.ids), Channel.SMS, its_route.key[1], client)
        self.routes[queue] = its_route
        self.backlog[queue] = messages
        return queue

    def plan(self):
        demands = [Demand(queue, self.routes[queue]) for queue, due in self.backlog.items() if due]
        return self.planner.plan(demands, self.now)

    def step(self, country=""):
        """Make one plan and claim what it says; return how many messages that were."""
        claimed = 0
        for deal in self.plan():
            queue = deal.demand.queue
            number = min(self.backlog[queue], len(deal.members))
            claims = [self.claim(queue, country) for _ in range(number)]
            self.begin(queue, self.planner.assign(deal, claims))
            self.backlog[queue] -= len(claims)
            claimed += len(claims)
        return claimed

    def claim(self, queue, country):
        return Claim(
            id=str(next(self.ids)),
            attempt=1,
            queue=queue,
            country=country,
            ext_user_id="anna",
            preview="",
            content=b"",
            lifetime=60.0,
        )

    def begin(self, queue, used):
        for one in used:
            self.now += one.throttle.begin(self.now)
            self.in_flight[one] += 1
            self.sends.append((queue, one))

    def answer(self, one, number=None, failure=None):
        """End some sends of a member, or all."""
        for _ in range(self.in_flight[one] if number is None else min(number, self.in_flight[one])):
            one.throttle.end(self.now, failure)
            self.in_flight[one] -= 1

    def rest(self, one):
        one.throttle.begin(self.now)
        one.throttle.end(self.now, Unavailable("busy", retry_after=60.0))

    def sent(self):
        return Counter(queue for queue, _ in self.sends)

    def sent_by(self):
        return Counter(one.name for _, one in self.sends)


def test_a_single_queue_gets_every_slot():
    relay = member("relay", 4)
    it = Deployment()
    it.queue(route("sms", relay), messages=100)
    (deal,) = it.plan()
    assert list(deal.members) == [relay] * 4


def test_the_slots_are_dealt_evenly_between_routes_and_then_between_clients():
    relay = member("relay", 12)
    it = Deployment()
    one, other = route("one", relay), route("other", relay)
    alone = it.queue(one, messages=100)
    shared = [it.queue(other, client, messages=100) for client in ("a", "b")]
    it.step()
    assert it.sent() == {alone: 6, shared[0]: 3, shared[1]: 3}


def test_with_fewer_slots_than_queues_each_gets_its_turn():
    relay = member("relay", 1)
    it = Deployment()
    its_route = route("sms", relay)
    queues = [it.queue(its_route, str(number), messages=10) for number in range(40)]
    for _ in queues:
        it.step()
        it.answer(relay)
    assert it.sent() == dict.fromkeys(queues, 1)


def test_a_queue_that_was_empty_for_long_does_not_catch_up():
    relay = member("relay", 2)
    it = Deployment()
    its_route = route("sms", relay)
    busy, idle, late = (it.queue(its_route, name) for name in ("busy", "idle", "late"))
    it.backlog[busy] = it.backlog[idle] = 1_000
    for _ in range(100):
        it.step()
        it.answer(relay)
    it.backlog[late] = 1_000
    before = it.sent()
    for _ in range(30):
        it.step()
        it.answer(relay)
    gained = it.sent() - before
    shares = [gained[queue] for queue in (busy, idle, late)]
    assert max(shares) - min(shares) <= 2


def test_one_message_of_another_client_is_next_however_long_the_queue_of_the_first():
    relay = member("relay", 1)
    it = Deployment()
    its_route = route("sms", relay)
    it.queue(its_route, "a", messages=100_000)
    for _ in range(1_000):
        it.step()
        it.answer(relay)
    other = it.queue(its_route, "b", messages=1)
    it.step()
    it.answer(relay)
    it.step()
    assert other in {queue for queue, _ in it.sends[-2:]}


def test_of_ten_slots_nine_are_for_urgent_messages_while_both_wait():
    relay = member("relay", 1)
    it = Deployment()
    plain = it.queue(route("plain", relay), messages=1_000)
    for _ in range(200):
        it.step()
        it.answer(relay)
    urgent = it.queue(route("urgent", relay, urgent=True), messages=1_000)
    it.sends.clear()
    for _ in range(200):
        it.step()
        it.answer(relay)
    assert it.sends[0][0] == urgent
    order = [queue for queue, _ in it.sends]
    for start in range(len(order) - 10):
        assert order[start : start + 10].count(plain) in {0, 1, 2}
    assert order.count(plain) == pytest.approx(20, abs=1)


def test_a_message_that_is_not_urgent_takes_a_slot_of_another_instance_at_once():
    one, other = member("one", 1), member("other", 1)
    it = Deployment()
    it.queue(route("urgent", one, urgent=True), messages=10)
    plain = it.queue(route("plain", other), messages=1)
    it.step()
    assert it.sent()[plain] == 1


def test_the_first_member_that_works_is_waited_for():
    first, second = member("first", 1), member("second", 1)
    it = Deployment()
    its_route = route("sms", first, second)
    it.queue(its_route, messages=10)
    assert it.step() == 1
    assert it.step() == 0
    assert its_route.choice(first, "", it.now) == ""
    it.answer(first)
    it.rest(first)
    assert it.step() == 1
    assert it.sent_by() == {"first": 1, "second": 1}
    assert its_route.choice(second, "", it.now) == "the first of the route that works; first rests"


def test_a_split_gives_each_member_its_share_and_waits_for_a_busy_one():
    one, other = member("one", 100), member("other", 2)
    it = Deployment()
    its_route = route("sms", one, other, weights=(70, 30))
    it.queue(its_route, messages=1_000)
    it.step()
    by_member = it.sent_by()
    assert by_member["other"] == 2
    assert by_member["one"] <= 7
    for _ in range(200):
        it.answer(one)
        it.answer(other, 1)
        it.step()
    by_member = it.sent_by()
    assert by_member["one"] / sum(by_member.values()) == pytest.approx(0.7, abs=0.02)
    assert its_route.choice(other, "", it.now) == "split 70:30"


def test_what_rests_loses_its_share_and_gets_it_back():
    one, other = member("one", 10), member("other", 10)
    it = Deployment()
    its_route = route("sms", one, other, weights=(50, 50))
    it.queue(its_route, messages=1_000)
    it.rest(one)
    it.step()
    assert it.sent_by() == {"other": 10}
    assert its_route.choice(other, "", it.now) == "split 50:50; one rests"
    it.now += 61.0
    one.throttle.begin(it.now)
    one.throttle.end(it.now, None)
    it.sends.clear()
    for _ in range(10):
        it.answer(one)
        it.answer(other)
        it.step()
    assert it.sent_by()["one"] == pytest.approx(it.sent_by()["other"], abs=2)


def test_the_share_counts_over_all_clients_of_a_route():
    """Each of many clients with one message would otherwise use the member with the largest share."""
    one, other = member("one", 100), member("other", 100)
    it = Deployment()
    its_route = route("sms", one, other, weights=(70, 30))
    for number in range(100):
        queue = it.queue(its_route, str(number), messages=1)
        it.step()
        assert not it.backlog[queue]
    assert it.sent_by() == {"one": 70, "other": 30}


def test_messages_to_another_country_have_shares_of_their_own():
    shares = Shares({"sms": {"one": 1, "other": 1}})
    reason = "one delivered 0 % of its last 90 in GB (other 93 %)"
    shares.replace({Group("sms", "GB"): {"one": Share(factor=1e-9, reason=reason, decided=0)}})
    one, other = member("one", 50), member("other", 50)
    rule = Route(name="sms", split={"one": 1, "other": 1})
    it = Deployment()
    its_route = SendingRoute(Channel.SMS, rule, [one, other], shares)
    queue = it.queue(its_route)
    for country in ("GB", "", "GB", ""):
        it.sends.clear()
        it.backlog[queue] = 20
        it.step(country)
        expected = {"other": 20} if country else {"one": 10, "other": 10}
        assert it.sent_by() == expected
        it.answer(one)
        it.answer(other)
    assert its_route.choice(other, "GB", it.now) == f"other, because {reason}"
    assert its_route.choice(other, "FR", it.now) == "split 1:1"


def test_a_message_to_another_country_takes_no_member_without_a_turn():
    """A claim takes the turns of the planned members, where replicas share a rate."""
    free, rated = member("free", 1), member("rated", 4)._replace(rate=Rate("rated", 50_000))
    it = Deployment()
    queue = it.queue(route("shared", free, rated, weights=[8, 2]), messages=100)
    for number in range(40):
        for deal in it.plan():
            claims = [it.claim(queue, "GB" if number % 2 else "FR") for _ in deal.members]
            used = it.planner.assign(deal, claims)
            assert Counter(used)[rated] <= Counter(deal.members)[rated]
            it.begin(queue, used)
        it.answer(free)
        it.answer(rated)


def test_what_is_paused_gets_nothing_and_holds_up_nobody():
    relay, spare = member("relay", 4), member("spare", 4)
    paused = set()
    it = Deployment(lambda queue, instance: (queue.client, instance) in paused)
    its_route = route("sms", relay, spare)
    stopped, other = (it.queue(its_route, client, messages=100) for client in ("a", "b"))
    paused.add(("a", ""))
    it.step()
    assert it.sent() == {other: 4}
    paused.symmetric_difference_update({("a", ""), ("a", "relay")})
    it.step()
    assert it.sent() == {other: 4, stopped: 4}
    assert it.sent_by() == {"relay": 4, "spare": 4}


def test_the_number_of_claims_is_bounded_and_all_queues_get_their_turn():
    relay = member("relay", 1_000)
    it = Deployment()
    its_route = route("sms", relay)
    queues = [it.queue(its_route, str(number), messages=10_000) for number in range(200)]
    for _ in range(-(-len(queues) // MAX_CLAIMS)):
        assert len(it.plan()) <= MAX_CLAIMS
        it.step()
        it.answer(relay)
    assert it.sent().keys() == set(queues)


def test_the_next_claim_is_when_the_rate_allows_it():
    relay = member("relay", 10, per_second=2.0)
    it = Deployment()
    its_route = route("sms", relay)
    queue = it.queue(its_route, messages=10)
    it.step()
    wait = it.planner.next_claim_in([Demand(queue, its_route)], it.now)
    assert 0.0 < wait <= 0.5
    it.now += wait
    assert it.step() == 1


@st.composite
def deployments(draw):
    """Return a deployment with some routes over some instances, and queues on them."""
    members = [member(f"m{number}", draw(st.integers(1, 20))) for number in range(draw(st.integers(1, 4)))]
    it = Deployment()
    for number in range(draw(st.integers(1, 5))):
        on_route = draw(st.lists(st.sampled_from(members), min_size=1, max_size=3, unique=True))
        weights = draw(st.none() | st.tuples(*[st.integers(1, 9) for _ in on_route]))
        its_route = route(f"r{number}", *on_route, weights=weights, urgent=draw(st.booleans()))
        for client in range(draw(st.integers(1, 12))):
            it.queue(its_route, str(client), messages=draw(st.sampled_from([0, 1, 5, 100_000])))
    return it, members


@settings(max_examples=60, deadline=None)
@given(deployments(), st.data())
def test_never_more_than_the_free_slots_and_nobody_is_forgotten(deployment, data):
    it, members = deployment
    slots = sum(one.throttle.sends_allowed(0.0) for one in members)
    backlogged = [queue for queue, due in it.backlog.items() if due]
    # Each round serves at least one of those that have waited longest; an urgent one before it nine times.
    for _ in range(10 * (len(backlogged) + slots)):
        free = {one: one.throttle.sends_allowed(it.now) for one in members}
        deals = it.plan()
        assert len(deals) <= MAX_CLAIMS
        dealt = Counter(one for deal in deals for one in deal.members)
        assert all(dealt[one] <= free[one] for one in dealt)
        it.step()
        for one in members:
            it.answer(one, data.draw(st.integers(1, 20), label="answers"))
        if it.sent().keys() >= set(backlogged):
            break
    assert it.sent().keys() >= set(backlogged)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(2, 12), st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_two_clients_that_wait_all_the_time_get_the_same(concurrency, clients, answers):
    relay = member("relay", concurrency)
    it = Deployment()
    its_route = route("sms", relay)
    for client in range(clients):
        it.queue(its_route, str(client), messages=100_000)
    for number in answers:
        it.step()
        sent = it.sent()
        assert max(sent.values()) - min(sent[queue] for queue in it.routes) <= 1
        it.answer(relay, number)
