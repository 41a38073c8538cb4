"""Checks of reports that the plugin fetches by itself and passes to context.report."""

from typing import Any

from gatepost.model import Report
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.leaks import contains_any
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import RunningPlugin, wait_until
from gatepost.testing.conformance.webhook_checks import send_one
from gatepost.testing.features import ReportFeature

_TURNS = 4
"""How often a plugin without the lease must have asked for it before the check ends."""


@check(Group.POLLING, ReportFeature.POLLED)
async def reports(harness: Harness) -> None:
    """Fetch reports and pass them to context.report, with the declared statuses, until it is closed.

    Fetch in a task of the lifespan, and await context.report with what a webhook would report.
    """
    async with harness.run_plugin() as running:
        for kind, statuses in harness.meanings.items():
            if not statuses:
                continue
            message, _ = await send_one(harness, running)
            running.core.reports.clear()
            _queue(harness, kind, message.id)
            await wait_until(lambda: bool(_events(running)), lambda: "a report was not passed on")
            got = [event.status for event in _events(running)]
            assert got == list(statuses), f"{kind} means {got}, not {list(statuses)}"


@check(Group.POLLING, ReportFeature.POLLED)
async def reported_again(harness: Harness) -> None:
    """Report the same events again where the store could not take them, and acknowledge them only then.

    Acknowledge, or move the cursor in `context.state`, only after context.report has returned.
    """
    kind = next(kind for kind, statuses in harness.meanings.items() if statuses)
    async with harness.run_plugin() as running:
        message, _ = await send_one(harness, running)
        running.core.reachable = False
        refused = running.core.refusals
        _queue(harness, kind, message.id)
        await wait_until(lambda: running.core.refusals > refused, lambda: f"{kind} was not reported")
        running.core.reachable = True
        await wait_until(
            lambda: bool(_events(running)),
            lambda: f"{kind} is lost: it was acknowledged before it was stored",
        )


@check(Group.POLLING, ReportFeature.POLLED)
async def one_replica(harness: Harness) -> None:
    """Ask context.lease before each turn, and fetch nothing where another replica has it.

    Await context.lease before each turn, and leave the turn out where it returns False.
    """
    kind = next(kind for kind, statuses in harness.meanings.items() if statuses)
    async with harness.run_plugin(lease_free=False) as running:
        message, _ = await send_one(harness, running)
        _queue(harness, kind, message.id)
        # Between the turns a plugin that does not wait for the answer has fetched the report.
        await wait_until(
            lambda: running.core.lease_calls >= _TURNS or bool(_events(running)),
            lambda: "it never asks context.lease again",
        )
        assert not _events(running), "it fetched reports although another replica has the lease"


@check(Group.POLLING, ReportFeature.POLLED)
async def no_leaks(harness: Harness) -> None:
    """Put neither the recipient nor a secret into such a report, its state or a log.

    Keep an id or a cursor in `context.state`, and log counts.
    """
    async with harness.run_plugin() as running:
        message, _ = await send_one(harness, running)
        _queue(harness, next(iter(harness.meanings)), message.id)
        await wait_until(lambda: bool(running.core.reports), lambda: "nothing was reported")
    text = "\n".join([*map(repr, running.core.reports), *running.recorder.texts])
    assert not contains_any(text, harness.recipients), "the recipient is in a report, the state or a log"
    assert not contains_any(text, harness.secrets()), "a secret is in a report, the state or a log"


def _queue(harness: Harness, kind: str, message_id: str) -> None:
    provider: Any = harness.emulated_provider
    assert hasattr(provider, "queue"), "the suite's `provider` has no reports to fetch: give it `queue`"
    provider.queue(kind, message_id)


def _events(running: RunningPlugin) -> list[Any]:
    passed_on: list[Report] = running.core.reports
    return [event for report in passed_on for event in report.events]
