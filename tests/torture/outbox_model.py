"""The outbox as pure code: messages and statuses in memory, with the rules of the outbox's SQL.

Rules that exist as pure functions are the gateway's own (``new_statuses``, ``retry_delay``). Each name in ``planted``
breaks one rule, so that tests can check that the simulation finds it.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from gatepost.callbacks import attempt as callback_attempt
from gatepost.model import Status
from gatepost.outbox import deaths
from gatepost.outbox.due_rows import MAX_LOST_ANSWERS
from gatepost.outbox.states import OPEN_CALLBACK_STATES, CallbackState, State, new_statuses

LEASE, WAIT, CALL_LEASE = 30.0, 120.0, 45.0
"""Seconds of a claim, of the wait for a report, and of a callback's claim."""

_FINAL_STATUS = {
    State.SENT: Status.ACCEPTED,
    State.REJECTED: Status.REJECTED,
    State.FAILED: Status.FAILED,
}
_CANCELLABLE = {State.QUEUED, State.SUSPECT, State.HELD}


class Violation(AssertionError):
    """A broken promise."""


@dataclass(slots=True)
class Message:
    """A row of ``messages``, and what the simulation knows about the message."""

    id: int
    expires: float
    state: State = State.QUEUED
    due: float | None = 0.0
    attempt: int = 0
    holder: int = 0
    lost_answers: int = 0
    deaths: int = 0
    statuses: list["StatusRow"] = field(default_factory=list)

    poison: bool = False
    """Whether each process dies that sends it."""
    kills: int = 0
    """Processes that died of it while they held its claim."""
    claimed_alone: bool = False
    """Whether its holder has had no other message in flight since the last claim."""
    allowed_resends: int = 0
    """Sends after the first one that a lost answer or an expired lease excuses."""
    resend_from: float = 0.0
    """Earliest time of a resend after its result became unknown."""

    def allow_resend(self, now: float) -> None:
        """Allow one more send after WAIT, because it is unknown whether the provider took the message."""
        self.allowed_resends += 1
        self.resend_from = now + WAIT


@dataclass(slots=True)
class StatusRow:
    """A row of ``statuses``."""

    status: Status
    callback_state: CallbackState
    due: float | None
    attempt: int = 0
    holder: int = 0


@dataclass(slots=True)
class Send:
    """A claimed message in the hands of a replica."""

    message: Message
    attempt: int
    holder: int
    requested: bool = False
    """Whether the request has been made, so that ``answer`` is valid."""
    answer: object = None

    @property
    def holds_message(self) -> bool:
        """Whether the claim is valid: the message has the same attempt and holder, and is being sent."""
        m = self.message
        return (m.attempt, m.holder, m.state) == (self.attempt, self.holder, State.SENDING)


@dataclass(slots=True)
class Callback:
    """A claimed status in the hands of a replica."""

    message: Message
    row: StatusRow
    attempt: int
    holder: int

    @property
    def holds_status(self) -> bool:
        """Whether the claim is valid: the status has the same attempt and holder, and is being called."""
        row = self.row
        return (row.attempt, row.holder, row.callback_state) == (
            self.attempt,
            self.holder,
            CallbackState.CALLING,
        )


