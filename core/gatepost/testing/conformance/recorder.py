"""The record of what a plugin does: texts, tasks, sockets, blocking calls, and CPU on the event loop.

Only what the plugin itself does is recorded: ``plugin_code()`` surrounds every call of a hook. What the loop,
the emulated provider and the checks do besides is left out. Nothing is measured by wall-clock time, so that a
busy machine changes no result.
"""

import asyncio
import contextlib
import io
import logging
import os
import socket
import sys
import sysconfig
import threading
import time
import traceback
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

import structlog
from structlog.stdlib import BoundLogger

from gatepost.testing.conformance.leaks import text_of

T = TypeVar("T")

_recorder: ContextVar["Recorder | None"] = ContextVar("gatepost_conformance_recorder", default=None)
"""The recorder of the plugin whose code runs here."""


class Recorder:
    """The record of one plugin instance."""

    def __init__(self) -> None:
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.sockets: WeakSet[socket.socket] = WeakSet()
        self.blocking_calls: list[str] = []
        """Calls that block, made on the event loop's own thread."""
        self.longest_step = 0.0
        """The most seconds of CPU that its code has used between two turns of the loop."""
        self.cpu = 0.0
        """The seconds of CPU that its code has used, on the loop and in threads."""
        self.sockets_made = 0
        self.hosts: set[str] = set()
        """The hosts that its code has looked up or connected to."""
        self.exits: list[str] = []
        """The names of the tasks that raised SystemExit."""
        self.threads_before = frozenset(threading.enumerate())
        self.texts: list[str] = []
        """Everything that was logged or printed."""
        self.thread = threading.get_ident()

    @contextlib.contextmanager
    def plugin_code(self) -> Iterator[None]:
        """Record what runs in this block, and every task that is started in it."""
        token = _recorder.set(self)
        try:
            yield
        finally:
            _recorder.reset(token)

    def running_tasks(self) -> list[str]:
        """Return the names of the plugin's tasks that have not ended."""
        return sorted(task.get_name() for task in self.tasks if not task.done())

    def running_threads(self) -> list[str]:
        """Return the names of the threads that were started since, without the event loop's own."""
        threads = [one.name for one in threading.enumerate() if one not in self.threads_before]
        return sorted(name for name in threads if not name.startswith("asyncio_"))

    def open_sockets(self) -> int:
        """Return the number of the plugin's sockets that are open."""
        return sum(one.fileno() != -1 for one in self.sockets)

    def logger(self, name: str) -> BoundLogger:
        """Return a logger for a Context; what it logs at any level is added to ``texts``."""

        def record(
            _logger: object, method: str, event: structlog.typing.EventDict
        ) -> structlog.typing.EventDict:
            error = event.pop("exc_info", None)
            error = sys.exc_info()[1] if error is True else error[1] if isinstance(error, tuple) else error
            self.texts.append(f"{method} {event!r} {text_of(error)}")
            raise structlog.DropEvent

        logger: BoundLogger = structlog.wrap_logger(
            None, processors=[record], wrapper_class=structlog.stdlib.BoundLogger
        )
        return logger.bind(instance=name)

    @contextlib.contextmanager
    def capture_output(self) -> Iterator[None]:
        """Record everything that is logged, at any level, or printed while the block runs."""
        root = logging.getLogger()
        level, handler = root.level, _RecordingHandler(self.texts)
        printed = io.StringIO()
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                yield
        finally:
            root.setLevel(level)
            root.removeHandler(handler)
            self.texts.append(printed.getvalue())


class _RecordingHandler(logging.Handler):
    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._texts.append(f"{record.getMessage()} {vars(record)!r} {text_of(error)}")


@contextlib.contextmanager
def recording() -> Iterator[None]:
    """Record the tasks, sockets and blocking calls of every plugin in its Recorder while the block runs."""
    if not _audit_hook_added.is_set():
        _audit_hook_added.set()
        # For the rest of the process: Python can't remove an audit hook. It costs next to nothing.
        sys.addaudithook(_audit)
    loop = asyncio.get_running_loop()
    before, sleep, in_executor = loop.get_task_factory(), time.sleep, loop.run_in_executor

    def run_in_executor(executor: Any, call: Callable[..., Any], *args: Any) -> Any:
        recorder = _recorder.get()
        return in_executor(executor, partial(_measure_call, recorder, call) if recorder else call, *args)

    def blocking_sleep(seconds: Any, /) -> None:
        _audit("time.sleep", (seconds,))
        sleep(seconds)

    loop.set_task_factory(_make_task)
    setattr(loop, "run_in_executor", run_in_executor)  # noqa: B010  a type checker refuses the assignment
    if sys.version_info < (3, 13):
        # From 3.13 on Python raises this audit event itself.
        time.sleep = blocking_sleep
    try:
        yield
    finally:
        time.sleep = sleep
        setattr(loop, "run_in_executor", in_executor)  # noqa: B010
        loop.set_task_factory(before)


