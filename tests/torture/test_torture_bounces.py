"""No bounce is lost while gateways are killed, restarted and reloaded, and a bounce that is lost is found."""

import json

import pytest

from torture.acknowledgements import count_repeats
from torture.goals import VIOLATIONS
from torture.scenarios import bounces
from torture.stores import Postgresql, Sqlite


def violations(figures):
    return {name: figures[name] for name in VIOLATIONS if name in figures}


async def test_no_bounce_is_lost_on_sqlite(fork_server, tmp_path):
    figures = await bounces.kill(fork_server, tmp_path, Sqlite(tmp_path), 1, messages=60, kills=1)

    assert violations(figures) == {}
    assert (figures["accepted"], figures["bounces"]) == (60, 60)
    assert (figures["bounces refused"], figures["bounces not taken"]) == (0, 0)
    assert figures["callbacks repeated after they were stored"] == 0


async def test_no_bounce_is_lost_on_postgresql(fork_server, tmp_path, postgres_server):
    store = Postgresql(postgres_server)
    figures = await bounces.kill(fork_server, tmp_path, store, 1, messages=60, kills=1, replicas=2)

    assert violations(figures) == {}
    assert (figures["accepted"], figures["bounces"]) == (60, 60)
    assert (figures["bounces refused"], figures["bounces not taken"]) == (0, 0)
    assert figures["callbacks repeated after they were stored"] == 0


async def test_a_bounce_that_is_taken_before_it_is_stored_is_found(fork_server, tmp_path):
    for seed in range(1, 5):
        folder = tmp_path / str(seed)
        figures = await bounces.kill(
            fork_server,
            folder,
            Sqlite(folder),
            seed,
            messages=60,
            kills=1,
            planted_defect="answer_reports_before_commit",
        )
        if "unacknowledged" in figures:
            return
    raise AssertionError("the planted defect was not found")


def log(*events):
    """Return the log of a gateway: each event has a time, a name, and for a callback its message."""
    return "\n".join(
        json.dumps({"timestamp": at, "event": event, "message": message, "status": "failed"})
        for at, event, message in events
    )


def answers(*messages, at="01"):
    return [(at, "status_acknowledged", message) for message in messages]


START, STOP = ("01", "listening", ""), ("02", "stopped", "")
AGAIN = log(START, *answers("id-1", at="03"))
OTHERS = answers(*(f"other-{number}" for number in range(96)))


@pytest.mark.parametrize(
    ("logs", "repeats"),
    [
        ([log(START, *answers("id-1"), START, *answers("id-1", at="03"))], 0),
        ([log(START, *answers("id-1"), STOP, START, *answers("id-1", at="03"))], 1),
        ([log(START, *answers("id-1")), AGAIN], 0),
        ([log(START, *answers("id-1"), STOP), AGAIN], 1),
        ([log(START, *answers("id-1"), *OTHERS), AGAIN], 1),
        ([log(START, *answers("id-1"), *OTHERS, ("02", "callback_claim_lost", "id-1")), AGAIN], 0),
        ([log(START, *answers("id-1"), STOP), log(START, *answers("id-2", at="03"))], 0),
    ],
    ids=["killed", "stopped", "replica killed", "replica stopped", "went on", "claim lost", "no repeat"],
)
def test_a_callback_that_is_repeated_after_it_was_stored_is_found(logs, repeats):
    assert count_repeats([one + '\n{"event": "cut o' for one in logs]) == repeats
