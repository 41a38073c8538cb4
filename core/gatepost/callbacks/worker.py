"""The callback worker: sends every recorded status to Smartico, in order for each message."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any

from gatepost.callback_urls import CallbackUrlPolicy, CallbackUrlRefused
from gatepost.callbacks import attempt
from gatepost.callbacks.attempt import CallOutcome
from gatepost.callbacks.client import CallbackClient, CallbackFailed
from gatepost.callbacks.slots import ClaimPlan, ClientSlots, RestingTarget, allowed_calls
from gatepost.config.settings import Settings
from gatepost.errors import StoreError, Unavailable
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Callback, CallbackResult, Outbox, polling

MAX_CALLS = 96
"""Calls in flight at once, of all clients together; a CallbackClient has a few connections more."""

CALLBACK_LEASE = 45.0
"""Seconds for which a claimed callback is held: three times the deadline of a call."""

REMOVED_CLIENTS_INTERVAL = 30.0
"""Seconds between two claims of callbacks for clients that the configuration no longer has."""

REMOVED_CLIENTS_CALLS = 16
"""Callbacks in such a claim; each of them fails at once."""

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
        self._out_of_time = asyncio.Event()
        self._recording: set[asyncio.Task[object]] = set()
        self._calling: set[asyncio.Task[None]] = set()
        self._slots = {name: ClientSlots(MAX_CALLS) for name in settings.clients}
        self._turns = deque(self._slots)
        self._removed_clients = ClientSlots(MAX_CALLS)
        self._removed_clients_at = 0.0

    def take_over(self, settings: Settings, url_policies: Mapping[str, CallbackUrlPolicy]) -> None:
        """Use another configuration from now on. Calls in flight go on with what they have."""
        self._settings, self._url_policies = settings, url_policies
        self._slots = {name: self._slots.get(name) or ClientSlots(MAX_CALLS) for name in settings.clients}
        self._turns = deque(self._slots)
        self._removed_clients_at = 0.0
        self._outbox.callbacks_due.set()

    async def run(self) -> None:
        """Make calls until ``stop``; then return when none is in flight any more."""
        try:
            await polling.claim_repeatedly(
                self._claim,
                work=self._outbox.callbacks_due,
                stopping=self._stopping,
                on_error=_log_failed_claim,
            )
            while self._calling:
                await asyncio.wait(self._calling)
        finally:
            # Some are left only when there was no time to wait for them: each is recorded as a call that was never made.
            self._out_of_time.set()
            for task in self._calling:
                task.cancel()
            await asyncio.gather(*self._calling, return_exceptions=True)
            await asyncio.gather(*self._recording, return_exceptions=True)

    def end_rests(self, targets: Iterable[tuple[str, str]]) -> None:
        """End the rests of these targets, given as pairs of client and target: they may be called now."""
        now = self._clock()
        for client, target in targets:
            self._slots_of(client).end_rest(target, now)
        self._outbox.callbacks_due.set()

    def resting_targets(self) -> Iterator[tuple[str, RestingTarget]]:
        """Yield each target that is not usable, after the name of its client; empty for one that was removed."""
        now = self._clock()
        for client, slots in (*self._slots.items(), ("", self._removed_clients)):
            for target in slots.resting(now):
                yield client, target

    def stop(self) -> None:
        """Claim no further callbacks."""
        self._stopping.set()
        self._outbox.callbacks_due.set()

    async def _claim(self) -> float | None:
        """Begin the calls that may begin now; return the wait until the next claim, None where more may be due."""
        now = self._clock()
        plans = self._plan_claims(now)
        # At the same time, so that they share a transaction.
        claimed = await asyncio.gather(
            *(self._claim_for(name, plan) for name, plan in plans), return_exceptions=True
        )
        failure: BaseException | None = None
        count = 0
        for (name, plan), callbacks in zip(plans, claimed, strict=True):
            if isinstance(callbacks, BaseException):
                failure = callbacks
                continue
            count += len(callbacks)
            self._slots_of(name).note_claim(plan, len(callbacks), now)
            for callback in callbacks:
                self._begin(callback, now)
        if failure is not None:
            raise failure
        return None if count else polling.POLL_INTERVAL

    def _plan_claims(self, now: float) -> list[tuple[str, ClaimPlan]]:
        """Return the claims to make now with their clients, for no more calls together than there are free slots."""
        free_slots = MAX_CALLS - len(self._calling)
        # Each client is the first one in turn. The limit is one call for a client whose last claim brought none.
        self._turns.rotate()
        all_slots = self._slots.values()
        busy = sum(slots.busy for slots in all_slots)
        limit = max(1, (free_slots - len(all_slots) + busy) // max(1, busy))
        idle = sum(not slots.in_flight for slots in all_slots)
        plans: list[tuple[str, ClaimPlan]] = []
        for name in self._turns:
            slots = self._slots[name]
            idle -= not slots.in_flight
            allowed = allowed_calls(slots.in_flight, free_slots, idle)
            for plan in slots.plan_claims(now, limit if slots.busy else 1, allowed):
                plans.append((name, plan))
                free_slots -= plan.limit
        if now >= self._removed_clients_at:
            self._removed_clients_at = now + REMOVED_CLIENTS_INTERVAL
            plans.append(("", ClaimPlan(REMOVED_CLIENTS_CALLS)))
        return plans

    async def _claim_for(self, name: str, plan: ClaimPlan) -> list[Callback]:
        """Claim callbacks of a client, or with an empty name those of removed clients."""
        excluded_clients = frozenset() if name else frozenset(self._slots)
        return await self._outbox.claim_callbacks(
            plan.limit,
            CALLBACK_LEASE,
            client=name,
            excluded_targets=plan.excluded_targets,
            target=plan.target,
            excluded_clients=excluded_clients,
        )

    def _slots_of(self, client: str) -> ClientSlots:
        return self._slots.get(client, self._removed_clients)

    def _begin(self, callback: Callback, now: float) -> None:
        slots = self._slots_of(callback.client)
        slots.begin(callback.target, now)
        task = asyncio.create_task(self._process(callback, slots), name=f"callback-{callback.message_id}")
        self._calling.add(task)
        task.add_done_callback(self._calling.discard)

    async def _process(self, callback: Callback, slots: ClientSlots) -> None:
        """Make one call, which has one of these slots, and record its result."""
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
            # In a task of its own, so that the result is recorded although this call is cancelled.
            recording = asyncio.create_task(
                self._record(callback, result, now - begun_at), name=f"record-{callback.message_id}"
            )
            self._recording.add(recording)
            recording.add_done_callback(self._recording.discard)
            await asyncio.shield(recording)
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
            # Checked again: the client's list may have changed since the message was accepted.
            url = self._url_policies[callback.client].check(callback.callback_url)
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

    def _record(
        self, callback: Callback, result: CallbackResult, seconds: float
    ) -> Coroutine[Any, Any, bool | None]:
        """Count the result; return the coroutine that records it."""
        outcome = "acknowledged" if result.acknowledged else "dead" if result.retry_in is None else "retry"
        self._metrics.callbacks.labels(callback.status.value, outcome).inc()
        self._outbox.trail.tracing.called(
            callback.message_id,
            client=callback.client,
            channel=callback.channel.value,
            status=callback.status.value,
            outcome=outcome,
            http_status=result.http_status,
            seconds=seconds,
        )
        if result.acknowledged:
            self._outbox.trail.acknowledged(
                callback.message_id,
                client=callback.client,
                status=callback.status.value,
                attempt=callback.attempt,
            )
        else:
            (_log.error if outcome == "dead" else _log.warning)(
                f"callback_{outcome}",
                message=callback.message_id,
                status=callback.status.value,
                attempt=callback.attempt,
                problem=result.problem,
            )
        return polling.record(
            self._outbox.finish_callback,
            callback,
            result,
            on_lost=_log_lost_claim,
            on_error=_log_not_recorded,
            out_of_time=self._out_of_time,
        )


def _log_failed_claim(error: StoreError) -> None:
    _log.warning("claim_failed", reason=str(error))


def _log_lost_claim(callback: Callback, _result: CallbackResult) -> None:
    _log.warning("callback_claim_lost", message=callback.message_id, status=callback.status.value)


def _log_not_recorded(callback: Callback, error: StoreError, last: bool) -> None:
    if last:
        _log.error("callback_not_stored", message=callback.message_id, reason=str(error))
