"""The shares that follow receipts: who loses its share, who gets it back, and who is left alone."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.outbox.cohorts import Cohort
from gatepost.routing.balance import Share, decide, explain, split_factors

NOW = 1_000_000
GOOD = Share(factor=1.0, decided=NOW - 1)
LOW = Share(factor=0.1, decided=NOW - 1, worse_at=NOW - 10, reason="infobip delivered 0 % of its last 90")
NAMES = ["infobip", "vonage-eu"]


def changed(share, **changes):
    return msgspec.structs.replace(share, **changes)


def cohorts(instance, each, delivered, minutes=20, end=NOW):
    """Return the cohorts of the last minutes, all alike; those of the last three are not compared."""
    return [Cohort(instance, end - age, each, delivered) for age in range(1, minutes + 1)]


def decided(*some, shares=None, unmeasured=(), names=NAMES, now=NOW):
    known = dict.fromkeys(names, GOOD) if shares is None else shares
    return decide("GB", names, known, [cohort for one in some for cohort in one], now, unmeasured)


def factors(*some, **options):
    return {name: share.factor for name, share in decided(*some, **options).items()}


def test_an_instance_that_delivers_markedly_less_loses_half_of_its_share():
    assert factors(cohorts("infobip", 20, 9), cohorts("vonage-eu", 20, 18)) == {
        "infobip": 0.5,
        "vonage-eu": 1.0,
    }


def test_it_keeps_a_tenth_of_its_share_at_the_least():
    shares = {"infobip": LOW, "vonage-eu": GOOD}

    assert factors(cohorts("infobip", 20, 0), cohorts("vonage-eu", 20, 18), shares=shares)["infobip"] == 0.1


def test_an_instance_that_delivers_markedly_later_loses_its_share():
    late = [Cohort("infobip", NOW - age, 20, 18 if age > 12 else 0) for age in range(1, 21)]

    assert factors(late, cohorts("vonage-eu", 20, 18))["infobip"] == 0.5


def test_what_may_still_be_on_its_way_is_not_compared():
    late = [Cohort("infobip", NOW - age, 200, 180 if age > 3 else 0) for age in range(1, 21)]

    assert factors(late, cohorts("vonage-eu", 200, 180)) == {"infobip": 1.0, "vonage-eu": 1.0}


def test_a_small_difference_changes_nothing():
    assert factors(cohorts("infobip", 1000, 850), cohorts("vonage-eu", 1000, 980))["infobip"] == 1.0


def test_a_difference_that_may_be_chance_changes_nothing():
    assert factors(cohorts("infobip", 4, 2), cohorts("vonage-eu", 4, 3))["infobip"] == 1.0


def test_a_handful_of_messages_changes_nothing():
    few = cohorts("infobip", 7, 0, minutes=10)

    assert factors(few, cohorts("vonage-eu", 500, 490))["infobip"] == 1.0


def test_the_last_hour_is_compared_where_a_shorter_time_has_too_few_messages():
    assert factors(cohorts("infobip", 1, 0, 63), cohorts("vonage-eu", 1, 1, 63))["infobip"] == 0.5


def test_recent_messages_decide_where_they_are_enough():
    """The instance was down until 14 minutes ago; the hour before that says nothing about it now."""
    down = cohorts("infobip", 20, 0, 40, end=NOW - 13)
    shares = {"infobip": LOW, "vonage-eu": GOOD}

    after = factors(down, cohorts("infobip", 20, 18, 13), cohorts("vonage-eu", 20, 18, 60), shares=shares)

    assert after["infobip"] == 0.2


@pytest.mark.parametrize(("minutes", "factor"), [(9, 0.1), (10, 0.2)])
def test_an_instance_gets_its_share_back_only_after_a_while(minutes, factor):
    shares = {"infobip": changed(LOW, worse_at=NOW - minutes), "vonage-eu": GOOD}

    after = factors(cohorts("infobip", 20, 18), cohorts("vonage-eu", 20, 18), shares=shares)

    assert after["infobip"] == factor


def test_an_instance_that_gets_worse_again_waits_twice_as_long():
    share = changed(LOW, factor=0.8, increased=True, worse_at=NOW - 60)
    shares = {"infobip": share, "vonage-eu": GOOD}

    after = decided(cohorts("infobip", 20, 0), cohorts("vonage-eu", 20, 18), shares=shares)["infobip"]

    assert (after.wait, after.increased, after.factor) == (20, False, 0.4)


def test_the_wait_is_short_again_after_some_quiet_hours():
    share = changed(GOOD, wait=160, worse_at=NOW - 360)

    after = decided(cohorts("infobip", 20, 18), cohorts("vonage-eu", 20, 18), shares={"infobip": share})

    assert after["infobip"].wait == 10


def test_without_new_messages_a_share_comes_back_in_hours():
    shares = {"infobip": LOW, "vonage-eu": GOOD}
    for minute in range(NOW, NOW + 200):
        assert shares["infobip"].factor < 1.0
        shares = decide("GB", NAMES, shares, [], minute)

    assert shares["infobip"] == Share(factor=1.0, decided=NOW + 199, worse_at=NOW - 10)


@pytest.mark.parametrize("delivered", [0, 4])
def test_an_instance_that_has_never_reported_in_time_is_not_judged(delivered):
    """With 4 of 20 within the hour: most reports of this provider come hours late."""
    after = decided(cohorts("infobip", 20, delivered, 63), cohorts("vonage-eu", 20, 18, 63), shares={})

    assert after.keys() == {"vonage-eu"}
    assert after["vonage-eu"].factor == 1.0


def test_an_instance_that_reported_in_time_and_stopped_is_judged():
    shares = decided(cohorts("infobip", 20, 18), cohorts("vonage-eu", 20, 18), shares={})
    assert shares.keys() == set(NAMES)

    after = decided(
        cohorts("infobip", 20, 0, 63), cohorts("vonage-eu", 20, 18, 63), shares=shares, now=NOW + 1
    )

    assert after["infobip"].factor == 0.5


def test_nobody_is_compared_with_an_instance_that_never_reports():
    """Otherwise the silent one would hide that the first is worse than the second."""
    some = [cohorts("infobip", 20, 9), cohorts("vonage-eu", 20, 18), cohorts("silent", 20, 0)]

    after = decided(*some, names=[*NAMES, "silent"], shares=dict.fromkeys(NAMES, GOOD))

    assert {name: share.factor for name, share in after.items()} == {"infobip": 0.5, "vonage-eu": 1.0}


def test_an_instance_whose_reports_cannot_come_in_is_not_judged():
    some = [cohorts("infobip", 20, 0), cohorts("vonage-eu", 20, 18)]

    assert factors(*some, unmeasured={"infobip"})["infobip"] == 1.0


def test_what_was_sent_before_its_reports_could_come_in_is_not_judged_later():
    shares = decided(unmeasured={"infobip"})

    after = factors(cohorts("infobip", 20, 0), cohorts("vonage-eu", 20, 18), shares=shares, now=NOW + 1)

    assert after["infobip"] == 1.0


def test_nothing_changes_where_nobody_delivers_anything():
    assert set(factors(cohorts("infobip", 20, 0), cohorts("vonage-eu", 20, 0)).values()) == {1.0}


def test_a_reduced_share_does_not_come_back_because_nobody_delivers():
    shares = {"infobip": LOW, "vonage-eu": GOOD}

    after = factors(cohorts("infobip", 20, 0), cohorts("vonage-eu", 20, 0), shares=shares)

    assert after["infobip"] == pytest.approx(0.1, abs=0.002)


def test_a_second_decision_in_the_same_minute_changes_nothing():
    some = [cohorts("infobip", 20, 0), cohorts("vonage-eu", 20, 18)]
    first = decided(*some)

    assert decided(*some, shares=first) == first


def test_of_three_instances_two_may_lose_their_shares():
    some = [cohorts("infobip", 20, 0), cohorts("vonage-eu", 20, 18), cohorts("third", 20, 0)]

    assert factors(*some, names=[*NAMES, "third"]) == {"infobip": 0.5, "vonage-eu": 1.0, "third": 0.5}


def test_the_better_of_two_reduced_instances_gets_all_of_its_share():
    shares = {"infobip": LOW, "vonage-eu": changed(LOW, factor=0.4)}

    assert factors(shares=shares) == {"infobip": pytest.approx(0.25), "vonage-eu": 1.0}


def test_a_decision_is_explained_in_a_sentence():
    shares = decided(cohorts("infobip", 20, 8, 14), cohorts("vonage-eu", 20, 18, 14))

    assert explain("vonage-eu", shares) == (
        "vonage-eu, because infobip delivered 40 % of its last 200 in GB (vonage-eu 90 %)"
    )
    assert explain("infobip", shares) == (
        "infobip, with 50 % of its share, because infobip delivered 40 % of its last 200 in GB (vonage-eu 90 %)"
    )


def test_more_instances_are_the_others_in_the_sentence():
    some = [cohorts("infobip", 20, 8), cohorts("vonage-eu", 20, 18), cohorts("third", 20, 18)]
    names = [*NAMES, "third"]
    known = dict.fromkeys(names, GOOD)

    after = decide("", names, known, [cohort for one in some for cohort in one], NOW)

    assert after["infobip"].reason == "infobip delivered 40 % of its last 200 (the others 90 %)"


def test_where_all_keep_their_shares_the_sentence_says_so():
    assert explain("infobip", dict.fromkeys(NAMES, GOOD)) == "infobip, by its share"


@pytest.mark.parametrize("weights", [(50, 50), (95, 5), (1, 99)])
def test_a_reduced_instance_gets_that_part_of_its_configured_share(weights):
    weights = dict(zip(NAMES, weights, strict=True))

    split = split_factors(weights, {"infobip": LOW})

    parts = {name: weight * split[name] for name, weight in weights.items()}
    assert parts["infobip"] / sum(parts.values()) == pytest.approx(
        0.1 * weights["infobip"] / sum(weights.values())
    )


instances = st.lists(st.sampled_from("abcde"), min_size=1, max_size=5, unique=True)
some_cohorts = st.lists(
    st.builds(
        Cohort,
        st.sampled_from("abcdef"),
        st.integers(NOW - 70, NOW + 2),
        st.sampled_from([0, 1, 3, 50, 1000]),
        st.sampled_from([0, 1, 3, 50, 1000]),
    ),
    max_size=60,
)
some_shares = st.dictionaries(
    st.sampled_from("abcdef"),
    st.builds(
        Share,
        factor=st.floats(0.1, 1.0),
        reason=st.just("it was worse"),
        worse_at=st.integers(NOW - 400, NOW - 1),
        wait=st.sampled_from([10, 40, 160]),
        increased=st.booleans(),
        measured_from=st.sampled_from([0, NOW - 20]),
        decided=st.just(NOW - 1),
    ),
)
some_unmeasured = st.sets(st.sampled_from("abcde"))


@given(instances, some_shares, some_cohorts, some_unmeasured)
def test_every_factor_is_usable_and_one_instance_keeps_its_share(names, shares, some, unmeasured):
    after = decide("GB", names, shares, some, NOW, unmeasured)

    assert after.keys() <= set(names)
    assert all(0.1 <= share.factor <= 1.0 for share in after.values())
    assert max(after[name].factor if name in after else 1.0 for name in names) == 1.0
    assert all(share.reason or share.factor == 1.0 for share in after.values())


@given(instances, some_shares, some_cohorts, st.data())
def test_the_order_of_instances_and_cohorts_does_not_matter(names, shares, some, data):
    shuffled = decide("GB", data.draw(st.permutations(names)), shares, data.draw(st.permutations(some)), NOW)

    assert shuffled == decide("GB", names, shares, some, NOW)


@given(instances, some_shares, some_cohorts)
def test_other_names_give_the_same_decisions(names, shares, some):
    renamed = dict(zip("abcdef", "fedcba", strict=True))

    after = decide(
        "GB",
        [renamed[name] for name in names],
        {renamed[name]: share for name, share in shares.items()},
        [cohort._replace(instance=renamed[cohort.instance]) for cohort in some],
        NOW,
    )

    expected = decide("GB", names, shares, some, NOW)
    assert {name: share.factor for name, share in after.items()} == {
        renamed[name]: share.factor for name, share in expected.items()
    }


@given(instances, some_shares, some_cohorts, st.data())
def test_it_does_not_matter_which_replica_counted_what(names, shares, some, data):
    here = [
        cohort._replace(
            sent=data.draw(st.integers(0, cohort.sent)), delivered=data.draw(st.integers(0, cohort.delivered))
        )
        for cohort in some
    ]
    there = [
        cohort._replace(sent=cohort.sent - part.sent, delivered=cohort.delivered - part.delivered)
        for cohort, part in zip(some, here, strict=True)
    ]

    assert decide("GB", names, shares, [*there, *here], NOW) == decide("GB", names, shares, some, NOW)


@given(some_shares, some_cohorts, some_unmeasured)
def test_a_route_of_one_instance_is_never_changed(shares, some, unmeasured):
    after = decide("GB", ["a"], shares, some, NOW, unmeasured)

    assert [share.factor for share in after.values()] in ([], [1.0])


@given(
    instances,
    st.lists(
        st.builds(
            Cohort, st.sampled_from("abcde"), st.integers(NOW - 63, NOW), st.just(1), st.integers(0, 1)
        ),
        max_size=49,
    ),
)
def test_less_than_fifty_messages_never_reduce_a_share(names, some):
    after = decide("GB", names, dict.fromkeys(names, GOOD), some, NOW)

    assert {share.factor for share in after.values()} == {1.0}


@given(
    st.dictionaries(st.sampled_from("abcde"), st.floats(0.01, 1000), min_size=1),
    st.dictionaries(st.sampled_from("abcde"), st.floats(0.1, 1.0)),
)
def test_the_factors_of_a_split_never_take_a_share_away(weights, known):
    shares = {name: Share(factor=factor, decided=NOW) for name, factor in known.items()}

    split = split_factors(weights, shares)

    assert split.keys() == weights.keys()
    assert all(0 < factor <= 1 and math.isfinite(factor) for factor in split.values())
