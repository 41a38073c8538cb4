"""Checks of reading what a provider reports."""

from collections.abc import Sequence
from typing import Any

from gatepost.model import Receipt, Report, Status, StatusEvent, WebhookAnswer, WebhookRequest
from gatepost.testing.conformance import assertions, cpu_units
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.leak_checks import is_code
from gatepost.testing.conformance.leaks import contains_any
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import RunningPlugin, describe, gather
from gatepost.testing.features import ReportFeature
from gatepost.testing.webhook_requests import WEBHOOK_URL, replace_request

_LARGE_BATCH = 500
"""Reports in a request that is large, but not larger than providers send."""


def signed(harness: Harness, request: WebhookRequest, *, age: float = 0.0) -> WebhookRequest:
    """Return the request as the provider signed it ``age`` seconds before it was received."""
    earlier = replace_request(request, received_at=request.received_at - age)
    return replace_request(harness.reporter.sign(earlier), received_at=request.received_at)


async def send_and_report(
    harness: Harness, running: RunningPlugin, kinds: Sequence[str] = ()
) -> tuple[Any, Receipt, WebhookRequest]:
    """Send a message; return it, its Receipt, and an unsigned request that reports on it."""
    message, receipt = await send_one(harness, running)
    return message, receipt, report_on(harness, message.id, kinds or kinds_with_status(harness)[:1])


def report_on(
    harness: Harness, message_id: str, kinds: Sequence[str], *, spoiled: bool = False
) -> WebhookRequest:
    """Return an unsigned request that reports on a message."""
    return harness.reporter.report(kinds, message_id, to=WEBHOOK_URL, spoiled=spoiled)


async def send_one(harness: Harness, running: RunningPlugin) -> tuple[Any, Receipt]:
    assert harness.channels, (
        "webhooks are checked with messages that the plugin has sent: add EmailSuite or SmsSuite"
    )
    return await harness.for_channel(harness.channels[0]).send_message(running)


def kinds_with_status(harness: Harness) -> list[str]:
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
async def genuine(harness: Harness) -> None:
    """Accept a genuine report: verify its signature and return its events.

    Verify exactly what the provider signs, before it is decoded, and return the events of each report.
    """
    async with harness.run_plugin() as running:
        _, _, request = await send_and_report(harness, running)
        assert events_of(await running.parse(signed(harness, request))), "a genuine report has no events"


@check(Group.WEBHOOKS)
async def meanings(harness: Harness) -> None:
    """Read each kind of report as the declared statuses, and no others.

    Correct the plugin's table of statuses, or the suite's `meanings`; count in `ignored` what means no status.
    """
    async with harness.run_plugin() as running:
        for kind, statuses in harness.meanings.items():
            message, _, request = await send_and_report(harness, running, [kind])
            outcome = await running.parse(signed(harness, request))
            got = [event.status for event in events_of(outcome)]
            assert got == list(statuses), (
                f"{kind} of {message.id} means {_names(got)}, not {_names(statuses)}"
            )
            assert statuses or outcome.ignored, f"{kind} means no status, and is not counted in ignored"  # type: ignore[attr-defined]


@check(Group.WEBHOOKS)
async def status_type(harness: Harness) -> None:
    """Return every status as a Status, not as a text.

    Use the members of `gatepost.model.Status`.
    """
    async with harness.run_plugin() as running:
        for kind in harness.meanings:
            _, _, request = await send_and_report(harness, running, [kind])
            for event in events_of(await running.parse(signed(harness, request))):
                assert isinstance(event.status, Status), (
                    f"{kind} gives {event.status!r}, which is not a Status"
                )


@check(Group.WEBHOOKS)
async def message_ids(harness: Harness) -> None:
    """Return events with our id of the message that was sent, or with the provider_id of its Receipt.

    Send our id along and read it from the report. Where the API can't carry it, return the same provider_id as
    in the Receipt.
    """
    async with harness.run_plugin() as running:
        for kind in kinds_with_status(harness):
            message, receipt, request = await send_and_report(harness, running, [kind])
            for event in events_of(await running.parse(signed(harness, request))):
                assert not event.message_id or event.message_id == message.id, f"{kind}: another message's id"
                by_provider_id = bool(receipt.provider_id) and event.provider_id == receipt.provider_id
                assert event.message_id or by_provider_id, (
                    f"{kind}: neither our id nor the Receipt's provider_id"
                )


