"""The oracle for repeats finds each planted violation, and gateways that are killed have none."""

import pytest

from torture.goals import VIOLATIONS
from torture.replay_oracle import REPLAY_VIOLATIONS, ReplayHistory, Request, judge_replays
from torture.scenarios import replays
from torture.stores import Postgresql, Sqlite

NO_VIOLATION = dict.fromkeys(REPLAY_VIOLATIONS, 0)


@pytest.fixture
def history():
    """A message whose repeat was dropped, and that was in flight at a kill and was retried then."""
    return ReplayHistory(
        window=4.0,
        requests=[
            Request(10.0, "id-1", "key-1", 0, b"one", taken_at=10.1),
            Request(11.0, "id-1", "key-1", 0, b"one"),
            Request(20.0, "id-1", "key-2", 1, b"one", taken_at=20.1),
            Request(23.9, "id-1", "key-2", 1, b"one"),
            Request(20.0, "id-2", "key-3", 1, b"two", taken_at=20.1),
        ],
        retries=[(15.0, "id-1")],
        kills={0: [12.0], 1: []},
    )


def test_a_correct_history_has_no_violation(history):
    assert judge_replays(history) == NO_VIOLATION


def take_a_repeat_as_new(history):
    history.requests[1].taken_at = 11.1


def send_again_without_a_retry(history):
    history.retries = []


def retry_another_message(history):
    history.retries = [(15.0, "id-2")]


def retry_with_the_old_key(history):
    """The operator retried the message, and its key stayed the same."""
    history.requests.append(Request(23.0, "id-2", "key-3", 1, b"two"))
    history.retries.append((22.0, "id-2"))


def change_a_repeat(history):
    history.requests[1].body = b"other"


def repeat_after_the_window(history):
    history.requests[3].time = 24.0


def repeat_in_another_replica(history):
    history.requests[1].replica = 1


def repeat_after_the_kill(history):
    history.requests[1].time = 13.1


@pytest.mark.parametrize(
    ("plant_fault", "violation"),
    [
        (take_a_repeat_as_new, "taken twice"),
        (send_again_without_a_retry, "taken twice"),
        (retry_another_message, "taken twice"),
        (retry_with_the_old_key, "retries with an old key"),
        (change_a_repeat, "keys with other bytes"),
        (repeat_after_the_window, "keys after their window"),
        (repeat_in_another_replica, "keys of two processes"),
        (repeat_after_the_kill, "keys of two processes"),
    ],
)
def test_each_planted_violation_is_found(history, plant_fault, violation):
    plant_fault(history)

    assert judge_replays(history) == {**NO_VIOLATION, violation: 1}


def test_what_was_on_the_network_at_a_kill_may_arrive_after_it(history):
    history.requests[1].time = 12.5

    assert judge_replays(history) == NO_VIOLATION


def found(figures):
    """Return the names of the violations among the figures."""
    names = (*VIOLATIONS, *REPLAY_VIOLATIONS, "tries on disk after their window")
    return {name for name in names if figures.get(name)}


async def test_killed_gateways_repeat_as_promised_on_sqlite(fork_server, tmp_path):
    figures = await replays.kill(fork_server, tmp_path, Sqlite(tmp_path), 1, messages=60, kills=2)

    assert found(figures) == set()
    assert figures["accepted"] == 60
    assert figures["repeats dropped"]
    assert figures["retried by the operator"]


async def test_killed_gateways_repeat_as_promised_on_postgresql(fork_server, tmp_path, postgres_server):
    store = Postgresql(postgres_server)
    figures = await replays.kill(fork_server, tmp_path, store, 1, messages=60, kills=2, replicas=2)

    assert found(figures) == set()
    assert figures["accepted"] == 60


@pytest.mark.parametrize(
    ("planted_defect", "violations"),
    [
        ("give_repeats_their_own_key", {"taken twice"}),
        ("change_repeats", {"keys with other bytes"}),
        ("give_retries_the_old_key", {"retries with an old key", "keys of two processes"}),
        ("repeat_for_ever", {"keys after their window", "tries on disk after their window"}),
        ("take_no_answer_for_a_receipt", {"lost"}),
    ],
)
async def test_a_planted_defect_is_found(fork_server, tmp_path, planted_defect, violations):
    for seed in range(1, 5):
        folder = tmp_path / str(seed)
        figures = await replays.kill(
            fork_server,
            folder,
            Sqlite(folder),
            seed,
            messages=60,
            kills=1,
            planted_defect=planted_defect,
        )
        if violations <= found(figures):
            return
    raise AssertionError("the planted defect was not found")
