"""Random histories of one message on a route with next_after: what must hold whatever happens, in a real SQLite file."""

import asyncio
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from claiming import claim_due, claim_due_suspect
from gatepost.model import Channel, Secret, Status, StatusEvent
from gatepost.outbox import (
    Fallback,
    NewMessage,
    Policy,
    ReportedEvents,
    SendResult,
    Try,
    new_id,
    open_outbox,
    queries,
)
from gatepost.outbox.schema import counters
from gatepost.outbox.states import FINAL_STATES, State

MEMBERS = ("viber", "whatsapp", "sms")
LIFETIME, WAIT = 3600, 120
ANSWERS = {
    State.SENT: "sent",
    State.UNCERTAIN: "uncertain",
    State.REJECTED: "rejected",
    State.QUEUED: "unavailable",
}
ENDS_ALL = {Status.DELIVERED, Status.OPENED, Status.COMPLAINED, Status.UNSUBSCRIBED}
ARRIVALS = ENDS_ALL - {Status.UNSUBSCRIBED}
FAILURES = {Status.FAILED, Status.REJECTED}


class Histories(RuleBasedStateMachine):
    @initialize(hold=st.booleans())
    def begin(self, hold):
        self.folder = Path(tempfile.mkdtemp())
        shutil.copy(self.empty, self.folder / "outbox.db")
        self.now = 1_800_000_000
        self.policy = Policy(
            uncertain_wait=60, hold_uncertain=hold, fallbacks={(Channel.SMS, "im"): Fallback(MEMBERS, WAIT)}
        )
        self.runner = asyncio.Runner()
        self.open()
        self.id = new_id()
        message = NewMessage(
            id=self.id,
            client="brand",
            channel=Channel.SMS,
            route="im",
            uid="uid-1",
            fingerprint=b"x" * 32,
            ext_user_id="anna",
            preview="",
            callback_url="https://crm.example/",
            content=b"content",
            lifetime=LIFETIME,
        )
        self.run(self.outbox.put(message))
        self.in_flight = None
        self.had_it: set[str] = set()
        self.sends: Counter[str] = Counter()
        self.excuses: Counter[str] = Counter()
        """For each member the sends of which the outcome was lost, or which came to nothing."""
        self.statuses: list[Status] = []
        self.is_over = False
        """Whether a report has said that nothing more may be sent."""

    def open(self):
        url = Secret("sqlite:///outbox.db")
        self.opened = open_outbox(url, self.folder, self.policy, clock=lambda: self.now)
        self.outbox = self.run(self.opened.__aenter__())

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def look(self):
        """Return the message, what Smartico was reported, and how many messages count as not at their end."""

        def read(connection):
            (view,) = queries.find_messages(connection, self.id)
            return view, connection.execute(select(func.sum(counters.c.value))).scalar()

        view, queued = self.run(self.outbox._database.transact(read))
        return view, [Status(one.status) for one in view.statuses], queued

    @precondition(lambda self: self.in_flight is None)
    @rule(skipped=st.integers(0, 1))
    def begin_send(self, skipped):
        """Claim the message where it is due; the first member that is left gets it, or a later one."""
        claims = self.run(claim_due(self.outbox, Channel.SMS, 1, 30)) or self.run(
            claim_due_suspect(self.outbox, Channel.SMS, 30)
        )
        for claim in claims:
            left = Fallback(MEMBERS, WAIT).after(claim.passed)
            assert left, "claimed although no member is left"
            assert claim.content == b"content"
            member = left[min(skipped, len(left) - 1)]
            assert not self.is_over
            assert not FAILURES & set(self.statuses)
            self.sends[member] += 1
            self.had_it.add(member)
            assert self.sends[member] <= 1 + self.excuses[member]
            self.in_flight = claim, member

    @precondition(lambda self: self.in_flight is not None)
    @rule(state=st.sampled_from(list(ANSWERS)))
    def answer(self, state):
        (claim, member), self.in_flight = self.in_flight, None
        recorded = self.run(
            self.outbox.finish(
                SendResult(
                    id=claim.id,
                    attempt=claim.attempt,
                    state=state,
                    delay=5,
                    instance=member,
                    tries=[Try(instance=member, outcome=ANSWERS[state])],
                )
            )
        )
        is_last = member == MEMBERS[-1]
        if not recorded or state is State.QUEUED or (state is State.UNCERTAIN and is_last):
            self.excuses[member] += 1

    @rule()
    def die(self):
        self.run(self.opened.__aexit__(None, None, None))
        self.open()
        if self.in_flight:
            self.excuses[self.in_flight[1]] += 1
            self.in_flight = None

    @precondition(lambda self: self.had_it)
    @rule(data=st.data(), reported=st.lists(st.sampled_from(Status), min_size=1, max_size=2))
    def report(self, data, reported):
        member = data.draw(st.sampled_from(sorted(self.had_it)))
        events = [StatusEvent(status=status, message_id=self.id) for status in reported]
        self.run(self.outbox.record(ReportedEvents(instance=member, events=events)))
        self.is_over |= bool(ENDS_ALL & set(reported))

    @rule(seconds=st.sampled_from([1, 5, 10, 60, WAIT, 600]))
    def wait(self, seconds):
        self.now += seconds
        for _ in range(20):
            if not self.run(self.outbox.sweep()).changes:
                return
        raise AssertionError("the sweep never ends")

    @invariant()
    def nothing_contradicts(self):
        if not hasattr(self, "in_flight"):
            return
        view, reported, queued = self.look()
        self.statuses = reported
        assert len(reported) == len(set(reported))
        assert Status.ACCEPTED not in reported[1:]
        arrival = next((n for n, one in enumerate(reported) if one in ARRIVALS), len(reported))
        assert not FAILURES & set(reported[arrival:])
        assert (view.due_at is None) == (view.state in FINAL_STATES)
        assert view.ended_at is None or view.state in FINAL_STATES
        if ARRIVALS & set(reported):
            assert view.state == State.SENT
        if view.state not in FINAL_STATES and view.state != State.AWAITING:
            assert view.has_content
        assert queued == (view.state not in FINAL_STATES)

    def teardown(self):
        if not hasattr(self, "in_flight"):
            return
        try:
            self.in_flight = None
            for seconds in (60, 60, WAIT, WAIT, 600, LIFETIME, 60):
                self.wait(seconds)
            view, reported, _ = self.look()
            assert view.state in FINAL_STATES
            assert view.statuses, "Smartico was told nothing"
            if view.state in {State.FAILED, State.REJECTED}:
                assert FAILURES & set(reported)
        finally:
            self.run(self.opened.__aexit__(None, None, None))
            self.runner.close()
            shutil.rmtree(self.folder)


def test_whatever_happens_each_member_sends_once_and_no_status_contradicts(empty_sqlite):
    Histories.empty = empty_sqlite
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