@check(Group.WEBHOOKS)
async def no_leaks(harness: Harness) -> None:
    """Put neither the recipient nor a secret into a Report or a log.

    Put only ids, statuses and codes into a Report, and log nothing of the body.
    """
    async with harness.run_plugin() as running:
        reports = []
        for kind in harness.meanings:
            _, _, request = await send_and_report(harness, running, [kind])
            reports.append(repr(await running.parse(signed(harness, request))))
            await running.parse(request)
    for text, where in (("\n".join(reports), "a Report"), ("\n".join(running.recorder.texts), "a log")):
        assert not contains_any(text, harness.recipients), f"the recipient is in {where}"
        assert not contains_any(text, harness.secrets()), f"a secret is in {where}"


@check(Group.WEBHOOKS)
async def codes(harness: Harness) -> None:
    """Return codes that are codes, from a closed list: not the provider's free text, no id and no time.

    Return the provider's code by wire.safe_code, and leave its texts out.
    """
    async with harness.run_plugin() as running:
        for kind in harness.meanings:
            found = []
            for _ in range(2):
                _, _, request = await send_and_report(harness, running, [kind])
                events = events_of(await running.parse(signed(harness, request)))
                found.append([event.code for event in events])
            for code in found[0]:
                assert is_code(code), f"{kind}: {code!r} is no code"
            assert found[0] == found[1], f"{kind}: reports on two messages have the codes {found}"


@check(Group.WEBHOOKS)
async def repeated(harness: Harness) -> None:
    """Return the same events for the same request a second time.

    Decide by the request alone, and remember none: the core drops repeats.
    """
    async with harness.run_plugin() as running:
        request = signed(harness, (await send_and_report(harness, running))[2])
        first, second = await running.parse(request), await running.parse(request)
    assert events_of(first) == events_of(second), f"the second time {describe(second)}"


@check(Group.WEBHOOKS)
async def concurrent(harness: Harness) -> None:
    """Read each of many concurrent requests correctly.

    Keep what belongs to one call in local variables, not in the instance.
    """
    async with harness.run_plugin() as running:
        sent = [await send_and_report(harness, running) for _ in range(4)]
        outcomes = await gather([running.parse(signed(harness, request)) for _, _, request in sent * 5])
    for (message, receipt, _), outcome in zip(sent * 5, outcomes, strict=True):
        for event in events_of(outcome):
            own = {message.id, receipt.provider_id}
            assert {event.message_id, event.provider_id} & own, "a report was read as another message's"
            assert event.message_id in {"", message.id}, "a report was read as another message's"


@check(Group.WEBHOOKS)
async def free_loop(harness: Harness) -> None:
    """Never block the event loop, neither with a call nor with much CPU, for a large request too.

    Make blocking calls and long computations in asyncio.to_thread, as wire.read_webhook does.
    """
    kinds = kinds_with_status(harness)
    batched = ReportFeature.BATCHED in harness.declared
    async with harness.run_plugin() as running:
        message, _ = await send_one(harness, running)
        many = (kinds * _LARGE_BATCH)[: _LARGE_BATCH if batched else 1]
        request = signed(harness, report_on(harness, message.id, many))
        await cpu_units.assert_little_cpu(running.recorder, lambda: running.parse(request))
    assertions.assert_no_blocking_calls(running)


def _names(statuses: Sequence[object]) -> str:
    return ", ".join(str(status) for status in statuses) or "nothing"


@check(Group.WEBHOOKS)
async def answer(harness: Harness) -> None:
    """Return an answer that the gateway can send, and that holds nothing of a recipient.

    Return a WebhookAnswer of fixed bytes within the limits that `gatepost.model` states.
    """
    async with harness.run_plugin() as running:
        for kind in harness.meanings:
            _, _, request = await send_and_report(harness, running, [kind])
            outcome = await running.parse(signed(harness, request))
            own = getattr(outcome, "answer", None)
            if own is None:
                continue
            assert isinstance(own, WebhookAnswer), f"{kind}: the answer is not a WebhookAnswer"
            assert isinstance(own.body, bytes), f"{kind}: the answer's body is not bytes"
            assert 200 <= own.status <= 499, f"{kind}: the answer's status is {own.status}"
            assert own.content_type.isprintable(), f"{kind}: the answer's content_type can't be a header"
            text = own.body.decode("utf-8", "replace")
            assert not contains_any(text, harness.recipients), f"{kind}: the answer holds the recipient"
            assert not contains_any(text, harness.secrets()), f"{kind}: the answer holds a secret"
