"""The oracle for repeated callbacks: finds those that were made again although the answer was in the store.

It is a pure function of the logs, which name each answer right before it is stored. An answer that a kill kept out of the
store is asked for again, as is one whose claim was lost.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gatepost.callbacks.claim_planner import MAX_CALLS


@dataclass
class _Process:
    """One life of a gateway."""

    answers: list[tuple[str, str]] = field(default_factory=list)
    """Message id and status of each callback that was answered, in order."""
    stopped: bool = False
    """Whether it stopped by itself, after it had stored everything."""

    def has_stored(self, position: int) -> bool:
        """Return whether the answer with this position must be in the store: no more than MAX_CALLS are on their way."""
        return self.stopped or len(self.answers) - position > MAX_CALLS


def count_repeats(logs: Sequence[str]) -> int:
    """Return how many callbacks were answered once more after their answer was stored, by the logs of all gateways."""
    answers: defaultdict[tuple[str, str], list[tuple[str, _Process, int]]] = defaultdict(list)
    lost = set()
    for log in logs:
        process = _Process()
        for event in _events(log):
            callback = event.get("message", ""), event.get("status", "")
            match event["event"]:
                case "listening":
                    process = _Process()
                case "stopped":
                    process.stopped = True
                case "callback_claim_lost":
                    lost.add(callback)
                case "status_acknowledged":
                    answers[callback].append((event["timestamp"], process, len(process.answers)))
                    process.answers.append(callback)
    return sum(
        process.has_stored(position)
        for callback, times in answers.items()
        if callback not in lost
        for _, process, position in sorted(times, key=lambda one: one[0])[:-1]
    )


def _events(log: str) -> Iterator[Mapping[str, str]]:
    for line in log.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            # The last line before a kill may be cut off.
            continue
