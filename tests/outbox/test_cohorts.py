"""Where the counts of messages by minute are stored."""

from hypothesis import given
from hypothesis import strategies as st

from gatepost.outbox.cohorts import (
    SCOPE_PREFIX,
    Cohort,
    Counted,
    Group,
    cohorts,
    counter_key,
    minute_of,
    oldest_period,
)

NOW = 1_800_000_000_000
names = st.text("abcXYZ019_-", min_size=1, max_size=64)
groups = st.builds(Group, names, st.sampled_from(["", "GB", "MT"]))


@given(groups, names, st.integers(0, NOW), st.sampled_from(Counted), st.integers(0, 10**9))
def test_a_count_is_read_as_it_was_stored(group, instance, sent_at, counted, value):
    period, scope = counter_key(group, instance, sent_at, counted)

    (cohort,) = cohorts([(period, scope, value)])[group]
    assert cohort == Cohort(
        instance,
        minute_of(sent_at),
        value if counted is Counted.SENT else 0,
        value if counted is Counted.DELIVERED else 0,
    )
    assert scope.startswith(SCOPE_PREFIX)


def test_other_counters_are_left_out():
    assert (
        cohorts([(0, "queued/smartico", 5), (0, "receipts/a/GB/b/refused", 5), (0, "x/a/GB/b/sent", 5)]) == {}
    )


def test_what_is_older_than_the_windows_can_be_deleted():
    assert oldest_period(NOW) == NOW - NOW % 60_000 - 63 * 60_000
