"""The isolation of a plugin instance: each hook runs in a task of its own, with a deadline; its errors are caught."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

from gatepost.errors import ConfigError, Fault, PluginError
from gatepost.observe import logs, redaction
from gatepost.observe.tracebacks import error_location, format_traceback
from gatepost.plugin_host import sanitize
from gatepost.plugin_host.deadlines import Deadlines

T = TypeVar("T")

OPEN_TIMEOUT = 30.0
"""Seconds that a lifespan may take to open."""

CLOSE_TIMEOUT = 5.0
"""Seconds that a lifespan may take to close, where a stop of the gateway leaves it that long."""

CANCEL_TIMEOUT = 0.5
"""Seconds that a cancelled hook has to end. After that its task is abandoned."""

_log = logs.get(__name__)


def default_close_timeout() -> float:
    """Return the seconds that a lifespan may take to close when there is no other limit."""
    return CLOSE_TIMEOUT


class HookFailure(NamedTuple):
    """The error that a hook ended with instead of a result."""

    error: BaseException


class HookRunner:
    """Runs the hooks of one instance, and counts how often the plugin violates the contract."""

    def __init__(self, instance: str, package: str = "") -> None:
        """Run hooks for the instance of this name; ``package`` is the top-level package of the plugin's code."""
        self.instance = instance
        self._package = package
        self.violations = 0
        """How often the plugin violated the contract."""
        # asyncio holds tasks by weak references only, and an abandoned task must not be collected before it ends.
        self._abandoned: set[asyncio.Task[Any]] = set()
        self._lifespan_task: asyncio.Task[Any] | None = None
        self._deadlines = Deadlines()

    @property
    def lifespan_ended(self) -> bool:
        """Whether the lifespan was opened and has ended, so that everything the plugin had opened is closed."""
        return self._lifespan_task is not None and self._lifespan_task.done()

    @asynccontextmanager
    async def lifespan(
        self,
        lifespan: Callable[[], AbstractAsyncContextManager[None]],
        close_timeout: Callable[[], float] = default_close_timeout,
    ) -> AsyncIterator[None]:
        """Hold the plugin's lifespan open while the block runs.

        ``close_timeout`` is called at the end of the block and returns the seconds that closing may take.
        Raises ConfigError when the lifespan can't be opened. Closing it never raises.

        The lifespan runs in a task of its own. So one task opens and closes it, and a task group in it
        that fails cancels nothing else.
        """
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        close = asyncio.Event()

        async def run() -> None:
            async with lifespan():
                opened.set_result(None)
                await close.wait()

        self._lifespan_task = task = self._start("lifespan", run)
        either: set[asyncio.Future[Any]] = {task, opened}
        try:
            await asyncio.wait(either, timeout=OPEN_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not opened.done():
                await self._cancel("lifespan", task)
        if not opened.done():
            raise ConfigError(self._open_faults(task))
        task.add_done_callback(lambda task: self._check_lifespan_end(task, expected=close.is_set()))
        try:
            yield
        finally:
            close.set()
            seconds = close_timeout()
            await asyncio.wait({task}, timeout=seconds)
            if not task.done():
                self.record_violation("lifespan", f"took longer than {seconds:g} s to close")
                await self._cancel("lifespan", task)

    def _open_faults(self, task: asyncio.Task[HookFailure | None]) -> list[Fault]:
        path = f"plugins.{self.instance}"
        if not task.done() or task.cancelled():
            problem = f"did not open within {OPEN_TIMEOUT:g} s: check that the services it connects to answer"
            return [Fault(path, problem)]
        failure = task.result()
        if failure is None:
            problem = "could not be opened: its lifespan ended before it yielded. Report this to the plugin's author"
            return [Fault(path, problem)]
        if isinstance(failure.error, ConfigError):
            return faults_under(path, failure.error)
        _log.debug("plugin_not_opened", instance=self.instance, exception=format_traceback(failure.error))
        return [Fault(path, f"could not be opened: {describe_error(failure.error, self._package)}")]

    def _check_lifespan_end(self, task: asyncio.Task[HookFailure | None], *, expected: bool) -> None:
        failure = None if task.cancelled() else task.result()
        if failure is not None or not expected:
            self.record_violation("lifespan", "ended by itself", failure)

    async def run(
        self,
        hook: str,
        call: Callable[[], Awaitable[T]],
        timeout: float,  # noqa: ASYNC109  cancelling a hook takes more than asyncio.timeout does
        may_raise: tuple[type[Exception], ...],
        *,
        copy_error: Callable[[BaseException], Exception],
    ) -> T | HookFailure:
        """Run a hook in a task of its own and return its result or its failure, within ``timeout`` seconds.

        ``call`` calls the hook. An error of a type in ``may_raise`` is returned as the copy that
        ``copy_error`` makes of it. Any other error is logged and returned as a PluginError.
        """
        waiter = asyncio.get_running_loop().create_future()
        task = self._start(hook, call, partial(_wake, waiter))
        self._deadlines.add(waiter, timeout)
        try:
            await waiter
        except asyncio.CancelledError:
            await self._cancel(hook, task)
            raise
        finally:
            self._deadlines.remove(waiter)
        if not task.done():
            await self._cancel(hook, task)
            return self.record_violation(hook, f"took longer than {timeout:g} s")
        if task.cancelled():
            return self.record_violation(hook, "cancelled itself")
        return self._checked(hook, task.result(), may_raise, copy_error)

    def run_sync(
        self,
        hook: str,
        call: Callable[[], T],
        may_raise: tuple[type[Exception], ...],
        *,
        copy_error: Callable[[BaseException], Exception],
    ) -> T | HookFailure:
        """Run a hook that is a plain function, as ``run`` does, but without a task and without a deadline."""
        with logs.hook_context(self.instance, hook):
            try:
                return call()
            except BaseException as error:  # noqa: BLE001  as in _start
                failure = HookFailure(error)
            return self._checked(hook, failure, may_raise, copy_error)

    def _checked(
        self,
        hook: str,
        result: T | HookFailure,
        may_raise: tuple[type[Exception], ...],
        copy_error: Callable[[BaseException], Exception],
    ) -> T | HookFailure:
        if not isinstance(result, HookFailure):
            return result
        if not isinstance(result.error, may_raise):
            return self.record_violation(hook, "", result)
        try:
            return HookFailure(copy_error(result.error))
        except BaseException as error:  # noqa: BLE001  the properties of a plugin's error are its code too
            return self.record_violation(hook, "", HookFailure(error))

    def _start(
        self, hook: str, call: Callable[[], Awaitable[T]], at_end: Callable[[], None] = lambda: None
    ) -> asyncio.Task[T | HookFailure]:
        """Start a hook in a task of its own; ``at_end`` is called in it, by when nothing of the plugin runs any more."""

        # Without the quotes the union would be built with each call of a hook.
        async def run() -> "T | HookFailure":
            try:
                with logs.hook_context(self.instance, hook):
                    return await call()
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001  a plugin's SystemExit must not end the gateway
                return HookFailure(error)
            finally:
                at_end()

        return asyncio.get_running_loop().create_task(run(), name=f"{self.instance}.{hook}")

    async def _cancel(self, hook: str, task: asyncio.Task[Any]) -> None:
        """Cancel a hook's task, and abandon it if it does not end within CANCEL_TIMEOUT seconds."""
        if task.done():
            return
        task.cancel()
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)
        await asyncio.wait({task}, timeout=CANCEL_TIMEOUT)
        if not task.done():
            self.record_violation(hook, "ignores its cancellation")

    def record_violation(self, hook: str, problem: str, failure: HookFailure | None = None) -> HookFailure:
        """Count and log a violation of the contract, and return it as a PluginError."""
        error = failure.error if failure else None
        if isinstance(error, sanitize.InvalidResult):
            problem = str(error)
        elif error is not None:
            raised = f"raised {sanitize.type_name(error)}"
            problem = f"{problem}: {raised}" if problem else raised
        exception = {"exception": format_traceback(error)} if error else {}
        self.violations += 1
        _log.error("plugin_violation", instance=self.instance, hook=hook, problem=problem, **exception)
        return HookFailure(PluginError(self.instance, hook, problem))


def describe_error(error: BaseException, package: str) -> str:
    """Describe a plugin's error at the start for an operator: its type, and where in ``package`` it was raised."""
    location = error_location(error, package)
    at = f" at {location}" if location else ""
    return f"the plugin raised {sanitize.type_name(error)}{at}. Report this to the plugin's author"


def faults_under(path: str, error: ConfigError) -> list[Fault]:
    """Return a plugin's faults with ``path`` before their keys and with known secrets redacted."""
    return [
        Fault(f"{path}.{fault.key}" if fault.key else path, redaction.redact_values(fault.problem))
        for fault in error.faults
    ]


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
