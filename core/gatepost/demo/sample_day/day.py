"""The sample day: messages, tries, reports, callbacks and operators, each recorded by the outbox at its time."""

import asyncio
import heapq
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from gatepost.app import load
from gatepost.callbacks.attempt import callback_result
from gatepost.config.settings import Settings
from gatepost.demo.sample_day import incidents
from gatepost.demo.sample_day.acceptance import Acceptance
from gatepost.demo.sample_day.incidents import DAY, Reported
from gatepost.demo.sample_day.operators import Operators
from gatepost.demo.sample_day.sending import Sending
from gatepost.demo.traffic import Traffic
from gatepost.model import StatusEvent
from gatepost.outbox import (
    Callback,
    CallbackResult,
    Claim,
    Outbox,
    ReportedEvents,
    SendResult,
    open_outbox,
    outbox_policy,
    store_size,
)
from gatepost.outbox.callbacks import CallbackClaimRequest
from gatepost.outbox.claims import ClaimRequest
from gatepost.outbox.states import State

PER_HOUR = 190.0
"""Messages in the busiest hour."""

_STEP, _LATE_STEP = 1200.0, 240.0
"""Seconds of a step, on average: the messages of a step arrive at its beginning, and are sent at once."""

_LATE = 2.5
"""Hours before the end from which on the steps are short, because these messages are seen first."""

_LEASE = 60.0

_BATCH = 1_000


class Clock:
    """The clock of the store, which the sample day moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.now


async def write_sample_day(config: Path, callback_urls: Mapping[str, str], password: str, seed: int) -> None:
    """Write the day that ends now into the store of a configuration whose gateway does not run.

    ``callback_urls`` are those of the clients; ``password`` is that of the console's users.
    """
    settings, _ = load(config)
    clock = Clock(time.time() - DAY * 3600)
    opened = open_outbox(settings.store.url, settings.path.parent, outbox_policy(settings), clock)
    async with opened as outbox:
        await _SampleDay(settings, outbox, clock, callback_urls, seed).run(password)


class _SampleDay:
    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        clock: Clock,
        callback_urls: Mapping[str, str],
        seed: int,
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._clock = clock
        self._end = clock.now + DAY * 3600
        # Three of them, so that the requests are the same whatever becomes of them.
        requests, self._steps_rng, self._rng = (random.Random(seed + number) for number in range(3))  # noqa: S311  no secret
        self._traffic = Traffic(requests)
        self._acceptance = Acceptance(settings, outbox, clock, callback_urls)
        self._sending = Sending(settings, outbox, self._rng)
        self._reports: list[tuple[float, str, str, Reported]] = []
        """By their times: instance, message, report."""

    @property
    def _hours(self) -> float:
        """Hours before the end."""
        return (self._end - self._clock.now) / 3600

    async def run(self, password: str) -> None:
        acts = list(Operators(self._settings, self._outbox, password).acts())
        for seconds in self._steps():
            while acts and acts[0].hours >= self._hours:
                await acts.pop(0).do()
            await self._outbox.change(store_size.sample, None)
            requests = self._traffic.requests(self._hours, seconds, PER_HOUR)
            await asyncio.gather(*map(self._acceptance.accept, requests))
            for pause in (1.3, 28.0):
                self._clock.now += pause
                await self._send()
                await self._report()
                await self._call_back()
            await self._outbox.sweep()

    def _steps(self) -> Iterator[float]:
        """Move the clock from step to step up to the end; yield the seconds that each step lasts."""
        while (left := self._end - self._clock.now) > 90:
            usual = _STEP if self._hours > _LATE else _LATE_STEP
            seconds = min(self._steps_rng.uniform(0.7, 1.3) * usual, left - 60)
            begin = self._clock.now
            yield seconds
            self._clock.now = max(self._clock.now, begin + seconds)

    async def _send(self) -> None:
        queues = [queue for queue in await self._outbox.due_queues() if self._sending.may_send(queue)]
        if not queues:
            return
        requests = [ClaimRequest(queue, _BATCH, _LEASE) for queue in queues]
        batches = await self._outbox.claim(lambda: requests)
        claims = [claim for batch in batches for claim in batch.claims]
        results = await asyncio.gather(*(self._sending.send(claim, self._hours) for claim in claims))
        await asyncio.gather(*map(self._outbox.finish, results))
        for claim, result in zip(claims, results, strict=True):
            self._expect_reports(claim, result)

    def _expect_reports(self, claim: Claim, result: SendResult) -> None:
        if result.state is not State.SENT:
            return
        address = self._acceptance.address(claim.ext_user_id)
        for one in incidents.reports(self._rng, claim, address):
            heapq.heappush(self._reports, (self._clock.now + one.after, result.instance, claim.id, one))

    async def _report(self) -> None:
        events: defaultdict[str, list[StatusEvent]] = defaultdict(list)
        while self._reports and self._reports[0][0] <= self._clock.now:
            _, instance, message, one = heapq.heappop(self._reports)
            events[instance].append(StatusEvent(status=one.status, message_id=message, code=one.code))
        await asyncio.gather(
            *(
                self._outbox.record(ReportedEvents(instance=name, events=found))
                for name, found in events.items()
            )
        )

    async def _call_back(self) -> None:
        # A status is called back when the one before it is acknowledged.
        request = CallbackClaimRequest(_BATCH, _LEASE)
        while any(callbacks := await self._outbox.claim_callbacks(lambda: [request])):
            results = list(map(self._call, callbacks[0]))
            await self._outbox.finish_callbacks(partial(list, results))

    def _call(self, callback: Callback) -> CallbackResult:
        accepted = self._acceptance.accepted_at(callback.message_id)
        outcome = incidents.call(callback, self._hours, (self._end - accepted) / 3600)
        return callback_result(callback, outcome, self._rng.uniform)
