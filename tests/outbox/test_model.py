"""The outbox compared with a simple model of it, through random histories.

The model states what must be in the store after each step; the store is a real SQLite file.
"""

import asyncio
import itertools
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from claiming import claim_callbacks, claim_due, claim_due_suspect, finish_callback
from gatepost.model import Channel, Secret, Status, StatusEvent
from gatepost.outbox import (
    CallbackResult,
    NewMessage,
    Policy,
    ReportedEvents,
    SendResult,
    cancellations,
    due_rows,
    new_id,
    open_outbox,
)
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.schema import contents, counters, messages, statuses
from gatepost.outbox.states import CallbackState, State

WAIT, LIFETIME, RETENTION = 120, 4 * 3600, 30 * 86_400
ENDED = {State.SENT, State.REJECTED, State.FAILED, State.CANCELLED}
YEAR = 365 * 86_400
JUMPS = [1, 30, 120, 900, 3600, LIFETIME, RETENTION, YEAR, -3600, -YEAR]


@dataclass
class StatusModel:
    status: Status
    callback_state: CallbackState
    due: float = 0
    attempt: int = 0
    calls: int = 0
    """How often Smartico got it."""
    lost_claims: int = 0
    """How often a claim was lost after which Smartico may have got it."""


@dataclass
class Message:
    id: str
    uid: str
    url: str
    created: float
    due: float
    expires: float
    state: State = State.QUEUED
    ended: float = 0
    attempt: int = 0
    lost_answers: int = 0
    deaths: int = 0
    statuses: list[StatusModel] = field(default_factory=list)

    def record(self, status: Status, now: float, *, by_provider: bool) -> None:
        known = [one.status for one in self.statuses]
        for one in [Status.ACCEPTED, status] if by_provider else [status]:
            if one in known or (one is Status.ACCEPTED and known):
                continue
            known.append(one)
            self.statuses.append(StatusModel(one, CallbackState.WAITING if self.url else CallbackState.NONE))
        self.call_next(now)

    def call_next(self, now: float) -> None:
        waiting = [one for one in self.statuses if one.callback_state is CallbackState.WAITING]
        busy = any(
            one.callback_state in {CallbackState.QUEUED, CallbackState.CALLING} for one in self.statuses
        )
        if waiting and not busy:
            waiting[0].callback_state, waiting[0].due = CallbackState.QUEUED, now

    def wait_for_next_try(self):
        """Queue the message, or let it wait as a suspect after two deaths of the process."""
        self.state = State.SUSPECT if self.deaths >= 2 else State.QUEUED

    def end(self, state: State, now: float) -> None:
        if self.state not in ENDED or not self.ended:
            self.ended = now
        self.state = state


