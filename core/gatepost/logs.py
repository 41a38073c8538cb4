"""Structured logs, and what keeps addresses out of them.

Three nets, one behind the other:

1. Types: whatever is private stands in a Secret, and a Secret shows nothing.
2. Values: while a message is handled, ``private(...)`` names the values in question, and every log
   record made meanwhile (also by libraries, also in tasks started meanwhile) is rid of exactly those.
3. Patterns: what looks like an address or a phone number in a text that is not our own goes too.

``scrub`` is the second and third for texts that are stored or counted instead of logged.
"""

import base64
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal
from urllib.parse import quote, quote_plus

import structlog
from structlog.stdlib import BoundLogger
from structlog.typing import EventDict, Processor

from gatepost.model import Contact, Secret

REDACTED = "[redacted]"

_private: ContextVar[tuple[str, ...]] = ContextVar("gatepost_private", default=())

_ADDRESS = re.compile(r"[^\s\"'<>()\[\],;:=]+(?:@|%40)[^\s\"'<>()\[\],;:]+", re.IGNORECASE)
# Seven digits and more, grouped as people group them; not inside a longer word (ids, hashes, UUIDs).
# An SMTP reply's codes ("550 5.7.26") are left standing.
_NUMBER = re.compile(
    r"(?<![\w.-])(?!\d{3}[ -]\d\.\d{1,3}\.\d{1,3}(?!\d))(?:\+|%2B|00)?\(?\d(?:[\s().-]{0,2}\d){6,18}(?![\w-])",
    re.IGNORECASE,
)


def get(name: str) -> BoundLogger:
    """The logger of one room; ``name`` is the module's ``__name__``."""
    logger: BoundLogger = structlog.stdlib.get_logger(name)
    return logger


@contextmanager
def private(*values: Secret | Contact | None) -> Iterator[None]:
    """Name what must not be logged while the block runs, also by tasks that are started in it."""
    token = _private.set(_private.get() + tuple(_forms(values)))
    try:
        yield
    finally:
        _private.reset(token)


def _forms(values: Iterable[Secret | Contact | None]) -> Iterator[str]:
    """Each value as it likes to turn up: plain, URL-encoded, base64, without the plus, reversed path."""
    for value in values:
        if isinstance(value, Contact):
            yield from _forms((value.email, value.phone))
            yield from (text for text in value.attributes.values() if len(text) > 3)
        elif isinstance(value, Secret) and value:
            plain = value.reveal()
            forms = {plain, plain.lstrip("+"), *_quoted(plain)}
            forms.add(base64.b64encode(plain.encode("utf-8", "replace")).decode())
            if "@" in plain:
                local = plain.rpartition("@")[0]
                if len(local) > 3:
                    forms.add(local)
            # The longest first: taking out a part of another would leave its rest behind.
            yield from sorted((form for form in forms if len(form) > 3), key=len, reverse=True)


def _quoted(text: str) -> Iterator[str]:
    for safe in ("/", ""):
        yield quote(text, safe=safe, errors="replace")
    yield quote_plus(text, errors="replace")


def scrub(text: str, *values: Secret | Contact | None) -> str:
    """``text`` without these values, without those that ``private`` names, and without what looks alike."""
    for form in (*_forms(values), *_private.get()):
        text = re.sub(re.escape(form), REDACTED, text, flags=re.IGNORECASE) if form else text
    return _NUMBER.sub(REDACTED, _ADDRESS.sub(REDACTED, text))


# Keys whose values are ours and full of digits; a pattern would take them for phone numbers.
_OWN_KEYS = frozenset(
    {"timestamp", "level", "logger", "message", "peer", "instance", "client", "code", "port"}
)


def _redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    named = _private.get()
    for key, value in event.items():
        if key.startswith("_"):
            continue
        event[key] = _redacted(value, named, own=key in _OWN_KEYS)
    return event


def _redacted(value: Any, named: tuple[str, ...], *, own: bool) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        # A phone number handed over as an int is a phone number all the same.
        return value if own or abs(value) < 10_000_000 else REDACTED
    if isinstance(value, Mapping):
        return {scrub(str(key)): _redacted(item, named, own=False) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item, named, own=own) for item in value]
    text = value if isinstance(value, str) else repr(value)
    if not own:
        return scrub(text)
    for form in named:
        text = re.sub(re.escape(form), REDACTED, text, flags=re.IGNORECASE)
    return text


def _plain_traceback(_logger: object, _method: str, event: EventDict) -> EventDict:
    """The traceback as text, without local variables; scrubbed with the rest afterwards."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    elif isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info and info[1] is not None:
        event["exception"] = "".join(traceback.format_exception(*info))
    return event


def configure(level: str = "info", form: Literal["json", "console"] = "console") -> None:
    """Set up all logging of the process: ours, and the standard library's, by the same way to stderr.

    Called once, by the command that runs.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _plain_traceback,
                _redact,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # What they have to say below a warning is about themselves, or is a whole request.
    for chatty in ("aiosqlite", "alembic", "asyncio", "aiohttp.access", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