class OutboxModel:
    """All messages and statuses; ``now`` is moved by the schedule."""

    def __init__(
        self,
        messages: Sequence[Message],
        *,
        now: float,
        hold: bool,
        rng: random.Random,
        planted: Collection[str],
    ) -> None:
        """``hold``: whether a message whose result stays unknown is held instead of sent again."""
        self.messages = messages
        self.now = now
        self._hold = hold
        self._rng = rng
        self._planted = planted

    def claim(self, holder: int, in_hand: Collection[Message]) -> Send | None:
        """Claim the message that has been due longest; None if there is none for this holder."""
        # A suspect is claimed only while nothing is in flight, and nothing else is claimed while the suspect is.
        if any(map(self._is_suspect, in_hand)):
            return None
        states = {State.QUEUED} if in_hand else {State.QUEUED, State.SUSPECT}
        due = [m for m in self.messages if m.state in states and m.due <= self.now]
        if not due:
            return None
        message = min(due, key=lambda m: m.due)
        message.claimed_alone = not in_hand
        for other in in_hand:
            other.claimed_alone = False
        message.state, message.due = State.SENDING, self.now + LEASE
        message.attempt += 1
        message.holder = holder
        return Send(message, message.attempt, holder)

    def renew(self, send: Send) -> None:
        """Renew the lease of a claim that is still valid."""
        if send.holds_message:
            send.message.due = self.now + LEASE

    def finish(self, send: Send, state: State, delay: float) -> None:
        """Record the result of a send; a result without a valid claim is rejected, unless it is ``sent``."""
        m = send.message
        is_holder = (m.attempt, m.holder) == (send.attempt, send.holder)
        accepted = is_holder and (m.state is State.SENDING or state is State.SENT)
        if "results not fenced" in self._planted:
            accepted = True
        if not accepted:
            return
        if not is_holder:
            raise Violation("a result was recorded without a claim")
        due = None
        if state in {State.QUEUED, State.UNCERTAIN}:
            due = min(self.now + delay, m.expires)
            if state is State.QUEUED and m.expires <= self.now:
                state, due = State.FAILED, None
        m.state, m.due = self._waiting_state(m) if state is State.QUEUED else state, due
        m.lost_answers += state is State.UNCERTAIN
        if state in _FINAL_STATUS:
            self._append(m, _FINAL_STATUS[state], by_provider=False)

    def record(self, m: Message, status: Status) -> None:
        """Record a status that the provider reports."""
        self._append(m, status, by_provider=True)
        if m.state is not State.SENT:
            m.state, m.due = State.SENT, None

    def claim_callback(self, holder: int) -> Callback | None:
        """Claim the first status that is due for its callback; None if there is none."""
        for m in self.messages:
            for row in m.statuses:
                if row.callback_state is CallbackState.QUEUED and row.due <= self.now:
                    row.callback_state, row.due = CallbackState.CALLING, self.now + CALL_LEASE
                    row.attempt += 1
                    row.holder = holder
                    return Callback(m, row, row.attempt, holder)
        return None

    def finish_callback(self, call: Callback, *, acknowledged: bool) -> None:
        """Record the result of a callback, and release the message's next status when this one has ended."""
        if not call.holds_status:
            return
        row = call.row
        retry = callback_attempt.retry_delay(call.attempt, None, self._rng.uniform)
        if acknowledged:
            row.callback_state, row.due = CallbackState.ACKNOWLEDGED, None
        elif retry is None:
            row.callback_state, row.due = CallbackState.DEAD, None
        else:
            row.callback_state, row.due = CallbackState.QUEUED, self.now + retry
            return
        if "next callback not released" not in self._planted:
            self._release_next(call.message)

    def _release_next(self, m: Message) -> None:
        for row in m.statuses:
            if row.callback_state in OPEN_CALLBACK_STATES:
                if row.callback_state is CallbackState.WAITING:
                    row.callback_state, row.due = CallbackState.QUEUED, self.now
                return

    def sweep(self, holder: int) -> None:
        """End expired messages, take back expired claims, and end the waits for reports."""
        for m in self.messages:
            waiting = {State.QUEUED, State.SUSPECT, State.UNCERTAIN, State.HELD}
            if m.state in waiting and m.expires <= self.now:
                m.state, m.due = State.FAILED, None
                self._append(m, Status.FAILED, by_provider=False)
            elif m.state is State.SENDING and m.due <= self.now:
                self._take_back(m, holder)
            elif m.state is State.UNCERTAIN and m.due <= self.now:
                held = self._hold or m.lost_answers >= MAX_LOST_ANSWERS
                m.state, m.due = (State.HELD, m.expires) if held else (self._waiting_state(m), self.now)
            for row in m.statuses:
                if row.callback_state is CallbackState.CALLING and row.due <= self.now:
                    row.callback_state, row.due = CallbackState.QUEUED, self.now

    def cancel(self, m: Message) -> None:
        """Cancel a message as an operator does, unless a replica may be sending it or may have sent it."""
        if m.state in _CANCELLABLE:
            m.state, m.due = State.CANCELLED, None
            self._append(m, Status.REJECTED, by_provider=False)

    def _take_back(self, m: Message, holder: int) -> None:
        if "expired leases ignored" in self._planted:
            return
        m.state, m.due = State.UNCERTAIN, self.now + WAIT
        m.deaths += m.holder != holder and "deaths not counted" not in self._planted
        if m.deaths >= deaths.MAX_DEATHS:
            m.state, m.due = State.HELD, m.expires
            if not m.claimed_alone:
                raise Violation("a message was held although others were in flight with it")
        # Its holder may be dead or only late: from here on two replicas may send it.
        m.allow_resend(self.now)

    def _append(self, m: Message, status: Status, *, by_provider: bool) -> None:
        known = [row.status for row in m.statuses]
        new = new_statuses(known, [status], by_provider=by_provider)
        if "statuses recorded twice" in self._planted:
            new = [status]
        for one in new:
            blocked = any(row.callback_state in OPEN_CALLBACK_STATES for row in m.statuses)
            if blocked and "callbacks in parallel" not in self._planted:
                m.statuses.append(StatusRow(one, CallbackState.WAITING, None))
            else:
                m.statuses.append(StatusRow(one, CallbackState.QUEUED, self.now))

    def _waiting_state(self, m: Message) -> State:
        return State.SUSPECT if self._is_suspect(m) else State.QUEUED

    def _is_suspect(self, m: Message) -> bool:
        return m.deaths >= deaths.SUSPECT_DEATHS and "suspects sent with others" not in self._planted
