"""The oracle finds nothing in a good run, and every bug that is planted for a promise."""

import pytest

from torture.oracle import Excuse, History, Row, Told, judge

FIRST, SECOND = "id-1", "id-2"


@pytest.fixture
def history():
    """Two messages; the second was sent again after a crash, and one callback came twice."""
    return History(
        answers={"uid-1": [FIRST, FIRST], "uid-2": [SECOND]},
        sends=[(11.0, SECOND), (14.0, FIRST), (20.0, SECOND)],
        excuses=[Excuse(12.0)],
        reported={FIRST: {"delivered"}},
        heard=[
            (FIRST, "accepted"),
            (SECOND, "accepted"),
            (SECOND, "accepted"),
            (FIRST, "delivered"),
            (FIRST, "delivered"),
        ],
        rows={FIRST: Row("uid-1", "sent", waits=False), SECOND: Row("uid-2", "sent", waits=False)},
        statuses={
            FIRST: [Told("accepted", "acknowledged"), Told("delivered", "acknowledged")],
            SECOND: [Told("accepted", "acknowledged")],
        },
    )


def test_a_good_run_has_no_violation(history):
    verdict = judge(history)

    assert verdict.violations == {}
    assert verdict.resent == [SECOND]


def forget(history):
    """Answered before it was stored, then killed."""
    del history.rows[SECOND], history.statuses[SECOND]
    history.sends = [(14.0, FIRST)]
    history.heard = [one for one in history.heard if one[0] == FIRST]


def sent_by_nobody(history):
    """Recorded as sent before it was sent, then killed."""
    history.sends = [(14.0, FIRST)]


def another_id(history):
    """The uid was forgotten: the repeat made a second message."""
    history.answers["uid-1"].append("id-3")


def one_id_for_two(history):
    history.answers["uid-2"] = [FIRST]


def sent_before_stored(history):
    history.sends.append((13.0, "id-rolled-back"))


def sent_twice(history):
    history.sends.append((30.0, FIRST))


def crash_long_after(history):
    """It can't have caught a message that was answered long before."""
    history.excuses = [Excuse(19.9)]
    history.sends = [(9.0, SECOND), (14.0, FIRST), (20.0, SECOND)]


def sent_thrice_for_one_crash(history):
    history.sends.append((21.5, SECOND))


def excuse_of_another(history):
    """Another message's lost answer excuses nothing."""
    history.excuses = [Excuse(12.0, frozenset({FIRST}))]


def status_forgotten(history):
    """The report was answered with 200 before it was stored."""
    history.reported[SECOND] = {"delivered"}


def call_forgotten(history):
    """Noted as told before Smartico had heard it."""
    history.heard.remove((SECOND, "accepted"))
    history.heard.remove((SECOND, "accepted"))


def status_waits_for_ever(history):
    history.statuses[FIRST][1] = Told("delivered", "waiting")


def ended_in_silence(history):
    """Given up, and no status recorded."""
    history.rows[SECOND] = Row("uid-2", "failed", waits=False)
    history.statuses[SECOND] = []
    history.heard = [one for one in history.heard if one[0] == FIRST]


def swapped(history):
    history.heard = [(FIRST, "delivered"), (FIRST, "accepted"), (SECOND, "accepted")]


def accepted_again_at_the_end(history):
    history.heard.append((FIRST, "accepted"))


def no_due_time(history):
    history.rows[FIRST] = Row("uid-1", "uncertain", waits=False)


def never_finished(history):
    history.rows[FIRST] = Row("uid-1", "queued", waits=True)


def ended_by_two(history):
    history.finished_again = [FIRST]


@pytest.mark.parametrize(
    ("bug", "promise"),
    [
        (forget, "lost"),
        (sent_by_nobody, "lost"),
        (another_id, "wrong_id"),
        (one_id_for_two, "wrong_id"),
        (sent_before_stored, "uncommitted"),
        (sent_twice, "duplicated"),
        (sent_thrice_for_one_crash, "duplicated"),
        (crash_long_after, "duplicated"),
        (excuse_of_another, "duplicated"),
        (status_forgotten, "unacknowledged"),
        (call_forgotten, "unacknowledged"),
        (status_waits_for_ever, "unacknowledged"),
        (ended_in_silence, "unacknowledged"),
        (swapped, "out_of_order"),
        (accepted_again_at_the_end, "out_of_order"),
        (no_due_time, "stranded"),
        (never_finished, "unfinished"),
        (ended_by_two, "finished_twice"),
    ],
)
def test_a_planted_bug_is_found(history, bug, promise):
    bug(history)

    assert promise in judge(history).violations
