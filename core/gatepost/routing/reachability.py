"""Rules that can never take a message, because the rules before them take every message that they could."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import msgspec

from gatepost.config.routes import Route
from gatepost.model import Channel
from gatepost.routing.conditions import Conditions, domain_listed
from gatepost.routing.countries import calling_code, countries_with_prefix
from gatepost.routing.senders import sender_listed

_Rules = Mapping[int, Conditions]
"""The conditions of rules, by position."""

_SPLIT_BY = ("clients", "senders", "countries", "prefixes", "domains")


def unreachable_rules(
    routes: Sequence[Route], channel: Channel, clients: Collection[str], usable: Collection[int]
) -> Iterator[tuple[int, list[int]]]:
    """Yield the position of each rule that can't be reached, and of the rules that together take its messages.

    Only the rules at the positions ``usable`` are looked at. The list is empty for a rule whose own conditions
    exclude each other.
    """
    rules = {position: _bounded(routes[position], channel, clients) for position in sorted(usable)}
    for position, rule in rules.items():
        before = {other: conditions for other, conditions in rules.items() if other < position}
        taken_by = _taken_by(rule, before)
        if taken_by is not None:
            yield position, sorted(taken_by)


def takes_everything(routes: Sequence[Route], channel: Channel, clients: Collection[str]) -> bool:
    """Return whether each message of the channel fits one of the rules, whatever its sender and recipient are."""
    rules = {position: _bounded(route, channel, clients) for position, route in enumerate(routes)}
    return _taken_by(_bounded(Route(name="any"), channel, clients), rules) is not None


def _bounded(route: Route, channel: Channel, clients: Collection[str]) -> Conditions:
    """Return the conditions of a rule, with all clients where it has no condition on them."""
    conditions = Conditions.of(route, channel)
    return msgspec.structs.replace(conditions, clients=conditions.clients or frozenset(clients))


def _taken_by(scope: Conditions, rules: _Rules) -> set[int] | None:
    """Return rules that together take every message of the scope; None when some message of it fits none of them."""
    if not _possible(scope):
        return set()
    for position, rule in rules.items():
        if _covers(rule, scope):
            return {position}
    for key in _SPLIT_BY:
        entries = getattr(scope, key)
        if len(entries) < 2 or not any(getattr(rule, key) for rule in rules.values()):
            continue
        taken_by: set[int] = set()
        for entry in sorted(entries):
            part = _taken_by(msgspec.structs.replace(scope, **{key: type(entries)([entry])}), rules)
            if part is None:
                return None
            taken_by |= part
        return taken_by
    return None


def _possible(scope: Conditions) -> bool:
    """Return whether a number can meet the conditions on countries and on prefixes at the same time."""
    if not scope.prefixes:
        return True
    return any(
        countries_with_prefix(prefix) & scope.countries if scope.countries else countries_with_prefix(prefix)
        for prefix in scope.prefixes
    )


def _covers(rule: Conditions, scope: Conditions) -> bool:
    """Return whether the rule takes every message of the scope."""
    return (
        scope.clients <= rule.clients
        and _within(scope.senders, rule.senders, lambda entry: sender_listed(entry, rule.senders))
        and _within(scope.domains, rule.domains, lambda entry: domain_listed(entry, rule.domains))
        and _covers_countries(rule.countries, scope)
        and _covers_prefixes(rule.prefixes, scope)
    )


def _within(entries: frozenset[str], of_rule: frozenset[str], listed: Callable[[str], bool]) -> bool:
    return not of_rule or (bool(entries) and all(map(listed, entries)))


def _covers_countries(countries: frozenset[str], scope: Conditions) -> bool:
    if not countries or (scope.countries and scope.countries <= countries):
        return True
    return bool(scope.prefixes) and all(
        countries_with_prefix(prefix) <= countries for prefix in scope.prefixes
    )


def _covers_prefixes(prefixes: tuple[str, ...], scope: Conditions) -> bool:
    if not prefixes or (scope.prefixes and all(one.startswith(prefixes) for one in scope.prefixes)):
        return True
    return bool(scope.countries) and all(
        f"+{calling_code(country)}".startswith(prefixes) for country in scope.countries
    )
