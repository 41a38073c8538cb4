"""What a user asks the statistics for: the parameters of the page, checked."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

import msgspec

from gatepost.config.settings import Settings
from gatepost.config.toml_table import closest_name, suggestion
from gatepost.model import Channel
from gatepost.observe.redaction import looks_private
from gatepost.outbox.moments import parse_moment
from gatepost.outbox.records import Queue
from gatepost.outbox.statistics_report import Dimension, StatisticsFilter
from gatepost.outbox.statistics_table import STATUS
from gatepost.web.admin.known_names import NO_ADDRESSES

CUSTOM = "custom"

PERIODS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", CUSTOM: "Other"}
"""The periods that can be chosen, as the parameter has them and as people read them."""

GROUPINGS = (*(one.value for one in Dimension), STATUS)

DEFAULTS = {"period": "7d", "by": Dimension.DAY.value}

FILTERS = ("client", "channel", "route", "plugin", "country")

_FIELDS = ("period", "since", "until", *FILTERS)

_MOMENT = "give a date or a time in UTC, such as 2027-01-31T09:00"


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """The names that one user can choose."""

    client: Sequence[str]
    route: Sequence[str]
    plugin: Sequence[str]
    channel: Sequence[str] = tuple(channel.value for channel in Channel)


def choices(settings: Settings, queues: Sequence[Queue], clients: Sequence[str]) -> Choices:
    """Return the choices of a user who may see these clients; empty: all of them.

    A user of some clients gets no name that could be another one's.
    """
    routes = [route for channel in Channel for route in settings.routes.of(channel)]
    seen = {queue.route for queue in queues if not clients or queue.client in clients}
    names = seen if clients else seen | {route.name for route in routes}
    return Choices(
        client=sorted(set(clients) or {*settings.clients, *(queue.client for queue in queues)}),
        route=sorted(names - {""}),
        plugin=sorted({name for route in routes if route.name in names for name in route.instances}),
    )


class StatsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, as it was given and as it is meant."""

    values: Mapping[str, str]
    by: Sequence[str]
    """Dimensions and STATUS, in the order of the columns."""
    wanted: StatisticsFilter
    problems: Mapping[str, str]
    """What is wrong with a field, by its name; then nothing can be read."""

    @property
    def dimensions(self) -> Sequence[Dimension]:
        """The dimensions of ``by``."""
        return [Dimension(one) for one in self.by if one != STATUS]

    @property
    def text(self) -> str:
        """The same as the query of a URL."""
        given = {name: value for name, value in self.values.items() if value}
        return urlencode({**given, "by": ",".join(self.by)})


def parse(
    given: Callable[[str], Sequence[str]], can_choose: Choices, clients: Sequence[str], now: float
) -> StatsQuery:
    """Return what the parameters ask for; ``given`` returns the values of one, ``now`` is in seconds.

    A user who may see ``clients`` alone gets those.
    """
    values = {name: next(iter(given(name)), "").strip() for name in _FIELDS}
    words = [word.strip() for text in given("by") or [DEFAULTS["by"]] for word in text.split(",")]
    private = [name for name, value in (*values.items(), ("by", " ".join(words))) if looks_private(value)]
    # Not shown again.
    values |= dict.fromkeys(private, "")
    if not values["period"]:
        values["period"] = CUSTOM if values["since"] or values["until"] else DEFAULTS["period"]
    by = list(dict.fromkeys(words))
    since, until, problems = _period(values, now)
    if unknown := [word for word in by if word not in GROUPINGS]:
        problems["by"] = f"there is no {unknown[0]!r}: choose from {', '.join(GROUPINGS)}"
    problems |= _filter_problems(values, can_choose)
    problems |= dict.fromkeys(private, NO_ADDRESSES)
    wanted = StatisticsFilter()
    if not problems:
        wanted = StatisticsFilter(
            since=since,
            until=until,
            clients=[values["client"]] if values["client"] else clients,
            channel=Channel(values["channel"]) if values["channel"] else None,
            route=values["route"],
            plugin=values["plugin"],
            country=values["country"].upper(),
        )
    by = [word for word in by if word in GROUPINGS]
    return StatsQuery(values=values, by=by, wanted=wanted, problems=problems)


def _period(values: dict[str, str], now: float) -> tuple[float | None, float | None, dict[str, str]]:
    """Return the beginning, the end, and what is wrong with them; write both as texts into ``values``."""
    problems: dict[str, str] = {}
    since = until = None
    if values["period"] not in PERIODS:
        problems["period"] = f"there is no period {values['period']!r}: choose from {', '.join(PERIODS)}"
    elif values["period"] != CUSTOM:
        since = parse_moment(values["period"], now, direction=-1)
    else:
        since, until = (parse_moment(values[name], now, direction=-1) for name in ("since", "until"))
        if since is None:
            problems["since"] = _moment_problem(values["since"])
        if until is None and values["until"]:
            problems["until"] = _moment_problem(values["until"])
        if since is not None and since >= (now if until is None else until):
            problems["since"] = "the beginning must be before the end, and not in the future"
    # As the fields of the form have it.
    for name, moment in (("since", since), ("until", until)):
        if values["period"] == CUSTOM and moment is not None:
            values[name] = datetime.fromtimestamp(int(moment), UTC).replace(tzinfo=None).isoformat()
    return since, until, problems


def _moment_problem(text: str) -> str:
    return f"{text!r} is no time: {_MOMENT}" if text else _MOMENT


def _filter_problems(values: Mapping[str, str], can_choose: Choices) -> dict[str, str]:
    problems = {}
    for name in ("client", "channel", "route"):
        value, known = values[name], getattr(can_choose, name)
        if value and value not in known:
            problems[name] = f"there is no {name} {value!r}: {suggestion(closest_name(value, known), known)}"
    if not values["plugin"].isprintable():
        problems["plugin"] = "a name has no control characters"
    country = values["country"]
    if country and not (len(country) == 2 and country.isascii() and country.isalpha()):
        problems["country"] = f"{country!r} is no country: give its two letters, such as DE"
    return problems
