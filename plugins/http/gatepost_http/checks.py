"""What in the settings does not go together, and what probably is not meant. Pure functions."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from gatepost import wire
from gatepost.model import Secret
from gatepost_http.messages import PERSONAL
from gatepost_http.requests import RequestTemplate
from gatepost_http.settings import Request, Settings
from gatepost_http.signatures import unsigned_kinds
from gatepost_http.templates import HEADERS, AddFault
from gatepost_http.webhooks import ReportReader

_SECRET_NAME = re.compile(
    r"(?i)(authorization|cookie|password|passwd|secret|token|api[-_]?key|auth[-_]?key)\Z"
)


def add_faults(
    settings: Settings, request: RequestTemplate, reports: ReportReader | None, add_fault: AddFault
) -> None:
    """Add a fault for everything that does not go together."""
    if re.search("[{}]", settings.base_url):
        add_fault(
            "base_url", "has no placeholders: write the host out, and put what varies into request.path"
        )
    _check_request(settings, request, add_fault)
    _check_body(settings.request, add_fault)
    _check_credentials(settings, add_fault)
    _check_reports(settings, request, reports, add_fault)


def add_warnings(settings: Settings, request: RequestTemplate, warn: AddFault) -> None:
    """Warn of everything that can be used and probably is not meant."""
    in_url = sorted(request.url_names)
    cure = 'method = "POST" and form, if the API takes them' if request.method == "GET" else "the body"
    if secrets := [name for name in in_url if name.startswith("secret.")]:
        warn(
            "request",
            f"has {_braced(secrets)} in its URL, and servers and proxies log URLs: use a header, or {cure}",
        )
    if personal := [name for name in in_url if name in PERSONAL]:
        warn("request", f"has {_braced(personal)} in its URL, and servers and proxies log URLs: use {cure}")
    if "id" not in request.names and not _id_in_callback(settings):
        warn(
            "request",
            "has no {id}: a report that comes before the answer, or after a lost answer, finds no message",
        )
    if settings.channel == "email" and HEADERS not in request.names:
        warn(
            "request.json",
            "has no {headers}: mails have no List-Unsubscribe and no other header of their own",
        )
    for key, secret in _secrets(settings):
        if secret.reveal() != secret.reveal().strip():
            warn(key, "begins or ends with a space or a line break: is that a part of it?")
    for key, _ in _plain_secrets(settings):
        warn(key, "looks like a secret in clear text: put it under secrets, and write {secret.NAME} here")


def plain_secrets(settings: Settings) -> list[str]:
    """Return the values that look like secrets in clear text, as they are and as a URL and JSON have them."""
    values = [value for _, value in _plain_secrets(settings)]
    in_urls = [quote(value, safe="") for value in values]
    in_json = [msgspec.json.encode(value)[1:-1].decode() for value in values]
    # The longest first, because one may be a part of another.
    return sorted({*values, *in_urls, *in_json}, key=len, reverse=True)


def _check_request(settings: Settings, request: RequestTemplate, add_fault: AddFault) -> None:
    if not request.names & {"recipient", "recipient_digits"}:
        add_fault("request", "has no {recipient}: it would reach nobody")
    content = {"text"} if settings.channel == "sms" else {"text", "html"}
    if not request.names & content:
        add_fault("request", f"has no {_braced(sorted(content), ' or ')}: the message would be empty")
    if settings.replay_safe and "idempotency_key" not in request.names:
        add_fault("replay_safe", "needs {idempotency_key} in the request")
    if settings.replay_safe and "expires_at" in request.names:
        add_fault(
            "replay_safe", "needs repeats of the same bytes, and {expires_at} differs: use {lifetime_seconds}"
        )
    if settings.shortest_lifetime > settings.longest_lifetime:
        add_fault("shortest_lifetime", "is longer than longest_lifetime")
    if settings.default_sender and settings.channel == "email":
        add_fault("default_sender", 'is for channel = "sms" only')


def _check_body(request: Request, add_fault: AddFault) -> None:
    for key in ("json", "form"):
        if request.method == "GET" and getattr(request, key) is not None:
            add_fault(f"request.{key}", "is a body, and a GET has none: its parameters belong to query")
    if request.json is not None and request.form is not None:
        add_fault("request.form", "and request.json are both there: a request has one body")
    if request.form is not None and any(name.lower() == "content-type" for name in request.headers):
        add_fault("request.headers", "can't have a Content-Type beside form, which has its own")


def _check_credentials(settings: Settings, add_fault: AddFault) -> None:
    ways = [f"headers.{name}" for name in settings.headers if name.lower() == "authorization"]
    ways += [key for key in ("bearer", "basic") if getattr(settings, key) is not None]
    for key in ways[1:]:
        add_fault(key, f"and {ways[0]} are both there: a request has one Authorization header")
    for fault in wire.key_faults(bearer=settings.bearer):
        add_fault(*fault)
    for name, secret in settings.secrets.items():
        if not secret:
            add_fault(f"secrets.{name}", "is empty")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            add_fault(f"secrets.{name}", "is no name for {secret.NAME}: use letters, digits, _ and -")


def _check_reports(
    settings: Settings, request: RequestTemplate, reports: ReportReader | None, add_fault: AddFault
) -> None:
    if settings.webhook is None or reports is None:
        for key in ("webhook_hmac", "webhook_token", "webhook_basic"):
            if getattr(settings, key) is not None:
                add_fault(key, "verifies reports, and there is no webhook table that says how to read them")
        return
    if settings.webhook_hmac is not None and (
        unsigned := reports.places.kinds() & unsigned_kinds(settings.webhook_hmac)
    ):
        part = "url" if "query" in unsigned else "body"
        add_fault("webhook_hmac.signed", f'must have "{part}", because values of a report stand there')
    if _id_in_callback(settings) and "callback_url" not in request.names:
        add_fault("webhook.id", "is in the query of the callback URL, and the request has no {callback_url}")


def _secrets(settings: Settings) -> Iterator[tuple[str, Secret]]:
    """Yield the keys of secrets that may hold any character, and their values."""
    for name, secret in settings.secrets.items():
        yield f"secrets.{name}", secret
    for key in ("basic", "webhook_basic"):
        if (basic := getattr(settings, key)) is not None:
            yield f"{key}.password", basic.password
    if settings.webhook_hmac is not None:
        yield "webhook_hmac.key", settings.webhook_hmac.key
    if settings.webhook_token is not None:
        yield "webhook_token.value", settings.webhook_token.value


def _id_in_callback(settings: Settings) -> bool:
    return settings.webhook is not None and settings.webhook.id.startswith("query:")


def _plain_secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the keys whose names are those of secrets, and whose values have no placeholder, with these values."""
    request = settings.request
    tables: Mapping[str, Any] = {
        "headers": settings.headers,
        "request.headers": request.headers,
        "request.query": request.query,
        "request.form": request.form,
        "request.json": request.json,
        "ping.query": settings.ping.query if settings.ping else {},
    }
    for path, table in tables.items():
        yield from _plain_secrets_in(table, path)


def _plain_secrets_in(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, str) and item and "{" not in item and _SECRET_NAME.search(name):
                yield f"{path}.{name}", item
            yield from _plain_secrets_in(item, f"{path}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value, start=1):
            yield from _plain_secrets_in(item, f"{path}[{number}]")


def _braced(names: list[str], joint: str = ", ") -> str:
    return joint.join(f"{{{name}}}" for name in names)
