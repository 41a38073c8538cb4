"""What each scenario has to reach. A figure that was not measured is a goal that was missed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torture.oracle import Verdict

VIOLATIONS = tuple(name for name in Verdict.__dataclass_fields__ if name != "resent")
"""Counts of the oracle's that must be 0 whatever was broken."""


@dataclass(frozen=True)
class Goal:
    """One figure of a scenario, and when it is good."""

    figure: str
    words: str
    reached: Callable[[Any], bool]


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    scenario: str
    figure: str
    measured: str
    goal: str
    reached: bool | None
    """None: skipped, and named as such."""


def _none(figure: str) -> Goal:
    return Goal(figure, "0", lambda value: value == 0)


def _some(figure: str) -> Goal:
    """Without it the scenario would have shown nothing."""
    return Goal(figure, "some", lambda value: value > 0)


def _at_most(figure: str, bound: float) -> Goal:
    return Goal(figure, f"at most {bound:g}", lambda value: value <= bound)


_ACCEPTED = _some("accepted")

_POISON = (
    _ACCEPTED,
    _some("held of them"),
    _at_most("deaths for each at most", 3),
    _none("innocents held"),
    _some("innocents sent alone"),
)

GOALS: Mapping[str, Sequence[Goal]] = {
    "simulation": (_some("schedules"), _none("violations")),
    "powerloss": (_some("commits"), _none("lost with FULL"), _some("lost with NORMAL")),
    "kill-sqlite": (_ACCEPTED, _at_most("resent a kill", 0.1)),
    "kill-postgresql": (_ACCEPTED, _at_most("resent a kill", 0.1)),
    "kill-unreported": (_ACCEPTED, _at_most("resent of what was in flight", 1.0)),
    "poison-sqlite": _POISON,
    "poison-postgresql": _POISON,
    "zombie": (_ACCEPTED, _none("finished twice"), _some("outcomes turned away")),
    "orphan": (_ACCEPTED, _at_most("seconds after the lease", 5.0)),
    "database": (_ACCEPTED, _none("gateways that ended"), _some("backends cut off")),
    "full-disk": (
        _ACCEPTED,
        _some("refused on the full disk"),
        _some("refused while locked"),
        _none("gateways that ended"),
    ),
    "provider": (_ACCEPTED, _some("faults"), _some("answers lost after taking")),
    "provider-hold": (_ACCEPTED, _some("answers lost after taking"), _none("resent")),
    "outage": (_ACCEPTED, _none("lost"), _at_most("peak after, by the usual", 2.0)),
    "clock": (_ACCEPTED, _some("days between the first and the last")),
    "clock-process": (_ACCEPTED, _some("days between the first and the last")),
    "drain": (
        _ACCEPTED,
        _none("ended with another code than 0"),
        _none("stored and not answered"),
        _none("refused"),
        _none("resent"),
    ),
    "growth-sqlite": (_at_most("growth", 1.5),),
    "growth-postgresql": (_at_most("growth", 1.5),),
    "growth-pinned": (Goal("ms beside an old transaction", "under 2", lambda value: value < 2),),
}


def lines(scenario: str, figures: Mapping[str, Any]) -> list[Line]:
    """The figures of a scenario that have a goal, and all that the oracle found."""
    if "skipped" in figures:
        return [Line(scenario, "skipped", str(figures["skipped"]), "", reached=None)]
    goals = GOALS[scenario]
    found = [
        Line(scenario, name, str(figures[name]), "0", reached=False)
        for name in VIOLATIONS
        if figures.get(name) and name not in {goal.figure for goal in goals}
    ]
    return found + [_line(scenario, goal, figures) for goal in goals]


def _line(scenario: str, goal: Goal, figures: Mapping[str, Any]) -> Line:
    if goal.figure not in figures:
        return Line(scenario, goal.figure, "not measured", goal.words, reached=False)
    value = figures[goal.figure]
    return Line(scenario, goal.figure, str(value), goal.words, reached=bool(goal.reached(value)))


def table(every: Sequence[Line]) -> str:
    """All lines, one below the other."""
    words = {True: "reached", False: "MISSED", None: ""}
    rows = [
        ("scenario", "figure", "measured", "goal", ""),
        *((one.scenario, one.figure, one.measured, one.goal, words[one.reached]) for one in every),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip()
        for row in rows
    )
