"""Checks of the signatures of what a provider reports."""

import time

from gatepost.errors import BadSignature, NoVerificationKey, WebhookRetry
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.provider import ReportFeature
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import describe
from gatepost.testing.conformance.webhook_checks import events_of, make_request, send_and_report, sign_request

HOUR = 3600.0


def assert_refused(outcome: object, what: str, *errors: type[Exception]) -> None:
    """Raise AssertionError unless the outcome is one of these errors."""
    names = " or ".join(error.__name__ for error in errors)
    assert isinstance(outcome, errors), f"{what}: {describe(outcome)} instead of raising {names}"


@check(Group.WEBHOOKS)
async def forged(harness: Harness) -> None:
    """Raise BadSignature for a report signed with another key."""
    async with harness.run_plugin() as running:
        _, _, body = await send_and_report(harness, running)
        headers = harness.reporter.sign(body, time.time(), forged=True)
        assert_refused(await running.parse(make_request(body, headers)), "forged", BadSignature)


@check(Group.WEBHOOKS)
async def unsigned(harness: Harness) -> None:
    """Raise BadSignature or WebhookRetry for a report without its signature, or with a part of it."""
    async with harness.run_plugin() as running:
        _, _, body = await send_and_report(harness, running)
        headers = harness.reporter.sign(body, time.time())
        plain = {name: value for name, value in headers.items() if name.lower() == "content-type"}
        for missing in headers.keys() - plain.keys():
            some = {name: value for name, value in headers.items() if name != missing}
            outcome = await running.parse(make_request(body, some))
            assert_refused(outcome, "partly signed", BadSignature, WebhookRetry)
        outcome = await running.parse(make_request(body, plain))
        assert_refused(outcome, "unsigned", BadSignature, WebhookRetry)


@check(Group.WEBHOOKS, ReportFeature.BODY_SIGNED)
async def other_body(harness: Harness) -> None:
    """Raise BadSignature for a signature that was made for another body."""
    async with harness.run_plugin() as running:
        _, _, one = await send_and_report(harness, running)
        _, _, other = await send_and_report(harness, running)
        request = make_request(other, harness.reporter.sign(one, time.time()))
        assert_refused(await running.parse(request), "signed for another body", BadSignature)


@check(Group.WEBHOOKS, ReportFeature.BODY_SIGNED)
async def changed_body(harness: Harness) -> None:
    """Raise BadSignature for a body with one changed bit, at any place."""
    async with harness.run_plugin() as running:
        _, _, body = await send_and_report(harness, running)
        headers = harness.reporter.sign(body, time.time())
        for place in {0, len(body) // 3, len(body) // 2, len(body) - 1}:
            changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
            outcome = await running.parse(make_request(changed, headers))
            assert_refused(outcome, f"bit {place * 8} changed", BadSignature)
        outcome = await running.parse(make_request(body + b" ", headers))
        assert_refused(outcome, "a space added", BadSignature)


@check(Group.WEBHOOKS, ReportFeature.TIME_SIGNED)
async def expired(harness: Harness) -> None:
    """Raise BadSignature for a signature that is older than 26 hours."""
    async with harness.run_plugin() as running:
        _, _, body = await send_and_report(harness, running)
        for age, what in ((26.5 * HOUR, "26.5 hours old"), (9_000 * HOUR, "a year old")):
            assert_refused(await running.parse(sign_request(harness, body, age=age)), what, BadSignature)


@check(Group.WEBHOOKS, ReportFeature.TIME_SIGNED)
async def day_old(harness: Harness) -> None:
    """Accept a report that is a day old: some providers try to deliver for that long."""
    async with harness.run_plugin() as running:
        _, _, body = await send_and_report(harness, running)
        events = events_of(await running.parse(sign_request(harness, body, age=25 * HOUR)))
        assert events, "a report that is a day old is lost"


@check(Group.WEBHOOKS, ReportFeature.TIME_SIGNED)
async def future(harness: Harness) -> None:
    """Raise BadSignature for a signature from tomorrow."""
    async with harness.run_plugin() as running:
        _, _, body = await send_and_report(harness, running)
        outcome = await running.parse(sign_request(harness, body, age=-24 * HOUR))
        assert_refused(outcome, "from tomorrow", BadSignature)


@check(Group.WEBHOOKS)
async def no_key(harness: Harness) -> None:
    """Raise NoVerificationKey without a verification key, also for a genuine report."""
    assert harness.verification_keys, "the suite's `verification_keys` names no key of the table"
    table = {key: value for key, value in harness.table.items() if key not in harness.verification_keys}
    async with harness.run_plugin() as running:
        _, _, body = await send_and_report(harness, running)
    async with harness.run_plugin(table=table) as running:
        outcome = await running.parse(sign_request(harness, body))
        assert_refused(outcome, "no key", NoVerificationKey)
        outcome = await running.parse(make_request(b"", {}))
        assert_refused(outcome, "no key and no report", NoVerificationKey)
