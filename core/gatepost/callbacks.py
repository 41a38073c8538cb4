"""From the outbox to Smartico: tell every recorded status, in order for its message."""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from gatepost import logs, wire
from gatepost.caller import CallbackFailed, Caller
from gatepost.errors import StoreBroken, StoreError, Unavailable
from gatepost.metrics import Metrics
from gatepost.outbox import Call, Called, Outbox
from gatepost.pace import Health, Pace
from gatepost.settings import Settings
from gatepost.targets import TargetRefused, Targets

PAUSES = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
"""Seconds after the first try, the second, …; after one more it is dead. Each ±20 %."""

AT_ONCE = 64
"""Calls under way at once."""

KEPT_FREE = 16
"""Of these for hosts that have none, one each: as many slow hosts it would take to keep another waiting."""

LEASE = 45.0
"""Seconds that a claimed call is ours: three times its deadline."""

POLL = 1.0

_MOST_HOSTS = 1_000

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
    """The caller of one gateway."""

    def __init__(
        self,
        settings: Settings,
        *,
        outbox: Outbox,
        targets: Mapping[str, Targets],
        caller: Caller,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._targets = targets
        self._caller = caller
        self._metrics = metrics
        self._clock = clock
        self._draw = draw
        self._stopping = False
        self._out_of_time = False
        self._finishing: set[asyncio.Task[None]] = set()
        self._calling: set[asyncio.Task[None]] = set()
        self._hosts: OrderedDict[str, Pace] = OrderedDict()

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

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping = True
        self._outbox.reported.set()

    async def _loop(self) -> None:
        while not self._stopping:
            self._outbox.reported.clear()
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
                await self._outbox.reported.wait()
        except TimeoutError:
            pass

    async def _claim(self) -> int:
        """Begin what can be begun now; returns how many calls that were."""
        now = self._clock()
        healths = {host: pace.describe(now).health for host, pace in self._hosts.items()}
        ill = frozenset(host for host, health in healths.items() if health is not Health.USABLE)
        calls: list[Call] = []
        # A host that has rested long enough shows with a single call whether it works again.
        for host in ill:
            if len(self._calling) + len(calls) >= AT_ONCE:
                break
            if healths[host] is Health.PROBING and self._hosts[host].free(now):
                calls += await self._outbox.claim_calls(1, LEASE, only=host)
        under_way = len(self._calling) + len(calls)
        if under_way < AT_ONCE - KEPT_FREE:
            most = AT_ONCE - KEPT_FREE - under_way
            calls += await self._outbox.claim_calls(most, LEASE, resting=ill)
        elif under_way < AT_ONCE:
            called = {host for host, pace in self._hosts.items() if pace.slots_used}
            # One, for two might be for the same host.
            calls += await self._outbox.claim_calls(1, LEASE, resting=ill | called)
        for call in calls:
            self._pace(call.host).begin(now)
            task = asyncio.create_task(self._call(call), name=f"callback-{call.message_id}")
            self._calling.add(task)
            task.add_done_callback(self._calling.discard)
        return len(calls)

    def _pace(self, host: str) -> Pace:
        pace = self._hosts.get(host)
        if pace is None:
            while len(self._hosts) >= _MOST_HOSTS and not next(iter(self._hosts.values())).slots_used:
                self._hosts.popitem(last=False)
            pace = self._hosts[host] = Pace(concurrency=AT_ONCE, per_second=0.0)
        self._hosts.move_to_end(host)
        return pace

    async def _call(self, call: Call) -> None:
        problem, retry_after, host_failed = "interrupted", None, False
        cut_off = False
        try:
            problem, retry_after, host_failed = await self._tell(call)
        except asyncio.CancelledError:
            # Nobody refused it: it must be neither a try nor the last one.
            cut_off = True
            raise
        except Exception as error:  # noqa: BLE001  one call's trouble must not become another's
            _log.error("callback_failed", message=call.message_id, exc_info=error)
        finally:
            failure = Unavailable(problem) if host_failed else None
            self._pace(call.host).end(self._clock(), failure)
            called = Called(
                seq=call.seq,
                attempt=call.attempt,
                told=not problem,
                retry_in=0.0 if cut_off else pause(call.attempt, retry_after, self._draw),
                counts=not cut_off,
                problem=problem,
            )
            # Who cancels the call must not cancel what is being recorded of it: it ends by itself.
            finishing = asyncio.create_task(self._finish(call, called), name=f"called-{call.message_id}")
            self._finishing.add(finishing)
            finishing.add_done_callback(self._finishing.discard)
            await asyncio.shield(finishing)
            self._outbox.reported.set()

    async def _tell(self, call: Call) -> tuple[str, float | None, bool]:
        """Make one call; returns what was wrong ("" when it was heard), a wish, whether the host is ill."""
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
            answer = await self._caller.get(self._targets[call.client].check(call.callback_url), query)
        except TargetRefused as error:
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

    async def _finish(self, call: Call, called: Called) -> None:
        """Record what became of a call, however long the store takes; out of time it is asked once more."""
        outcome = "told" if called.told else "dead" if called.retry_in is None else "retry"
        self._metrics.callbacks.labels(call.status.value, outcome).inc()
        if not called.told:
            (_log.error if outcome == "dead" else _log.warning)(
                f"callback_{outcome}",
                message=call.message_id,
                status=call.status.value,
                attempt=call.attempt,
                problem=called.problem,
            )
        while True:
            last = self._out_of_time
            try:
                if not await self._outbox.finish_call(called):
                    _log.warning("call_was_lost", message=call.message_id, status=call.status.value)
                return
            except StoreBroken:
                return
            except StoreError as error:
                if last:
                    _log.error("call_not_stored", message=call.message_id, reason=str(error))
                    return
                await asyncio.sleep(0.2)
