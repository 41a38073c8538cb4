"""Faults of the routes, in a configuration whose keys all have the right types.

Names of plugins and clients are checked where the file is read.
"""

import math
import re
from collections.abc import Callable, Collection, Iterator, Sequence

from gatepost.config.routes import Route
from gatepost.config.settings import Settings
from gatepost.errors import Fault
from gatepost.model import Channel
from gatepost.routing.conditions import canonical_domain
from gatepost.routing.countries import calling_code, countries_with_prefix
from gatepost.routing.reachability import unreachable_rules
from gatepost.routing.senders import sender_faults

MAX_REFUSAL = 200
"""Characters of the text of a refusal."""

_PREFIX = re.compile(r"\+[1-9][0-9]{0,6}", re.ASCII)
"""At most seven digits: more would come close to a person's number, which the configuration must not hold."""

_ON_NUMBERS = ("countries", "prefixes")
_ON_ADDRESSES = ("domains",)

_Problem = tuple[str, str]
"""A key of the rule, empty for the rule as a whole, and what is wrong with it."""


def rule_faults(settings: Settings, faulty_keys: Collection[str]) -> Iterator[Fault]:
    """Yield the faults of all rules; ``faulty_keys`` have one already, and the settings hold a default instead."""
    yield from _repeated_names(settings)
    for channel in Channel:
        sound = set()
        for position, route in enumerate(settings.routes.of(channel)):
            rule = settings.routes.key(channel, position)
            is_whole = not any(key == rule or key.startswith(f"{rule}.") for key in faulty_keys)
            problems = [*_condition_problems(route, channel), *_action_problems(route, is_whole=is_whole)]
            for key, problem in problems:
                yield Fault(settings.routes.key(channel, position, key), problem)
            if is_whole and not problems:
                sound.add(position)
        yield from _unreachable(settings, channel, sound)


def _repeated_names(settings: Settings) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for channel in Channel:
        for position, route in enumerate(settings.routes.of(channel)):
            rule = settings.routes.key(channel, position)
            other = first.setdefault(route.name, rule)
            if route.name and other != rule:
                problem = f"is also the name of {other}: `gatepost pause` and the statistics use it"
                yield Fault(settings.routes.key(channel, position, "name"), problem)


def _unreachable(settings: Settings, channel: Channel, sound: Collection[int]) -> Iterator[Fault]:
    if not settings.clients:
        return
    routes = settings.routes.of(channel)
    for position, taken_by in unreachable_rules(routes, channel, settings.clients, sound):
        before = ", ".join(f"{one + 1} ({routes[one].name})" for one in taken_by)
        text = (
            f"can never be reached: what it could take is taken by rule {before}; put this one before it"
            if taken_by
            else "can never be reached: no number has one of its countries and begins with one of its prefixes"
        )
        yield Fault(settings.routes.key(channel, position), text)


def _condition_problems(route: Route, channel: Channel) -> Iterator[_Problem]:
    wrong, what = (
        (_ON_NUMBERS, "numbers; an email has none: see domains")
        if channel is Channel.EMAIL
        else (_ON_ADDRESSES, "addresses; a text message has none: see countries and prefixes")
    )
    yield from ((key, f"is about {what}") for key in wrong if getattr(route, key))
    if channel is Channel.EMAIL:
        yield from (("senders", problem) for problem in sender_faults(route.senders))
        yield from _entries(
            "domains", route.domains, canonical_domain, "a domain such as gmail.com or *.example"
        )
        return
    yield from _entries("senders", route.senders, bool, "a sender")
    yield from _entries(
        "countries", route.countries, calling_code, "a country in two capital letters, such as GB (not UK)"
    )
    yield from _entries("prefixes", route.prefixes, _PREFIX.fullmatch, "+ and 1 to 7 digits, such as +4477")
    for position, prefix in enumerate(route.prefixes, 1):
        if _PREFIX.fullmatch(prefix) and not countries_with_prefix(prefix):
            yield "prefixes", f"entry {position} has no calling code: no number begins with it"


def _entries(
    key: str, entries: Sequence[str], usable: Callable[[str], object], what: str
) -> Iterator[_Problem]:
    """Yield a problem for each entry of a condition that is not ``what``; none quotes it."""
    for position, entry in enumerate(entries, 1):
        if not usable(entry):
            yield key, f"entry {position} is not {what}"


def _action_problems(route: Route, *, is_whole: bool) -> Iterator[_Problem]:
    actions = [key for key in ("use", "split", "refuse") if getattr(route, key)]
    if len(actions) > 1:
        yield "", f"has {' and '.join(actions)}: choose one of them"
    if not actions and is_whole:
        yield "", "says nothing about its messages: it needs use, split or refuse"
    if route.split:
        yield from _weight_problems(list(route.split.values()))
    if route.balance and not route.split and is_whole:
        yield "balance", "needs split: plugins in use have no shares"
    if route.next_after and len(route.use) < 2 and is_whole:
        yield "next_after", "is for use with several plugins: there is no next one"
    if route.refuse:
        for key in ("urgent", "per_day", "next_after"):
            if getattr(route, key):
                yield key, "has no effect in a rule that refuses"
        if len(route.refuse) > MAX_REFUSAL or not route.refuse.isprintable():
            yield "refuse", f"must be one line of at most {MAX_REFUSAL} characters"


def _weight_problems(weights: Sequence[float]) -> Iterator[_Problem]:
    if len(weights) == 1:
        yield "split", "has a single plugin: write use instead"
    if any(not math.isfinite(weight) or weight < 0 for weight in weights):
        yield "split", "has a weight that is negative, infinite or not a number"
    elif not any(weights):
        yield "split", "has only weights of 0: no plugin would get a message"
