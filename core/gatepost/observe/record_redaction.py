"""The redaction of log records: every key and value, whatever objects a record holds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from structlog.typing import EventDict

from gatepost.observe.redaction import REDACTED, decode_private, find_forms, redact_patterns, remove_forms

MAX_TEXT_LENGTH = 16_384
"""Characters that are logged of one text."""

_MIN_PHONE_NUMBER = 10_000_000
"""The smallest number that is taken for a phone number."""

# Keys that the logging itself has set.
_LOGGING_KEYS = frozenset({"timestamp", "level"})
# Keys of the core whose values come from the configuration, or are ids: full of digits, but not private. The patterns
# would take them for phone numbers.
_OWN_KEYS = frozenset({"message", "peer", "instance", "client", "code", "port"})
_CONFIGURED_KEYS = _OWN_KEYS - {"message", "code"}


def redact_record(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Return a copy of a record in which nothing private is left; a structlog processor."""
    plain = {_as_text(key): _as_plain(value) for key, value in event.items()}
    together = "\n".join(_texts(plain))
    decoded = decode_private(together)
    if decoded is not together:
        plain = _decoded(plain)
    forms = find_forms(decoded)
    name = plain.get("logger", "")
    own = isinstance(name, str) and name.startswith("gatepost.") and name != "gatepost.plugins"
    redacted = {}
    for key, value in plain.items():
        if key in _LOGGING_KEYS or (own and key in _CONFIGURED_KEYS):
            redacted[key] = value
        elif own and key in _OWN_KEYS:
            redacted[key] = remove_forms(value, forms) if isinstance(value, str) else value
        else:
            redacted[remove_forms(redact_patterns(key), forms)] = _redacted(value, forms)
    return redacted


def _as_plain(value: Any) -> Any:
    """Return a value as texts, numbers, lists and dicts alone."""
    try:
        return _plain(value)
    except Exception:  # noqa: BLE001  an object of a plugin's; the record is worth having without it
        return f"<a {type(value).__name__} that can't be shown>"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_as_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return _as_text(value)


def _as_text(value: object) -> str:
    text = str.__str__(value) if isinstance(value, str) else repr(value)
    # Cut between words: the redaction would not recognise half an address.
    return text if len(text) <= MAX_TEXT_LENGTH else text[:MAX_TEXT_LENGTH].rpartition(" ")[0] + " …"


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


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {decode_private(key): _decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return decode_private(value) if isinstance(value, str) else value


def _redacted(value: Any, forms: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {
            remove_forms(redact_patterns(key), forms): _redacted(item, forms) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_redacted(item, forms) for item in value]
    if isinstance(value, str):
        return remove_forms(redact_patterns(value), forms)
    if isinstance(value, int | float) and not isinstance(value, bool):
        # A phone number may be logged as a number too.
        return value if abs(value) < _MIN_PHONE_NUMBER else REDACTED
    return value
