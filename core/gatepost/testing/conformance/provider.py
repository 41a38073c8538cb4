"""What an emulated provider offers to the checks, and the adapter that turns an Emulator into one."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from gatepost.testing.emulator import (
    NO_FAILURE,
    Emulator,
    Failure,
    answer,
    close_after_body,
    close_before_body,
    drip,
    hang,
)
from gatepost.testing.report_sender import TakenMessage

_RETRY_AFTER = 7
"""Seconds that the provider asks a throttled plugin to wait."""
_DRIP = 0.25
"""Seconds between two bytes of an answer that comes byte by byte."""


class FailureMode(StrEnum):
    """A way in which a provider fails. A suite declares in ``failure_modes`` what its provider simulates."""

    REFUSE = "refuse"
    """The message is refused for good: an answer such as 400."""
    THROTTLE = "throttle"
    """Too many requests: an answer such as 429, with a pause of 7 seconds where the provider can name one."""
    RETRY_AFTER = "retry after"
    """Not simulated itself: declares that the answer of THROTTLE names the 7 seconds."""
    OUTAGE = "outage"
    """The provider has an error of its own: an answer such as 503."""
    DENY = "deny"
    """The key is refused: an answer such as 401."""
    HANG = "hang"
    """The whole message is read, and no answer comes."""
    DRIP = "drip"
    """The answer comes byte by byte, for longer than any deadline."""
    LOSE = "lose"
    """The message is taken, and the connection is closed without an answer."""
    DROP = "drop"
    """The connection is closed before the message is read."""
    REDIRECT = "redirect"
    """A redirect to another place: 307."""
    NONSENSE = "nonsense"
    """An answer of success with a body that the provider would never send."""
    UNREACHABLE = "unreachable"
    """No server is there. The suite's ``table_for_port`` leads the plugin to such a port."""


class ReportFeature(StrEnum):
    """A property of a provider's reports. A suite declares in ``report_features`` those of its provider."""

    BODY_SIGNED = "body signed"
    """A signature is valid for one body only."""
    TIME_SIGNED = "time signed"
    """A signature holds its time, and is invalid after 26 hours."""
    BATCHED = "batched"
    """One request may hold several reports."""


class ContactFeature(StrEnum):
    """A property of a contact source. A suite declares in ``contact_features`` those of its source."""

    BLOCKS = "blocks"
    """The source knows which users must not be contacted."""


class Provider(Protocol):
    """An emulated provider, as the checks of sending use it."""

    @property
    def attempts(self) -> int:
        """The number of requests to send that have begun, whatever their result."""
        ...

    def simulate(self, failure: FailureMode | None) -> None:
        """Fail in this way at every request from now on; None: work as usual."""
        ...

    def taken(self, message_id: str) -> Sequence[str]:
        """Return the messages taken with this id of ours: each whole, as text, with its recipients."""
        ...


class Reporter(Protocol):
    """An emulated provider, as the checks of webhooks use it."""

    def report(self, kinds: Sequence[str], message_id: str, *, spoiled: bool = False) -> bytes:
        """Return the body of one request with reports of these kinds about a message of ours.

        ``spoiled``: with invalid reports before, between and after them.
        """
        ...

    def sign(self, body: bytes, at: float, *, forged: bool = False) -> Mapping[str, str]:
        """Return the headers that sign ``body`` at ``at`` (seconds since the epoch).

        ``forged``: signed with a key that is not the provider's.
        """
        ...


_FAILURES: Mapping[FailureMode, Failure] = {
    FailureMode.REFUSE: answer(400),
    FailureMode.THROTTLE: answer(429, {"Retry-After": str(_RETRY_AFTER)}),
    FailureMode.OUTAGE: answer(503),
    FailureMode.DENY: answer(401),
    FailureMode.HANG: hang(taken=False),
    FailureMode.DRIP: drip(_DRIP),
    FailureMode.LOSE: close_after_body(taken=True),
    FailureMode.DROP: close_before_body(),
    FailureMode.REDIRECT: answer(307, {"Location": "/elsewhere"}),
    FailureMode.NONSENSE: answer(200),
}

EMULATED = frozenset({*_FAILURES, FailureMode.RETRY_AFTER})
"""What every Emulator can simulate; a suite adds UNREACHABLE, with ``table_for_port``."""

_INVALID_REPORTS: Sequence[Any] = ({}, None, 7, "x", [], {"event": None, "status": {"no": "text"}})


class EmulatedProvider:
    """A ``gatepost.testing.emulator.Emulator`` as Provider and Reporter."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    @property
    def attempts(self) -> int:
        return sum(method == "POST" for method, _ in self._emulator.requests)

    def simulate(self, failure: FailureMode | None) -> None:
        self._emulator.failure = _FAILURES[failure] if failure else NO_FAILURE

    def taken(self, message_id: str) -> Sequence[str]:
        return [_whole(taken) for taken in self._emulator.taken if taken.id == message_id]

    def report(self, kinds: Sequence[str], message_id: str, *, spoiled: bool = False) -> bytes:
        taken = next(taken for taken in self._emulator.taken if taken.id == message_id)
        events: list[Any] = [self._emulator.event(kind, taken) for kind in kinds]
        if spoiled:
            events = [*_INVALID_REPORTS, *(part for event in events for part in (event, *_INVALID_REPORTS))]
        (body,) = self._emulator.bodies(events, batch=0)
        return body

    def sign(self, body: bytes, at: float, *, forged: bool = False) -> Mapping[str, str]:
        return self._emulator.sign(body, at, forged=forged)


def _whole(taken: TakenMessage) -> str:
    """Return the whole request as text: body and headers."""
    return msgspec.json.encode([taken.message, dict(taken.headers)]).decode()
