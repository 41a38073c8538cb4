"""Each goal is missed by a bad figure and by a missing one, and a planted breaker misses that of the outage."""

import pytest

from torture import fairness, goals, outage
from torture.__main__ import SCENARIOS
from torture.oracle import Verdict
from torture.replay_oracle import REPLAY_VIOLATIONS

REPLAYS = {
    "accepted": 9,
    "failures": 1,
    "repeats dropped": 1,
    "retried by the operator": 1,
    **dict.fromkeys(REPLAY_VIOLATIONS, 0),
    "tries on disk after their window": 0,
}
BOUNCES = {
    "accepted": 9,
    "bounces": 9,
    "bounces tried again": 1,
    "bounces refused": 0,
    "bounces not taken": 0,
    "callbacks repeated": 1,
    "callbacks repeated after they were stored": 0,
}
REACHED = {
    "simulation": {"schedules": 10, "violations": 0},
    "powerloss": {"commits": 9, "lost with FULL": 0, "lost with NORMAL": 3},
    "kill-sqlite": {"accepted": 9, "resent per kill": 0.1},
    "kill-postgresql": {"accepted": 9, "resent per kill": 0.0},
    "kill-unreported": {"accepted": 9, "resent / max in flight": 0.2},
    "kill-replays-sqlite": REPLAYS,
    "kill-replays-postgresql": REPLAYS,
    "bounces-sqlite": BOUNCES,
    "bounces-postgresql": BOUNCES,
    "poison-sqlite": {
        "accepted": 9,
        "poison messages held": 1,
        "max deaths per poison message": 3,
        "other messages held": 0,
        "other messages sent alone": 1,
    },
    "poison-postgresql": {
        "accepted": 9,
        "poison messages held": 1,
        "max deaths per poison message": 3,
        "other messages held": 0,
        "other messages sent alone": 1,
    },
    "zombie": {"accepted": 9, "finished twice": 0, "late results rejected": 1},
    "orphan": {"accepted": 9, "max seconds from lease to takeover": 5.0},
    "rolling-upgrade": {
        "accepted": 9,
        "exit codes other than 0": 0,
        "resent": 0,
        "starts on newer tables": 2,
        "tables updated": 1,
    },
    "database": {"accepted": 9, "gateways that ended": 0, "connections terminated": 1},
    "full-disk": {
        "accepted": 9,
        "refused on the full disk": 1,
        "refused on the locked file": 1,
        "gateways that ended": 0,
    },
    "provider": {"accepted": 9, "failures": 1, "answers lost": 1},
    "provider-hold": {"accepted": 9, "answers lost": 1, "resent": 0},
    "outage": {"accepted": 9, "lost": 0, "peak after / usual peak": 2.0},
    "fairness": {
        "accepted": 9,
        "seconds of the other client": 2.0,
        "seconds of the urgent message": 0.1,
    },
    "shared-rate": {"accepted": 9, "sent twice": 0, "beyond the rate": 0, "part of the rate": 0.95},
    "shared-rate-low": {"accepted": 9, "sent twice": 0, "beyond the rate": 0, "part of the rate": 1.0},
    "shared-rate-slow-lookups": {
        "accepted": 9,
        "sent twice": 0,
        "beyond the rate": 0,
        "part of the rate": 1.0,
    },
    "clock": {"accepted": 9, "days from the first to the last end": 365},
    "clock-process": {"accepted": 9, "days from the first to the last end": 365},
    "drain": {
        "accepted": 9,
        "exit codes other than 0": 0,
        "stored but not answered": 0,
        "refused": 0,
        "resent": 0,
    },
    "growth-sqlite": {"growth ratio": 1.5},
    "growth-postgresql": {"growth ratio": 1.0},
    "growth-pinned": {"ms with an old transaction": 1.99},
}
MISSED = {
    "simulation": {"violations": 1},
    "powerloss": {"lost with FULL": 1},
    "kill-sqlite": {"resent per kill": 0.11},
    "kill-postgresql": {"resent per kill": 0.2},
    "kill-unreported": {"resent / max in flight": 1.01},
    "kill-replays-sqlite": dict.fromkeys(REPLAY_VIOLATIONS, 1),
    "kill-replays-postgresql": {"repeats dropped": 0, "tries on disk after their window": 1},
    "bounces-sqlite": {
        "bounces": 0,
        "bounces tried again": 0,
        "bounces refused": 1,
        "bounces not taken": 1,
    },
    "bounces-postgresql": {"callbacks repeated": 0, "callbacks repeated after they were stored": 1},
    "poison-sqlite": {"max deaths per poison message": 4},
    "poison-postgresql": {"other messages held": 1},
    "zombie": {"finished twice": 1},
    "orphan": {"max seconds from lease to takeover": 5.1},
    "rolling-upgrade": {
        "accepted": 0,
        "exit codes other than 0": 1,
        "resent": 1,
        "starts on newer tables": 0,
        "tables updated": 0,
    },
    "database": {"gateways that ended": 1},
    "full-disk": {"gateways that ended": 1},
    "provider": {"failures": 0},
    "provider-hold": {"resent": 1},
    "outage": {"peak after / usual peak": 2.01},
    "fairness": {"seconds of the urgent message": 2.1},
    "shared-rate": {"beyond the rate": 1},
    "shared-rate-low": {"part of the rate": 0.94},
    "shared-rate-slow-lookups": {"part of the rate": 0.94},
    "clock": {"days from the first to the last end": 0},
    "clock-process": {"days from the first to the last end": 0},
    "drain": {"refused": 1},
    "growth-sqlite": {"growth ratio": 1.51},
    "growth-postgresql": {"growth ratio": 1.6},
    "growth-pinned": {"ms with an old transaction": 2.0},
}


