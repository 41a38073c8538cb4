"""Which status may follow which, and which states a message passes through. One place, pure functions."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from gatepost.model import Status


class State(StrEnum):
    """Where a message is on its way to a provider.

    ::

        queued ──► sending ──► sent
          ▲  ▲        │ │
          │  └────────┘ ├────► rejected
          │             ├────► failed      (its lifetime ended, from any state before an end)
          │             ▼
          └─────── uncertain ──► held      (policy `hold`; the operator may queue it again)

    A message that was in hand at two deaths of the process waits as a ``suspect`` wherever another would be
    ``queued``; at the third it is ``held`` at once. A report from the provider proves that it has the message,
    and leads from any state to ``sent``.
    """

    QUEUED = "queued"
    """To be sent when its due time comes."""
    SUSPECT = "suspect"
    """As queued, but it was in hand at two deaths of the process: it is sent alone."""
    SENDING = "sending"
    """Claimed by a sender; its due time is the end of the lease."""
    UNCERTAIN = "uncertain"
    """Perhaps sent; its due time is the end of the wait for a report."""
    HELD = "held"
    """Perhaps sent, or perhaps what kills the process: the operator decides. Its due time is the end of its
    lifetime."""
    SENT = "sent"
    """A provider has it. An end."""
    REJECTED = "rejected"
    """Refused for good. An end."""
    FAILED = "failed"
    """Its lifetime ended before anybody took it. An end, but the operator may queue it again."""


ENDS = frozenset({State.SENT, State.REJECTED, State.FAILED})
"""States without a due time: nothing happens any more unless somebody asks for it."""


def to_record(known: Iterable[Status], reported: Sequence[Status], *, by_provider: bool) -> list[Status]:
    """The statuses that a report adds to those already known, in the order in which to tell them.

    Every distinct status is told once. A provider's report proves that it took the message: ``accepted``
    comes before it. ``accepted`` never comes after another status: where one was already told (the
    gateway had given the message up, and then a report came after all), it is left out.
    """
    seen = set(known)
    added: list[Status] = []
    for status in reported:
        if not seen and (by_provider or status is Status.ACCEPTED):
            seen.add(Status.ACCEPTED)
            added.append(Status.ACCEPTED)
        if status not in seen and status is not Status.ACCEPTED:
            seen.add(status)
            added.append(status)
    return added


class CallbackState(StrEnum):
    """How far a recorded status is on its way to Smartico."""

    NONE = "none"
    """Recorded only: the message has no callback_url."""
    WAITING = "waiting"
    """An earlier status of the same message is not told yet."""
    QUEUED = "queued"
    """To be told when its due time comes."""
    CALLING = "calling"
    """Claimed; its due time is the end of the lease."""
    ACKNOWLEDGED = "acknowledged"
    """Smartico has answered the callback."""
    DEAD = "dead"
    """Given up after the last try; kept for the operator to see and to send again."""


OPEN = frozenset({CallbackState.WAITING, CallbackState.QUEUED, CallbackState.CALLING})
"""Those that hold back the next status of the same message."""
