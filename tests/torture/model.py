"""The decisions as pure code: outbox, delivery, callbacks, a provider and replicas, led through random schedules.

Time and effects are in the hands of the schedule: between any two steps a replica may die or be stopped, an
answer get lost, a report come too early. The rules that exist as pure functions are the gateway's own
(``new_statuses``, ``retry_delay``, ``Throttle``); the outbox is modelled, claim by claim, after its SQL. A schedule is
its seed: the same seed is the same schedule, step by step.
"""

import random
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from gatepost.callbacks import attempt as callback_attempt
from gatepost.delivery import attempt
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Status
from gatepost.outbox import deaths
from gatepost.outbox.maintenance import MAX_LOST_ANSWERS
from gatepost.outbox.states import FINAL_STATES, OPEN_CALLBACK_STATES, CallbackState, State, new_statuses
from gatepost.throttle import Throttle

LEASE, WAIT, LIFE, CALL_LEASE = 30.0, 120.0, 14_400.0, 45.0
STEPS = 40
QUIET = 1_000
"""Steps after which everything must be at its end when nothing goes wrong any more."""


@dataclass(slots=True)
class Message:
    """A row of ``messages``."""

    id: int
    expires: float
    state: State = State.QUEUED
    due: float | None = 0.0
    attempt: int = 0
    holder: int = 0
    lost_answers: int = 0
    deaths: int = 0
    deadly: bool = False
    """Whoever sends it dies."""
    killed: int = 0
    alone: bool = False
    """When it was claimed last, nothing else was in hand there."""
    statuses: list["Row"] = field(default_factory=list)


@dataclass(slots=True)
class Row:
    """A row of ``statuses``."""

    status: Status
    callback_state: CallbackState
    due: float | None
    attempt: int = 0
    holder: int = 0


@dataclass(slots=True)
class Send:
    """A claim in somebody's hands."""

    message: Message
    attempt: int
    holder: int
    asked: bool = False
    answer: object = None


@dataclass(slots=True)
class Callback:
    """A claimed status in somebody's hands."""

    message: Message
    row: Row
    attempt: int
    holder: int
    heard: bool = False


class Broken(AssertionError):
    """A promise was broken."""


