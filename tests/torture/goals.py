"""The goals of each scenario. A figure that was not measured counts as a missed goal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torture.oracle import Verdict
from torture.replay_oracle import REPLAY_VIOLATIONS

VIOLATIONS = tuple(name for name in Verdict.__dataclass_fields__ if name != "resent")
"""Counts of the oracle that must be 0 in every scenario."""


@dataclass(frozen=True)
class Goal:
    """A figure of a scenario, and the values that reach the goal."""

    figure: str
    text: str
    is_reached: Callable[[Any], bool]


@dataclass(frozen=True)
class Line:
    """One line of the table of results."""

    scenario: str
    figure: str
    measured: str
    goal: str
    reached: bool | None
    """None if the scenario was skipped."""


def _none(figure: str) -> Goal:
    return Goal(figure, "0", lambda value: value == 0)


def _some(figure: str) -> Goal:
    """Return a goal that makes sure that the scenario has tested something."""
    return Goal(figure, "at least 1", lambda value: value > 0)


def _at_most(figure: str, bound: float) -> Goal:
    return Goal(figure, f"at most {bound:g}", lambda value: value <= bound)


_ACCEPTED = _some("accepted")

_POISON = (
    _ACCEPTED,
    _some("poison messages held"),
    _at_most("max deaths per poison message", 3),
    _none("other messages held"),
    _some("other messages sent alone"),
)

_REPLAYS = (
    _ACCEPTED,
    _some("failures"),
    _some("repeats dropped"),
    _some("retried by the operator"),
    *map(_none, REPLAY_VIOLATIONS),
    _none("tries on disk after their window"),
)

_BOUNCES = (
    _ACCEPTED,
    _some("bounces"),
    _some("bounces tried again"),
    _none("bounces refused"),
    _none("bounces not taken"),
    _some("callbacks repeated"),
    _none("callbacks repeated after they were stored"),
)

_SHARED_RATE = (
    _ACCEPTED,
    _none("sent twice"),
    _none("beyond the rate"),
    Goal("part of the rate", "at least 0.95", lambda value: value >= 0.95),
)

GOALS: Mapping[str, Sequence[Goal]] = {
    "simulation": (_some("schedules"), _none("violations")),
    "powerloss": (_some("commits"), _none("lost with FULL"), _some("lost with NORMAL")),
    "kill-sqlite": (_ACCEPTED, _at_most("resent per kill", 0.1)),
    "kill-postgresql": (_ACCEPTED, _at_most("resent per kill", 0.1)),
    "kill-unreported": (_ACCEPTED, _at_most("resent / max in flight", 1.0)),
    "kill-replays-sqlite": _REPLAYS,
    "kill-replays-postgresql": _REPLAYS,
    "bounces-sqlite": _BOUNCES,
    "bounces-postgresql": _BOUNCES,
    "poison-sqlite": _POISON,
    "poison-postgresql": _POISON,
    "zombie": (_ACCEPTED, _none("finished twice"), _some("late results rejected")),
    "orphan": (_ACCEPTED, _at_most("max seconds from lease to takeover", 5.0)),
    "rolling-upgrade": (
        _ACCEPTED,
        _none("exit codes other than 0"),
        _none("resent"),
        _some("starts on newer tables"),
        _some("tables updated"),
    ),
    "database": (_ACCEPTED, _none("gateways that ended"), _some("connections terminated")),
    "full-disk": (
        _ACCEPTED,
        _some("refused on the full disk"),
        _some("refused on the locked file"),
        _none("gateways that ended"),
    ),
    "provider": (_ACCEPTED, _some("failures"), _some("answers lost")),
    "provider-hold": (_ACCEPTED, _some("answers lost"), _none("resent")),
    "outage": (_ACCEPTED, _none("lost"), _at_most("peak after / usual peak", 2.0)),
    "fairness": (
        _ACCEPTED,
        _at_most("seconds of the other client", 2.0),
        _at_most("seconds of the urgent message", 2.0),
    ),
    "shared-rate": _SHARED_RATE,
    "shared-rate-low": _SHARED_RATE,
    "shared-rate-slow-lookups": _SHARED_RATE,
    "clock": (_ACCEPTED, _some("days from the first to the last end")),
    "clock-process": (_ACCEPTED, _some("days from the first to the last end")),
    "drain": (
        _ACCEPTED,
        _none("exit codes other than 0"),
        _none("stored but not answered"),
        _none("refused"),
        _none("resent"),
    ),
    "growth-sqlite": (_at_most("growth ratio", 1.5),),
    "growth-postgresql": (_at_most("growth ratio", 1.5),),
    "growth-pinned": (Goal("ms with an old transaction", "under 2", lambda value: value < 2),),
}


def lines(scenario: str, figures: Mapping[str, Any]) -> list[Line]:
    """Return a line for each goal of a scenario, and for each violation that the oracle found."""
    if "skipped" in figures:
        return [Line(scenario, "skipped", str(figures["skipped"]), "", reached=None)]
    goals = GOALS[scenario]
    violations = [
        Line(scenario, name, str(figures[name]), "0", reached=False)
        for name in VIOLATIONS
        if figures.get(name) and name not in {goal.figure for goal in goals}
    ]
    return violations + [_line(scenario, goal, figures) for goal in goals]


def _line(scenario: str, goal: Goal, figures: Mapping[str, Any]) -> Line:
    if goal.figure not in figures:
        return Line(scenario, goal.figure, "not measured", goal.text, reached=False)
    value = figures[goal.figure]
    return Line(scenario, goal.figure, str(value), goal.text, reached=bool(goal.is_reached(value)))


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a table in text."""
    results = {True: "reached", False: "MISSED", None: ""}
    rows = [
        ("scenario", "figure", "measured", "goal", ""),
        *((line.scenario, line.figure, line.measured, line.goal, results[line.reached]) for line in lines),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip()
        for row in rows
    )
