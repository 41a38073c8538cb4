"""Each of these plugins is wrong in one way, and one check of the kit must find it: webhooks."""

import asyncio
import json
import re
import time

import msgspec
import pytest

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.hookspecs import hookimpl
from gatepost.model import Report, Status
from gatepost.testing.conformance import cpu_units
from gatepost_example import Example, reports

WRONG = []


def wrong(check_id, says):
    return lambda plugin: WRONG.append(pytest.param(check_id, plugin, says, id=plugin.__name__)) or plugin


def signed_at(request):
    return int(re.match(r"t=(\d+)", request.headers[reports.SIGNATURE_HEADER.lower()])[1])


class ChangesEvents(Example):
    """A plugin that changes each event that it returns."""

    @hookimpl
    async def parse_webhook(self, request):
        report = await super().parse_webhook(request)
        body = msgspec.json.decode(request.body)
        events = [
            msgspec.structs.replace(event, **self.other(event, reported))
            for event, reported in zip(report.events, body["events"], strict=False)
        ]
        return Report(events=events, ignored=report.ignored)


@wrong("webhooks.meanings", "means delivered, not accepted")
class AlwaysDelivered(ChangesEvents):
    def other(self, event, reported):
        return {"status": Status.DELIVERED}


@wrong("webhooks.meanings", "not counted in ignored")
class CountsNothing(Example):
    @hookimpl
    async def parse_webhook(self, request):
        return Report(events=(await super().parse_webhook(request)).events)


@wrong("webhooks.status_type", "not a Status")
class StatusAsText(ChangesEvents):
    def other(self, event, reported):
        return {"status": reported["event"]}


@wrong("webhooks.message_ids", "neither our id")
class CutsTheId(ChangesEvents):
    def other(self, event, reported):
        return {"message_id": "", "provider_id": event.provider_id[:8]}


@wrong("webhooks.no_leaks", "recipient is in a Report")
@wrong("webhooks.codes", "is no code")
class FreeTextAsCode(ChangesEvents):
    def other(self, event, reported):
        return {"code": reported["detail"] * 3}


@wrong("webhooks.no_leaks", "recipient is in a log")
class LogsTheBody(Example):
    @hookimpl
    async def parse_webhook(self, request):
        self._context.log.debug("report", body=request.body)
        return await super().parse_webhook(request)


@wrong("webhooks.forged", "forged: it returned")
@wrong("webhooks.unsigned", "unsigned: it returned|but without example-signature: it returned")
class VerifiesNothing(Example):
    @hookimpl
    async def parse_webhook(self, request):
        if self._settings.webhook_secret is None:
            raise NoVerificationKey("no")
        return reports.translate(request)


@wrong("webhooks.other_body", "another body: it returned")
class ChecksOnlyTheHeaderFormat(Example):
    @hookimpl
    async def parse_webhook(self, request):
        if not request.headers.get(reports.SIGNATURE_HEADER.lower(), "").startswith("t="):
            raise BadSignature("no")
        return reports.translate(request)


@wrong("webhooks.changed_body", "a space added: it returned")
class VerifiesAStrippedBody(Example):
    @hookimpl
    async def parse_webhook(self, request):
        return await super().parse_webhook(msgspec.structs.replace(request, body=request.body.strip()))


@wrong("webhooks.expired", "hours old: it returned")
@wrong("webhooks.future", "tomorrow: it returned")
class IgnoresTheTime(Example):
    @hookimpl
    async def parse_webhook(self, request):
        return await super().parse_webhook(msgspec.structs.replace(request, received_at=signed_at(request)))


@wrong("webhooks.day_old", "genuine report: it raised BadSignature")
class FiveMinutesAtMost(Example):
    @hookimpl
    async def parse_webhook(self, request):
        if signed_at(request) < request.received_at - 300:
            raise BadSignature("stale")
        return await super().parse_webhook(request)


@wrong("webhooks.no_key", "no key: it returned")
class NoKeyNoCheck(Example):
    @hookimpl
    async def parse_webhook(self, request):
        if self._settings.webhook_secret is None:
            return Report()
        return await super().parse_webhook(request)


@wrong("webhooks.garbage", "JSONDecodeError|KeyError|UnicodeDecodeError")
class FailsOnGarbage(Example):
    @hookimpl
    async def parse_webhook(self, request):
        reports.verify(request, self._settings.webhook_secret)
        json.loads(request.body)["events"]
        return await super().parse_webhook(request)


@wrong("webhooks.hostile_headers", "raised UnicodeEncodeError|raised IndexError|raised ValueError")
class FailsOnHeaders(Example):
    @hookimpl
    async def parse_webhook(self, request):
        request.headers.get(reports.SIGNATURE_HEADER.lower(), "t=0,").split(",")[1].encode("ascii")
        return await super().parse_webhook(request)


@wrong("webhooks.foreign_requests", "raised KeyError")
class FailsWithoutHeader(Example):
    @hookimpl
    async def parse_webhook(self, request):
        request.headers[reports.SIGNATURE_HEADER.lower()]
        return await super().parse_webhook(request)


@wrong("webhooks.foreign_requests", "it returned")
class TrustsAGet(Example):
    @hookimpl
    async def parse_webhook(self, request):
        return Report() if request.method == "GET" else await super().parse_webhook(request)


@wrong("webhooks.bad_events", "BadWebhook")
class AllOrNothing(Example):
    @hookimpl
    async def parse_webhook(self, request):
        report = await super().parse_webhook(request)
        if report.ignored:
            raise BadWebhook("not all of it can be understood")
        return report


@wrong("webhooks.bad_events", "0 of \\d+ good events")
class StopsAtTheFirstBadOne(Example):
    @hookimpl
    async def parse_webhook(self, request):
        report = await super().parse_webhook(request)
        return Report(events=[], ignored=report.ignored) if "malformed" in report.ignored else report


@wrong("webhooks.repeated", "second time it returned")
class IgnoresRepeatedRequests(Example):
    seen = ()

    @hookimpl
    async def parse_webhook(self, request):
        report = await super().parse_webhook(request)
        if request.body in self.seen:
            return Report()
        self.seen = (*self.seen, request.body)
        return report


@wrong("webhooks.concurrent", "another message's")
class RemembersOneReport(Example):
    @hookimpl
    async def parse_webhook(self, request):
        self.report = await super().parse_webhook(request)
        await asyncio.sleep(0)
        return self.report


@wrong("webhooks.free_loop", "time.sleep")
class BlocksInParse(Example):
    @hookimpl
    async def parse_webhook(self, request):
        time.sleep(0.001)  # noqa: ASYNC251  that is the point
        return await super().parse_webhook(request)


@wrong("webhooks.free_loop", "ms of CPU")
class ComputesInParse(Example):
    @hookimpl
    async def parse_webhook(self, request):
        cpu_units.do_work(3 * cpu_units.MAX_UNITS)
        return await super().parse_webhook(request)


@pytest.mark.parametrize(("check_id", "plugin", "says"), WRONG)
async def test_the_wrong_plugin_fails_the_check(verdict, check_id, plugin, says):
    assert re.search(says, await verdict(check_id, plugin, says))
