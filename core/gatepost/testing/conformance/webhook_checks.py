"""Checks of reading what a provider reports."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey, WebhookRetry
from gatepost.model import Receipt, Report, Status, StatusEvent, WebhookRequest
from gatepost.testing.conformance import assertions, cpu_units
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.leaks import contains_any
from gatepost.testing.conformance.provider import ReportFeature
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import RunningPlugin, describe, gather

_DECLARED_ERRORS = (NoVerificationKey, BadSignature, BadWebhook, WebhookRetry)
_LARGE_BATCH = 500
"""Reports in a request that is large, but not larger than providers send."""

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


def make_request(body: bytes, headers: Mapping[str, str], *, method: str = "POST") -> WebhookRequest:
    """Return a webhook request as the core hands it to the plugin."""
    return WebhookRequest(
        method=method,
        url="https://gateway.example/webhooks/conformance",
        headers={name.lower(): value for name, value in headers.items()},
        body=body,
        received_at=time.time(),
    )


def sign_request(harness: Harness, body: bytes, *, age: float = 0.0) -> WebhookRequest:
    """Return a genuine webhook request, signed ``age`` seconds ago."""
    return make_request(body, harness.reporter.sign(body, time.time() - age))


async def send_and_report(
    harness: Harness, running: RunningPlugin, kinds: Sequence[str] = ()
) -> tuple[Any, Receipt, bytes]:
    """Send a message; return it, its Receipt, and the body of a report about it."""
    message, receipt = await _send(harness, running)
    return message, receipt, harness.reporter.report(kinds or _kinds_with_status(harness)[:1], message.id)


async def _send(harness: Harness, running: RunningPlugin) -> tuple[Any, Receipt]:
    assert harness.channels, (
        "webhooks are checked with messages that the plugin has sent: add EmailSuite or SmsSuite"
    )
    return await harness.for_channel(harness.channels[0]).send_message(running)


def _kinds_with_status(harness: Harness) -> list[str]:
    """Return the kinds of reports that mean a status."""
    kinds = [kind for kind, statuses in harness.meanings.items() if statuses]
    assert kinds, "the suite's `meanings` names no kind of report that means a status"
    return kinds


def events_of(outcome: object) -> list[StatusEvent]:
    """Return the events of a Report; raise AssertionError for any other outcome."""
    assert isinstance(outcome, Report), f"a genuine report: {describe(outcome)} instead of returning a Report"
    events: list[Any] = list(outcome.events)
    others = [type(event).__name__ for event in events if not isinstance(event, StatusEvent)]
    assert not others, f"its events contain a {others[0]}"
    return events


@check(Group.WEBHOOKS)
async def meanings(harness: Harness) -> None:
    """Read each kind of report as the declared statuses, and no others."""
    async with harness.run_plugin() as running:
        for kind, statuses in harness.meanings.items():
            message, _, body = await send_and_report(harness, running, [kind])
            outcome = await running.parse(sign_request(harness, body))
            got = [event.status for event in events_of(outcome)]
            assert got == list(statuses), (
                f"{kind} of {message.id} means {_names(got)}, not {_names(statuses)}"
            )
            assert statuses or outcome.ignored, f"{kind} means no status, and is not counted in ignored"  # type: ignore[attr-defined]


@check(Group.WEBHOOKS)
async def status_type(harness: Harness) -> None:
    """Return every status as a Status, not as a text."""
    async with harness.run_plugin() as running:
        for kind in harness.meanings:
            _, _, body = await send_and_report(harness, running, [kind])
            for event in events_of(await running.parse(sign_request(harness, body))):
                assert isinstance(event.status, Status), (
                    f"{kind} gives {event.status!r}, which is not a Status"
                )


@check(Group.WEBHOOKS)
async def message_ids(harness: Harness) -> None:
    """Return events with our id of the message that was sent, or with the provider_id of its Receipt."""
    async with harness.run_plugin() as running:
        for kind in _kinds_with_status(harness):
            message, receipt, body = await send_and_report(harness, running, [kind])
            for event in events_of(await running.parse(sign_request(harness, body))):
                assert not event.message_id or event.message_id == message.id, f"{kind}: another message's id"
                by_provider_id = bool(receipt.provider_id) and event.provider_id == receipt.provider_id
                assert event.message_id or by_provider_id, (
                    f"{kind}: neither our id nor the Receipt's provider_id"
                )


@check(Group.WEBHOOKS)
async def no_leaks(harness: Harness) -> None:
    """Put neither the recipient nor a secret into a Report or a log."""
    async with harness.run_plugin() as running:
        reports = []
        for kind in harness.meanings:
            _, _, body = await send_and_report(harness, running, [kind])
            reports.append(repr(await running.parse(sign_request(harness, body))))
            await running.parse(make_request(body, {}))
    for text, where in (("\n".join(reports), "a Report"), ("\n".join(running.recorder.texts), "a log")):
        assert not contains_any(text, harness.recipients), f"the recipient is in {where}"
        assert not contains_any(text, harness.secrets()), f"a secret is in {where}"


@check(Group.WEBHOOKS)
async def codes(harness: Harness) -> None:
    """Return short and printable codes: from a fixed list, not the provider's free text."""
    async with harness.run_plugin() as running:
        for kind in harness.meanings:
            _, _, body = await send_and_report(harness, running, [kind])
            for event in events_of(await running.parse(sign_request(harness, body))):
                assert isinstance(event.code, str), f"{kind}: the code is not a text"
                assert len(event.code) <= 64, f"{kind}: the code has {len(event.code)} characters"
                assert event.code.isprintable(), f"{kind}: the code has characters that can't be printed"


