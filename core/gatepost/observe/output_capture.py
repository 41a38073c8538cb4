"""Everything by which a process tells of itself apart from its log: all of it ends in the log.

Python writes what nobody caught to stderr with all its values, and a plugin may print. Neither knows of
what the logs keep to themselves.
"""

import asyncio
import io
import logging
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from gatepost.errors import ConfigError
from gatepost.observe import logs

_LONGEST = 16_384
"""Characters of one printed line."""

_log = logs.get(__name__)


@contextmanager
def caught() -> Iterator[None]:
    """Send to the log what is printed and what nobody caught, while the block runs.

    Meant for a whole process. What writes to the descriptors themselves is not caught: the operating
    system's own words, and the places in the code that ``faulthandler`` writes down when a process dies.
    """
    root = logging.getLogger()
    # The one that was configured: a plugin may put another in its place.
    handler = root.handlers[0]
    before = sys.stdout, sys.stderr, sys.excepthook, sys.unraisablehook, threading.excepthook, sys.stdin
    logging.captureWarnings(capture=True)
    # Whoever reads from it would wait for somebody who isn't there.
    sys.stdin = io.StringIO()
    sys.stdout, sys.stderr = _Printed("stdout", handler), _Printed("stderr", handler)
    sys.excepthook, sys.unraisablehook, threading.excepthook = _uncaught, _unraisable, _uncaught_in_thread
    try:
        yield
    finally:
        (
            sys.stdout,
            sys.stderr,
            sys.excepthook,
            sys.unraisablehook,
            threading.excepthook,
            sys.stdin,
        ) = before
        logging.captureWarnings(capture=False)


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Write no log until the function that this yields is called, which then writes what was kept.

    It is called at the end of the block in any case. If the block ends by a ConfigError what was kept is
    forgotten, and so is whatever is logged afterwards: of a start that fails only its faults are of interest.
    """
    # The one that was configured, as above.
    handler = cast("logging.StreamHandler[TextIO]", logging.getLogger().handlers[0])
    stream, kept = handler.stream, io.StringIO()
    handler.setStream(kept)

    def let_go() -> None:
        if handler.setStream(stream) is not None:
            stream.write(kept.getvalue())
            stream.flush()

    try:
        yield let_go
    except ConfigError:
        raise
    except BaseException:
        let_go()
        raise
    else:
        let_go()


class Keeper:
    """Sees to it that the log stays as it was configured; made right after that."""

    def __init__(self) -> None:
        self._root = logging.getLogger()
        self._handlers = list(self._root.handlers)
        self._levels = {name: logging.getLogger(name).level for name in ("", "gatepost", "asyncio")}

    def mend(self) -> None:
        """Called every now and then: a plugin that sets up logging anew must not silence the gateway."""
        tampered = (
            self._root.handlers != self._handlers
            or logging.root.manager.disable > logging.NOTSET
            or any(logging.getLogger(name).level != level for name, level in self._levels.items())
            or logging.getLogger("gatepost").handlers != []
            or not logging.getLogger("gatepost").propagate
        )
        if not tampered:
            return
        self._root.handlers[:] = self._handlers
        logging.disable(logging.NOTSET)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        ours = logging.getLogger("gatepost")
        ours.handlers.clear()
        ours.propagate = True
        ours.disabled = False
        _log.error("logging_mended", problem="somebody changed the logging of the process, a plugin it seems")


class _Printed(io.TextIOBase):
    """A text stream whose lines become records of the log; nothing closes it."""

    def __init__(self, stream: str, handler: logging.Handler) -> None:
        self._stream = stream
        self._handler = handler
        self._line = ""
        self._lock = threading.RLock()
        self._writing = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._line = (self._line + text).split("\n")
            if len(self._line) > _LONGEST:
                lines, self._line = [*lines, self._line], ""
            for line in lines:
                self._emit(line)
        return len(text)

    def close(self) -> None:
        """It is not for whoever got hold of it to close."""

    def _emit(self, line: str) -> None:
        # A handler that fails and writes of it here must not come round in a circle.
        if not line.strip() or self._writing:
            return
        self._writing = True
        try:
            record = logging.LogRecord("gatepost.printed", logging.WARNING, "", 0, "printed", None, None)
            record.stream, record.text = self._stream, line
            self._handler.handle(record)
        finally:
            self._writing = False


def _uncaught(
    _kind: type[BaseException], error: BaseException, _traceback: types.TracebackType | None
) -> None:
    _log.critical("uncaught", exc_info=error)


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        _log.error("thread_fell", exc_info=args.exc_value)


def _unraisable(args: "sys.UnraisableHookArgs") -> None:
    # Not the object itself: its repr may hold anything.
    _log.error("ignored_exception", object=type(args.object).__name__, exc_info=args.exc_value)


def loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's exception handler: its own would show the task, and with it the exception's text."""
    task = context.get("task") or context.get("future")
    named = {"task": task.get_name()} if isinstance(task, asyncio.Task) else {}
    error = context.get("exception")
    trace = {"exc_info": error} if isinstance(error, BaseException) else {}
    _log.error("loop_error", problem=str(context.get("message", "")), **named, **trace)
