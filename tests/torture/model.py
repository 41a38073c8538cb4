"""The decisions as pure code: outbox, delivery, callbacks, a provider and replicas in random schedules.

The schedule decides about time and effects: between any two steps a replica may die or be stopped, an answer
may be lost, a report may come too early. The breaker is the gateway's own (``Throttle``); ``outbox_model``
models the outbox. The seed determines every step of a schedule.
"""

import random
import sys
from collections.abc import Collection, Sequence

from gatepost.delivery import attempt
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Status
from gatepost.outbox import deaths
from gatepost.outbox.states import FINAL_STATES, OPEN_CALLBACK_STATES, CallbackState, State
from gatepost.throttle import Throttle
from torture.outbox_model import LEASE, WAIT, Callback, Message, OutboxModel, Send, Violation

LIFETIME = 14_400.0
"""Seconds until a message expires."""

STEPS = 40
"""Steps of a schedule in which things go wrong."""

CANCEL_CHANCE = 0.02
"""How likely an operator cancels a message after a step."""

MAX_STEPS_TO_END = 1_000
"""Steps after which every message must have ended when nothing goes wrong any more."""

# The draws are weighted by repetition.
_SEND_RESULTS = (
    "sent",
    "sent",
    "sent",
    "rejected",
    "unavailable",
    "throttled",
    "answer lost",
    "request lost",
)
_CALL_RESULTS = ("acknowledged", "acknowledged", "answer lost", "refused")


