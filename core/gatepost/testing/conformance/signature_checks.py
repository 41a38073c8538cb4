"""Who reports: the signatures of what a provider sends."""

import time

from gatepost.errors import BadSignature, NoVerificationKey, WebhookRetry
from gatepost.testing.conformance.bench import Bench, described
from gatepost.testing.conformance.provider import Form
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.webhook_checks import events_of, reported, request_of, signed

HOUR = 3600.0


def refused(outcome: object, what: str, *errors: type[Exception]) -> None:
    names = " or ".join(error.__name__ for error in errors)
    assert isinstance(outcome, errors), f"{what}: {described(outcome)} instead of raising {names}"


@check(Group.WEBHOOKS)
async def forged(bench: Bench) -> None:
    """A report signed with another key is BadSignature."""
    async with bench.live() as live:
        _, _, body = await reported(bench, live)
        headers = bench.reporter.sign(body, time.time(), forged=True)
        refused(await live.parse(request_of(body, headers)), "forged", BadSignature)


@check(Group.WEBHOOKS)
async def unsigned(bench: Bench) -> None:
    """A report without its signature, or with half of it, is BadSignature or WebhookRetry."""
    async with bench.live() as live:
        _, _, body = await reported(bench, live)
        headers = bench.reporter.sign(body, time.time())
        kept = {name: value for name, value in headers.items() if name.lower() == "content-type"}
        for missing in headers.keys() - kept.keys():
            some = {name: value for name, value in headers.items() if name != missing}
            refused(await live.parse(request_of(body, some)), "partly signed", BadSignature, WebhookRetry)
        refused(await live.parse(request_of(body, kept)), "unsigned", BadSignature, WebhookRetry)


@check(Group.WEBHOOKS, Form.BODY_SIGNED)
async def other_body(bench: Bench) -> None:
    """A signature that was made for another body is BadSignature."""
    async with bench.live() as live:
        _, _, one = await reported(bench, live)
        _, _, other = await reported(bench, live)
        request = request_of(other, bench.reporter.sign(one, time.time()))
        refused(await live.parse(request), "signed for another body", BadSignature)


@check(Group.WEBHOOKS, Form.BODY_SIGNED)
async def flipped(bench: Bench) -> None:
    """A body of which one bit was changed is BadSignature, wherever the bit is."""
    async with bench.live() as live:
        _, _, body = await reported(bench, live)
        headers = bench.reporter.sign(body, time.time())
        for place in {0, len(body) // 3, len(body) // 2, len(body) - 1}:
            changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
            refused(await live.parse(request_of(changed, headers)), f"bit {place * 8} changed", BadSignature)
        refused(await live.parse(request_of(body + b" ", headers)), "a blank added", BadSignature)


@check(Group.WEBHOOKS, Form.TIME_SIGNED)
async def stale(bench: Bench) -> None:
    """A signature of more than 26 hours ago is BadSignature."""
    async with bench.live() as live:
        _, _, body = await reported(bench, live)
        refused(await live.parse(signed(bench, body, age=26.5 * HOUR)), "26.5 hours old", BadSignature)
        refused(await live.parse(signed(bench, body, age=9_000 * HOUR)), "a year old", BadSignature)


@check(Group.WEBHOOKS, Form.TIME_SIGNED)
async def day_old(bench: Bench) -> None:
    """A report that is a day late is taken: some providers try again for so long."""
    async with bench.live() as live:
        _, _, body = await reported(bench, live)
        assert events_of(await live.parse(signed(bench, body, age=25 * HOUR))), "a report a day late is lost"


@check(Group.WEBHOOKS, Form.TIME_SIGNED)
async def future(bench: Bench) -> None:
    """A signature from tomorrow is BadSignature."""
    async with bench.live() as live:
        _, _, body = await reported(bench, live)
        refused(await live.parse(signed(bench, body, age=-24 * HOUR)), "from tomorrow", BadSignature)


@check(Group.WEBHOOKS)
async def no_key(bench: Bench) -> None:
    """Without a key to verify with it takes no report: NoVerificationKey, for a genuine one too."""
    assert bench.verification_keys, "the suite's `verification_keys` names no key of the table"
    table = {key: value for key, value in bench.table.items() if key not in bench.verification_keys}
    async with bench.live() as live:
        _, _, body = await reported(bench, live)
    async with bench.live(table=table) as live:
        refused(await live.parse(signed(bench, body)), "no key", NoVerificationKey)
        refused(await live.parse(request_of(b"", {})), "no key and no report", NoVerificationKey)
