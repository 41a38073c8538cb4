"""The callback worker: sends every recorded status to Smartico, in order for each message."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache

from gatepost.callback_urls import MAX_URLS, CallbackUrl, CallbackUrlPolicy, CallbackUrlRefused
from gatepost.callbacks import attempt
from gatepost.callbacks.attempt import CallOutcome
from gatepost.callbacks.claim_planner import ClaimPlanner
from gatepost.callbacks.client import CallbackClient, CallbackFailed
from gatepost.callbacks.recorder import Recorder
from gatepost.callbacks.slots import ClaimPlan, ClientSlots, RestingTarget
from gatepost.config.settings import Settings
from gatepost.errors import StoreError, Unavailable
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Callback, CallbackResult, Outbox, polling
from gatepost.outbox.callbacks import CallbackClaimRequest

CALLBACK_LEASE = 45.0
"""Seconds for which a claimed callback is held: three times the deadline of a call."""

_log = logs.get(__name__)


class CallbackWorker:
    """The callback worker of one gateway."""

    def __init__(
        self,
        settings: Settings,
        *,
        outbox: Outbox,
        url_policies: Mapping[str, CallbackUrlPolicy],
        callback_client: CallbackClient,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._url_policies = url_policies
        self._callback_client = callback_client
        self._metrics = metrics
        self._clock = clock
        self._uniform = uniform
        self._stopping = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._recorder = Recorder(outbox)
        self._checked_url = lru_cache(MAX_URLS)(self._check_url)
        self._planner = ClaimPlanner(settings.clients, clock)

    def take_over(self, settings: Settings, url_policies: Mapping[str, CallbackUrlPolicy]) -> None:
        """Use another configuration from now on. Calls in flight go on with what they have."""
        self._settings, self._url_policies = settings, url_policies
        self._checked_url.cache_clear()
        self._planner.take_over(settings.clients)
        self._outbox.callbacks_due.set()

    async def run(self) -> None:
        """Make calls until ``stop``; then return when none is in flight any more."""
        try:
            await polling.claim_repeatedly(
                self._exchange,
                work=self._outbox.callbacks_due,
                stopping=self._stopping,
                on_error=_log_failed_claim,
            )
            while self._calls or self._recorder.is_waiting:
                if not self._recorder.is_waiting:
                    await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)
                if not await self._recorder.record():
                    await asyncio.sleep(polling.RECORD_INTERVAL)
        finally:
            # Some are left only when there was no time to wait for them: each is recorded as a call that was never made.
            for task in self._calls:
                task.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)
            await self._recorder.close()

    def end_rests(self, targets: Iterable[tuple[str, str]]) -> None:
        """End the rests of these targets, given as pairs of client and target: they may be called now."""
        self._planner.end_rests(targets)
        self._outbox.callbacks_due.set()

    def resting_targets(self) -> Iterator[tuple[str, RestingTarget]]:
        """Return each target that is not usable, after the name of its client; empty for one that was removed."""
        return self._planner.resting_targets()

    def stop(self) -> None:
        """Claim no further callbacks."""
        self._stopping.set()
        self._outbox.callbacks_due.set()

    async def _exchange(self) -> float | None:
        """Record the calls that have ended, and begin those that may begin now.

        Returns the wait until the next claim, None where more may be due.
        """
        # At the same time, so that they share a transaction.
        recorded, claimed = await asyncio.gather(
            self._recorder.record(), self._claim(), return_exceptions=True
        )
        for failure in (recorded, claimed):
            if isinstance(failure, BaseException):
                raise failure
        if claimed:
            return None
        return polling.POLL_INTERVAL if recorded else polling.RECORD_INTERVAL

    async def _claim(self) -> bool:
        """Begin the calls that may begin now; return whether more may be due."""
        if not self._planner.may_claim(self._call_count()):
            return False
        plans: list[tuple[str, ClaimPlan]] = []

        def plan() -> list[CallbackClaimRequest]:
            # Made late: calls whose results share the transaction have freed their slots by then.
            plans.extend(self._planner.plan(self._call_count()))
            return [self._request(name, one) for name, one in plans]

        claimed = await self._outbox.claim_callbacks(plan)
        now = self._clock()
        for (name, one), callbacks in zip(plans, claimed, strict=True):
            self._planner.of(name).note_claim(one, len(callbacks), now)
            for callback in callbacks:
                self._begin(callback, now)
        return any(len(callbacks) == one.limit for (_, one), callbacks in zip(plans, claimed, strict=True))

    def _call_count(self) -> int:
        return len(self._calls) + self._recorder.refused_count

    def _request(self, name: str, plan: ClaimPlan) -> CallbackClaimRequest:
        """Return the request for callbacks of a client, or with an empty name for those of removed clients."""
        return CallbackClaimRequest(
            plan.limit,
            CALLBACK_LEASE,
            client=name,
            excluded_targets=plan.excluded_targets,
            target=plan.target,
            excluded_clients=frozenset() if name else frozenset(self._planner.slots),
        )

    def _begin(self, callback: Callback, now: float) -> None:
        slots = self._planner.of(callback.client)
        slots.begin(callback.target, now)
        task = asyncio.create_task(self._process(callback, slots), name=f"callback-{callback.message_id}")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _process(self, callback: Callback, slots: ClientSlots) -> None:
        """Make one call, which has one of these slots, and add its result to those to record."""
        outcome = attempt.INTERRUPTED
        cancelled = False
        begun_at = self._clock()
        try:
            outcome = await self._call(callback)
        except asyncio.CancelledError:
            # Smartico refused nothing: the call must not count as an attempt, nor be the last one.
            cancelled = True
            raise
        except Exception as error:  # noqa: BLE001  an error with one call must not stop the others
            _log.error("callback_failed", message=callback.message_id, exc_info=error)
        finally:
            failure = Unavailable(outcome.problem) if outcome.target_failed else None
            now = self._clock()
            slots.end(callback.target, now, failure)
            result = (
                attempt.interrupted_result(callback)
                if cancelled
                else attempt.callback_result(callback, outcome, self._uniform)
            )
            self._count(callback, result, now - begun_at)
            self._recorder.add(callback, result)
            self._outbox.callbacks_due.set()

    async def _call(self, callback: Callback) -> CallOutcome:
        client = self._settings.clients.get(callback.client)
        if client is None:
            return CallOutcome("the client is no longer configured")
        query = {
            "type": callback.channel.value,
            "ext_message_id": callback.message_id,
            "status": callback.status.value,
            "api_key": client.callback_api_key.reveal(),
        }
        try:
            url = self._checked_url(callback.client, callback.callback_url)
        except CallbackUrlRefused as error:
            return CallOutcome(f"refused: {error}")
        begun_at = self._clock()
        try:
            answer = await self._callback_client.get(url, query)
        except CallbackFailed as error:
            return CallOutcome(str(error), target_failed=True)
        finally:
            self._metrics.callback_duration.observe(self._clock() - begun_at, callback.client)
        return attempt.outcome_of(answer)

    def _check_url(self, client: str, url: str) -> CallbackUrl:
        # Checked again: the client's list may have changed since the message was accepted.
        return self._url_policies[client].check(url)

    def _count(self, callback: Callback, result: CallbackResult, seconds: float) -> None:
        """Count a call that took so many seconds, and log it."""
        outcome = "acknowledged" if result.acknowledged else "dead" if result.retry_in is None else "retry"
        status = callback.status.value
        self._metrics.count(self._metrics.callbacks, status, outcome)
        self._outbox.trail.tracing.called(
            callback.message_id,
            client=callback.client,
            channel=callback.channel.value,
            status=status,
            outcome=outcome,
            http_status=result.http_status,
            seconds=seconds,
        )
        if result.acknowledged:
            self._outbox.trail.acknowledged(
                callback.message_id, client=callback.client, status=status, attempt=callback.attempt
            )
        else:
            (_log.error if outcome == "dead" else _log.warning)(
                f"callback_{outcome}",
                message=callback.message_id,
                status=status,
                attempt=callback.attempt,
                problem=result.problem,
            )


def _log_failed_claim(error: StoreError) -> None:
    _log.warning("claim_failed", reason=str(error))
