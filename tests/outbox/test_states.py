from hypothesis import given
from hypothesis import strategies as st

from gatepost.model import Status
from gatepost.outbox.states import new_statuses

A, D, F, R, O = Status.ACCEPTED, Status.DELIVERED, Status.FAILED, Status.REJECTED, Status.OPENED  # noqa: E741

reports = st.lists(st.tuples(st.lists(st.sampled_from(Status)), st.booleans()))


def statuses_after(history):
    """Return the statuses recorded when these reports come one after the other."""
    known = []
    for reported, by_provider in history:
        known += new_statuses(known, reported, by_provider=by_provider)
    return known


def test_a_providers_report_proves_accepted():
    assert new_statuses([], [D], by_provider=True) == [A, D]


def test_the_gateways_own_status_does_not_prove_accepted():
    assert new_statuses([], [F], by_provider=False) == [F]


def test_accepted_is_added_once():
    assert new_statuses([], [A, A], by_provider=False) == [A]
    assert new_statuses([A], [A], by_provider=True) == []


def test_accepted_never_follows_another_status():
    assert new_statuses([F], [A], by_provider=False) == []
    assert new_statuses([R], [A, D], by_provider=True) == [D]


def test_statuses_are_added_in_the_reported_order():
    assert new_statuses([A], [O, D, O], by_provider=True) == [O, D]


def test_an_empty_report_adds_nothing():
    assert new_statuses([], [], by_provider=True) == []


@given(reports)
def test_every_status_is_recorded_once(history):
    known = statuses_after(history)

    assert len(known) == len(set(known))


@given(reports)
def test_every_reported_status_is_recorded_except_an_accepted_that_comes_too_late(history):
    known = statuses_after(history)
    reported = {status for statuses, _ in history for status in statuses}

    assert reported - {A} == set(known) - {A}


@given(reports)
def test_accepted_is_the_first_or_not_there(history):
    known = statuses_after(history)

    assert A not in known[1:]


@given(reports.filter(lambda history: history and history[0][0]))
def test_accepted_is_recorded_exactly_if_the_first_report_proves_it(history):
    (first, *_), by_provider = history[0]

    assert (A in statuses_after(history)) == (by_provider or first is A)


@given(st.lists(st.sampled_from(Status)), st.lists(st.sampled_from(Status)))
def test_statuses_of_one_report_or_of_two_are_recorded_alike(one, other):
    apart = statuses_after([(one, True), (other, True)])

    assert apart == statuses_after([([*one, *other], True)])


@given(reports)
def test_a_repeated_report_adds_nothing(history):
    known = statuses_after(history)

    assert all(not new_statuses(known, reported, by_provider=by) for reported, by in history)