def missed_goals(scenario, figures):
    return [line.figure for line in goals.lines(scenario, figures) if line.reached is False]


def test_every_scenario_has_goals():
    assert set(SCENARIOS) == set(goals.GOALS) == set(REACHED) == set(MISSED)


@pytest.mark.parametrize("scenario", REACHED)
def test_a_figure_that_reaches_its_goal_is_not_missed(scenario):
    assert missed_goals(scenario, REACHED[scenario]) == []


@pytest.mark.parametrize("scenario", MISSED)
def test_a_figure_that_misses_its_goal_is_missed(scenario):
    assert missed_goals(scenario, {**REACHED[scenario], **MISSED[scenario]}) == list(MISSED[scenario])


@pytest.mark.parametrize("scenario", REACHED)
def test_a_figure_that_was_not_measured_is_missed(scenario):
    assert missed_goals(scenario, {"error": "RuntimeError()"}) == list(REACHED[scenario])


@pytest.mark.parametrize("violation", [name for name in Verdict.__dataclass_fields__ if name != "resent"])
def test_each_violation_is_a_missed_goal(violation):
    assert missed_goals("kill-sqlite", {**REACHED["kill-sqlite"], violation: 1}) == [violation]


def test_a_skipped_scenario_is_in_the_table_and_not_missed():
    (line,) = goals.lines("clock-process", {"skipped": "no compiler"})

    assert line.reached is None
    assert "no compiler" in goals.table([line])


def test_after_an_outage_the_queue_is_sent_at_the_usual_rate(tmp_path):
    figures = outage.run(tmp_path, seconds=60, full_queue=800)

    assert missed_goals("outage", figures) == []
    assert figures["queued at the end of the outage"] > 80


def test_a_breaker_that_forgets_the_concurrency_is_found(tmp_path):
    figures = outage.run(tmp_path, seconds=240, full_queue=800, throttle=outage.ForgetfulThrottle)

    assert missed_goals("outage", figures) == ["peak after / usual peak"]


def test_a_long_queue_delays_neither_another_client_nor_an_urgent_message(tmp_path):
    figures = fairness.run(tmp_path, 400)

    assert missed_goals("fairness", figures) == []


def test_a_planner_that_serves_the_oldest_queue_first_misses_the_goals_of_fairness(tmp_path):
    figures = fairness.run(tmp_path, 1_600, fairness.OldestFirst)

    assert missed_goals("fairness", figures) == [
        "seconds of the other client",
        "seconds of the urgent message",
    ]
