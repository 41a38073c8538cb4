"""Webhook requests as the core hands them to a plugin, for emulators and tests."""

import time
from collections.abc import Mapping

from gatepost.model import WebhookRequest

WEBHOOK_URL = "https://gateway.example/webhooks/conformance"
"""The ``webhook_url`` of the plugins that are tested."""


def webhook_request(
    url: str = WEBHOOK_URL,
    body: bytes = b"",
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    at: float | None = None,
) -> WebhookRequest:
    """Return an unsigned request that was received at ``at`` (seconds since the epoch), or now."""
    request = WebhookRequest(
        method=method,
        url=url,
        headers={},
        body=body,
        received_at=time.time() if at is None else at,
    )
    return with_headers(request, {"Content-Type": "application/json", **(headers or {})})


def with_headers(request: WebhookRequest, headers: Mapping[str, str]) -> WebhookRequest:
    """Return the request with these headers; one of the same name is replaced."""
    lower = {**request.headers, **{name.lower(): value for name, value in headers.items()}}
    return replace_request(request, headers=lower, header_list=tuple(lower.items()))


def without_header(request: WebhookRequest, name: str) -> WebhookRequest:
    """Return the request without this header."""
    remaining = {own: value for own, value in request.headers.items() if own != name}
    return replace_request(request, headers=remaining, header_list=tuple(remaining.items()))


def replace_request(request: WebhookRequest, **fields: object) -> WebhookRequest:
    """Return the request with these fields, and nothing that was parsed from the old ones."""
    # Not msgspec.structs.replace, which would copy the cached query and form too.
    values = {name: getattr(request, name) for name in request.__struct_fields__}
    return WebhookRequest(**{**values, **fields})
