"""What the webhooks of many providers share: the head of ``parse_webhook``, signatures, lists of events."""

import asyncio
import hmac
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import GenericAlias
from typing import Any, Literal, TypeVar

import msgspec

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.model import Report, Secret, StatusEvent, WebhookRequest

MAX_INLINE_BYTES = 32 * 1024
"""Bytes of a webhook that are read on the event loop; a larger one takes more than a millisecond of CPU."""

E = TypeVar("E")
K = TypeVar("K")


async def read_webhook(
    request: WebhookRequest, translate: Callable[[WebhookRequest, K], Report], key: K | None, *, setting: str
) -> Report:
    """Return what ``translate`` makes of a request and the verification key; a large request is read in a thread.

    Raises NoVerificationKey where ``key`` is None, and names the ``setting`` that it comes from.
    """
    if key is None:
        raise NoVerificationKey(f"{setting} is not set")
    if len(request.body) > MAX_INLINE_BYTES:
        return await asyncio.to_thread(translate, request, key)
    return translate(request, key)


def expect_hmac(
    signature: str,
    secret: Secret,
    content: bytes,
    *,
    digest: Literal["sha1", "sha256", "sha512"] = "sha256",
    encoding: Literal["hex", "base64"] = "hex",
) -> None:
    """Raise BadSignature unless ``signature`` is the HMAC of ``content``; compared in constant time."""
    computed = hmac.digest(secret.reveal().encode("utf-8", "replace"), content, digest)
    expected = computed.hex().encode() if encoding == "hex" else b64encode(computed)
    if not hmac.compare_digest(expected, signature.encode("utf-8", "replace")):
        raise BadSignature("the signature is missing, or is not by this instance's secret over this request")


def decode_events(body: bytes, event_type: type[E]) -> list[E | None]:
    """Return the events of a JSON list as this type; None in the place of each one that is not of that form.

    So one bad event does not affect the others. Raises BadWebhook when the body is no JSON list.
    """
    with suppress(ValueError, RecursionError):
        decoded: list[E | None] = msgspec.json.decode(body, type=GenericAlias(list, (event_type,)))
        return decoded
    # One bad event may be the cause: not an object, a number in place of a text, half a character. The standard
    # library accepts more than msgspec, at several times the cost.
    items = None
    with suppress(ValueError, RecursionError):
        # As float, because int refuses numbers of thousands of digits.
        items = json.loads(body.decode("utf-8", "replace"), parse_int=float)
    if not isinstance(items, list):
        raise BadWebhook("the body is not a JSON list of events")
    events: list[E | None] = [None] * len(items)
    for index, item in enumerate(items):
        with suppress(ValueError):
            events[index] = msgspec.convert(item, event_type)
    return events


def collect_events(items: object, translate: Callable[[Any], StatusEvent | str]) -> Report:
    """Return the Report of a list of events, in its order.

    ``translate`` makes of each item a StatusEvent, or returns the kind under which it is counted as ignored. An item
    for which it raises ValueError (msgspec's ValidationError is one), and an item that is None, is counted as
    ``malformed``; an event that names no message and no recipient is counted as ``no_id``. Raises BadWebhook when
    ``items`` is not a list: put a report that comes alone into a list of one.
    """
    if not isinstance(items, list):
        raise BadWebhook("the body holds no list of events")
    events: list[StatusEvent] = []
    ignored: Counter[str] = Counter()
    for item in items:
        try:
            event = "malformed" if item is None else translate(item)
        except ValueError:
            event = "malformed"
        if isinstance(event, str):
            ignored[event] += 1
        elif event.message_id or event.provider_id or event.recipient:
            events.append(event)
        else:
            ignored["no_id"] += 1
    return Report(events=events, ignored=ignored)
