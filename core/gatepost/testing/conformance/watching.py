"""What a plugin lets out or leaves behind: texts, tasks, sockets, blocking calls and CPU on the loop.

Only what is done on the plugin's behalf is watched: ``mine()`` stands around every call of a hook, and
what the loop, the stand-in and the checks do beside it is nobody's business here. Nothing is measured by
the wall clock, so that a busy machine changes no result.
"""

import asyncio
import base64
import contextlib
import io
import logging
import os
import quopri
import socket
import sys
import sysconfig
import threading
import time
import traceback
import types
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus
from weakref import WeakSet

import structlog
from structlog.stdlib import BoundLogger

T = TypeVar("T")

_mine: ContextVar["Watch | None"] = ContextVar("gatepost_conformance_mine", default=None)


class Watch:
    """What was seen of one plugin."""

    def __init__(self) -> None:
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.sockets: WeakSet[socket.socket] = WeakSet()
        self.blocking: list[str] = []
        """Calls that block, made on the loop's own thread."""
        self.longest = 0.0
        """Seconds of CPU that a hook has kept the loop for at a stretch."""
        self.texts: list[str] = []
        """Everything that was logged or printed."""
        self.thread = threading.get_ident()

    @contextlib.contextmanager
    def mine(self) -> Iterator[None]:
        """What runs in this block, and every task started in it, is the plugin's."""
        token = _mine.set(self)
        try:
            yield
        finally:
            _mine.reset(token)

    def running(self) -> list[str]:
        """The names of the plugin's tasks that have not ended."""
        return sorted(task.get_name() for task in self.tasks if not task.done())

    def connected(self) -> int:
        """How many of the plugin's sockets are open."""
        return sum(one.fileno() != -1 for one in self.sockets)

    def logger(self, name: str) -> BoundLogger:
        """A logger for a Context; what it is told ends in ``texts``, whatever its level."""

        def keep(
            _logger: object, method: str, event: structlog.typing.EventDict
        ) -> structlog.typing.EventDict:
            error = event.pop("exc_info", None)
            error = sys.exc_info()[1] if error is True else error[1] if isinstance(error, tuple) else error
            self.texts.append(f"{method} {event!r} {everything_in(error)}")
            raise structlog.DropEvent

        logger: BoundLogger = structlog.wrap_logger(
            None, processors=[keep], wrapper_class=structlog.stdlib.BoundLogger
        )
        return logger.bind(instance=name)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Keep what is logged at any level or printed, by whomever, as long as the block runs."""
        root = logging.getLogger()
        level, handler = root.level, _Keeper(self.texts)
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


class _Keeper(logging.Handler):
    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._texts.append(f"{record.getMessage()} {vars(record)!r} {everything_in(error)}")


def everything_in(error: object) -> str:
    """Every text that an exception holds, its causes, contexts, notes, groups and attributes included."""
    texts: list[str] = []
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        texts += [str(one), repr(one), repr(one.args), repr(vars(one)), *traceback.format_exception_only(one)]
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        waiting += [item for item in one.args if isinstance(item, BaseException)]
    return "\n".join(texts)


def forms(secret: str) -> Iterator[str]:
    """The shapes in which a value likes to turn up."""
    plain = secret.lstrip("+")
    for text in (secret, plain):
        raw = text.encode("utf-8", "replace")
        yield text
        yield quote(text, safe="", errors="replace")
        yield quote_plus(text, errors="replace")
        yield quopri.encodestring(raw).decode().replace("=\n", "")
        yield raw.hex()
        for shift in range(3):
            # In the middle of a longer base64 text the value has one of three shapes.
            middle = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
            yield middle[(0, 2, 3)[shift] : -1]
    if "@" in secret:
        yield secret.partition("@")[0]
    elif secret.startswith("+"):
        # The national number, as people write it.
        yield secret[3:]


def found_in(text: str, values: Iterable[str]) -> bool:
    """Whether one of the values stands in ``text``, in any of its forms."""
    lower = text.lower()
    return any(form.lower() in lower for value in values if value for form in forms(value) if len(form) > 4)


@contextlib.contextmanager
def noticed() -> Iterator[None]:
    """Tell each Watch, while the block runs, of tasks, sockets and blocking calls that are its plugin's."""
    if not _hooked.is_set():
        _hooked.set()
        # For good: Python takes no such hook back. It costs next to nothing.
        sys.addaudithook(_audit)
    loop = asyncio.get_running_loop()
    before, sleep = loop.get_task_factory(), time.sleep

    def make(loop: asyncio.AbstractEventLoop, work: Any, **how: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **how)
        watch = _mine.get()
        if watch is not None:
            watch.tasks.add(task)
        return task

    def blocking_sleep(seconds: Any, /) -> None:
        _audit("time.sleep", (seconds,))
        sleep(seconds)

    loop.set_task_factory(make)
    if sys.version_info < (3, 13):
        # Later ones tell it themselves.
        time.sleep = blocking_sleep
    try:
        yield
    finally:
        time.sleep = sleep
        loop.set_task_factory(before)


@types.coroutine
def metered(watch: Watch, hook: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await a hook; note the CPU time of its longest stretch between two turns of the loop."""
    step: Callable[[], Any] = lambda: hook.send(None)  # noqa: E731  the first of many
    while True:
        begun = time.thread_time()
        try:
            waited_for = step()
        except StopIteration as ended:
            result: T = ended.value
            return result
        finally:
            watch.longest = max(watch.longest, time.thread_time() - begun)
        try:
            answer = yield waited_for
        except BaseException as error:  # noqa: BLE001  a cancellation, handed on to the hook
            step = _thrown(hook, error)
        else:
            step = _sent(hook, answer)


def _sent(hook: Coroutine[Any, Any, T], answer: Any) -> Callable[[], Any]:
    return lambda: hook.send(answer)


def _thrown(hook: Coroutine[Any, Any, T], error: BaseException) -> Callable[[], Any]:
    return lambda: hook.throw(error)


_ALWAYS_BLOCKING = frozenset(
    {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "sqlite3.connect", "os.system"}
)
_INSTALLED = tuple({*(f"{path}{os.sep}" for path in sysconfig.get_paths().values()), sys.base_prefix})
_hooked = threading.Event()


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event not in _JUDGES and event not in _ALWAYS_BLOCKING and event != "socket.__new__":
        return
    watch = _mine.get()
    if watch is None:
        return
    if event == "socket.__new__":
        if isinstance(args[0], socket.socket):
            watch.sockets.add(args[0])
        return
    if watch.thread != threading.get_ident():
        return
    if event in _ALWAYS_BLOCKING or _JUDGES[event](args):
        watch.blocking.append(event)


def _opens_data(args: tuple[Any, ...]) -> bool:
    """Not the parts of an installation: whoever imports a module late has read it soon."""
    path = args[0]
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    return (
        isinstance(path, str)
        and not path.endswith((".py", ".pyc", ".so"))
        and not path.startswith(_INSTALLED)
    )


def _starts_a_process(_args: tuple[Any, ...]) -> bool:
    frames = traceback.walk_stack(None)
    return all(frame.f_globals.get("__name__") != "asyncio.base_subprocess" for frame, _ in frames)


_JUDGES: dict[str, Callable[[tuple[Any, ...]], bool]] = {
    "time.sleep": lambda args: args[0] > 0,
    "socket.connect": lambda args: args[0].gettimeout() != 0,
    "open": _opens_data,
    "subprocess.Popen": _starts_a_process,
}
