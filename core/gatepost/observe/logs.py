"""Structured logs of the whole process, on stderr, without private values.

Three safeguards, each of which works without the others:

1. Types: a private value stands in a Secret, and a Secret shows nothing. Of an exception its type and where
   it was raised are logged, never its text, which may quote the private value (``tracebacks``).
2. Values: while a message is handled, ``redaction_scope`` declares its private values, and they are removed from
   every record logged meanwhile, also by libraries and in tasks started meanwhile (``redaction``).
3. Patterns: whatever looks like an address or a phone number is removed from texts that are not the core's own.
"""

import contextlib
import logging
import sys
from contextvars import ContextVar
from typing import Literal

import structlog
from structlog.stdlib import BoundLogger
from structlog.typing import EventDict, Processor

from gatepost.observe.record_redaction import redact_record
from gatepost.observe.tracebacks import format_traceback

Format = Literal["json", "console"]


def get(name: str) -> BoundLogger:
    """Return the logger of a module; ``name`` is its ``__name__``."""
    logger: BoundLogger = structlog.stdlib.get_logger(name)
    return logger


# The instance and the hook whose code runs. One variable for both, because it is set with every call of a hook.
_running_hook: ContextVar[tuple[str, str] | None] = ContextVar("gatepost_running_hook", default=None)


class hook_context:  # noqa: N801  used as a function, and cheaper than one made by contextmanager
    """A context that adds an instance and a hook to every record logged in it, also in tasks started in it."""

    __slots__ = ("_names", "_token")

    def __init__(self, instance: str, hook: str) -> None:
        self._names = instance, hook

    def __enter__(self) -> None:
        self._token = _running_hook.set(self._names)

    def __exit__(self, *_error: object) -> None:
        _running_hook.reset(self._token)


def add_running_hook(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Add the instance and the hook whose code runs to a record; a structlog processor."""
    names = _running_hook.get()
    if names is not None:
        event.setdefault("instance", names[0])
        event.setdefault("hook", names[1])
    return event


def _replace_exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Replace an exception by its type and where it was raised, without local variables and without its text."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = format_traceback(error)
    event.pop("stack_info", None)
    return event


_SHARED: list[Processor] = [
    add_running_hook,
    structlog.stdlib.ExtraAdder(),
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


class _StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """A handler that shows nothing of a record that could not be written."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  logging's name
        """Write a fixed line; the standard library would print the arguments of the record."""
        with contextlib.suppress(OSError, ValueError):
            self.stream.write('{"event": "a log record could not be written"}\n')


def stderr_handler(log_format: Format) -> logging.Handler:
    """Return a handler that writes redacted lines to stderr."""
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = _StderrHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _replace_exception,
                redact_record,
                renderer,
            ],
        )
    )
    return handler


def resolve_format(setting: Literal["auto", "json", "console"]) -> Format:
    """Return the format that ``logs.format`` means here: ``auto`` is console on a terminal and JSON elsewhere."""
    if setting == "auto":
        return "console" if sys.stderr.isatty() else "json"
    return setting


def configure(level: str = "info", log_format: Format = "console") -> None:
    """Set up all logging of the process, that of libraries included. Called once, by the command that runs.

    ``level`` is the level of Gatepost and its plugins. Libraries log warnings and errors only: below that they
    log about themselves, or whole requests.
    """
    structlog.configure(
        processors=[
            *_SHARED,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [stderr_handler(log_format)]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    logging.getLogger("gatepost").setLevel(level.upper())
    # Its warnings show callbacks with their arguments. Its errors come to output_capture.log_loop_error first.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