class Simulation:
    """One schedule."""

    def __init__(self, seed: int, planted: Collection[str] = ()) -> None:
        """``planted`` names the defects of ``OutboxModel`` and of this class that are switched on."""
        self.rng = random.Random(seed)
        self.planted = planted
        now = 1_000.0
        hold = self.rng.random() < 0.2
        self.throttles: dict[int, Throttle] = {}
        """The breaker of each live replica; a replica that restarts gets a new number."""
        self._replicas = 0
        for _ in range(self.rng.randint(1, 2)):
            self._start_replica()
        messages = [Message(n, now + LIFETIME, due=now) for n in range(self.rng.randint(1, 3))]
        messages[0].poison = self.rng.random() < 0.1
        self.outbox = OutboxModel(messages, now=now, hold=hold, rng=self.rng, planted=planted)
        self.sends: list[Send] = []
        self.calls: list[Callback] = []
        self.provider_sends: dict[int, int] = {}
        """How often the provider took each message."""
        self.callbacks: dict[int, list[Status]] = {}
        """The callbacks that Smartico received for each message."""

    def _start_replica(self) -> None:
        self._replicas += 1
        self.throttles[self._replicas] = Throttle(concurrency=2, per_second=0.0, random=self.rng)

    def crash(self, holder: int) -> None:
        """End a replica with all its messages in flight, and start another."""
        self.sends = [send for send in self.sends if send.holder != holder]
        self.calls = [call for call in self.calls if call.holder != holder]
        del self.throttles[holder]
        self._start_replica()

    # The delivery and callback workers.

    def claim(self, holder: int) -> None:
        """Claim a message if the breaker allows one more send."""
        throttle = self.throttles[holder]
        if not throttle.sends_allowed(self.outbox.now):
            return
        in_hand = [send.message for send in self.sends if send.holder == holder]
        send = self.outbox.claim(holder, in_hand)
        if send is not None:
            throttle.begin(self.outbox.now)
            self.sends.append(send)

    def claim_callback(self, holder: int) -> None:
        call = self.outbox.claim_callback(holder)
        if call is not None:
            self.calls.append(call)

    def record_answer(self, send: Send) -> None:
        """Record what the provider answered, as the delivery worker does."""
        self.sends.remove(send)
        if send.holder in self.throttles:
            self.throttles[send.holder].end(self.outbox.now, send.answer)
        if send.answer is None:
            self.outbox.finish(send, State.SENT, 0.0)
        elif isinstance(send.answer, Rejected):
            self.outbox.finish(send, State.REJECTED, 0.0)
        elif isinstance(send.answer, Uncertain):
            if send.holds_message:
                send.message.allow_resend(self.outbox.now)
            if "resent without waiting" in self.planted:
                self.outbox.finish(send, State.QUEUED, 0.0)
            else:
                self.outbox.finish(send, State.UNCERTAIN, WAIT)
        else:
            self.outbox.finish(send, State.QUEUED, attempt.retry_delay(send.attempt, self.rng.uniform))

    # The provider and Smartico.

    def request(self, send: Send, result: str) -> None:
        """Send the request to the provider with one of the results in ``_SEND_RESULTS``."""
        m = send.message
        if m.poison:
            # A late replica may still work on a message that another took over; that death is counted already.
            m.kills += send.holds_message
            if m.kills > deaths.MAX_DEATHS:
                raise Violation("a poison message killed another replica after it should be held")
            self.crash(send.holder)
            return
        send.requested = True
        if result in {"sent", "answer lost"}:
            taken = self.provider_sends.get(m.id, 0)
            if send.holds_message and taken and self.outbox.now < m.resend_from:
                raise Violation("sent again before the wait for a report ended")
            self.provider_sends[m.id] = taken + 1
            if taken > m.allowed_resends:
                raise Violation("sent again without an excuse")
        answers = {
            "sent": None,
            "rejected": Rejected("no"),
            "unavailable": Unavailable("later"),
            "throttled": Unavailable("later", retry_after=7.0),
        }
        send.answer = answers.get(result, Uncertain("lost"))

    def call(self, call: Callback, result: str) -> None:
        """Make the callback with one of the results in ``_CALL_RESULTS``."""
        # A replica that continues after its lease may call late; Smartico must accept such a repeat.
        if result != "refused" and call.holds_status:
            self._receive(call)
        self.calls.remove(call)
        if result != "answer lost":
            self.outbox.finish_callback(call, acknowledged=result == "acknowledged")

    def _receive(self, call: Callback) -> None:
        """Receive a callback as Smartico does; raise Violation if an earlier status is missing."""
        received = self.callbacks.setdefault(call.message.id, [])
        status = call.row.status
        if status not in received:
            order = [row.status for row in call.message.statuses]
            earlier = order[: order.index(status)]
            if any(other not in received for other in earlier if self._is_expected(call, other)):
                raise Violation("callbacks out of order")
            if status is Status.ACCEPTED and received:
                raise Violation("the callback of accepted came after another")
        received.append(status)

    @staticmethod
    def _is_expected(call: Callback, status: Status) -> bool:
        """Return whether Smartico should have received this status: not if its callback is dead."""
        return any(
            row.status is status and row.callback_state is not CallbackState.DEAD
            for row in call.message.statuses
        )

    # The schedule.

    def run(self) -> None:
        """Run the schedule, then all remaining work; raise Violation if a promise is broken."""
        for _ in range(STEPS):
            self._step()
            if self.rng.random() < CANCEL_CHANCE:
                self.outbox.cancel(self.rng.choice(self.outbox.messages))
            self._check()
        self._run_to_end()

    def _step(self) -> None:
        rng = self.rng
        pick = rng.random()
        holder = rng.choice(list(self.throttles))
        if pick < 0.18:
            self.claim(holder)
        elif pick < 0.40 and self.sends:
            self._advance(rng.choice(self.sends))
        elif pick < 0.50:
            self.outbox.now += rng.choice((0.0, 0.5, 5.0, LEASE + 1, WAIT + 1, 3_600.0))
        elif pick < 0.62:
            self.outbox.sweep(holder)
        elif pick < 0.70 and self.provider_sends:
            message = self.outbox.messages[rng.choice(list(self.provider_sends))]
            self.outbox.record(message, rng.choice((Status.DELIVERED, Status.OPENED)))
        elif pick < 0.80:
            self.claim_callback(holder)
        elif pick < 0.92 and self.calls:
            call = rng.choice(self.calls)
            self.call(call, rng.choice(_CALL_RESULTS))
        elif pick < 0.96 and self.sends:
            self.outbox.renew(rng.choice(self.sends))
        elif pick > 0.97:
            self.crash(holder)

    def _advance(self, send: Send) -> None:
        if send.requested:
            self.record_answer(send)
        else:
            self.request(send, self.rng.choice(_SEND_RESULTS))

    def _run_to_end(self) -> None:
        """Let nothing go wrong any more, until every message and callback has ended."""
        for _ in range(MAX_STEPS_TO_END):
            if not self._work():
                messages = self.outbox.messages
                due = [m.due for m in messages if m.due is not None]
                due += [row.due for m in messages for row in m.statuses if row.due is not None]
                if not due:
                    break
                rest = min(
                    throttle.next_allowed_in(self.outbox.now) or 0.0 for throttle in self.throttles.values()
                )
                self.outbox.now = max(min(due), self.outbox.now) + max(rest, 0.001)
        self._check()
        self._check_ends()

    def _work(self) -> bool:
        """Do all work that is possible now; return whether there was any."""
        busy = bool(self.sends or self.calls)
        for send in list(self.sends):
            # A poison message of the same holder may have ended this send before its turn.
            if send in self.sends and not send.requested:
                self.request(send, "sent")
            if send in self.sends:
                self.record_answer(send)
        for call in list(self.calls):
            self.call(call, "acknowledged")
        for holder in self.throttles:
            self.outbox.sweep(holder)
            self.claim(holder)
            self.claim(holder)
            self.claim_callback(holder)
        return busy or bool(self.sends or self.calls)

    # What must be true.

    def _check(self) -> None:
        """Raise Violation if the rows contradict each other; called after every step."""
        for m in self.outbox.messages:
            if (m.due is None) != (m.state in FINAL_STATES):
                raise Violation("stranded: neither ended nor due")
            statuses = [row.status for row in m.statuses]
            if len(set(statuses)) != len(statuses):
                raise Violation("a status was recorded twice")
            if Status.ACCEPTED in statuses[1:]:
                raise Violation("accepted was recorded after another status")

    def _check_ends(self) -> None:
        """Raise Violation if a message or a callback has not ended, or has ended wrongly."""
        for m in self.outbox.messages:
            if m.state not in FINAL_STATES:
                raise Violation(f"never ended: {m.state}")
            if m.state is State.SENT and not self.provider_sends.get(m.id):
                raise Violation("lost: recorded as sent, but the provider does not have it")
            for row in m.statuses:
                if row.callback_state in OPEN_CALLBACK_STATES:
                    raise Violation("never called back")
                received = self.callbacks.get(m.id, ())
                if row.callback_state is CallbackState.ACKNOWLEDGED and row.status not in received:
                    raise Violation("recorded as acknowledged, but never received")


def find_violation(seed: int, planted: Collection[str] = ()) -> str:
    """Return what the schedule of this seed violates; empty if nothing."""
    try:
        Simulation(seed, planted).run()
    except Violation as error:
        return f"seed {seed}: {error}"
    return ""


def find_violations(seeds: tuple[int, int]) -> Sequence[str]:
    """Return the violations of a range of seeds, given as the first one and their number."""
    first, count = seeds
    return [violation for seed in range(first, first + count) if (violation := find_violation(seed))]


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        sys.stdout.write((find_violation(int(argument)) or f"seed {argument}: no violation") + "\n")
