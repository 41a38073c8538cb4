"""The decisions through random schedules, and the planted faults that these must find."""

import pytest

from torture.model import violation

SCHEDULES = 2_000


def test_every_promise_is_kept_on_random_schedules():
    assert [problem for seed in range(SCHEDULES) if (problem := violation(seed))] == []


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("no fence", "finished by one who had lost it"),
        ("recorded twice", "a status recorded twice"),
        ("told side by side", "told out of order"),
        ("nobody let go", "never told"),
        ("no rescue", "never finished: sending"),
        ("deaths don't count", "killed one more although it was known"),
        ("suspects are as others", "held although others were in hand with it"),
        ("resent at once", "sent again before the wait for a report was over"),
    ],
)
def test_a_planted_fault_is_found_and_its_seed_replays_it(fault, found):
    problems = [problem for seed in range(300) if (problem := violation(seed, [fault]))]

    problem = next(problem for problem in problems if problem.endswith(found))
    seed = int(problem.removeprefix("seed ").partition(":")[0])
    assert violation(seed, [fault]) == problem
    assert not violation(seed)
