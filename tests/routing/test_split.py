"""Shares of a split route: exact to one message, also after an instance had to rest."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gatepost.routing.split import Split

weights = st.dictionaries(
    st.sampled_from("abcdef"),
    st.sampled_from([1, 2, 3, 5, 10, 70, 100]) | st.floats(0.01, 1000),
    min_size=1,
)


@given(weights, st.integers(1, 400))
def test_each_instance_gets_its_share_of_the_first_messages_to_within_one(split, messages):
    under_test = Split(split)
    shares, counts = under_test.shares(), Counter()

    for number in range(1, messages + 1):
        counts[under_test.choose()] += 1
        for name, share in shares.items():
            assert abs(counts[name] - number * share) < 1.0001


def test_messages_are_mixed_and_not_sent_in_blocks():
    split = Split({"a": 5, "b": 1, "c": 1})

    order = "".join(split.choose() or "" for _ in range(14))

    assert order.count("a") == 10
    assert "aaaa" not in order


def test_one_with_the_weight_0_gets_nothing():
    split = Split({"a": 1, "b": 0})

    assert {split.choose() for _ in range(10)} == {"a"}
    assert split.choose({"a"}) is None


@given(weights.filter(lambda one: len(one) > 1), st.integers(0, 50), st.integers(1, 500), st.data())
def test_what_rests_loses_its_share_to_the_others_and_does_not_catch_up(split, before, rest, data):
    resting = data.draw(st.sampled_from(sorted(split)))
    under_test = Split(split)
    for _ in range(before):
        under_test.choose()

    others, during = under_test.shares({resting}), Counter()
    for _ in range(rest):
        during[under_test.choose({resting})] += 1
    assert resting not in during
    for name, share in others.items():
        assert abs(during[name] - rest * share) < 3

    after, shares = Counter(), under_test.shares()
    for number in range(1, 200):
        after[under_test.choose()] += 1
        assert abs(after[resting] - number * shares[resting]) < 3


@given(weights, st.data())
def test_a_factor_lowers_the_share_and_the_shares_make_one(split, data):
    factors = {name: data.draw(st.floats(0.01, 1)) for name in split}
    under_test = Split(split)

    shares, counts = under_test.shares(factors=factors), Counter()
    for _ in range(200):
        counts[under_test.choose(factors=factors)] += 1

    assert abs(sum(shares.values()) - 1) < 1e-9
    for name, share in shares.items():
        assert abs(counts[name] - 200 * share) < 1.0001
    if len(split) > 1:
        lowered = min(split)
        unchanged = under_test.shares()[lowered]
        assert under_test.shares(factors={lowered: 0.5})[lowered] < unchanged


def test_factors_that_would_leave_no_instance_have_no_effect():
    split = Split({"a": 3, "b": 1})

    assert split.shares(factors={"a": 0.0, "b": 0.0}) == {"a": 0.75, "b": 0.25}
    assert split.shares({"a"}, {"b": 0.0}) == {"b": 1.0}


@given(weights, st.lists(st.sets(st.sampled_from("abcdef")), max_size=300))
def test_the_same_calls_give_the_same_choices_and_only_what_can_be_used(split, rests):
    first, second = Split(split), Split(split)

    for resting in rests:
        chosen = first.choose(resting)
        assert chosen == second.choose(resting)
        assert chosen not in resting
        assert (chosen is None) == (not set(split) - resting)
