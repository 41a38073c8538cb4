"""Calls into code that is not ours: in time, contained, and named when they go wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from gatepost.errors import ConfigError, Fault, PluginError
from gatepost.observe import logs
from gatepost.plugin_host import sanitize

T = TypeVar("T")

OPENING, CLOSING = 30.0, 5.0
"""Seconds that a lifespan may take in and out."""
GRACE = 0.5
"""Seconds that a cancelled hook has to let go; then it is left alone."""

_log = logs.get(__name__)


def patience() -> float:
    """Seconds for leaving a lifespan when nothing presses."""
    return CLOSING


class Raised(NamedTuple):
    """What a hook ended with instead of a result."""

    error: BaseException


class Guard:
    """Stands around one instance's hooks."""

    def __init__(self, name: str, package: str = "") -> None:
        """``name``: the instance's; ``package``: where its code is."""
        self.name = name
        self._package = package
        self.faults = 0
        """How often the plugin broke its contract."""
        # asyncio keeps no task alive; one that ignored its cancellation must not vanish half-way.
        self._strays: set[asyncio.Task[Any]] = set()
        self._life: asyncio.Task[Any] | None = None

    @property
    def over(self) -> bool:
        """Whether the lifespan was entered and has ended: what the plugin had opened is gone."""
        return self._life is not None and self._life.done()

    @asynccontextmanager
    async def living(
        self,
        lifespan: Callable[[], AbstractAsyncContextManager[None]],
        closing: Callable[[], float] = patience,
    ) -> AsyncIterator[None]:
        """Hold the plugin's lifespan open. Raises ConfigError when it can't be entered; leaving it never raises.

        ``closing`` is asked when it is left: the seconds that this may take.

        It has a task of its own: entered and left by the same one, and a task group in it that falls
        cancels nobody else.
        """
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        leaving = asyncio.Event()

        async def live() -> None:
            async with lifespan():
                ready.set_result(None)
                await leaving.wait()

        self._life = task = self._task("lifespan", live)
        parts: set[asyncio.Future[Any]] = {task, ready}
        try:
            await asyncio.wait(parts, timeout=OPENING, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not ready.done():
                await self._let_go("lifespan", task)
        if not ready.done():
            raise ConfigError(self._opening_faults(task))
        task.add_done_callback(lambda task: self._ended(task, expected=leaving.is_set()))
        try:
            yield
        finally:
            leaving.set()
            seconds = closing()
            await asyncio.wait({task}, timeout=seconds)
            if not task.done():
                self.fault("lifespan", f"took longer than {seconds:g} s to leave")
                await self._let_go("lifespan", task)

    def _opening_faults(self, task: asyncio.Task[Raised | None]) -> list[Fault]:
        path = f"plugins.{self.name}"
        if not task.done() or task.cancelled():
            return [Fault(path, f"did not open within {OPENING:g} s: see that what it needs answers")]
        ended = task.result()
        if isinstance(ended, Raised) and isinstance(ended.error, ConfigError):
            return placed(ended.error, path)
        if ended is None:
            return [Fault(path, "could not be opened: its lifespan ended before it had begun")]
        _log.debug("plugin_not_opened", instance=self.name, exception=logs.trace(ended.error))
        return [Fault(path, f"could not be opened: {raised(ended.error, self._package)}")]

    def _ended(self, task: asyncio.Task[Raised | None], *, expected: bool) -> None:
        ended = None if task.cancelled() else task.result()
        if ended is not None or not expected:
            self.fault("lifespan", "ended by itself", ended)

    async def outcome(
        self,
        hook: str,
        make: Callable[[], Awaitable[T]],
        seconds: float,
        may_raise: tuple[type[Exception], ...],
        *,
        clean: Callable[[BaseException], Exception],
    ) -> T | Raised:
        """Run a hook in a task of its own; returns what it returned or raised, at the latest when due.

        Of an error that is one of ``may_raise`` ``clean`` makes one that is fit to be passed on; any other
        comes back as a PluginError, and is logged.
        """
        task = self._task(hook, make)
        try:
            await _ended_or_due(task, seconds)
        except asyncio.CancelledError:
            await self._let_go(hook, task)
            raise
        if not task.done():
            await self._let_go(hook, task)
            return self.fault(hook, f"took longer than {seconds:g} s")
        if task.cancelled():
            return self.fault(hook, "cancelled itself")
        return self._judged(hook, task.result(), may_raise, clean)

    def outcome_at_once(
        self,
        hook: str,
        call: Callable[[], T],
        may_raise: tuple[type[Exception], ...],
        *,
        clean: Callable[[BaseException], Exception],
    ) -> T | Raised:
        """The same for a hook that is a plain function: no task, and no end to it but its own."""
        with logs.speaking_for(self.name, hook):
            try:
                return call()
            except BaseException as error:  # noqa: BLE001  as in _contained
                ended = Raised(error)
            return self._judged(hook, ended, may_raise, clean)

    def _judged(
        self,
        hook: str,
        ended: T | Raised,
        may_raise: tuple[type[Exception], ...],
        clean: Callable[[BaseException], Exception],
    ) -> T | Raised:
        if not isinstance(ended, Raised):
            return ended
        if not isinstance(ended.error, may_raise):
            return self.fault(hook, "", ended)
        try:
            return Raised(clean(ended.error))
        except BaseException as error:  # noqa: BLE001  an error's own properties are the plugin's code too
            return self.fault(hook, "", Raised(error))

    def _task(self, hook: str, make: Callable[[], Awaitable[T]]) -> asyncio.Task[T | Raised]:
        async def run() -> T | Raised:
            with logs.speaking_for(self.name, hook):
                return await _contained(make)

        return asyncio.get_running_loop().create_task(run(), name=f"{self.name}.{hook}")

    async def _let_go(self, hook: str, task: asyncio.Task[Any]) -> None:
        """Cancel a hook's task and leave it alone where it does not end."""
        if task.done():
            return
        task.cancel()
        self._strays.add(task)
        task.add_done_callback(self._strays.discard)
        await asyncio.wait({task}, timeout=GRACE)
        if not task.done():
            self.fault(hook, "ignores its cancellation")

    def fault(self, hook: str, problem: str, ended: Raised | None = None) -> Raised:
        """Log and count that the plugin broke its contract."""
        error = ended.error if ended else None
        if isinstance(error, PluginError):
            problem = error.problem
        elif error is not None:
            raised = f"raised {sanitize.text_of(type(error).__name__, 64)}"
            problem = f"{problem}: {raised}" if problem else raised
        trace = {"exception": logs.trace(error)} if error else {}
        self.faults += 1
        _log.error("plugin_fault", instance=self.name, hook=hook, problem=problem, **trace)
        return Raised(PluginError(self.name, hook, problem))


def raised(error: BaseException, package: str) -> str:
    """What an operator is told of an error of a plugin's own at the start: its type and where it was raised."""
    kind = sanitize.text_of(type(error).__name__, 64)
    at = logs.place(error, package)
    return f"the plugin raised {kind}{f' at {at}' if at else ''}: tell its author"


async def _ended_or_due(task: asyncio.Task[Any], seconds: float) -> None:
    """Return when the task has ended, at the latest when due: ``asyncio.wait`` for one, at half its price."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake(_task: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(wake)
    timer = loop.call_later(seconds, wake)
    try:
        await waiter
    finally:
        timer.cancel()
        task.remove_done_callback(wake)


async def _contained(make: Callable[[], Awaitable[T]]) -> T | Raised:
    """Await what ``make`` gives; whatever it raises is a result, so that nothing ends the event loop."""
    try:
        return await make()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  a plugin's SystemExit must not end the gateway
        return Raised(error)


def placed(error: ConfigError, path: str) -> list[Fault]:
    """A plugin's faults with the path of its table before their keys, and no secret in them."""
    return [
        Fault(f"{path}.{fault.key}" if fault.key else path, logs.without(fault.problem))
        for fault in error.faults
    ]
