"""The checks that a report comes from the provider. Pure functions."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from gatepost import wire
from gatepost.errors import BadSignature
from gatepost.model import WebhookRequest
from gatepost_http.settings import Hmac, Settings, Token
from gatepost_http.templates import AddFault

Verify = Callable[[WebhookRequest], None]
"""Raises BadSignature unless the request is the provider's."""

_PARTS = ("body", "timestamp", "url", "method")
_BODY, _TIMESTAMP, _URL = _PARTS[:3]


def make_verify(settings: Settings, add_fault: AddFault) -> Verify | None:
    """Return the check that the settings describe, None where they describe none; adds a fault for each mistake."""
    names = [
        name
        for name in ("webhook_hmac", "webhook_token", "webhook_basic")
        if getattr(settings, name) is not None
    ]
    for name in names[1:]:
        add_fault(name, f"and {names[0]} are both there: reports are verified in one way")
    if settings.webhook_hmac is not None:
        _check_hmac(settings.webhook_hmac, add_fault)
        return _hmac_check(settings.webhook_hmac)
    if settings.webhook_token is not None:
        return _token_check(settings.webhook_token, add_fault)
    if settings.webhook_basic is not None:
        return _basic_check(settings.webhook_basic, add_fault)
    return None


def trust_network(request: WebhookRequest) -> None:
    """Accept a report from the provider's network, which the core has checked; raises BadSignature for any other."""
    if not request.network_listed:
        raise BadSignature("the request does not come from webhook_networks")


def _check_hmac(table: Hmac, add_fault: AddFault) -> None:
    if not table.key:
        add_fault("webhook_hmac.key", "is empty: anyone can sign with an empty key")
    if not table.header:
        add_fault("webhook_hmac.header", "is empty: it is the header with the signature")
    _check_header("webhook_hmac.header", table.header, add_fault)
    _check_header("webhook_hmac.timestamp_header", table.timestamp_header, add_fault)
    for number, part in enumerate(table.signed, start=1):
        if part not in _PARTS and not (part.startswith("header:") and part != "header:"):
            parts = ", ".join([*_PARTS, "header:NAME"])
            add_fault(f"webhook_hmac.signed[{number}]", f"is not a part of a request; there are: {parts}")
        if part.startswith("header:"):
            _check_header(f"webhook_hmac.signed[{number}]", part.removeprefix("header:"), add_fault)
    if (_TIMESTAMP in table.signed) != bool(table.timestamp_header):
        add_fault("webhook_hmac.timestamp_header", 'and "timestamp" in signed belong together')


def _check_header(key: str, name: str, add_fault: AddFault) -> None:
    if name and not wire.HEADER_NAME.fullmatch(name):
        add_fault(key, "is no name of a header, so that no report has it: leave out spaces and colons")


def unsigned_kinds(table: Hmac) -> set[str]:
    """Return the kinds of places whose values the signature does not cover."""
    return ({"json", "form"} if _BODY not in table.signed else set()) | (
        {"query"} if _URL not in table.signed else set()
    )


def _hmac_check(table: Hmac) -> Verify:
    joint = table.joined_by.encode("utf-8", "replace")

    def verify(request: WebhookRequest) -> None:
        given = request.headers.get(table.header.lower(), "")
        if not given.startswith(table.prefix):
            raise BadSignature("the signature is missing, or does not begin with webhook_hmac.prefix")
        given = given.removeprefix(table.prefix)
        content = joint.join(_part(part, table, request) for part in table.signed)
        wire.expect_hmac(
            given.lower() if table.encoding == "hex" else given,
            table.key,
            content,
            digest=table.algorithm,
            encoding=table.encoding,
        )
        if table.timestamp_header:
            request.expect_fresh(_seconds(request.headers.get(table.timestamp_header.lower(), "")))

    return verify


def _part(part: str, table: Hmac, request: WebhookRequest) -> bytes:
    match part:
        case "body":
            return request.body
        case "url":
            return request.url.encode("utf-8", "replace")
        case "method":
            return request.method.encode()
    name = table.timestamp_header if part == _TIMESTAMP else part.removeprefix("header:")
    # Header values are Latin-1 (RFC 9110), so that every byte of them can be signed.
    return request.headers.get(name.lower(), "").encode("latin-1", "replace")


def _seconds(text: str) -> float:
    """Return a time as seconds since the epoch; raises BadSignature where it is none."""
    if text.isascii() and text.isdigit() and len(text) <= 16:
        return int(text) / 1000 if len(text) >= 13 else float(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise BadSignature("the signature has no valid time")
    return time.timestamp()


def _token_check(table: Token, add_fault: AddFault) -> Verify:
    if not table.value:
        add_fault("webhook_token.value", "is empty: anyone could send it")
    if bool(table.header) == bool(table.query):
        add_fault("webhook_token", "needs either header or query: where the token stands")
    _check_header("webhook_token.header", table.header, add_fault)
    expected = f"{table.prefix} {table.value.reveal()}" if table.prefix else table.value.reveal()

    def verify(request: WebhookRequest) -> None:
        given = (
            request.headers.get(table.header.lower(), "")
            if table.header
            else request.query.get(table.query, "")
        )
        wire.expect_same(given, expected, "the token")

    return verify


def _basic_check(login: wire.Login, add_fault: AddFault) -> Verify:
    for fault in login.faults("webhook_basic"):
        add_fault(*fault)
    return partial(wire.expect_basic_auth, login=login)
