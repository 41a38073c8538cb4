"""Genuine reports with something changed: one value after the other, or bytes at random places."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

from gatepost.model import WebhookRequest
from gatepost.testing.webhook_requests import replace_request


def with_each_value(request: WebhookRequest, change: Callable[[Any], Any]) -> Iterator[WebhookRequest]:
    """Yield the request once for each value of its JSON or form, with this value changed; nothing for other bodies."""
    try:
        body = json.loads(request.body)
    except ValueError:
        pairs = parse_qsl(request.body.decode("ascii", "replace"))
        for place, (name, value) in enumerate(pairs):
            changed = [*pairs[:place], (name, str(change(value))), *pairs[place + 1 :]]
            yield replace_request(request, body=urlencode(changed).encode())
        return
    for changed in _changed(body, change):
        yield replace_request(request, body=json.dumps(changed).encode())


def _changed(value: Any, change: Callable[[Any], Any]) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, item in value.items():
            for changed in _changed(item, change):
                yield {**value, name: changed}
    elif isinstance(value, list):
        for place, item in enumerate(value):
            for changed in _changed(item, change):
                yield [*value[:place], changed, *value[place + 1 :]]
    elif (new := change(value)) is not value:
        yield new


def spoiled_bodies(body: bytes) -> Iterator[bytes]:
    """Yield a genuine body cut short, doubled, and changed at random places that are the same in each run."""
    chance = random.Random(4)  # noqa: S311  not for secrecy
    yield from (body[: len(body) * part // 8] for part in range(1, 8))
    yield body + body
    for _ in range(40):
        place = chance.randrange(max(1, len(body)))
        yield body[:place] + bytes([chance.randrange(256)]) + body[place + 1 :]
