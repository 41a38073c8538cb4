"""The states of messages and callbacks, and which status may follow which: pure functions."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from gatepost.model import Status


class State(StrEnum):
    """How far a message is on its way to a provider.

    ::

        queued ──► sending ──► sent
          ▲  ▲        │ │
          │  └────────┘ ├────► rejected
          │             ├────► failed      (its lifetime ended, from any state that is not final)
          │             ▼
          ├─────── uncertain ──► held      (policy `hold`; the operator may queue it again)
          │
          └─────── awaiting ──► sent       (from sending: an instance has it, and others of its route are left)

        queued, suspect, held, awaiting ──► cancelled      (by the operator)

    A message that the process was sending at two deaths is ``suspect`` wherever another would be ``queued``; at
    the third death it is ``held`` at once. A report from the provider proves that the provider has the message, and
    leads from any state to ``sent``; on a route with ``next_after`` to ``awaiting`` while it is not delivered and
    another instance is left. From there it is queued for that instance, or fails.
    """

    QUEUED = "queued"
    """To be sent at its due time."""
    SUSPECT = "suspect"
    """As queued, but the process was sending it at two deaths: it is sent alone."""
    SENDING = "sending"
    """Claimed by a process; its due time is the end of the lease."""
    UNCERTAIN = "uncertain"
    """Perhaps sent; its due time is the end of the wait for a report."""
    HELD = "held"
    """Perhaps sent, or perhaps the cause of deaths: the operator decides. Its due time is the end of its
    lifetime."""
    AWAITING = "awaiting"
    """An instance of a route with ``next_after`` has it, or perhaps has it, and has not delivered it yet. Its due time
    is when the next instance gets it; the end of its lifetime where no instance is left."""
    SENT = "sent"
    """A provider has it. Final."""
    REJECTED = "rejected"
    """Refused by a provider for good. Final."""
    FAILED = "failed"
    """Its lifetime ended before a provider took it. Final, but the operator may queue it again."""
    CANCELLED = "cancelled"
    """Cancelled by the operator while it waited. Final."""


FINAL_STATES = frozenset({State.SENT, State.REJECTED, State.FAILED, State.CANCELLED})
"""States without a due time: nothing more happens unless an operator or a report asks for it."""


def new_statuses(known: Iterable[Status], reported: Sequence[Status], *, by_provider: bool) -> list[Status]:
    """Return the statuses to add after the known ones, in the order in which to call them back.

    Each status is called back once. A provider's report proves that the provider accepted the message, so
    ``accepted`` is added before it. ``accepted`` never follows another status: when another one is known already
    (the gateway had given the message up, and a report came later), it is left out.
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


GIVEN_UP_STATES = FINAL_STATES - {State.SENT}
"""States in which no provider is known to have the message; a late answer or report may prove that one has it."""


class CallbackState(StrEnum):
    """How far a recorded status is on its way to Smartico."""

    NONE = "none"
    """Recorded only: the message has no callback_url."""
    WAITING = "waiting"
    """An earlier status of the same message is not finished yet."""
    QUEUED = "queued"
    """To be called back at its due time."""
    CALLING = "calling"
    """Claimed; its due time is the end of the lease."""
    ACKNOWLEDGED = "acknowledged"
    """Smartico has answered the callback with success."""
    DEAD = "dead"
    """Given up after the last try; it stays so that the operator can see it and call back again."""


OPEN_CALLBACK_STATES = frozenset({CallbackState.WAITING, CallbackState.QUEUED, CallbackState.CALLING})
"""States of a status that is not finished: the next status of the same message waits for it."""
