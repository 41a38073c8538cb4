"""The oracle for repeats: compares what a provider got with what ``replay_safe`` promises.

It is a pure function, as ``oracle`` is, and each kind of violation has a test with a planted one.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torture.oracle import SLACK

REPLAY_VIOLATIONS = (
    "taken twice",
    "retries with an old key",
    "keys with other bytes",
    "keys after their window",
    "keys of two processes",
)
"""The kinds of violations: all of them must be 0."""


@dataclass
class Request:
    """A request that arrived at the provider."""

    time: float
    message_id: str
    key: str
    replica: int
    """The number of the replica that sent it."""
    body: bytes = b""
    """A hash of its body; empty if the provider did not look at it."""
    taken_at: float | None = None
    """When its message was taken as a new one; None if it was not."""


@dataclass
class ReplayHistory:
    """What the provider and the operator saw. All times are seconds of one clock."""

    window: float
    """Seconds for which the provider drops repeats with the same key."""
    requests: Sequence[Request] = ()
    """In the order in which they arrived."""
    retries: Sequence[tuple[float, str]] = ()
    """The time and the message id of every retry that the operator asked for."""
    kills: Mapping[int, Sequence[float]] = field(default_factory=dict)
    """By the number of a replica, when its process had ended."""


def judge_replays(history: ReplayHistory) -> dict[str, int]:
    """Return the number of violations by kind; all kinds are there."""
    by_message: defaultdict[str, list[Request]] = defaultdict(list)
    for request in history.requests:
        by_message[request.message_id].append(request)
    by_key = _by_key(history.requests)
    retries: defaultdict[str, list[float]] = defaultdict(list)
    for time, message_id in history.retries:
        retries[message_id].append(time)
    counts = (
        sum(_count_taken_again(requests, retries[message_id]) for message_id, requests in by_message.items()),
        sum(
            _has_key_from_before(requests, time)
            for message_id, requests in by_message.items()
            for time in retries[message_id]
        ),
        sum(len({request.body for request in requests if request.body}) > 1 for requests in by_key.values()),
        sum(requests[-1].time - requests[0].time >= history.window for requests in by_key.values()),
        sum(_is_of_two_processes(requests, history.kills) for requests in by_key.values()),
    )
    return dict(zip(REPLAY_VIOLATIONS, counts, strict=True))


def longest_use(requests: Iterable[Request]) -> float:
    """Return the longest time in seconds from the first request with a key to the last one."""
    return max((group[-1].time - group[0].time for group in _by_key(requests).values()), default=0.0)


def _by_key(requests: Iterable[Request]) -> Mapping[str, Sequence[Request]]:
    groups: defaultdict[str, list[Request]] = defaultdict(list)
    for request in requests:
        groups[request.key].append(request)
    return groups


def _count_taken_again(requests: Sequence[Request], retries: Sequence[float]) -> int:
    """Count how often a message was taken again although no operator had asked for it."""
    taken = sorted(request.taken_at for request in requests if request.taken_at is not None)
    return sum(
        not any(before < time <= after for time in retries) for before, after in itertools.pairwise(taken)
    )


def _has_key_from_before(requests: Sequence[Request], time: float) -> bool:
    before = {request.key for request in requests if request.time < time}
    return any(request.key in before for request in requests if request.time >= time)


def _is_of_two_processes(requests: Sequence[Request], kills: Mapping[int, Sequence[float]]) -> bool:
    """Return whether a process has repeated what another one began, the one that was killed before it included."""
    first, last = requests[0], requests[-1]
    if len({request.replica for request in requests}) > 1:
        return True
    return any(first.time < time < last.time - SLACK for time in kills.get(first.replica, ()))
