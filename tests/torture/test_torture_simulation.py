"""Random schedules of the simulation break no promise, and find each planted defect."""

import pytest

from torture.model import find_violation, find_violations

SCHEDULES = 2_000


def test_random_schedules_have_no_violation():
    assert find_violations((0, SCHEDULES)) == []


@pytest.mark.parametrize(
    ("defect", "found"),
    [
        ("results not fenced", "a result was recorded without a claim"),
        ("statuses recorded twice", "a status was recorded twice"),
        ("callbacks in parallel", "callbacks out of order"),
        ("next callback not released", "never called back"),
        ("expired leases ignored", "never ended: sending"),
        ("deaths not counted", "a poison message killed another replica after it should be held"),
        ("suspects sent with others", "a message was held although others were in flight with it"),
        ("resent without waiting", "sent again before the wait for a report ended"),
    ],
)
def test_a_planted_defect_is_found_and_its_seed_replays_it(defect, found):
    violations = [violation for seed in range(300) if (violation := find_violation(seed, [defect]))]

    violation = next(violation for violation in violations if violation.endswith(found))
    seed = int(violation.removeprefix("seed ").partition(":")[0])
    assert find_violation(seed, [defect]) == violation
    assert not find_violation(seed)
