"""What an operator should look at now, and what to do about it, the most urgent first. What is past does not count."""

import time
from collections.abc import Collection, Iterable, Iterator
from enum import IntEnum, auto
from typing import NamedTuple

import msgspec

from gatepost.config.settings import Settings
from gatepost.model import Channel
from gatepost.outbox.overview import Overview, WaitingMessages
from gatepost.outbox.records import Queue
from gatepost.throttle import BreakerState
from gatepost.upkeep.durations import duration
from gatepost.upkeep.freshness import Freshness
from gatepost.upkeep.status import GatewayStatus, SourceStatus
from gatepost.upkeep.warmups import FullWarmup, clock_time, full_warmups

LONG_REST = 600.0
"""Seconds after which an instance or a host that keeps failing is a problem, although it is tried again and again."""

OLD_QUEUE = 300.0
"""Seconds for which a message may be due before its queue is a problem."""

OLD_CALLBACKS = 1800.0
"""Seconds for which Smartico may not know a status before that is a problem, whatever its host answers to the calls."""

CERTIFICATE_NOTICE = 14 * 86_400.0
"""Seconds before the end of the certificate; most are renewed a month before."""

MAX_LAG = 1.0
"""Seconds by which the event loop may be late."""


class Kind(IntEnum):
    """The kinds of problems, in the order of their urgency."""

    NOT_RUNNING = auto()
    STORE = auto()
    ROUTE_BLOCKED = auto()
    CONTENT_KEY_MISSING = auto()
    CERTIFICATE_ENDED = auto()
    MISCONFIGURED = auto()
    RESTING = auto()
    CAP_REACHED = auto()
    WARMUP_FULL = auto()
    QUEUE_OLD = auto()
    SOURCE_FAILS = auto()
    CONTACTS_REFUSED = auto()
    CONTACTS_STALE = auto()
    HELD = auto()
    CALLBACKS_DEAD = auto()
    CALLBACKS_REST = auto()
    CALLBACKS_OLD = auto()
    CERTIFICATE_ENDS = auto()
    LAG = auto()


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One problem, in words."""

    urgency: int
    kind: str
    """For programs, such as ``queue_old``."""
    subject: str
    """What it is about, such as an instance: with ``kind`` it tells two problems apart."""
    text: str
    cure: str
    """What to do, or what to read."""


class Known(NamedTuple):
    """All that is known of the gateway and its store; None for a part that could not be read."""

    settings: Settings
    gateway: GatewayStatus | None
    store: Overview | None


def problem(kind: Kind, subject: str, text: str, cure: str) -> Problem:
    """Return a problem."""
    return Problem(urgency=kind.value, kind=kind.name.lower(), subject=subject, text=text, cure=cure)


def find_problems(known: Known) -> list[Problem]:
    """Return the problems, the most urgent first."""
    found: list[Problem] = []
    if known.gateway:
        found += _gateway_problems(known.gateway)
        found += _instance_problems(known.settings, known.gateway)
        for source in known.gateway.sources:
            found += _source_problems(source)
        found += _target_problems(known.gateway)
    if known.store:
        blocked = {one.subject for one in found if one.kind == Kind.ROUTE_BLOCKED.name.lower()}
        for full in full_warmups(known.settings, known.store, known.gateway):
            found.append(_warmup_problem(full))
            blocked.update(full.routes)
        found += _queue_problems(known.settings, known.store, blocked)
        found += _store_problems(known.store)
    return by_urgency(found)


def by_urgency(found: Iterable[Problem]) -> list[Problem]:
    """Return problems in the order of their urgency."""
    return sorted(found, key=lambda one: one.urgency)


def _gateway_problems(gateway: GatewayStatus) -> Iterator[Problem]:
    if gateway.store_fails:
        yield problem(
            Kind.STORE,
            "",
            "the store refuses writes, so requests are answered with code 12",
            "look for claim_failed and sweep_failed in the log: the disk may be full, or the database away",
        )
    for key, count in gateway.missing_keys.items():
        yield problem(
            Kind.CONTENT_KEY_MISSING,
            key,
            f"messages wait because their content can't be read: {count}; store.content_keys does not have the key {key}",
            "put that key back, as the last entry, and call gatepost reload: nothing is lost until their lifetime ends",
        )
    if gateway.lag > MAX_LAG:
        yield problem(
            Kind.LAG,
            "",
            f"the event loop was late by {gateway.lag:.1f} s within the last minute",
            "look for loop_blocked, process_stalled and plugin_violation in the log: they name the code",
        )
    if gateway.certificate_ends_at is not None:
        left = gateway.certificate_ends_at - time.time()
        renew = "renew the files of server.certificate and server.key; no restart is needed"
        if left <= 0:
            text = f"the TLS certificate ended {duration(-left)} ago: Smartico can't connect"
            yield problem(Kind.CERTIFICATE_ENDED, "", text, renew)
        elif left < CERTIFICATE_NOTICE:
            yield problem(Kind.CERTIFICATE_ENDS, "", f"the TLS certificate ends in {duration(left)}", renew)


def _instance_problems(settings: Settings, gateway: GatewayStatus) -> Iterator[Problem]:
    states = {one.instance: one for one in gateway.plugins}
    for one in gateway.plugins:
        if one.misconfigured:
            yield problem(
                Kind.MISCONFIGURED,
                one.instance,
                f"plugins.{one.instance} is misconfigured: {one.reason}",
                "mend its table or its account; gatepost check --live tries it",
            )
        elif one.failing_for >= LONG_REST and one.state == BreakerState.RESTING:
            yield problem(
                Kind.RESTING,
                one.instance,
                f"plugins.{one.instance} has failed for {duration(one.failing_for)}: {one.reason}",
                "read its provider's status page, or pause it: gatepost pause --plugin " + one.instance,
            )
    for channel in Channel:
        for position, route in enumerate(settings.routes.of(channel)):
            # One with the weight 0 gets no messages.
            names = [name for name in route.instances if route.split.get(name, 1.0)]
            resting = [states[name].state == BreakerState.RESTING for name in names if name in states]
            if resting and all(resting):
                yield problem(
                    Kind.ROUTE_BLOCKED,
                    route.name,
                    f"{settings.routes.key(channel, position)}: none of its plugins can send now",
                    "its messages wait; each plugin's reason is below",
                )


def _source_problems(source: SourceStatus) -> Iterator[Problem]:
    name = f"plugins.{source.instance}"
    if source.is_failing:
        yield problem(
            Kind.SOURCE_FAILS,
            source.instance,
            f"{name}, a contact source, fails: {source.failure}",
            "messages to its users wait meanwhile; look for contact_source_unavailable in the log",
        )
    if source.problem:
        yield problem(
            Kind.CONTACTS_REFUSED,
            source.instance,
            f"{name}, a contact source: {source.problem}",
            "mend its data; the log has the whole reason",
        )
    elif source.users == 0:
        yield problem(
            Kind.CONTACTS_REFUSED,
            source.instance,
            f"{name} has no users, so no message of theirs is accepted",
            "check what writes its data",
        )
    yield from _freshness_problems(name, source)


def _freshness_problems(name: str, source: SourceStatus) -> Iterator[Problem]:
    if source.freshness == Freshness.STALE and source.as_of is not None:
        yield problem(
            Kind.CONTACTS_STALE,
            source.instance,
            f"the data of {name} are {duration(time.time() - source.as_of)} old",
            "check what writes them; contacts.stale_after says how old they may be",
        )
    elif source.freshness == Freshness.LOST:
        yield problem(
            Kind.CONTACTS_STALE,
            source.instance,
            f"{name} no longer says how old its data are",
            "check its origin: a replica that says no lag may have stopped to follow",
        )
    elif source.freshness == Freshness.FUTURE and source.as_of is not None:
        yield problem(
            Kind.CONTACTS_STALE,
            source.instance,
            f"the data of {name} are of a time {duration(source.as_of - time.time())} from now, so their age is unknown",
            "check the clocks of this machine and of the one that writes them",
        )


def _target_problems(gateway: GatewayStatus) -> Iterator[Problem]:
    for one in gateway.resting_targets:
        if one.failing_for >= LONG_REST:
            yield problem(
                Kind.CALLBACKS_REST,
                f"{one.client} {one.target}",
                f"callbacks of client {one.client} to {one.target} have failed for "
                f"{duration(one.failing_for)}: {one.reason}",
                "statuses wait and are not lost; ask who runs that host",
            )


def _queue_problems(settings: Settings, store: Overview, blocked: Collection[str]) -> Iterator[Problem]:
    for one in store.waiting:
        if one.overdue < OLD_QUEUE or one.route in blocked or _is_paused(settings, store, one):
            continue
        where = f"{one.channel}, route {one.route or 'not decided'}, client {one.client}"
        yield problem(
            Kind.QUEUE_OLD,
            where,
            f"messages wait: {where}, the oldest due for {duration(one.overdue)}",
            "see whether a plugin rests or is at its per_second or warm-up cap, or a contact source fails",
        )


def _warmup_problem(full: FullWarmup) -> Problem:
    one = full.warmup
    return problem(
        Kind.WARMUP_FULL,
        one.instance,
        f"plugins.{one.instance} is at its warm-up cap of {one.cap:,} {'today' if one.per == 'day' else 'this hour'}: "
        f"{full.messages:,} wait until {clock_time(one.ends_at)}",
        "they wait unless their lifetime ends first; to send them now, add another plugin to their route",
    )


def _is_paused(settings: Settings, store: Overview, waiting: WaitingMessages) -> bool:
    """Return whether messages wait for the end of a pause, of all or of each plugin of their route."""
    channel = Channel(waiting.channel)
    queue = Queue(0, channel, waiting.route, waiting.client)
    route = next((one for one in settings.routes.of(channel) if one.name == waiting.route), None)
    instances = route.instances if route else ()
    paused = [any(pause.scope.matches(queue, name) for pause in store.pauses) for name in instances]
    return waiting.paused or (bool(paused) and all(paused))


def _store_problems(store: Overview) -> Iterator[Problem]:
    for limit in store.limits:
        if limit.used >= limit.cap:
            until = "until 00:00Z" if limit.daily else "until some have ended"
            yield problem(
                Kind.CAP_REACHED,
                limit.setting,
                f"{limit.setting} is reached ({limit.cap:,}): messages are refused {until}",
                "raise it in gatepost.toml and reload, or find out who sends so much",
            )
    if held := sum(one.held for one in store.waiting):
        yield problem(
            Kind.HELD, "", f"held messages: {held}", "decide about them: gatepost messages list held"
        )
    if store.callbacks.age > OLD_CALLBACKS:
        yield problem(
            Kind.CALLBACKS_OLD,
            "",
            f"callbacks wait: {store.callbacks.waiting:,}, the oldest for {duration(store.callbacks.age)}",
            "look for callback_retry in the log, which says why; then gatepost messages tell makes them now",
        )
    if store.callbacks.dead:
        yield problem(
            Kind.CALLBACKS_DEAD,
            "",
            f"callbacks that were given up: {store.callbacks.dead}",
            "see gatepost messages list --dead; gatepost messages tell makes them again",
        )
