"""The capture of output that would bypass the log: prints, warnings, and exceptions that nothing caught.

Python prints an exception that nothing caught with all its values, and a plugin may print anything. Neither is
redacted as the log is.
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

_MAX_LINE_LENGTH = 16_384
"""Characters of one printed line."""

_log = logs.get(__name__)


@contextmanager
def capture_output() -> Iterator[None]:
    """Log what is printed and the exceptions that nothing caught, while the block runs.

    Applies to the whole process. Not captured is what is written to the file descriptors directly: by the
    operating system, and by ``faulthandler`` when a process dies.
    """
    root = logging.getLogger()
    # The handler that was configured: a plugin may replace it later.
    handler = root.handlers[0]
    before = sys.stdout, sys.stderr, sys.excepthook, sys.unraisablehook, threading.excepthook, sys.stdin
    logging.captureWarnings(capture=True)
    # Code that reads from the real stdin would wait for ever.
    sys.stdin = io.StringIO()
    sys.stdout, sys.stderr = _LoggedStream("stdout", handler), _LoggedStream("stderr", handler)
    sys.excepthook, sys.unraisablehook = _log_uncaught, _log_unraisable
    threading.excepthook = _log_uncaught_in_thread
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
def buffer_log() -> Iterator[Callable[[], None]]:
    """Hold the log back until the function that this yields is called, or until the end of the block.

    When the block ends with a ConfigError, the log is dropped, and so is everything that is logged later: of a
    start that fails only the faults matter.
    """
    # The handler that was configured, as above.
    handler = cast("logging.StreamHandler[TextIO]", logging.getLogger().handlers[0])
    stream, buffer = handler.stream, io.StringIO()
    handler.setStream(buffer)

    def release() -> None:
        if handler.setStream(stream) is not None:
            stream.write(buffer.getvalue())
            stream.flush()

    try:
        yield release
    except ConfigError:
        raise
    except BaseException:
        release()
        raise
    else:
        release()


class LoggingSnapshot:
    """The logging as it is configured when this is created, and a way to restore it."""

    def __init__(self) -> None:
        self._root = logging.getLogger()
        self._handlers = list(self._root.handlers)
        self._levels = {name: logging.getLogger(name).level for name in ("", "gatepost", "asyncio")}

    def restore(self) -> None:
        """Restore the logging if a plugin has changed it, so that a plugin can't silence the gateway."""
        changed = (
            self._root.handlers != self._handlers
            or logging.root.manager.disable > logging.NOTSET
            or any(logging.getLogger(name).level != level for name, level in self._levels.items())
            or logging.getLogger("gatepost").handlers != []
            or not logging.getLogger("gatepost").propagate
        )
        if not changed:
            return
        self._root.handlers[:] = self._handlers
        logging.disable(logging.NOTSET)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        ours = logging.getLogger("gatepost")
        ours.handlers.clear()
        ours.propagate = True
        ours.disabled = False
        _log.error("logging_restored", problem="the logging of the process was changed, probably by a plugin")


class _LoggedStream(io.TextIOBase):
    """A text stream whose lines become records of the log."""

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
            if len(self._line) > _MAX_LINE_LENGTH:
                lines, self._line = [*lines, self._line], ""
            for line in lines:
                self._emit(line)
        return len(text)

    def close(self) -> None:
        """Do nothing: a plugin that closes stdout must not end the capture."""

    def _emit(self, line: str) -> None:
        # A handler that fails prints that to this stream, which must not call the handler again.
        if not line.strip() or self._writing:
            return
        self._writing = True
        try:
            record = logging.LogRecord("gatepost.printed", logging.WARNING, "", 0, "printed", None, None)
            record.stream, record.text = self._stream, line
            self._handler.handle(record)
        finally:
            self._writing = False


def _log_uncaught(
    _type: type[BaseException], error: BaseException, _traceback: types.TracebackType | None
) -> None:
    _log.critical("uncaught_exception", exc_info=error)


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        _log.error("thread_failed", exc_info=args.exc_value)


def _log_unraisable(args: "sys.UnraisableHookArgs") -> None:
    # The type and not the object: its repr may hold anything.
    _log.error("ignored_exception", object=type(args.object).__name__, exc_info=args.exc_value)


def log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what an event loop gives its exception handler.

    The loop's default handler would show the task, and with it the text of the exception.
    """
    task = context.get("task") or context.get("future")
    name = {"task": task.get_name()} if isinstance(task, asyncio.Task) else {}
    error = context.get("exception")
    exception = {"exc_info": error} if isinstance(error, BaseException) else {}
    _log.error("loop_error", problem=str(context.get("message", "")), **name, **exception)
