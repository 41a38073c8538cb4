"""From the outbox to Smartico: tell every recorded status, in order for its message."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from gatepost import wire
from gatepost.callback_urls import CallbackUrlPolicy, CallbackUrlRefused
from gatepost.callbacks.client import CallbackClient, CallbackFailed
from gatepost.callbacks.slots import Ask, ClientSlots, room
from gatepost.config.settings import Settings
from gatepost.errors import StoreBroken, StoreError, Unavailable
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Callback, CallbackResult, Outbox

PAUSES = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
"""Seconds after the first try, the second, …; after one more it is dead. Each ±20 %."""

AT_ONCE = 96
"""Calls under way at once, of all clients together; the connections that a CallbackClient has are a few more."""

LEASE = 45.0
"""Seconds that a claimed call is ours: three times its deadline."""

POLL = 1.0

STRAYS_EVERY = 30.0
"""Seconds between two claims of calls for clients that the configuration no longer has."""

STRAYS = 16
"""Calls in one such claim; each ends at once."""

_log = logs.get(__name__)


def pause(attempt: int, retry_after: float | None, draw: Callable[[float, float], float]) -> float | None:
    """Seconds until the next call, after the ``attempt``-th; None when that was the last.

    ``retry_after`` may only lengthen a pause: short ones would use up all tries while the host is still down.
    """
    if attempt > len(PAUSES):
        return None
    usual = PAUSES[attempt - 1]
    drawn = draw(0.8 * usual, 1.2 * usual)
    return drawn if retry_after is None else max(drawn, min(retry_after, PAUSES[-1]))


class Callbacks:
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
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._url_policies = url_policies
        self._callback_client = callback_client
        self._metrics = metrics
        self._clock = clock
        self._draw = draw
        self._stopping = False
        self._out_of_time = False
        self._finishing: set[asyncio.Task[None]] = set()
        self._calling: set[asyncio.Task[None]] = set()
        self._slots = {name: ClientSlots(AT_ONCE) for name in settings.clients}
        self._turns = deque(self._slots)
        self._stray_slots = ClientSlots(AT_ONCE)
        self._strays_at = 0.0

    async def run(self) -> None:
        """Call until ``stop``; then return when nothing is in hand any more."""
        try:
            await self._loop()
            while self._calling:
                await asyncio.wait(self._calling)
        finally:
            # Only when there was no time to wait for them: each is noted as a call that was never made.
            self._out_of_time = True
            for task in self._calling:
                task.cancel()
            await asyncio.gather(*self._calling, return_exceptions=True)
            await asyncio.gather(*self._finishing, return_exceptions=True)

    def wake(self, targets: Iterable[tuple[str, str]]) -> None:
        """End the rests of these targets, each given with its client: their calls may be made now."""
        now = self._clock()
        for client, target in targets:
            self._slots_of(client).wake(target, now)
        self._outbox.callbacks_due.set()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping = True
        self._outbox.callbacks_due.set()

    async def _loop(self) -> None:
        while not self._stopping:
            self._outbox.callbacks_due.clear()
            claimed = 0
            try:
                claimed = await self._claim()
            except StoreBroken:
                return
            except StoreError as error:
                _log.warning("claim_failed", reason=str(error))
            if not claimed:
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL):
                await self._outbox.callbacks_due.wait()
        except TimeoutError:
            pass

    async def _claim(self) -> int:
        """Begin what can be begun now; returns how many calls that were."""
        now = self._clock()
        asks = self._asks(now)
        # All at once: they share a transaction.
        found = await asyncio.gather(*(self._ask(*ask) for ask in asks), return_exceptions=True)
        failure: BaseException | None = None
        count = 0
        for (name, ask), calls in zip(asks, found, strict=True):
            if isinstance(calls, BaseException):
                failure = calls
                continue
            count += len(calls)
            self._slots_of(name).claimed(ask, len(calls), now)
            for call in calls:
                self._begin(call, now)
        if failure is not None:
            raise failure
        return count

    def _asks(self, now: float) -> list[tuple[str, Ask]]:
        """What to claim for which client, together for no more calls than there are free slots."""
        free = AT_ONCE - len(self._calling)
        # Each client is the first in its turn. One that had no call the last time is asked for one only.
        self._turns.rotate()
        every = self._slots.values()
        busy = sum(slots.busy for slots in every)
        most = max(1, (free - len(every) + busy) // max(1, busy))
        without = sum(not slots.in_flight for slots in every)
        asks: list[tuple[str, Ask]] = []
        for name in self._turns:
            slots = self._slots[name]
            without -= not slots.in_flight
            share = room(slots.in_flight, free, without)
            for ask in slots.asks(now, most if slots.busy else 1, share):
                asks.append((name, ask))
                free -= ask.most
        if now >= self._strays_at:
            self._strays_at = now + STRAYS_EVERY
            asks.append(("", Ask(STRAYS)))
        return asks

    async def _ask(self, name: str, ask: Ask) -> list[Callback]:
        besides = frozenset() if name else frozenset(self._slots)
        return await self._outbox.claim_callbacks(
            ask.most,
            LEASE,
            client=name,
            excluded_targets=ask.resting,
            target=ask.only,
            excluded_clients=besides,
        )

    def _slots_of(self, client: str) -> ClientSlots:
        return self._slots.get(client, self._stray_slots)

    def _begin(self, call: Callback, now: float) -> None:
        self._slots_of(call.client).begin(call.target, now)
        task = asyncio.create_task(self._call(call), name=f"callback-{call.message_id}")
        self._calling.add(task)
        task.add_done_callback(self._calling.discard)

    async def _call(self, call: Callback) -> None:
        problem, retry_after, ill = "interrupted", None, False
        cut_off = False
        try:
            problem, retry_after, ill = await self._tell(call)
        except asyncio.CancelledError:
            # Nobody refused it: it must be neither a try nor the last one.
            cut_off = True
            raise
        except Exception as error:  # noqa: BLE001  one call's trouble must not become another's
            _log.error("callback_failed", message=call.message_id, exc_info=error)
        finally:
            failure = Unavailable(problem) if ill else None
            self._slots_of(call.client).end(call.target, self._clock(), failure)
            callback_result = CallbackResult(
                seq=call.seq,
                attempt=call.attempt,
                acknowledged=not problem,
                retry_in=0.0 if cut_off else pause(call.attempt, retry_after, self._draw),
                counts=not cut_off,
                problem=problem,
            )
            # Who cancels the call must not cancel what is being recorded of it: it ends by itself.
            finishing = asyncio.create_task(
                self._finish(call, callback_result), name=f"called-{call.message_id}"
            )
            self._finishing.add(finishing)
            finishing.add_done_callback(self._finishing.discard)
            await asyncio.shield(finishing)
            self._outbox.callbacks_due.set()

    async def _tell(self, call: Callback) -> tuple[str, float | None, bool]:
        """Make one call; returns what was wrong ("" when it was heard), a wish, whether the target is ill."""
        client = self._settings.clients.get(call.client)
        if client is None:
            return "the client is no longer configured", None, False
        query = {
            "type": call.channel.value,
            "ext_message_id": call.message_id,
            "status": call.status.value,
            "api_key": client.callback_api_key.reveal(),
        }
        try:
            # Once more: what is listed may have changed since the message was accepted.
            answer = await self._callback_client.get(
                self._url_policies[call.client].check(call.callback_url), query
            )
        except CallbackUrlRefused as error:
            return f"refused: {error}", None, False
        except CallbackFailed as error:
            return str(error), None, True
        return self._heard(answer)

    @staticmethod
    def _heard(answer: wire.Reply) -> tuple[str, float | None, bool]:
        if not 200 <= answer.status < 300:
            ill = answer.status == 429 or answer.status >= 500
            return f"HTTP {answer.status}", wire.retry_after(answer.headers), ill
        said = answer.json()
        code = said.get("error_code", 0) if isinstance(said, dict) else 0
        # Not a set: what others answer may be a list, and no set takes that.
        if code in (0, "0", None):
            return "", None, False
        return f"error_code {code}" if isinstance(code, int) else "an error_code", None, False

    async def _finish(self, call: Callback, callback_result: CallbackResult) -> None:
        """Record what became of a call, however long the store takes; out of time it is asked once more."""
        outcome = (
            "acknowledged"
            if callback_result.acknowledged
            else "dead"
            if callback_result.retry_in is None
            else "retry"
        )
        self._metrics.callbacks.labels(call.status.value, outcome).inc()
        if not callback_result.acknowledged:
            (_log.error if outcome == "dead" else _log.warning)(
                f"callback_{outcome}",
                message=call.message_id,
                status=call.status.value,
                attempt=call.attempt,
                problem=callback_result.problem,
            )
        while True:
            last = self._out_of_time
            try:
                if not await self._outbox.finish_callback(callback_result):
                    _log.warning("call_was_lost", message=call.message_id, status=call.status.value)
                return
            except StoreBroken:
                return
            except StoreError as error:
                if last:
                    _log.error("call_not_stored", message=call.message_id, reason=str(error))
                    return
                await asyncio.sleep(0.2)
