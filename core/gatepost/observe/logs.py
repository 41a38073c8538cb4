"""Structured logs, and what keeps addresses out of them.

Three nets, one behind the other:

1. Types: whatever is private stands in a Secret, and a Secret shows nothing. Of an exception its type
   and where it was raised are shown, never its text: that likes to quote what it is about.
2. Values: while a message is handled, ``private(...)`` names the values in question, and every log
   record made meanwhile (also by libraries, also in tasks started meanwhile) is rid of exactly those.
3. Patterns: what looks like an address or a phone number in a text that is not our own goes too.

``scrub`` is the second and third for texts that are stored or counted instead of logged.
"""

import contextlib
import errno
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Literal

import structlog
from structlog.stdlib import BoundLogger
from structlog.typing import EventDict, Processor

from gatepost.observe.redaction import (
    REDACTED,
    cut,
    found_in,
    holds,
    never,
    private,
    remember,
    revealed,
    scrub,
    without,
    without_lookalikes,
)

__all__ = [
    "REDACTED",
    "configure",
    "form_of",
    "get",
    "handler",
    "holds",
    "never",
    "place",
    "private",
    "remember",
    "scrub",
    "speaking_for",
    "trace",
    "without",
]

_LONGEST = 16_384
"""Characters that are kept of one text in a record."""

_DEEPEST = 8
"""Exceptions that are told of one that was raised because of another, and so on."""


def get(name: str) -> BoundLogger:
    """The logger of one room; ``name`` is the module's ``__name__``."""
    logger: BoundLogger = structlog.stdlib.get_logger(name)
    return logger


# What the processors themselves have put in.
_SET_HERE = frozenset({"timestamp", "level"})
# Keys of the core whose values come from the configuration or are ids: full of digits, and nobody's. A
# pattern would take them for phone numbers.
_OWN_KEYS = frozenset({"message", "peer", "instance", "client", "code", "port"})
_CONFIGURED_KEYS = _OWN_KEYS - {"message", "code"}


def _redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    plain = {_text(key): _shown(value) for key, value in event.items()}
    together = "\n".join(_texts(plain))
    shown = revealed(together)
    if shown is not together:
        plain = _revealed(plain)
    forms = found_in(shown)
    name = plain.get("logger", "")
    own = isinstance(name, str) and name.startswith("gatepost.") and name != "gatepost.plugins"
    redacted = {}
    for key, value in plain.items():
        if key in _SET_HERE or (own and key in _CONFIGURED_KEYS):
            redacted[key] = value
        elif own and key in _OWN_KEYS:
            redacted[key] = cut(value, forms) if isinstance(value, str) else value
        else:
            redacted[cut(without_lookalikes(key), forms)] = _redacted(value, forms)
    return redacted


def _shown(value: Any) -> Any:
    try:
        return _plain(value)
    except Exception:  # noqa: BLE001  a stranger's object; the record is worth having without it
        return f"<a {type(value).__name__} that can't be shown>"


def _plain(value: Any) -> Any:
    """A value made of texts, numbers, lists and dicts alone."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return _text(value)


def _text(value: object) -> str:
    text = str.__str__(value) if isinstance(value, str) else repr(value)
    # Cut between words: half an address would not be recognised as one.
    return text if len(text) <= _LONGEST else text[:_LONGEST].rpartition(" ")[0] + " …"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _revealed(value: Any) -> Any:
    if isinstance(value, dict):
        return {revealed(key): _revealed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_revealed(item) for item in value]
    return revealed(value) if isinstance(value, str) else value


def _redacted(value: Any, forms: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {cut(without_lookalikes(key), forms): _redacted(item, forms) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, forms) for item in value]
    if isinstance(value, str):
        return cut(without_lookalikes(value), forms)
    if isinstance(value, int | float) and not isinstance(value, bool):
        # A phone number handed over as a number is a phone number all the same.
        return value if abs(value) < 10_000_000 else REDACTED
    return value


def _plain_traceback(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Where an exception was raised, as text: no local variables, and none of its own words."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = trace(error)
    event.pop("stack_info", None)
    return event


def trace(error: BaseException) -> str:
    """The types of an exception and of those that led to it, and where they were raised; never their texts.

    Nothing of a plugin's is called for it: an exception's ``__str__`` may do anything.
    """
    parts: list[str] = []
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting and len(parts) < _DEEPEST:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        parts.append("".join([*traceback.format_tb(one.__traceback__, -20), _kind(one)]))
        waiting += [one.__context__] if one.__cause__ is None and not one.__suppress_context__ else []
        waiting.append(one.__cause__)
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions[:_DEEPEST]
    return "\n\nfrom\n\n".join(parts)


def place(error: BaseException, package: str) -> str:
    """The innermost file and line in the code of ``package`` that an exception came by; empty for none."""
    # The outermost is the one that caught it.
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))[1:]):
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == package:
            return f"{frame.f_code.co_filename}:{line}"
    return ""


def _kind(error: BaseException) -> str:
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if isinstance(error, OSError) and type(error.errno) is int and error.errno in errno.errorcode:
        return f"{kind} [{errno.errorcode[error.errno]}]"
    return kind


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to stderr, and never tells of a record that it could not write."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  logging's name
        """Called where a record can't be made into a line: the standard library prints its arguments."""
        with contextlib.suppress(OSError, ValueError):
            self.stream.write('{"event": "a log record could not be written"}\n')


# The instance and the hook whose code runs. One variable for both: it is set with every call of a hook.
_speaker: ContextVar[tuple[str, str] | None] = ContextVar("gatepost_speaker", default=None)


class speaking_for:  # noqa: N801  used as a function, and cheaper than one that makes a context manager
    """Name an instance and a hook in all that the block logs, by whomever, also in tasks started in it."""

    __slots__ = ("_speaker", "_token")

    def __init__(self, instance: str, hook: str) -> None:
        self._speaker = instance, hook

    def __enter__(self) -> None:
        self._token = _speaker.set(self._speaker)

    def __exit__(self, *_error: object) -> None:
        _speaker.reset(self._token)


def _name_speaker(_logger: object, _method: str, event: EventDict) -> EventDict:
    speaker = _speaker.get()
    if speaker is not None:
        event.setdefault("instance", speaker[0])
        event.setdefault("hook", speaker[1])
    return event


_SHARED: list[Processor] = [
    _name_speaker,
    structlog.stdlib.ExtraAdder(),
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def handler(form: Literal["json", "console"]) -> logging.Handler:
    """What writes scrubbed lines to stderr."""
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    made = _Handler(sys.stderr)
    made.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _plain_traceback,
                _redact,
                renderer,
            ],
        )
    )
    return made


def form_of(wanted: Literal["auto", "json", "console"]) -> Literal["json", "console"]:
    """What ``logs.format`` means here: ``auto`` is for people on a terminal, and JSON everywhere else."""
    if wanted == "auto":
        return "console" if sys.stderr.isatty() else "json"
    return wanted


def configure(level: str = "info", form: Literal["json", "console"] = "console") -> None:
    """Set up all logging of the process: ours, and the standard library's, by the same way to stderr.

    ``level`` is that of Gatepost and its plugins. What libraries have to say below a warning is about
    themselves, or is a whole request. Called once, by the command that runs.
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
    root.handlers[:] = [handler(form)]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    logging.getLogger("gatepost").setLevel(level.upper())
    # Its warnings show callbacks with their arguments; errors come to us first (see `outlets`).
    logging.getLogger("asyncio").setLevel(logging.ERROR)
