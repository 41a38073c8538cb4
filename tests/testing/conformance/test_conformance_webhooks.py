"""Plugins that are wrong in one way each, and the check of the kit that is meant to say so: reports."""

import asyncio
import json
import re
import time

import msgspec
import pytest

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.hookspecs import hookimpl
from gatepost.model import Report, Status
from gatepost.testing.conformance import yardstick
from gatepost_example import Example, reports

WRONG = []


def wrong(check_id, says):
    return lambda plugin: WRONG.append(pytest.param(check_id, plugin, says, id=plugin.__name__)) or plugin


def signed_at(request):
    return int(re.match(r"t=(\d+)", request.headers[reports.SIGNATURE_HEADER.lower()])[1])


class Retelling(Example):
    """Makes another event of each."""

    @hookimpl
    async def parse_webhook(self, request):
        report = await super().parse_webhook(request)
        body = msgspec.json.decode(request.body)
        events = [
            msgspec.structs.replace(event, **self.other(event, told))
            for event, told in zip(report.events, body["events"], strict=False)
        ]
        return Report(events=events, ignored=report.ignored)


@wrong("webhooks.meanings", "means delivered, not accepted")
class AlwaysDelivered(Retelling):
    def other(self, event, told):
        return {"status": Status.DELIVERED}


@wrong("webhooks.meanings", "not counted in ignored")
class CountsNothing(Example):
    @hookimpl
    async def parse_webhook(self, request):
        return Report(events=(await super().parse_webhook(request)).events)


@wrong("webhooks.seven", "no Status")
class StatusAsText(Retelling):
    def other(self, event, told):
        return {"status": told["event"]}


@wrong("webhooks.found_again", "neither our id")
class CutsTheId(Retelling):
    def other(self, event, told):
        return {"message_id": "", "provider_id": event.provider_id[:8]}


@wrong("webhooks.discreet", "recipient stands in a Report")
@wrong("webhooks.codes", "characters")
class CodeInProse(Retelling):
    def other(self, event, told):
        return {"code": told["detail"] * 3}


@wrong("webhooks.discreet", "recipient stands in a log")
class LogsTheBody(Example):
    @hookimpl
    async def parse_webhook(self, request):
        self._context.log.debug("report", body=request.body)
        return await super().parse_webhook(request)


@wrong("webhooks.forged", "forged: it returned")
@wrong("webhooks.unsigned", "unsigned: it returned|partly signed: it returned")
class VerifiesNothing(Example):
    @hookimpl
    async def parse_webhook(self, request):
        if self._settings.webhook_secret is None:
            raise NoVerificationKey("no")
        return reports.translate(request)


@wrong("webhooks.other_body", "another body: it returned")
class LooksAtTheFormAlone(Example):
    @hookimpl
    async def parse_webhook(self, request):
        if not request.headers.get(reports.SIGNATURE_HEADER.lower(), "").startswith("t="):
            raise BadSignature("no")
        return reports.translate(request)


@wrong("webhooks.flipped", "a blank added: it returned")
class VerifiesWhatItMadeOfIt(Example):
    @hookimpl
    async def parse_webhook(self, request):
        return await super().parse_webhook(msgspec.structs.replace(request, body=request.body.strip()))


@wrong("webhooks.stale", "hours old: it returned")
@wrong("webhooks.future", "tomorrow: it returned")
class KnowsNoTime(Example):
    @hookimpl
    async def parse_webhook(self, request):
        return await super().parse_webhook(msgspec.structs.replace(request, received_at=signed_at(request)))


@wrong("webhooks.day_old", "genuine report: it raised BadSignature")
class FiveMinutesAtTheMost(Example):
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
class StumblesOverGarbage(Example):
    @hookimpl
    async def parse_webhook(self, request):
        reports.verify(request, self._settings.webhook_secret.reveal())
        json.loads(request.body)["events"]
        return await super().parse_webhook(request)


@wrong("webhooks.hostile_headers", "raised UnicodeEncodeError|raised IndexError|raised ValueError")
class StumblesOverHeaders(Example):
    @hookimpl
    async def parse_webhook(self, request):
        request.headers.get(reports.SIGNATURE_HEADER.lower(), "t=0,").split(",")[1].encode("ascii")
        return await super().parse_webhook(request)


@wrong("webhooks.strangers", "raised KeyError")
class WantsItsHeader(Example):
    @hookimpl
    async def parse_webhook(self, request):
        request.headers[reports.SIGNATURE_HEADER.lower()]
        return await super().parse_webhook(request)


@wrong("webhooks.strangers", "it returned")
class TrustsAGet(Example):
    @hookimpl
    async def parse_webhook(self, request):
        return Report() if request.method == "GET" else await super().parse_webhook(request)


@wrong("webhooks.one_bad", "BadWebhook")
class AllOrNothing(Example):
    @hookimpl
    async def parse_webhook(self, request):
        report = await super().parse_webhook(request)
        if report.ignored:
            raise BadWebhook("not all of it can be understood")
        return report


@wrong("webhooks.one_bad", "good events beside bad ones 0")
class StopsAtTheFirstBadOne(Example):
    @hookimpl
    async def parse_webhook(self, request):
        report = await super().parse_webhook(request)
        return Report(events=[], ignored=report.ignored) if "malformed" in report.ignored else report


@wrong("webhooks.again", "second time it returned")
class SaysItOnce(Example):
    seen = ()

    @hookimpl
    async def parse_webhook(self, request):
        report = await super().parse_webhook(request)
        if request.body in self.seen:
            return Report()
        self.seen = (*self.seen, request.body)
        return report


@wrong("webhooks.concurrently", "another message's")
class RemembersOneReport(Example):
    @hookimpl
    async def parse_webhook(self, request):
        self.report = await super().parse_webhook(request)
        await asyncio.sleep(0)
        return self.report


@wrong("webhooks.free_loop", "time.sleep")
class ReadsSlowly(Example):
    @hookimpl
    async def parse_webhook(self, request):
        time.sleep(0.001)  # noqa: ASYNC251  that is the point
        return await super().parse_webhook(request)


@wrong("webhooks.free_loop", "ms of CPU")
class ReadsALotAtOnce(Example):
    @hookimpl
    async def parse_webhook(self, request):
        yardstick.burn(3 * yardstick.MAX_UNITS)
        return await super().parse_webhook(request)


@pytest.mark.parametrize(("check_id", "plugin", "says"), WRONG)
async def test_the_wrong_plugin_is_caught(verdict, check_id, plugin, says):
    assert re.search(says, await verdict(check_id, plugin, says))