class Outboxes(RuleBasedStateMachine):
    claims = Bundle("claims")
    calls = Bundle("calls")

    @initialize(hold_uncertain=st.booleans())
    def begin(self, hold_uncertain):
        self.folder = Path(tempfile.mkdtemp())
        shutil.copy(self.empty, self.folder / "outbox.db")
        self.now = 1_800_000_000
        self.policy = Policy(uncertain_wait=WAIT, hold_uncertain=hold_uncertain, retention=RETENTION)
        self.messages: dict[str, Message] = {}
        self.numbers = itertools.count()
        self.runner = asyncio.Runner()
        self.process = 0
        self.open()

    def open(self):
        self.opened = open_outbox(
            Secret("sqlite:///outbox.db"), self.folder, self.policy, clock=lambda: self.now
        )
        self.outbox = self.runner.run(self.opened.__aenter__())
        self.process += 1

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def teardown(self):
        if not hasattr(self, "runner"):
            return
        try:
            self.check_every_status_is_called_back()
        finally:
            self.run(self.opened.__aexit__(None, None, None))
            self.runner.close()
            shutil.rmtree(self.folder)

    # Steps.

    @rule(uid=st.sampled_from("abcdef"), called_back=st.booleans())
    def put(self, uid, called_back):
        url = "https://crm.example/" if called_back else ""
        message = NewMessage(
            id=new_id(),
            client="brand",
            channel=Channel.EMAIL,
            uid=uid,
            fingerprint=b"x" * 32,
            ext_user_id="anna",
            preview="",
            callback_url=url,
            content=b"content",
            lifetime=LIFETIME,
        )
        known = [one for one in self.messages.values() if one.uid == uid]

        stored = self.run(self.outbox.put(message))

        assert stored.id == (known[0].id if known else message.id)
        if not known:
            self.messages[message.id] = Message(message.id, uid, url, self.now, self.now, self.now + LIFETIME)

    @rule(target=claims, limit=st.integers(1, 4), lease=st.sampled_from([30, 300]), alone=st.booleans())
    def claim(self, limit, lease, alone):
        if not alone:
            return self.check_claims(
                State.QUEUED, claim_due(self.outbox, Channel.EMAIL, limit, lease), limit, lease
            )
        suspects = any(one.due <= self.now for one in self.messages.values() if one.state is State.SUSPECT)
        assert len(self.run(self.outbox.due_queues(State.SUSPECT))) == suspects
        return self.check_claims(
            State.SUSPECT, claim_due_suspect(self.outbox, Channel.EMAIL, lease), 1, lease
        )

    def check_claims(self, state, claiming, limit, lease):
        due = [one for one in self.messages.values() if one.state is state and one.due <= self.now]

        claims = self.run(claiming)

        claimed = [self.messages[claim.id] for claim in claims]
        assert len({claim.id for claim in claims}) == len(claims) == min(limit, len(due))
        assert all(one in due for one in claimed)
        others = [one.due for one in due if one not in claimed]
        assert not others or max(one.due for one in claimed) <= min(others)
        for message, claim in zip(claimed, claims, strict=True):
            message.state, message.due, message.attempt = State.SENDING, self.now + lease, message.attempt + 1
            assert (claim.attempt, claim.content) == (message.attempt, b"content")
            assert claim.lifetime == message.expires - self.now
        return multiple(*((self.process, claim) for claim in claims))

    @rule(
        process_claim=claims,
        state=st.sampled_from([State.SENT, State.QUEUED, State.UNCERTAIN, State.REJECTED, State.FAILED]),
        delay=st.sampled_from([0, 5, 900]),
    )
    def finish(self, process_claim, state, delay):
        process, claim = process_claim
        message = self.messages.get(claim.id)
        valid = (
            message is not None
            and (process, claim.attempt) == (self.process, message.attempt)
            and (message.state is State.SENDING or state is State.SENT)
        )

        result = SendResult(id=claim.id, attempt=claim.attempt, state=state, delay=delay)
        assert self.run(self.outbox.finish(result)) == valid

        if not valid:
            return
        if state is State.QUEUED and message.expires <= self.now:
            state = State.FAILED
        if state in {State.QUEUED, State.UNCERTAIN}:
            message.state, message.due = state, min(self.now + delay, message.expires)
            if state is State.QUEUED:
                message.wait_for_next_try()
            message.lost_answers += state is State.UNCERTAIN
            return
        message.end(state, self.now)
        status = {State.SENT: "accepted", State.REJECTED: "rejected", State.FAILED: "failed"}[state]
        message.record(Status(status), self.now, by_provider=False)

    @rule(process_claim=claims)
    def renew(self, process_claim):
        process, claim = process_claim
        self.run(self.outbox.renew(claim, 30))
        message = self.messages.get(claim.id)
        is_valid = message is not None and (process, claim.attempt) == (self.process, message.attempt)
        if is_valid and message.state is State.SENDING:
            message.due = self.now + 30

    @rule(data=st.data())
    def cancel(self, data):
        if not self.messages:
            return
        message = self.messages[data.draw(st.sampled_from(sorted(self.messages)))]
        waits = message.state in {State.QUEUED, State.SUSPECT, State.HELD}
        order = cancellations.CancelIds([message.id], "maria")

        (result,) = self.run(self.outbox.cancel(cancellations.cancel_by_ids, order))

        assert result.cancelled == waits
        if waits:
            message.end(State.CANCELLED, self.now)
            message.record(Status.REJECTED, self.now, by_provider=False)

    @rule(rarely=st.sampled_from([False, False, False, True]))
    def cancel_all(self, rarely):
        if not rarely:
            return
        progress = None
        while progress is None or not progress.done:
            order = cancellations.CancelStep(MessageFilter(user="anna"), "maria", "", progress)
            progress = self.run(self.outbox.cancel(cancellations.cancel, order))

        waiting = [
            one
            for one in self.messages.values()
            if one.state in {State.QUEUED, State.SUSPECT, State.HELD} and one.created <= self.now
        ]
        assert progress.found == len(waiting)
        for message in waiting:
            message.end(State.CANCELLED, self.now)
            message.record(Status.REJECTED, self.now, by_provider=False)

    @rule(data=st.data(), reported=st.lists(st.sampled_from(Status), min_size=1, max_size=3))
    def report(self, data, reported):
        if not self.messages:
            return
        message = self.messages[data.draw(st.sampled_from(sorted(self.messages)))]
        before = len(message.statuses)
        events = [StatusEvent(status=status, message_id=message.id) for status in reported]

        recorded = self.run(self.outbox.record(ReportedEvents(instance="relay", events=events)))

        for status in reported:
            message.record(status, self.now, by_provider=True)
        if message.state is not State.SENT:
            message.state, message.ended = State.SENT, self.now
        assert (recorded.new, recorded.unknown) == (len(message.statuses) - before, 0)

    @rule(target=calls, limit=st.integers(1, 4))
    def claim_callbacks(self, limit):
        due = {
            (message.id, one.status): one
            for message in self.messages.values()
            for one in message.statuses
            if one.callback_state is CallbackState.QUEUED and one.due <= self.now
        }

        claimed = self.run(claim_callbacks(self.outbox, limit, 45))

        assert len(claimed) == min(limit, len(due))
        for call in claimed:
            one = due.pop((call.message_id, call.status))
            one.callback_state, one.due, one.attempt = CallbackState.CALLING, self.now + 45, one.attempt + 1
            assert call.attempt == one.attempt
        return multiple(*((self.process, call) for call in claimed))

    @rule(process_call=consumes(calls), end=st.sampled_from(["acknowledged", "dead", "failed", "lost"]))
    def finish_callback(self, process_call, end):
        process, call = process_call
        message = self.messages.get(call.message_id)
        one = message and next(one for one in message.statuses if one.status is call.status)
        if end == "acknowledged" and one:
            one.calls += 1
        if end == "lost":
            return
        valid = bool(one) and (process, call.attempt, CallbackState.CALLING) == (
            self.process,
            one.attempt,
            one.callback_state,
        )
        retry_in = 300 if end == "failed" else None
        callback_result = CallbackResult(
            seq=call.seq, attempt=call.attempt, acknowledged=end == "acknowledged", retry_in=retry_in
        )

        assert self.run(finish_callback(self.outbox, callback_result)) == valid

        if valid and end == "failed":
            one.callback_state, one.due = CallbackState.QUEUED, self.now + 300
        elif valid:
            one.callback_state = CallbackState(end)
            message.call_next(self.now)

    @rule(seconds=st.sampled_from(JUMPS))
    def advance(self, seconds):
        self.now += seconds

    @rule()
    def sweep(self):
        for _ in range(20):
            if not self.run(self.outbox.sweep()).changes:
                break
        else:
            pytest.fail("the sweep never ends")
        for _ in range(3):
            for message in self.messages.values():
                self.sweep_one(message)

    def sweep_one(self, message):
        now = self.now
        waiting = {State.QUEUED, State.SUSPECT, State.UNCERTAIN, State.HELD}
        if message.state in waiting and message.expires <= now:
            message.end(State.FAILED, now)
            message.record(Status.FAILED, now, by_provider=False)
        if message.state is State.SENDING and message.due <= now:
            message.state, message.due = State.UNCERTAIN, now + WAIT
        if message.state is State.UNCERTAIN and message.due <= now:
            held = self.policy.hold_uncertain or message.lost_answers >= 2
            message.wait_for_next_try()
            message.state = State.HELD if held else message.state
            message.due = message.expires if held else now
        far = message.expires > now + due_rows.MAX_LIFETIME
        if far and message.state not in ENDED and message.created > now + due_rows.MAX_PAUSE:
            message.expires += now - message.created
            message.created = now
        self.correct_due_time(message)
        for one in message.statuses:
            if one.callback_state is CallbackState.CALLING and one.due <= now:
                one.callback_state, one.due, one.lost_claims = CallbackState.QUEUED, now, one.lost_claims + 1
            if one.callback_state is CallbackState.QUEUED and one.due > self.latest_due_time(
                one, due_rows.MAX_CALLBACK_PAUSE
            ):
                one.due = now
            if one.callback_state is CallbackState.CALLING:
                one.due = min(one.due, now + due_rows.MAX_LEASE)

    def latest_due_time(self, one, longest):
        """Return the latest possible due time: now before the first try, then after the longest pause."""
        return self.now + (longest if one.attempt else 0)

    def correct_due_time(self, message):
        now = self.now
        waits = message.state in {State.QUEUED, State.SUSPECT}
        if waits and message.due > self.latest_due_time(message, due_rows.MAX_PAUSE):
            message.due = now
        elif message.state is State.UNCERTAIN:
            message.due = min(message.due, now + WAIT)
        elif message.state is State.SENDING:
            message.due = min(message.due, now + due_rows.MAX_LEASE)
        elif message.state is State.HELD:
            message.due = message.expires

    @rule()
    def prune(self):
        pruned = self.run(self.outbox.prune())
        open_states = {CallbackState.WAITING, CallbackState.QUEUED, CallbackState.CALLING}
        old = [
            one.id
            for one in self.messages.values()
            if one.state in ENDED
            and one.ended <= self.now - RETENTION
            and not any(status.callback_state in open_states for status in one.statuses)
        ]
        assert pruned == len(old)
        for identity in old:
            del self.messages[identity]

    @rule(before=st.integers(0, 2))
    def die_repeatedly(self, before):
        """Let the process die up to three times with the same messages: drawn one by one this would be too rare."""
        for _ in range(before):
            self.claim(4, 30, alone=False)
            self.die()
            self.advance(WAIT)
            self.sweep()
            self.claim(1, 30, alone=True)
        self.die()

    def die(self):
        """Restart the process: its claims expire, and everything else stays as it was."""
        self.run(self.opened.__aexit__(None, None, None))
        self.open()
        for message in self.messages.values():
            if message.state is State.SENDING:
                message.state, message.due = State.UNCERTAIN, self.now + WAIT
                message.deaths += 1
                if message.deaths == 3:
                    message.state, message.due = State.HELD, message.expires
            for one in message.statuses:
                if one.callback_state is CallbackState.CALLING:
                    one.callback_state, one.due, one.lost_claims = (
                        CallbackState.QUEUED,
                        self.now,
                        one.lost_claims + 1,
                    )

    # Checks after each step.

    async def rows(self):
        def select_all(connection):
            return [
                connection.execute(query).all()
                for query in (
                    select(messages),
                    select(contents.c.message_id),
                    select(statuses).order_by(statuses.c.seq),
                )
            ]

        return await self.outbox._database.transact(select_all)

    async def queued_count(self):
        query = select(func.sum(counters.c.value)).where(counters.c.scope == "queued/brand")
        found = await self.outbox._database.transact(lambda connection: connection.execute(query).scalar())
        return found or 0

    @invariant()
    def the_store_is_as_the_model_says(self):
        if not hasattr(self, "outbox"):
            return
        message_rows, content_rows, status_rows = self.run(self.rows())
        assert {row.id for row in message_rows} == self.messages.keys()
        for row in message_rows:
            message = self.messages[row.id]
            assert (row.state, row.deaths) == (message.state, message.deaths)
            assert (row.due_at is None) == (row.ended_at is not None) == (message.state in ENDED)
            assert row.due_at is None or row.due_at == message.due * 1000
            assert row.ended_at is None or row.ended_at == message.ended * 1000
        assert self.run(self.queued_count()) == sum(row.due_at is not None for row in message_rows)
        erased = {State.SENT, State.REJECTED, State.CANCELLED}
        needed = {one.id for one in self.messages.values() if one.state not in erased}
        assert {row.message_id for row in content_rows} == needed
        for message in self.messages.values():
            lines = [row for row in status_rows if row.message_id == message.id]
            assert [row.status for row in lines] == [one.status for one in message.statuses]
            assert [row.callback_state for row in lines] == [one.callback_state for one in message.statuses]
            for row, one in zip(lines, message.statuses, strict=True):
                on_the_way = one.callback_state in {CallbackState.QUEUED, CallbackState.CALLING}
                assert row.due_at == (one.due * 1000 if on_the_way else None)
            self.promises(message)

    @staticmethod
    def promises(message):
        names = [one.status for one in message.statuses]
        assert len(names) == len(set(names))
        assert Status.ACCEPTED not in names[1:]
        callback_states = [one.callback_state for one in message.statuses]
        begun = [one for one in callback_states if one in {CallbackState.QUEUED, CallbackState.CALLING}]
        assert len(begun) <= 1
        if CallbackState.WAITING in callback_states:
            # A status before it is queued or calling, and every status after it waits too.
            first = callback_states.index(CallbackState.WAITING)
            assert begun
            assert set(callback_states[first:]) == {CallbackState.WAITING}

    def check_every_status_is_called_back(self):
        """In the end Smartico got every status: once, unless a claim was lost or a callback is dead."""
        self.die()
        for _ in range(200):
            claimed = self.run(claim_callbacks(self.outbox, 99, 45))
            if not claimed and not any(
                one.callback_state in {CallbackState.QUEUED, CallbackState.CALLING, CallbackState.WAITING}
                for message in self.messages.values()
                for one in message.statuses
            ):
                break
            self.now += 13 * 3600
            for call in claimed:
                message = self.messages[call.message_id]
                one = next(one for one in message.statuses if one.status is call.status)
                one.calls += 1
                one.callback_state = CallbackState.ACKNOWLEDGED
                message.call_next(self.now)
                assert self.run(
                    finish_callback(
                        self.outbox, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)
                    )
                )
            self.sweep()
        else:
            pytest.fail("some statuses are never called back")
        for message in self.messages.values():
            for one in message.statuses:
                assert one.callback_state in {
                    CallbackState.ACKNOWLEDGED,
                    CallbackState.DEAD,
                    CallbackState.NONE,
                }
                if one.callback_state is CallbackState.ACKNOWLEDGED:
                    assert 1 <= one.calls <= 1 + one.lost_claims


def test_the_outbox_matches_the_model_in_random_histories(empty_sqlite):
    Outboxes.empty = empty_sqlite
    run_state_machine_as_test(
        Outboxes,
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