class Simulation:
    """One schedule."""

    def __init__(self, seed: int, planted: Collection[str] = ()) -> None:
        self.rng = random.Random(seed)
        self.planted = planted
        self.now = 1_000.0
        self.hold = self.rng.random() < 0.2
        self.holders = 0
        self.throttles: dict[int, Throttle] = {}
        for _ in range(self.rng.randint(1, 2)):
            self._join()
        self.messages = [Message(n, self.now + LIFE, due=self.now) for n in range(self.rng.randint(1, 3))]
        self.messages[0].deadly = self.rng.random() < 0.1
        self.sends: list[Send] = []
        self.calls: list[Callback] = []
        self.taken: dict[int, int] = {}
        self.excused: dict[int, int] = {}
        self.resend_from: dict[int, float] = {}
        """When a message of which nobody knows may be sent again at the earliest."""
        self.heard: dict[int, list[Status]] = {}

    def _join(self) -> None:
        self.holders += 1
        self.throttles[self.holders] = Throttle(concurrency=2, per_second=0.0, random=self.rng)

    # What the outbox does.

    def claim(self, holder: int) -> None:
        throttle = self.throttles[holder]
        in_hand = [send.message for send in self.sends if send.holder == holder]
        # A suspect is claimed when nothing is in hand, and nothing else while it is.
        if not throttle.sends_allowed(self.now) or any(map(self._is_suspect, in_hand)):
            return
        states = {State.QUEUED} if in_hand else {State.QUEUED, State.SUSPECT}
        due = [m for m in self.messages if m.state in states and m.due <= self.now]
        if not due:
            return
        message = min(due, key=lambda m: m.due)
        message.alone = not in_hand
        for other in in_hand:
            other.alone = False
        message.state, message.due = State.SENDING, self.now + LEASE
        message.attempt += 1
        message.holder = holder
        throttle.begin(self.now)
        self.sends.append(Send(message, message.attempt, holder))

    def renew(self, send: Send) -> None:
        m = send.message
        if (m.attempt, m.holder, m.state) == (send.attempt, send.holder, State.SENDING):
            m.due = self.now + LEASE

    def finish(self, send: Send, state: State, delay: float) -> None:
        m = send.message
        mine = (m.attempt, m.holder) == (send.attempt, send.holder)
        good = mine and (m.state is State.SENDING or state is State.SENT)
        if "no fence" in self.planted:
            good = True
        if not good:
            return
        if not mine:
            raise Broken("finished by one who had lost it")
        due = None
        if state in {State.QUEUED, State.UNCERTAIN}:
            due = min(self.now + delay, m.expires)
            if state is State.QUEUED and m.expires <= self.now:
                state, due = State.FAILED, None
        m.state, m.due = self._waiting(m) if state is State.QUEUED else state, due
        m.lost_answers += state is State.UNCERTAIN
        told = {State.SENT: Status.ACCEPTED, State.REJECTED: Status.REJECTED, State.FAILED: Status.FAILED}
        if state in told:
            self.append(m, told[state], by_provider=False)

    def _waiting(self, m: Message) -> State:
        return State.SUSPECT if self._is_suspect(m) else State.QUEUED

    def _is_suspect(self, m: Message) -> bool:
        return m.deaths >= deaths.SUSPECT_DEATHS and "suspects are as others" not in self.planted

    def append(self, m: Message, status: Status, *, by_provider: bool) -> None:
        known = [row.status for row in m.statuses]
        fresh = new_statuses(known, [status], by_provider=by_provider)
        if "recorded twice" in self.planted:
            fresh = [status]
        for one in fresh:
            busy = any(row.callback_state in OPEN_CALLBACK_STATES for row in m.statuses)
            waits = busy and "told side by side" not in self.planted
            callback_state = CallbackState.WAITING if waits else CallbackState.QUEUED
            m.statuses.append(Row(one, callback_state, None if waits else self.now))

    def record(self, m: Message, status: Status) -> None:
        self.append(m, status, by_provider=True)
        if m.state is not State.SENT:
            m.state, m.due = State.SENT, None

    def claim_call(self, holder: int) -> None:
        for m in self.messages:
            for row in m.statuses:
                if row.callback_state is CallbackState.QUEUED and row.due <= self.now:
                    row.callback_state, row.due = CallbackState.CALLING, self.now + CALL_LEASE
                    row.attempt += 1
                    row.holder = holder
                    self.calls.append(Callback(m, row, row.attempt, holder))
                    return

    def finish_callback(self, call: Callback, *, acknowledged: bool) -> None:
        row = call.row
        if (row.attempt, row.holder, row.callback_state) != (
            call.attempt,
            call.holder,
            CallbackState.CALLING,
        ):
            return
        retry = callback_attempt.retry_delay(call.attempt, None, self.rng.uniform)
        if acknowledged:
            row.callback_state, row.due = CallbackState.ACKNOWLEDGED, None
        elif retry is None:
            row.callback_state, row.due = CallbackState.DEAD, None
        else:
            row.callback_state, row.due = CallbackState.QUEUED, self.now + retry
            return
        if "nobody let go" not in self.planted:
            for other in call.message.statuses:
                if other.callback_state in OPEN_CALLBACK_STATES:
                    if other.callback_state is CallbackState.WAITING:
                        other.callback_state, other.due = CallbackState.QUEUED, self.now
                    return

    def sweep(self, holder: int) -> None:
        for m in self.messages:
            waiting = {State.QUEUED, State.SUSPECT, State.UNCERTAIN, State.HELD}
            if m.state in waiting and m.expires <= self.now:
                m.state, m.due = State.FAILED, None
                self.append(m, Status.FAILED, by_provider=False)
            elif m.state is State.SENDING and m.due <= self.now and "no rescue" not in self.planted:
                m.state, m.due = State.UNCERTAIN, self.now + WAIT
                m.deaths += m.holder != holder and "deaths don't count" not in self.planted
                if m.deaths >= deaths.MAX_DEATHS:
                    m.state, m.due = State.HELD, m.expires
                    if not m.alone:
                        raise Broken("held although others were in hand with it")
                # Its sender may be gone, or only late: from here on two may send it.
                self._nobody_knows(m)
            elif m.state is State.UNCERTAIN and m.due <= self.now:
                held = self.hold or m.lost_answers >= MAX_LOST_ANSWERS
                m.state, m.due = (State.HELD, m.expires) if held else (self._waiting(m), self.now)
            for row in m.statuses:
                if row.callback_state is CallbackState.CALLING and row.due <= self.now:
                    row.callback_state, row.due = CallbackState.QUEUED, self.now

    def _nobody_knows(self, m: Message) -> None:
        self.excused[m.id] = self.excused.get(m.id, 0) + 1
        self.resend_from[m.id] = self.now + WAIT

    # What the world does to it.

    def ask(self, send: Send, fate: str) -> None:
        """The request reaches the provider, or does not; its answer comes back, or does not."""
        m = send.message
        if m.deadly:
            # Who was late still has in hand what has passed on: that claim was counted when it did.
            m.killed += (m.attempt, m.holder, m.state) == (send.attempt, send.holder, State.SENDING)
            if m.killed > deaths.MAX_DEATHS:
                raise Broken("killed one more although it was known")
            self.crash(send.holder)
            return
        send.asked = True
        if fate in {"sent", "taken and lost"}:
            held = (m.attempt, m.holder, m.state) == (send.attempt, send.holder, State.SENDING)
            if held and self.taken.get(m.id) and self.now < self.resend_from.get(m.id, 0.0):
                raise Broken("sent again before the wait for a report was over")
            self.taken[m.id] = self.taken.get(m.id, 0) + 1
            if self.taken[m.id] > 1 + self.excused.get(m.id, 0):
                raise Broken("sent again without an excuse")
        answers = {
            "sent": None,
            "rejected": Rejected("no"),
            "unavailable": Unavailable("later"),
            "asked to wait": Unavailable("later", retry_after=7.0),
        }
        send.answer = answers.get(fate, Uncertain("lost"))

    def answered(self, send: Send) -> None:
        """The sender takes the answer and records it."""
        self.sends.remove(send)
        if send.holder in self.throttles:
            self.throttles[send.holder].end(self.now, send.answer)
        m = send.message
        if send.answer is None:
            self.finish(send, State.SENT, 0.0)
        elif isinstance(send.answer, Rejected):
            self.finish(send, State.REJECTED, 0.0)
        elif isinstance(send.answer, Uncertain):
            if (m.attempt, m.holder, m.state) == (send.attempt, send.holder, State.SENDING):
                self._nobody_knows(m)
            at_once = "resent at once" in self.planted
            self.finish(send, State.QUEUED if at_once else State.UNCERTAIN, 0.0 if at_once else WAIT)
        else:
            self.finish(send, State.QUEUED, attempt.retry_delay(send.attempt, self.rng.uniform))

    def crash(self, holder: int) -> None:
        self.sends = [send for send in self.sends if send.holder != holder]
        self.calls = [call for call in self.calls if call.holder != holder]
        del self.throttles[holder]
        self._join()

    def tell(self, call: Callback) -> None:
        """Smartico hears it; whether we learn of that is another matter."""
        heard = self.heard.setdefault(call.message.id, [])
        status = call.row.status
        if status not in heard:
            order = [row.status for row in call.message.statuses]
            if any(
                other not in heard for other in order[: order.index(status)] if self._told_before(call, other)
            ):
                raise Broken("told out of order")
            if status is Status.ACCEPTED and heard:
                raise Broken("accepted after another")
        heard.append(status)
        call.heard = True

    @staticmethod
    def _told_before(call: Callback, status: Status) -> bool:
        """Whether that status ought to have been heard: one given up never will be."""
        return any(
            row.status is status and row.callback_state is not CallbackState.DEAD
            for row in call.message.statuses
        )

    # The schedule.

    def run(self) -> None:
        """Raises Broken where a promise is."""
        for _ in range(STEPS):
            self.step()
            self.check()
        self.quiesce()

    def step(self) -> None:
        rng = self.rng
        pick = rng.random()
        holder = rng.choice(list(self.throttles))
        if pick < 0.18:
            self.claim(holder)
        elif pick < 0.40 and self.sends:
            self._on_its_way(rng.choice(self.sends))
        elif pick < 0.50:
            self.now += rng.choice((0.0, 0.5, 5.0, LEASE + 1, WAIT + 1, 3_600.0))
        elif pick < 0.62:
            self.sweep(holder)
        elif pick < 0.70 and self.taken:
            identity = rng.choice(list(self.taken))
            self.record(self.messages[identity], rng.choice((Status.DELIVERED, Status.OPENED)))
        elif pick < 0.80:
            self.claim_call(holder)
        elif pick < 0.92 and self.calls:
            call = rng.choice(self.calls)
            self._call(call, rng.choice(("heard", "heard", "heard and lost", "refused")))
        elif pick < 0.96 and self.sends:
            self.renew(rng.choice(self.sends))
        elif pick > 0.97:
            self.crash(holder)

    def _on_its_way(self, send: Send) -> None:
        if not send.asked:
            fates = (
                "sent",
                "sent",
                "sent",
                "rejected",
                "unavailable",
                "asked to wait",
                "taken and lost",
                "lost",
            )
            self.ask(send, self.rng.choice(fates))
        else:
            self.answered(send)

    def _call(self, call: Callback, fate: str) -> None:
        # Who woke up after its lease may call late; that is a repeat, which Smartico must bear.
        current = (call.row.attempt, call.row.holder) == (call.attempt, call.holder)
        if fate != "refused" and current and call.row.callback_state is CallbackState.CALLING:
            self.tell(call)
        self.calls.remove(call)
        if fate != "heard and lost":
            self.finish_callback(call, acknowledged=fate == "heard")

    def check(self) -> None:
        for m in self.messages:
            if (m.due is None) != (m.state in FINAL_STATES):
                raise Broken("stranded: neither an end nor a due time")
            names = [row.status for row in m.statuses]
            if len(set(names)) != len(names):
                raise Broken("a status recorded twice")
            if Status.ACCEPTED in names[1:]:
                raise Broken("accepted recorded after another")

    def quiesce(self) -> None:
        """Nothing goes wrong any more: everything has to come to its end."""
        for _ in range(QUIET):
            if not self._work():
                dues = [m.due for m in self.messages if m.due is not None]
                dues += [row.due for m in self.messages for row in m.statuses if row.due is not None]
                if not dues:
                    break
                rest = min(throttle.next_allowed_in(self.now) or 0.0 for throttle in self.throttles.values())
                self.now = max(min(dues), self.now) + max(rest, 0.001)
        self.check()
        for m in self.messages:
            if m.state not in FINAL_STATES:
                raise Broken(f"never finished: {m.state}")
            if m.state is State.SENT and not self.taken.get(m.id):
                raise Broken("lost: nobody has it")
            for row in m.statuses:
                if row.callback_state in OPEN_CALLBACK_STATES:
                    raise Broken("never told")
                if row.callback_state is CallbackState.ACKNOWLEDGED and row.status not in self.heard.get(
                    m.id, ()
                ):
                    raise Broken("noted as told and never heard")

    def _work(self) -> bool:
        """Whatever can be done now; whether there was anything."""
        busy = bool(self.sends or self.calls)
        for send in list(self.sends):
            # Another that its holder had in hand may have killed the process.
            if send in self.sends and not send.asked:
                self.ask(send, "sent")
            if send in self.sends:
                self.answered(send)
        for call in list(self.calls):
            self._call(call, "heard")
        for holder in self.throttles:
            self.sweep(holder)
            self.claim(holder)
            self.claim(holder)
            self.claim_call(holder)
        return busy or bool(self.sends or self.calls)


def violation(seed: int, planted: Collection[str] = ()) -> str:
    """What the schedule of this seed breaks; empty when it breaks nothing."""
    try:
        Simulation(seed, planted).run()
    except Broken as error:
        return f"seed {seed}: {error}"
    return ""


def run_range(part: tuple[int, int]) -> Sequence[str]:
    """The violations among so many schedules from a first seed on."""
    first, count = part
    return [problem for seed in range(first, first + count) if (problem := violation(seed))]


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        sys.stdout.write((violation(int(wanted)) or f"seed {wanted}: every promise kept") + "\n")