class ExitRaised(Exception):
    """A plugin raised SystemExit, which would have ended the process."""


def _make_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    """Make a task of the loop; one that a plugin starts is recorded, and survives its SystemExit."""
    recorder = _recorder.get()
    if recorder is None or not asyncio.iscoroutine(work):
        return asyncio.Task(work, loop=loop, **options)
    task: asyncio.Task[Any] = asyncio.Task(_contain(recorder, work), loop=loop, **options)
    # Where the task was cancelled before its first turn, nothing else would close what it never began.
    task.add_done_callback(lambda _: work.close())
    recorder.tasks.add(task)
    return task


async def _contain(recorder: Recorder, work: Coroutine[Any, Any, T]) -> T:
    try:
        return await _measure_steps(recorder, work)
    except SystemExit as error:
        task = asyncio.current_task()
        recorder.exits.append(task.get_name() if task else "")
        raise ExitRaised(f"SystemExit: {error.code}") from None


def _measure_call(recorder: Recorder, call: Callable[..., T], *args: Any) -> T:
    begun = time.thread_time()
    try:
        with recorder.plugin_code():
            return call(*args)
    finally:
        recorder.cpu += time.thread_time() - begun


@types.coroutine
def _measure_steps(recorder: Recorder, hook: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await a coroutine and record the CPU time of its steps between two turns of the loop."""
    step: Callable[[], Any] = lambda: hook.send(None)  # noqa: E731  the first of many
    while True:
        begun = time.thread_time()
        try:
            waited_for = step()
        except StopIteration as ended:
            result: T = ended.value
            return result
        finally:
            used = time.thread_time() - begun
            recorder.cpu += used
            recorder.longest_step = max(recorder.longest_step, used)
        try:
            answer = yield waited_for
        except BaseException as error:  # noqa: BLE001  a cancellation, which the hook has to see
            step = _throw_step(hook, error)
        else:
            step = _send_step(hook, answer)


def _send_step(hook: Coroutine[Any, Any, T], answer: Any) -> Callable[[], Any]:
    return lambda: hook.send(answer)


def _throw_step(hook: Coroutine[Any, Any, T], error: BaseException) -> Callable[[], Any]:
    return lambda: hook.throw(error)


_ALWAYS_BLOCKING = frozenset(
    {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "sqlite3.connect", "os.system"}
)
_INSTALLED = tuple({*(f"{path}{os.sep}" for path in sysconfig.get_paths().values()), sys.base_prefix})
_audit_hook_added = threading.Event()
"""Set once the audit hook has been added to the process."""


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event not in _BLOCKS and event not in _ALWAYS_BLOCKING and event != "socket.__new__":
        return
    recorder = _recorder.get()
    if recorder is None:
        return
    if event in {"socket.connect", "socket.getaddrinfo"}:
        recorder.hosts.add(_host(event, args))
    if event == "socket.__new__":
        recorder.sockets_made += 1
        if isinstance(args[0], socket.socket):
            recorder.sockets.add(args[0])
        return
    if recorder.thread != threading.get_ident():
        return
    if event in _ALWAYS_BLOCKING or _BLOCKS[event](args):
        recorder.blocking_calls.append(event)


def _host(event: str, args: tuple[Any, ...]) -> str:
    """Return the host that is looked up or connected to; empty for a Unix socket."""
    host = args[0] if event == "socket.getaddrinfo" else args[1][0] if isinstance(args[1], tuple) else ""
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")


def _opens_data(args: tuple[Any, ...]) -> bool:
    """Return whether the file is data; the installation's own files are read once, by late imports."""
    path = args[0]
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    return (
        isinstance(path, str)
        and not path.endswith((".py", ".pyc", ".so"))
        and not path.startswith(_INSTALLED)
    )


def _starts_a_process(_args: tuple[Any, ...]) -> bool:
    """Return whether a process is started by other means than asyncio's."""
    frames = traceback.walk_stack(None)
    return all(frame.f_globals.get("__name__") != "asyncio.base_subprocess" for frame, _ in frames)


_BLOCKS: dict[str, Callable[[tuple[Any, ...]], bool]] = {
    "time.sleep": lambda args: args[0] > 0,
    "socket.connect": lambda args: args[0].gettimeout() != 0,
    "open": _opens_data,
    "subprocess.Popen": _starts_a_process,
}
"""Audit events that are blocking calls only with some arguments."""
