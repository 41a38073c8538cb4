"""Checks of the signatures of what a provider reports."""

from gatepost.errors import BadSignature, NoVerificationKey, WebhookRetry
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import describe
from gatepost.testing.conformance.webhook_checks import events_of, send_and_report, signed
from gatepost.testing.features import ReportFeature
from gatepost.testing.webhook_requests import replace_request, webhook_request, without_header

HOUR = 3600.0


def assert_refused(outcome: object, what: str, *errors: type[Exception]) -> None:
    """Raise AssertionError unless the outcome is one of these errors."""
    names = " or ".join(error.__name__ for error in errors)
    assert isinstance(outcome, errors), f"{what}: {describe(outcome)} instead of raising {names}"


@check(Group.WEBHOOKS)
async def forged(harness: Harness) -> None:
    """Raise BadSignature for a report signed with another key.

    Compute the signature with the key of the settings, and raise BadSignature where the report has another one.
    """
    async with harness.run_plugin() as running:
        _, _, request = await send_and_report(harness, running)
        outcome = await running.parse(harness.reporter.sign(request, forged=True))
        assert_refused(outcome, "forged", BadSignature)


@check(Group.WEBHOOKS)
async def unsigned(harness: Harness) -> None:
    """Raise BadSignature or WebhookRetry for a report without its signature, or with a part of it.

    Take a missing part of a signature for a wrong one, and raise BadSignature.
    """
    async with harness.run_plugin() as running:
        _, _, request = await send_and_report(harness, running)
        genuine = signed(harness, request)
        for name in sorted(genuine.headers.keys() - request.headers.keys()):
            outcome = await running.parse(without_header(genuine, name))
            assert_refused(outcome, f"signed, but without {name}", BadSignature, WebhookRetry)
        outcome = await running.parse(request)
        assert_refused(outcome, "unsigned", BadSignature, WebhookRetry)


@check(Group.WEBHOOKS, ReportFeature.BODY_SIGNED)
async def other_body(harness: Harness) -> None:
    """Raise BadSignature for a signature that was made for another body.

    Compute the signature over `request.body` as it is, and raise BadSignature where the report has another one.
    """
    async with harness.run_plugin() as running:
        _, _, one = await send_and_report(harness, running)
        _, _, other = await send_and_report(harness, running)
        swapped = replace_request(signed(harness, one), body=signed(harness, other).body)
        assert_refused(await running.parse(swapped), "signed for another body", BadSignature)


@check(Group.WEBHOOKS, ReportFeature.BODY_SIGNED)
async def changed_body(harness: Harness) -> None:
    """Raise BadSignature for a body with one changed bit, at any place.

    Compute the signature over `request.body` as it is: not over what was decoded and encoded again.
    """
    async with harness.run_plugin() as running:
        _, _, request = await send_and_report(harness, running)
        genuine = signed(harness, request)
        body = genuine.body
        for place in {0, len(body) // 3, len(body) // 2, len(body) - 1}:
            changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
            outcome = await running.parse(replace_request(genuine, body=changed))
            assert_refused(outcome, f"bit {place * 8} changed", BadSignature)
        outcome = await running.parse(replace_request(genuine, body=body + b" "))
        assert_refused(outcome, "a space added", BadSignature)


@check(Group.WEBHOOKS, ReportFeature.TIME_SIGNED)
async def expired(harness: Harness) -> None:
    """Raise BadSignature for a signature that is older than 26 hours.

    Call request.expect_fresh with the time that the verified signature states.
    """
    async with harness.run_plugin() as running:
        _, _, request = await send_and_report(harness, running)
        for age, what in ((26.5 * HOUR, "26.5 hours old"), (9_000 * HOUR, "a year old")):
            assert_refused(await running.parse(signed(harness, request, age=age)), what, BadSignature)


@check(Group.WEBHOOKS, ReportFeature.TIME_SIGNED)
async def day_old(harness: Harness) -> None:
    """Accept a report that is a day old: some providers try to deliver for that long.

    Call request.expect_fresh, and have no shorter limit of your own.
    """
    async with harness.run_plugin() as running:
        _, _, request = await send_and_report(harness, running)
        events = events_of(await running.parse(signed(harness, request, age=25 * HOUR)))
        assert events, "a report that is a day old is lost"


@check(Group.WEBHOOKS, ReportFeature.TIME_SIGNED)
async def future(harness: Harness) -> None:
    """Raise BadSignature for a signature from tomorrow.

    Call request.expect_fresh with the time that the verified signature states.
    """
    async with harness.run_plugin() as running:
        _, _, request = await send_and_report(harness, running)
        outcome = await running.parse(signed(harness, request, age=-24 * HOUR))
        assert_refused(outcome, "from tomorrow", BadSignature)


@check(Group.WEBHOOKS)
async def no_key(harness: Harness) -> None:
    """Raise NoVerificationKey without a verification key, also for a genuine report.

    Raise NoVerificationKey before anything else where the setting is empty, as wire.read_webhook does.
    """
    assert harness.verification_keys, "the suite's `verification_keys` names no key of the table"
    table = {key: value for key, value in harness.table.items() if key not in harness.verification_keys}
    async with harness.run_plugin() as running:
        _, _, request = await send_and_report(harness, running)
    async with harness.run_plugin(table=table) as running:
        outcome = await running.parse(signed(harness, request))
        assert_refused(outcome, "no key", NoVerificationKey)
        outcome = await running.parse(webhook_request())
        assert_refused(outcome, "no key and no report", NoVerificationKey)
