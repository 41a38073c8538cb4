"""The rules of ``POST /v1/messages`` for each channel."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

_Rule = tuple[Callable[[Any], bool], str]


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"https?://\S+", value) is not None


def _is_text(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None


def _is_one_of(*values: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in values


def _is_up_to(length: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and 0 < len(value) <= length


def _is_seconds(shortest: int, longest: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and shortest <= value <= longest


def _is_object(required: Collection[str] = (), **rules: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Accept an object that has the required names, and no value that its rule or the lack of one refuses."""
    return lambda value: (
        isinstance(value, dict)
        and value.keys() >= set(required)
        and all(name in rules and rules[name](item) for name, item in value.items())
    )


def _is_parameters(value: Any) -> bool:
    """Accept the parameters of a template by Meta's rules for each of them."""
    return isinstance(value, list) and all(
        _is_up_to(1024)(item) and not re.search(r"[\n\r\t]| {5,}", item) for item in value
    )


_TEXT = (_is_up_to(1000), "must be 1 to 1000 characters")
_RULES_OF_ALL: Mapping[str, _Rule] = {
    "channel": (lambda _: True, ""),
    "to": (_is_text(r"[1-9]\d{6,14}"), "must be 7 to 15 digits of an E.164 number without a leading +"),
    "client_ref": (_is_up_to(100), "must be 1 to 100 characters"),
    "webhook_url": (_is_url, "must be a URL"),
    "webhook_version": (_is_one_of("v0.1", "v1"), "must be v0.1 or v1"),
}
_RULES: Mapping[str, Mapping[str, _Rule]] = {
    "sms": {
        "message_type": (_is_one_of("text"), "must be text for this channel"),
        "from": (_is_text(r"\d{1,15}|[A-Za-z0-9]{1,11}"), "must be up to 15 digits or 11 letters and digits"),
        "text": _TEXT,
        "ttl": (_is_seconds(20, 604_800), "must be 20 to 604800 seconds"),
        "sms": (
            _is_object(encoding_type=_is_one_of("text", "unicode", "auto")),
            "must be an object; its encoding_type must be text, unicode or auto",
        ),
    },
    "viber_service": {
        "message_type": (_is_one_of("text"), "must be text"),
        "from": (_is_up_to(50), "must be 1 to 50 characters"),
        "text": _TEXT,
        "viber_service": (
            _is_object(
                category=_is_one_of("transaction", "promotion"),
                ttl=_is_seconds(30, 259_200),
                type=_is_one_of("string", "template"),
            ),
            "must be an object with a category, a ttl of 30 to 259200 seconds, or a type",
        ),
    },
    # Nobody has written to this number, so that there is no conversation in which a text would be allowed.
    "whatsapp": {
        "message_type": (_is_one_of("template"), "must be template outside a conversation"),
        "from": (_is_text(r"[1-9]\d{6,14}"), "must be 7 to 15 digits of an E.164 number without a leading +"),
        "template": (
            _is_object(
                ["name"], name=_is_text(r"([A-Za-z0-9_]+:)?[a-z0-9_]{1,512}"), parameters=_is_parameters
            ),
            "must be an object with the name of a template and its parameters",
        ),
        "whatsapp": (
            _is_object(
                ["locale"],
                policy=_is_one_of("deterministic"),
                locale=_is_text(r"[a-z]{2,3}([-_][A-Za-z0-9]{2,4})?"),
            ),
            "must be an object with a locale and the policy deterministic",
        ),
    },
}
_REQUIRED: Mapping[str, Collection[str]] = {
    "sms": ("message_type", "to", "from", "text"),
    "viber_service": ("message_type", "to", "from", "text"),
    "whatsapp": ("message_type", "to", "from", "template", "whatsapp"),
}


def missing_parameters(message: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield an entry of ``invalid_parameters`` for each field that the channel requires and the message lacks."""
    channel = message.get("channel")
    required = _REQUIRED.get(channel, ()) if isinstance(channel, str) else ()
    for name in ("channel", *required):
        if name not in message:
            yield {"name": name, "reason": "is required"}


def wrong_parameters(message: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield an entry of ``invalid_parameters`` for each field that breaks a rule of the channel."""
    channel = message["channel"]
    if not isinstance(channel, str) or channel not in _RULES:
        yield {"name": "channel", "reason": "Invalid value: channel must be a channel of this application"}
        return
    rules = {**_RULES_OF_ALL, **_RULES[channel]}
    for name, value in message.items():
        is_good, reason = rules.get(name, (lambda _: False, "is not a parameter of this channel"))
        if not is_good(value):
            yield {"name": name, "reason": f"Invalid value: {name} {reason}"}
