"""Messages of routes with ``next_after``: what follows when a member takes, refuses or delivers one, or fails.

The members of such a route get a message one after the other. A member has *passed* when it had the message and its
time ended, or it said that it failed; each member gets the message once, and none does after a delivery. A passed
member whose provider has not said that it failed may still deliver. So `failed` and `rejected` of a member are told
only when no member is left and none may still deliver.
"""

import math
from collections.abc import Iterable

from gatepost.model import Status
from gatepost.outbox import deaths
from gatepost.outbox.records import Fallback
from gatepost.outbox.states import FINAL_STATES, State
from gatepost.outbox.transaction import Record, Transaction

ARRIVALS = frozenset({Status.DELIVERED, Status.OPENED, Status.COMPLAINED})
"""Statuses that prove that the message reached the user."""

FAILURES = frozenset({Status.FAILED, Status.REJECTED})
"""Statuses with which a member ends its try."""

UNTIL_LIFETIME_ENDS = math.inf
"""The wait of a message for which no member is left."""

FAILED_REASON = "its provider reported that it failed"
"""The reason of a message of which a member reported a failure."""

LATE_REASON = "not delivered within the route's next_after"
"""The reason of a message of which a member reported no delivery in time."""

_NO_MEMBERS = Fallback((), 0.0)


class Progress:
    """How far one message is on its route.

    Its methods are pure. It has more than 15 because each kind of answer and of report has one.
    """

    def __init__(
        self,
        *,
        state: State,
        instance: str,
        passed: Iterable[str],
        fallback: Fallback | None,
        expired: bool = False,
        failed: Iterable[str] = (),
        arrived: bool = False,
    ) -> None:
        """Take the message as it is stored; ``instance`` is the one that answered last.

        ``failed`` are the members whose providers said that it failed, and ``arrived`` is whether it reached the user.
        ``fallback`` is None where the configuration has the route no more. ``expired``: its lifetime has ended.
        """
        self.state = state
        self.instance = instance
        self.passed = list(passed)
        self.wait: float | None = None
        """Seconds until it is due; None: its due time stays."""
        self._before = state, len(self.passed)
        self._fallback = fallback or _NO_MEMBERS
        self._failed = set(failed)
        self.arrived = arrived
        """Whether it reached the user."""
        self._expired = expired

    @property
    def changed(self) -> bool:
        """Whether anything about it changed."""
        return self.wait is not None or self._before != (self.state, len(self.passed))

    @property
    def is_due_now(self) -> bool:
        """Whether it is due now for the next member."""
        return self.state is State.QUEUED and self.wait == 0.0

    def has_next(self, instance: str) -> bool:
        """Return whether a member is left after this instance."""
        return bool(self._fallback.after({*self.passed, instance}))

    def answer(self, instance: str) -> None:
        """Note the answer of an instance that has the message, or perhaps has it."""
        if instance in self.passed and self.state is State.SENDING and self.has_next(instance):
            # It reported a failure before this answer was recorded.
            self._set(State.QUEUED, 0.0, instance)
        else:
            self._take(instance)
            if self.state is State.SENDING:
                # It had the message before: another configuration may have another order.
                self.state, self.instance = State.SENT, instance

    def _take(self, instance: str) -> None:
        if instance in self.passed:
            # Another member has the message, or is about to get it.
            return
        if self.state in FINAL_STATES:
            self.state = State.SENT
        elif self._is_last_wait or self._is_before_another(instance):
            self._pass(instance)
        elif self.state is not State.AWAITING or instance != self.instance:
            if self.state is State.AWAITING:
                self._pass(self.instance)
            self._await(instance)

    def _await(self, instance: str) -> None:
        if self.has_next(instance):
            self._set(State.AWAITING, self._fallback.wait, instance)
        else:
            self.state, self.instance = State.SENT, instance

    def _is_before_another(self, instance: str) -> bool:
        """Return whether a later member has the message, or had it."""
        others = {*self.passed, self.instance} if self.state is State.AWAITING else self.passed
        return len(self._fallback.after({instance})) > len(self._fallback.after(others))

    def refuse(self, instance: str, *, for_all: bool = False) -> None:
        """Note that an instance refused the message; empty: that it can't be sent to this user at all.

        ``for_all``: no other instance gets it either, because of what the user has said.
        """
        if instance:
            self._pass(instance)
            self._failed.add(instance)
            if self.has_next(instance) and not for_all:
                self._set(State.QUEUED, 0.0, instance)
                return
        self.end(State.REJECTED, instance)

    def end(self, state: State, instance: str = "") -> None:
        """Note that nothing more is sent: it ends in this state, unless a member may still deliver it."""
        if self._may_be_delivered:
            self._set(State.AWAITING, UNTIL_LIFETIME_ENDS, instance)
        else:
            self.state = state
            if state is not State.FAILED:
                self.instance = instance

    def report(self, instance: str, status: Status) -> bool:
        """Note a report of an instance; return whether Smartico is told its status."""
        if status in FAILURES:
            return self._fail(instance)
        if status is Status.ACCEPTED:
            self._take(instance)
        else:
            # A user who opted out gets nothing more either, although that does not prove an arrival.
            self.arrived |= status in ARRIVALS
            self.state = State.SENT
        return True

    def _fail(self, instance: str) -> bool:
        self._failed.add(instance)
        if self.arrived or self.state in FINAL_STATES - {State.SENT}:
            return False
        if instance in self.passed:
            # Another member has the message, or is about to get it, except in the last wait.
            return self._is_last_wait and self._end_by_report(instance)
        if instance not in self._fallback.members and instance != self.instance:
            return False
        is_before_another = self._is_before_another(instance)
        self._pass(instance)
        if is_before_another:
            return False
        # The content of a sent message is erased.
        if self.state is State.SENT or not self.has_next(instance):
            return self._end_by_report(instance)
        # While it is being sent, the answer decides: it may be the one of another member.
        if self.state is not State.SENDING:
            self._set(State.QUEUED, 0.0, instance)
        return False

    def _end_by_report(self, instance: str) -> bool:
        """End the message unless it may still be delivered; return whether it has ended."""
        self.end(State.SENT, instance)
        return self.state is State.SENT

    @property
    def _may_be_delivered(self) -> bool:
        return not self._expired and not self._failed.issuperset(self.passed)

    @property
    def _is_last_wait(self) -> bool:
        """Whether no member is left, and one that passed may still deliver."""
        return self.state is State.AWAITING and (not self.instance or self.instance in self.passed)

    def _pass(self, instance: str) -> None:
        if instance not in self.passed:
            self.passed.append(instance)

    def _set(self, state: State, wait: float, instance: str) -> None:
        self.state, self.wait, self.instance = state, wait, instance

    def values(self, tx: Transaction, row: Record) -> dict[str, object]:
        """Return the new values of the columns for state, due time, end and passed members."""
        state = self.state
        if state is State.QUEUED and row.deaths >= deaths.SUSPECT_DEATHS:
            state = State.SUSPECT
        is_final = state in FINAL_STATES
        due_at = row.due_at
        if self.wait is not None:
            is_last = self.wait == UNTIL_LIFETIME_ENDS
            due_at = row.expires_at if is_last else min(tx.after(self.wait), row.expires_at)
        return {
            "state": state.value,
            "due_at": None if is_final else due_at,
            "ended_at": ((state == row.state and row.ended_at) or tx.now) if is_final else None,
            "passed": " ".join(self.passed),
        }
