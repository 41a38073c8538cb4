"""What a provider's stand-in offers to the checks, and the emulators seen so."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from gatepost.testing import emulator as faults
from gatepost.testing.emulator import Emulator
from gatepost.testing.report_sender import TakenMessage

_RETRY_AFTER = 7
"""Seconds that the stand-in asks a throttled plugin to wait."""
_DRIP = 0.25
"""Seconds between two bytes of an answer that comes drop by drop."""


class Trouble(StrEnum):
    """What a stand-in can do to a plugin. A suite names in ``plays`` what its own can."""

    REFUSE = "refuse"
    """The message is refused for good: an answer such as 400."""
    THROTTLE = "throttle"
    """Too many: an answer such as 429, that asks for a pause of 7 seconds where the provider can say so."""
    ASK_FOR_PAUSE = "ask for pause"
    """Not played itself: says that the answer to THROTTLE names the 7 seconds."""
    OUTAGE = "outage"
    """The provider's own fault: an answer such as 503."""
    DENY = "deny"
    """The operator's fault: an answer such as 401."""
    HANG = "hang"
    """The whole message is read, and no answer comes."""
    DRIP = "drip"
    """The answer comes a byte at a time, for longer than any deadline."""
    LOSE = "lose"
    """The message is taken, and the connection closed without an answer."""
    DROP = "drop"
    """The connection is closed before the message was read."""
    REDIRECT = "redirect"
    """An answer that points elsewhere: 307."""
    NONSENSE = "nonsense"
    """A yes, in which there is nothing that the provider would ever say."""
    UNREACHABLE = "unreachable"
    """Nobody listens. The suite's ``at_port`` says which settings lead there; the stand-in plays no part."""


class Form(StrEnum):
    """What a provider's reports are like. A suite names in ``reports_are`` what is true of its own."""

    BODY_SIGNED = "body signed"
    """A signature holds for one body."""
    TIME_SIGNED = "time signed"
    """A signature says when it was made, and is worth nothing 26 hours later."""
    BATCHED = "batched"
    """One request may bear several reports."""


class Provider(Protocol):
    """A provider's stand-in, as the checks of sending see it."""

    @property
    def attempts(self) -> int:
        """How many requests to send it has seen begin, whatever became of them."""
        ...

    def play(self, trouble: Trouble | None) -> None:
        """Meet every request from now on with this; None: do as always."""
        ...

    def taken(self, message_id: str) -> Sequence[str]:
        """The messages that it took with this id of ours, each whole, as text, its recipients included."""
        ...


class Reporter(Protocol):
    """A provider's stand-in, as the checks of webhooks see it."""

    def report(self, kinds: Sequence[str], message_id: str, *, spoiled: bool = False) -> bytes:
        """The body of one request that bears reports of these kinds about a message of ours.

        ``spoiled``: with some that are no reports at all before, between and behind them.
        """
        ...

    def sign(self, body: bytes, at: float, *, forged: bool = False) -> Mapping[str, str]:
        """The headers that prove ``body`` genuine, signed at ``at`` (seconds since the epoch).

        ``forged``: signed with a key that is not the provider's.
        """
        ...


_STANDING: Mapping[Trouble, faults.Failure] = {
    Trouble.REFUSE: faults.answer(400),
    Trouble.THROTTLE: faults.answer(429, {"Retry-After": str(_RETRY_AFTER)}),
    Trouble.OUTAGE: faults.answer(503),
    Trouble.DENY: faults.answer(401),
    Trouble.HANG: faults.hang(taken=False),
    Trouble.DRIP: faults.drip(_DRIP),
    Trouble.LOSE: faults.close_after_body(taken=True),
    Trouble.DROP: faults.close_before_body(),
    Trouble.REDIRECT: faults.answer(307, {"Location": "/elsewhere"}),
    Trouble.NONSENSE: faults.answer(200),
}

EMULATED = frozenset({*_STANDING, Trouble.ASK_FOR_PAUSE})
"""What every Emulator plays; UNREACHABLE is for the suite to add, with ``at_port``."""

_NO_REPORTS: Sequence[Any] = ({}, None, 7, "x", [], {"event": None, "status": {"no": "text"}})


class Emulated:
    """A ``gatepost.testing.emulator.Emulator`` as Provider and Reporter."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    @property
    def attempts(self) -> int:
        return sum(method == "POST" for method, _ in self._emulator.requests)

    def play(self, trouble: Trouble | None) -> None:
        self._emulator.failure = _STANDING[trouble] if trouble else faults.NO_FAILURE

    def taken(self, message_id: str) -> Sequence[str]:
        return [_whole(taken) for taken in self._emulator.taken if taken.id == message_id]

    def report(self, kinds: Sequence[str], message_id: str, *, spoiled: bool = False) -> bytes:
        taken = next(taken for taken in self._emulator.taken if taken.id == message_id)
        events: list[Any] = [self._emulator.event(kind, taken) for kind in kinds]
        if spoiled:
            events = [*_NO_REPORTS, *(part for event in events for part in (event, *_NO_REPORTS))]
        (body,) = self._emulator.bodies(events, batch=0)
        return body

    def sign(self, body: bytes, at: float, *, forged: bool = False) -> Mapping[str, str]:
        return self._emulator.sign(body, at, forged=forged)


def _whole(taken: TakenMessage) -> str:
    return msgspec.json.encode([taken.message, dict(taken.headers)]).decode()