@check(Group.WEBHOOKS)
async def garbage(harness: Harness) -> None:
    """Raise BadWebhook for signed garbage or count it in ignored; raise no other error."""
    async with harness.run_plugin() as running:
        _, _, body = await send_and_report(harness, running)
        for spoiled in (*_GARBAGE, *_spoiled(body)):
            outcome = await running.parse(sign_request(harness, spoiled))
            shown = f"a body that begins with {spoiled[:24]!r}"
            assert isinstance(outcome, Report | BadWebhook | BadSignature | WebhookRetry), (
                f"{shown}: {describe(outcome)}, which the hook does not declare"
            )
            assert not contains_any(repr(outcome), harness.recipients), f"{shown}: the outcome quotes it"


@check(Group.WEBHOOKS, standalone=True)
async def hostile_headers(harness: Harness) -> None:
    """Refuse an unsigned request with a declared error, whatever its headers hold."""
    names = ["authorization", "content-type", "x-signature", "x-timestamp"]
    reporter: Any = harness.provider
    if hasattr(reporter, "sign"):
        names += [name.lower() for name in reporter.sign(b"{}", time.time())]
    async with harness.run_plugin() as running:
        for value in _HOSTILE_VALUES:
            outcome = await running.parse(make_request(b"{}", dict.fromkeys(names, value)))
            assert isinstance(outcome, _DECLARED_ERRORS), f"headers {value[:12]!a}: {describe(outcome)}"


@check(Group.WEBHOOKS, standalone=True)
async def foreign_requests(harness: Harness) -> None:
    """Refuse a request that is not the provider's, GET or POST, with a declared error."""
    async with harness.run_plugin() as running:
        for body in _GARBAGE:
            for method in ("POST", "GET"):
                outcome = await running.parse(make_request(body, {}, method=method))
                assert isinstance(outcome, _DECLARED_ERRORS), (
                    f"{method} of {body[:12]!r}: {describe(outcome)}"
                )


@check(Group.WEBHOOKS, ReportFeature.BATCHED)
async def bad_events(harness: Harness) -> None:
    """Count bad events among good ones, and lose none of the good ones."""
    kinds = _kinds_with_status(harness)
    async with harness.run_plugin() as running:
        message, _ = await _send(harness, running)
        body = harness.reporter.report(kinds, message.id)
        expected = events_of(await running.parse(sign_request(harness, body)))
        body = harness.reporter.report(kinds, message.id, spoiled=True)
        outcome = await running.parse(sign_request(harness, body))
        got = events_of(outcome)
    assert [event.status for event in got] == [event.status for event in expected], (
        f"{len(got)} of {len(expected)} good events were found among bad ones"
    )
    assert sum(outcome.ignored.values()), "the bad events are not counted in ignored"  # type: ignore[attr-defined]


@check(Group.WEBHOOKS)
async def repeated(harness: Harness) -> None:
    """Return the same events for the same request a second time."""
    async with harness.run_plugin() as running:
        _, _, body = await send_and_report(harness, running)
        request = sign_request(harness, body)
        first, second = await running.parse(request), await running.parse(request)
    assert events_of(first) == events_of(second), f"the second time {describe(second)}"


@check(Group.WEBHOOKS)
async def concurrent(harness: Harness) -> None:
    """Read each of many concurrent requests correctly."""
    async with harness.run_plugin() as running:
        sent = [await send_and_report(harness, running) for _ in range(4)]
        outcomes = await gather([running.parse(sign_request(harness, body)) for _, _, body in sent * 5])
    for (message, receipt, _), outcome in zip(sent * 5, outcomes, strict=True):
        for event in events_of(outcome):
            own = {message.id, receipt.provider_id}
            assert {event.message_id, event.provider_id} & own, "a report was read as another message's"
            assert event.message_id in {"", message.id}, "a report was read as another message's"


@check(Group.WEBHOOKS)
async def free_loop(harness: Harness) -> None:
    """Never block the event loop, neither with a call nor with much CPU, for a large request too."""
    kinds = _kinds_with_status(harness)
    batched = ReportFeature.BATCHED in harness.report_features
    async with harness.run_plugin() as running:
        message, _ = await _send(harness, running)
        body = harness.reporter.report((kinds * _LARGE_BATCH)[: _LARGE_BATCH if batched else 1], message.id)
        request = sign_request(harness, body)
        await cpu_units.assert_little_cpu(running.recorder, lambda: running.parse(request))
    assertions.assert_no_blocking_calls(running)


def _spoiled(body: bytes) -> Iterator[bytes]:
    """Yield a genuine body cut short, doubled, and changed at random places that are the same in each run."""
    chance = random.Random(4)  # noqa: S311  not for secrecy
    yield from (body[: len(body) * part // 8] for part in range(1, 8))
    yield body + body
    for _ in range(40):
        place = chance.randrange(max(1, len(body)))
        yield body[:place] + bytes([chance.randrange(256)]) + body[place + 1 :]


def _names(statuses: Sequence[object]) -> str:
    return ", ".join(str(status) for status in statuses) or "nothing"
