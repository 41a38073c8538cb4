"""A goal that is missed is said so, and so is a figure that was not measured."""

import pytest

from torture import goals, outage
from torture.__main__ import SCENARIOS
from torture.oracle import Verdict

GOOD = {
    "simulation": {"schedules": 10, "violations": 0},
    "powerloss": {"commits": 9, "lost with FULL": 0, "lost with NORMAL": 3},
    "kill-sqlite": {"accepted": 9, "resent a kill": 0.1},
    "kill-postgresql": {"accepted": 9, "resent a kill": 0.0},
    "kill-unreported": {"accepted": 9, "resent of what was in flight": 0.2},
    "poison-sqlite": {
        "accepted": 9,
        "held of them": 1,
        "deaths for each at most": 3,
        "innocents held": 0,
        "innocents sent alone": 1,
    },
    "poison-postgresql": {
        "accepted": 9,
        "held of them": 1,
        "deaths for each at most": 3,
        "innocents held": 0,
        "innocents sent alone": 1,
    },
    "zombie": {"accepted": 9, "finished twice": 0, "outcomes turned away": 1},
    "orphan": {"accepted": 9, "seconds after the lease": 5.0},
    "database": {"accepted": 9, "gateways that ended": 0, "backends cut off": 1},
    "full-disk": {
        "accepted": 9,
        "refused on the full disk": 1,
        "refused while locked": 1,
        "gateways that ended": 0,
    },
    "provider": {"accepted": 9, "faults": 1, "answers lost after taking": 1},
    "provider-hold": {"accepted": 9, "answers lost after taking": 1, "resent": 0},
    "outage": {"accepted": 9, "lost": 0, "peak after, by the usual": 2.0},
    "clock": {"accepted": 9, "days between the first and the last": 365},
    "clock-process": {"accepted": 9, "days between the first and the last": 365},
    "drain": {
        "accepted": 9,
        "ended with another code than 0": 0,
        "stored and not answered": 0,
        "refused": 0,
        "resent": 0,
    },
    "growth-sqlite": {"growth": 1.5},
    "growth-postgresql": {"growth": 1.0},
    "growth-pinned": {"ms beside an old transaction": 1.99},
}
BAD = {
    "simulation": {"violations": 1},
    "powerloss": {"lost with FULL": 1},
    "kill-sqlite": {"resent a kill": 0.11},
    "kill-postgresql": {"resent a kill": 0.2},
    "kill-unreported": {"resent of what was in flight": 1.01},
    "poison-sqlite": {"deaths for each at most": 4},
    "poison-postgresql": {"innocents held": 1},
    "zombie": {"finished twice": 1},
    "orphan": {"seconds after the lease": 5.1},
    "database": {"gateways that ended": 1},
    "full-disk": {"gateways that ended": 1},
    "provider": {"faults": 0},
    "provider-hold": {"resent": 1},
    "outage": {"peak after, by the usual": 2.01},
    "clock": {"days between the first and the last": 0},
    "clock-process": {"days between the first and the last": 0},
    "drain": {"refused": 1},
    "growth-sqlite": {"growth": 1.51},
    "growth-postgresql": {"growth": 1.6},
    "growth-pinned": {"ms beside an old transaction": 2.0},
}


def missed(scenario, figures):
    return [line.figure for line in goals.lines(scenario, figures) if line.reached is False]


def test_every_scenario_has_goals_and_every_goal_a_scenario():
    assert set(SCENARIOS) == set(goals.GOALS) == set(GOOD) == set(BAD)


@pytest.mark.parametrize("scenario", GOOD)
def test_what_is_reached_is_not_missed(scenario):
    assert missed(scenario, GOOD[scenario]) == []


@pytest.mark.parametrize("scenario", BAD)
def test_what_is_missed_is_said_so(scenario):
    assert missed(scenario, {**GOOD[scenario], **BAD[scenario]}) == list(BAD[scenario])


@pytest.mark.parametrize("scenario", GOOD)
def test_what_was_not_measured_is_missed(scenario):
    assert missed(scenario, {"broke off": "RuntimeError()"}) == list(GOOD[scenario])


@pytest.mark.parametrize("violation", [name for name in Verdict.__dataclass_fields__ if name != "resent"])
def test_whatever_the_oracle_found_is_missed(violation):
    assert missed("kill-sqlite", {**GOOD["kill-sqlite"], violation: 1}) == [violation]


def test_what_was_skipped_is_named_and_not_missed():
    (line,) = goals.lines("clock-process", {"skipped": "no compiler"})

    assert line.reached is None
    assert "no compiler" in goals.table([line])


def test_after_an_outage_what_piled_up_goes_out_at_the_usual_rate(tmp_path):
    figures = outage.run(tmp_path, seconds=60, usual=800)

    assert missed("outage", figures) == []
    assert figures["waited when it was over"] > 80


def test_a_breaker_that_lets_everything_out_at_once_is_found(tmp_path):
    figures = outage.run(tmp_path, seconds=240, usual=800, throttle=outage.Herd)

    assert missed("outage", figures) == ["peak after, by the usual"]
