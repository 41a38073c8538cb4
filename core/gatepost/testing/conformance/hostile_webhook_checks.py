"""Checks of reports that are not the provider's, or that somebody has changed."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey, WebhookRetry
from gatepost.model import Report
from gatepost.testing.conformance.changed_requests import spoiled_bodies, with_each_value
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.leak_checks import holds_prose
from gatepost.testing.conformance.leaks import contains_any
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import describe
from gatepost.testing.conformance.untrusted import trap_server
from gatepost.testing.conformance.webhook_checks import (
    events_of,
    kinds_with_status,
    report_on,
    send_and_report,
    send_one,
    signed,
)
from gatepost.testing.features import ReportFeature
from gatepost.testing.kit_emulator import PROSE
from gatepost.testing.webhook_requests import replace_request, webhook_request

_DECLARED_ERRORS = (NoVerificationKey, BadSignature, BadWebhook, WebhookRetry)

_QUERY_NAMES = (
    *("id", "message_id", "messageid", "message", "reference", "ref", "client_ref", "gp_id"),
    *("uid", "uuid", "msgid", "sid", "status", "event"),
)
_URL_FIELDS = (
    *("SigningCertURL", "SigningCertUrl", "SubscribeURL", "UnsubscribeURL"),
    *("certificate_url", "key_url", "url"),
)
_OTHER_TYPES: Sequence[Any] = (None, 7, -1.5, True, [], {}, "")

_GARBAGE = (
    b"",
    b" ",
    b"null",
    b"0",
    b'"x"',
    b"[]",
    b"{}",
    b'[null, 1, [], {}, "x"]',
    b"[" * 2000,
    b"[" * 2000 + b"]" * 2000,
    b'{"a":' * 2000,
    b"9" * 5000,
    b'[{"event": 1e999, "timestamp": -1, "status": {}, "id": []}]',
    b"\xff\xfe\x00",
    b'{"status": "\xed\xa0\x80"}',
    b'{"status": "\\ud800"}',
    b"\0" * 100,
    b"status=delivered&id=1",
    b"<xml/>",
    b"x" * 100_000,
)
_HOSTILE_VALUES = (
    "",
    " ",
    "\0",
    "ü☃",
    "x" * 5_000,
    "Bearer ",
    "Bearer ..",
    "0",
    "-1",
    "1e999",
    "=",
    "²",
)


@check(Group.WEBHOOKS)
async def garbage(harness: Harness) -> None:
    """Raise BadWebhook for signed garbage or count it in ignored; raise no other error.

    Check the type of a value before you use it, raise BadWebhook for a body that is no report, and count in
    `ignored` what is no event.
    """
    async with harness.run_plugin() as running:
        _, _, request = await send_and_report(harness, running)
        for spoiled in (*_GARBAGE, *spoiled_bodies(request.body)):
            outcome = await running.parse(signed(harness, replace_request(request, body=spoiled)))
            shown = f"a body that begins with {spoiled[:24]!r}"
            assert isinstance(outcome, Report | BadWebhook | BadSignature | WebhookRetry), (
                f"{shown}: {describe(outcome)}, which the hook does not declare"
            )
            assert not contains_any(repr(outcome), harness.recipients), f"{shown}: the outcome quotes it"


@check(Group.WEBHOOKS, standalone=True)
async def hostile_headers(harness: Harness) -> None:
    """Refuse an unsigned request with a declared error, whatever its headers hold.

    Take each header for any text, and raise BadSignature for one that is missing, long or not ASCII.
    """
    names = ["authorization", "content-type", "x-signature", "x-timestamp"]
    if hasattr(harness.provider, "sign"):
        names += harness.reporter.sign(webhook_request(body=b"{}")).headers
    async with harness.run_plugin() as running:
        for value in _HOSTILE_VALUES:
            outcome = await running.parse(webhook_request(body=b"{}", headers=dict.fromkeys(names, value)))
            assert isinstance(outcome, _DECLARED_ERRORS), f"headers {value[:12]!a}: {describe(outcome)}"


@check(Group.WEBHOOKS, standalone=True)
async def foreign_requests(harness: Harness) -> None:
    """Refuse a request that is not the provider's, GET or POST, with a declared error.

    Verify the signature first, whatever the method and the body are, and raise BadSignature.
    """
    async with harness.run_plugin() as running:
        for body in _GARBAGE:
            for method in ("POST", "GET"):
                outcome = await running.parse(webhook_request(body=body, method=method))
                assert isinstance(outcome, _DECLARED_ERRORS), (
                    f"{method} of {body[:12]!r}: {describe(outcome)}"
                )


@check(Group.WEBHOOKS, ReportFeature.BATCHED)
async def bad_events(harness: Harness) -> None:
    """Count bad events among good ones, and lose none of the good ones.

    Translate each event by itself, and count in `ignored` those that can't be read, as wire.collect_events
    does.
    """
    kinds = kinds_with_status(harness)
    async with harness.run_plugin() as running:
        message, _ = await send_one(harness, running)
        expected = events_of(await running.parse(signed(harness, report_on(harness, message.id, kinds))))
        request = report_on(harness, message.id, kinds, spoiled=True)
        outcome = await running.parse(signed(harness, request))
        got = events_of(outcome)
    assert [event.status for event in got] == [event.status for event in expected], (
        f"{len(got)} of {len(expected)} good events were found among bad ones"
    )
    assert sum(outcome.ignored.values()), "the bad events are not counted in ignored"  # type: ignore[attr-defined]


@check(Group.WEBHOOKS, after=("webhooks.garbage",))
async def wrong_types(harness: Harness) -> None:
    """Ignore or refuse a signed report of which one field has another type, with a declared error.

    Match the types as well as the names, as in `case {"id": str(value)}`.
    """
    async with harness.run_plugin() as running:
        _, _, request = await send_and_report(harness, running)
        for value in _OTHER_TYPES:
            for changed in with_each_value(request, partial(_replaced_by, value)):
                outcome = await running.parse(signed(harness, changed))
                assert isinstance(outcome, Report | BadWebhook), (
                    f"a field is {value!r}: {describe(outcome)}, which the hook does not declare"
                )


@check(Group.WEBHOOKS, after=("webhooks.codes",))
async def own_words(harness: Harness) -> None:
    """Return no free text of a report: not as code, as id or as the name of what is ignored.

    Let codes pass that have the form of the provider's codes, and of words only those of a closed list.
    """
    async with harness.run_plugin() as running:
        for kind in harness.meanings:
            _, _, request = await send_and_report(harness, running, [kind])
            for changed in with_each_value(request, lambda old: PROSE if isinstance(old, str) else old):
                outcome = await running.parse(signed(harness, changed))
                where = "an error" if isinstance(outcome, BaseException) else "a Report"
                assert not holds_prose(f"{outcome!r} {outcome}"), (
                    f"{kind}: the provider's prose is in {where}"
                )
    assert not holds_prose("\n".join(running.recorder.texts)), "the provider's prose is in a log"


@check(Group.WEBHOOKS, needs_any=(ReportFeature.BODY_SIGNED, ReportFeature.IDS_SIGNED))
async def unsigned_query(harness: Harness) -> None:
    """Believe no parameter of the URL that the signature does not cover.

    Read ids and statuses from what the signature covers: anybody who sees one genuine report could send it
    again about another message.
    """
    async with harness.run_plugin() as running:
        _, _, request = await send_and_report(harness, running)
        other, receipt = await send_one(harness, running)
        genuine = signed(harness, request)
        expected = events_of(await running.parse(genuine))
        names = {*dict(parse_qsl(genuine.url.partition("?")[2])), *_QUERY_NAMES}
        for value in (other.id, receipt.provider_id or other.id):
            query = urlencode(dict.fromkeys(sorted(names), value))
            changed = replace_request(genuine, url=f"{genuine.url.partition('?')[0]}?{query}")
            outcome = await running.parse(changed)
            if isinstance(outcome, Report):
                assert events_of(outcome) == expected, "it believed a parameter of the URL that nobody signed"


@check(Group.WEBHOOKS, ReportFeature.IDS_SIGNED)
async def other_message(harness: Harness) -> None:
    """Raise BadSignature for a genuine report in which somebody has put another message's id.

    Verify the ids too, wherever they stand: in the body, or in the URL with its query.
    """
    async with harness.run_plugin() as running:
        message, receipt, request = await send_and_report(harness, running)
        other, other_receipt = await send_one(harness, running)
        genuine, swaps = signed(harness, request), {message.id: other.id}
        if receipt.provider_id and other_receipt.provider_id:
            swaps[receipt.provider_id] = other_receipt.provider_id
        body, url = genuine.body, genuine.url
        for old, new in swaps.items():
            body, url = body.replace(old.encode(), new.encode()), url.replace(old, new)
        assert (body, url) != (genuine.body, genuine.url), "the emulated provider's report has no id in it"
        outcome = await running.parse(replace_request(genuine, body=body, url=url))
        assert isinstance(outcome, BadSignature), f"another message's id: {describe(outcome)}"


@check(Group.WEBHOOKS, ReportFeature.URL_SIGNED)
async def changed_url(harness: Harness) -> None:
    """Raise BadSignature for a genuine report that comes to another URL.

    Compute the signature over `request.url` as it is, with its query.
    """
    async with harness.run_plugin() as running:
        _, _, request = await send_and_report(harness, running)
        genuine = signed(harness, request)
        for url in (f"{genuine.url}{'&' if '?' in genuine.url else '?'}x=1", f"{genuine.url}x"):
            outcome = await running.parse(replace_request(genuine, url=url))
            assert isinstance(outcome, BadSignature), f"another URL: {describe(outcome)}"


@check(Group.WEBHOOKS)
async def fetches_nothing(harness: Harness) -> None:
    """Fetch no URL that an unverified request names: it would lead anywhere in the operator's network.

    Verify first, and fetch a certificate from hosts of a fixed pattern only.
    """
    async with trap_server() as trap, harness.run_plugin() as running:
        url = f"http://127.0.0.1:{trap.port}/key.pem"
        _, _, request = await send_and_report(harness, running)
        names = {
            **dict.fromkeys(_URL_FIELDS, url),
            "Type": "Notification",
            "events": [],
            "jku": url,
            "x5u": url,
        }
        lures = [replace_request(request, body=json.dumps(names).encode())]
        lures += with_each_value(request, lambda old: url if isinstance(old, str) else old)
        for lure in lures:
            for changed in (lure, harness.reporter.sign(lure, forged=True)):
                await running.parse(changed)
                own = dict.fromkeys((*changed.headers, "x-signing-url", "x-certificate-url"), url)
                await running.parse(replace_request(changed, headers=own))
        assert not trap.connections, "it fetched a URL that an unverified request named"


def _replaced_by(new: Any, _old: Any) -> Any:
    return new
