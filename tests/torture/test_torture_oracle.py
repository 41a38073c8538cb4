"""The oracle finds no violation in a correct history, and finds each planted one."""

import pytest

from torture.oracle import Excuse, History, MessageRow, StatusRow, judge

FIRST, SECOND = "id-1", "id-2"


@pytest.fixture
def history():
    """Two messages: the second was sent again after a crash, and two callbacks were repeated."""
    return History(
        answers={"uid-1": [FIRST, FIRST], "uid-2": [SECOND]},
        sends=[(11.0, SECOND), (14.0, FIRST), (20.0, SECOND)],
        excuses=[Excuse(12.0)],
        reports={FIRST: {"delivered"}},
        callbacks=[
            (FIRST, "accepted"),
            (SECOND, "accepted"),
            (SECOND, "accepted"),
            (FIRST, "delivered"),
            (FIRST, "delivered"),
        ],
        rows={
            FIRST: MessageRow("uid-1", "sent", is_due=False),
            SECOND: MessageRow("uid-2", "sent", is_due=False),
        },
        statuses={
            FIRST: [StatusRow("accepted", "acknowledged"), StatusRow("delivered", "acknowledged")],
            SECOND: [StatusRow("accepted", "acknowledged")],
        },
    )


def test_a_correct_history_has_no_violation(history):
    verdict = judge(history)

    assert verdict.violations == {}
    assert verdict.resent == [SECOND]


def lose_an_answered_message(history):
    """The gateway answered before it stored the message, and was killed."""
    del history.rows[SECOND], history.statuses[SECOND]
    history.sends = [(14.0, FIRST)]
    history.callbacks = [one for one in history.callbacks if one[0] == FIRST]


def record_an_unsent_message_as_sent(history):
    """The gateway recorded the result before the send, and was killed."""
    history.sends = [(14.0, FIRST)]


def answer_with_two_ids(history):
    """The gateway forgot the uid, so that the repeated request created a second message."""
    history.answers["uid-1"].append("id-3")


def answer_two_uids_with_one_id(history):
    history.answers["uid-2"] = [FIRST]


def send_an_uncommitted_message(history):
    history.sends.append((13.0, "id-rolled-back"))


def send_twice(history):
    history.sends.append((30.0, FIRST))


def send_twice_long_before_a_crash(history):
    """A crash cannot catch a message whose answer was recorded long before."""
    history.excuses = [Excuse(19.9)]
    history.sends = [(9.0, SECOND), (14.0, FIRST), (20.0, SECOND)]


def send_three_times_for_one_crash(history):
    history.sends.append((21.5, SECOND))


def excuse_another_message(history):
    """The lost answer of one message does not excuse the resend of another."""
    history.excuses = [Excuse(12.0, frozenset({FIRST}))]


def lose_a_report(history):
    """The gateway answered the report with 200 before it stored it."""
    history.reports[SECOND] = {"delivered"}


def record_a_callback_that_was_not_made(history):
    history.callbacks.remove((SECOND, "accepted"))
    history.callbacks.remove((SECOND, "accepted"))


def never_release_a_status(history):
    history.statuses[FIRST][1] = StatusRow("delivered", "waiting")


def end_without_a_status(history):
    """The message failed, and no status was recorded."""
    history.rows[SECOND] = MessageRow("uid-2", "failed", is_due=False)
    history.statuses[SECOND] = []
    history.callbacks = [one for one in history.callbacks if one[0] == FIRST]


def swap_callbacks(history):
    history.callbacks = [(FIRST, "delivered"), (FIRST, "accepted"), (SECOND, "accepted")]


def repeat_accepted_after_another_status(history):
    history.callbacks.append((FIRST, "accepted"))


def remove_the_due_time(history):
    history.rows[FIRST] = MessageRow("uid-1", "uncertain", is_due=False)


def never_finish(history):
    history.rows[FIRST] = MessageRow("uid-1", "queued", is_due=True)


def finish_twice(history):
    history.finished_twice = [FIRST]


@pytest.mark.parametrize(
    ("plant_fault", "violation"),
    [
        (lose_an_answered_message, "lost"),
        (record_an_unsent_message_as_sent, "lost"),
        (answer_with_two_ids, "wrong_id"),
        (answer_two_uids_with_one_id, "wrong_id"),
        (send_an_uncommitted_message, "uncommitted"),
        (send_twice, "duplicated"),
        (send_three_times_for_one_crash, "duplicated"),
        (send_twice_long_before_a_crash, "duplicated"),
        (excuse_another_message, "duplicated"),
        (lose_a_report, "unacknowledged"),
        (record_a_callback_that_was_not_made, "unacknowledged"),
        (never_release_a_status, "unacknowledged"),
        (end_without_a_status, "unacknowledged"),
        (swap_callbacks, "out_of_order"),
        (repeat_accepted_after_another_status, "out_of_order"),
        (remove_the_due_time, "stranded"),
        (never_finish, "unfinished"),
        (finish_twice, "finished_twice"),
    ],
)
def test_each_planted_violation_is_found(history, plant_fault, violation):
    plant_fault(history)

    assert violation in judge(history).violations
