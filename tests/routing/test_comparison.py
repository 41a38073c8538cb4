"""The comparison over strata, checked with published figures and by its properties."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.routing.comparison import Comparison

# Admissions to six departments at Berkeley in 1973 (Bickel, Hammel and O'Connell, Science 187, 1975), as R has them in
# UCBAdmissions: male applicants, admitted of these, female applicants, admitted of these.
BERKELEY = [
    (825, 512, 108, 89),
    (560, 353, 25, 17),
    (325, 120, 593, 202),
    (417, 138, 375, 131),
    (191, 53, 393, 94),
    (373, 22, 341, 24),
]

counts = st.integers(0, 10_000)
strata = st.tuples(counts, counts, counts, counts)


def comparison(minutes):
    result = Comparison()
    for minute in minutes:
        result.add(*minute)
    return result


def test_the_statistic_is_that_of_r_for_a_published_example():
    """R's mantelhaen.test(UCBAdmissions, correct = FALSE) says X-squared = 1.5246, and 1.4269 with the correction."""
    result = comparison(BERKELEY)

    assert result.z**2 == pytest.approx(1.5246, abs=0.0001)
    excess = abs(result.weighted - result.others_weighted)
    assert (excess - 0.5) ** 2 / result.variance == pytest.approx(1.4269, abs=0.0001)


def test_the_ratio_is_that_of_the_two_rates():
    result = comparison(BERKELEY)

    assert result.ratio == pytest.approx(result.rate / result.others_rate)


def test_the_age_of_the_messages_biases_nothing():
    """The first instance has most of the young messages, of which hardly any can be delivered yet."""
    result = comparison([(900, 90, 100, 10), (100, 95, 900, 855)])

    assert result.ratio == pytest.approx(1.0)
    assert result.z == pytest.approx(0.0)


def test_a_later_instance_is_worse_though_it_delivers_everything_in_the_end():
    result = comparison([(100, 0, 100, 90), (100, 20, 100, 95), (100, 95, 100, 95)])

    assert result.ratio < 0.8
    assert result.z < -5


def test_an_instance_that_alone_delivers_is_not_worse():
    assert comparison([(100, 1, 100, 0)]).ratio == math.inf
    assert comparison([(100, 0, 100, 0)]).ratio == 1.0


def test_minutes_of_one_side_alone_compare_nothing():
    assert comparison([(100, 0, 0, 0), (0, 0, 100, 99), (0, 0, 0, 0)]) == Comparison()


@given(st.lists(strata, max_size=20))
def test_no_counts_are_too_strange(minutes):
    """Also more delivered than sent, as after a process that was killed before it stored what it had sent."""
    result = comparison(minutes)

    assert 0 <= result.rate <= 1 + 1e-9
    assert 0 <= result.others_rate <= 1 + 1e-9
    assert result.ratio >= 0
    assert result.variance >= 0
    assert math.isfinite(result.z)


@given(st.lists(strata, max_size=20))
def test_both_sides_see_the_same_difference(minutes):
    here, there = comparison(minutes), comparison([(c, d, a, b) for a, b, c, d in minutes])

    assert here.z == pytest.approx(-there.z)
