"""Each of these plugins is wrong in one way, and one check of the kit must find it: reports that somebody has changed."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import re
import urllib.request
from collections import Counter
from urllib.parse import parse_qsl

import msgspec
import pytest

from full_plugin import Full
from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.hookspecs import hookimpl
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookAnswer
from gatepost_example import Example, reports
from wrong_plugins import collect

WRONG, wrong = collect()

HEADER = reports.SIGNATURE_HEADER.lower()


def changed(report, **fields):
    """The report with these fields in each of its events."""
    events = [msgspec.structs.replace(event, **fields) for event in report.events]
    return Report(events=events, ignored=report.ignored)


class Reads(Example):
    """A plugin that reads something of its own out of a verified report."""

    @hookimpl
    async def parse_webhook(self, request):
        report = await super().parse_webhook(request)
        items = request.json()["events"]
        usable = [item for item in items if isinstance(item, dict)]
        return self.read(report, usable)


@wrong("webhooks.genuine", "it raised BadSignature")
class RefusesEverything(Example):
    @hookimpl
    async def parse_webhook(self, request):
        raise BadSignature("no")


@wrong("webhooks.genuine", "has no events")
class ReadsNothing(Example):
    @hookimpl
    async def parse_webhook(self, request):
        await super().parse_webhook(request)
        return Report()


@wrong("webhooks.genuine", "SystemExit")
class ExitsInParse(Example):
    @hookimpl
    async def parse_webhook(self, request):
        raise SystemExit("no")


@wrong("webhooks.wrong_types", "raised AttributeError")
class TrustsTheTypes(Reads):
    def read(self, report, items):
        return changed(report, code=next(item["code"].strip() for item in items if "code" in item))


@wrong("webhooks.wrong_types", "raised TypeError")
class AddsUpTheFields(Reads):
    def read(self, report, items):
        len("".join(item.get("id", "") for item in items))
        return report


@wrong("webhooks.own_words", "prose is in a Report")
class KindsOfTheProvider(Reads):
    def read(self, report, items):
        unknown = Counter(item["event"] for item in items if item.get("event") not in reports.STATUSES)
        return Report(events=report.events, ignored=unknown)


@wrong("webhooks.own_words", "prose is in a Report")
class AnyTextAsCode(Reads):
    def read(self, report, items):
        return changed(report, code=str(items[0].get("code"))[:64])


@wrong("webhooks.own_words", "prose is in a Report")
class AnyTextAsId(Reads):
    def read(self, report, items):
        return changed(report, provider_id=str(items[0].get("id")))


@wrong("webhooks.own_words", "prose is in an error")
class QuotesTheReport(Reads):
    def read(self, report, items):
        for item in items:
            if item.get("event") not in {*reports.STATUSES, "priced"}:
                raise BadWebhook(f"no such event: {item.get('event')}")
        return report


@wrong("webhooks.own_words", "prose is in a log")
class LogsUnknownKinds(Reads):
    def read(self, report, items):
        self._context.log.info("unknown", kinds=[item.get("event") for item in items])
        return report


@wrong("webhooks.codes", "have the codes")
class IdsAsCodes(Reads):
    def read(self, report, items):
        return changed(report, code=hashlib.sha256(items[0]["reference"].encode()).hexdigest()[:8])


@wrong("webhooks.codes", "is no code")
class SentencesAsCodes(Reads):
    def read(self, report, items):
        return changed(report, code="the number is one that nobody has now")


@wrong("webhooks.unsigned_query", "believed a parameter")
class BelievesTheQuery(Example):
    @hookimpl
    async def parse_webhook(self, request):
        report = await super().parse_webhook(request)
        reference = request.query.get("reference")
        return changed(report, message_id=reference) if reference else report


@wrong("webhooks.unsigned_query", "believed a parameter")
class BelievesAStatusInTheQuery(Example):
    @hookimpl
    async def parse_webhook(self, request):
        report = await super().parse_webhook(request)
        query = dict(parse_qsl(request.url.partition("?")[2]))
        return changed(report, status=Status.UNSUBSCRIBED) if "status" in query else report


@wrong("webhooks.other_message", "another message's id: it returned")
class VerifiesTheTimeOnly(Example):
    @hookimpl
    async def parse_webhook(self, request):
        if self._settings.webhook_secret is None:
            raise NoVerificationKey("no")
        if not re.match(r"t=\d+,", request.headers.get(HEADER, "")):
            raise BadSignature("no")
        return reports.translate(request)


@wrong("webhooks.changed_url", "another URL: it returned")
class IgnoresTheUrl(Full):
    @hookimpl
    async def parse_webhook(self, request):
        return await Example.parse_webhook(self, request)


@wrong("webhooks.changed_url", "another URL: it returned")
class VerifiesThePathOnly(Full):
    @hookimpl
    async def parse_webhook(self, request):
        path = request.url.partition("?")[0].removesuffix("x")
        return await super().parse_webhook(msgspec.structs.replace(request, url=path))


class Fetches(Example):
    """A plugin that fetches the key that a report names."""

    @hookimpl
    async def parse_webhook(self, request):
        for url in self.urls(request):
            with contextlib.suppress(OSError, ValueError):
                await asyncio.to_thread(urllib.request.urlopen, url, timeout=5)
        return await super().parse_webhook(request)


@wrong("webhooks.fetches_nothing", "fetched a URL")
class FetchesTheCertificate(Fetches):
    def urls(self, request):
        body = json.loads(request.body)
        return [body["SigningCertURL"]] if isinstance(body, dict) and "SigningCertURL" in body else []


@wrong("webhooks.fetches_nothing", "fetched a URL")
class FetchesWhatAHeaderNames(Fetches):
    def urls(self, request):
        return [request.headers["x-certificate-url"]] if "x-certificate-url" in request.headers else []


@wrong("webhooks.fetches_nothing", "fetched a URL")
class FetchesWhatAnEventNames(Fetches):
    def urls(self, request):
        events = json.loads(request.body).get("events", [])
        return [event["id"] for event in events if str(event.get("id")).startswith("http")]


def _signature(secret, at, body):
    digest = hmac.digest(secret.encode("utf-8", "replace"), b"%d." % at + body, "sha256")
    return f"t={at},v1={digest.hex()}"


class Verifies(Example):
    """A plugin that compares signatures in its own way."""

    @hookimpl
    async def parse_webhook(self, request):
        if self._settings.webhook_secret is None:
            raise NoVerificationKey("no")
        given = request.headers.get(HEADER, "")
        match = re.match(r"t=(\d{1,12}),", given)
        secret = self._settings.webhook_secret.reveal()
        expected = _signature(secret, int(match[1]) if match else 0, request.body)
        if not self.same(given, expected):
            raise BadSignature("no")
        request.expect_fresh(int(match[1]))
        return reports.translate(request)


@wrong("webhooks.constant_time", "compared with `==`")
class ComparesWithEquals(Verifies):
    def same(self, given, expected):
        return expected == given


@wrong("webhooks.constant_time", "compared with `==`")
class ComparesWithNotEquals(Verifies):
    def same(self, given, expected):
        return (given != expected) is False


@wrong("webhooks.constant_time", "compared with `==`")
class LooksItUpInAList(Verifies):
    def same(self, given, expected):
        return given in [expected, "t=0,v1=accepted in tests"]


@wrong("webhooks.constant_time", "calls neither")
class ComparesPartsWithEquals(Verifies):
    def same(self, given, expected):
        return given.partition("v1=")[2] == expected.partition("v1=")[2]


@wrong("webhooks.constant_time", "calls neither")
class ComparesBytesWithEquals(Verifies):
    def same(self, given, expected):
        return given.encode("utf-8", "replace") == expected.encode()


@wrong("webhooks.constant_time", "calls neither")
class ComparesInAThread(Verifies):
    @hookimpl
    async def parse_webhook(self, request):
        return await asyncio.to_thread(asyncio.run, super().parse_webhook(request))

    def same(self, given, expected):
        return given[:] == expected[:]


class ComparesInConstantTime(Verifies):
    def same(self, given, expected):
        return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


class ComparesInAThreadInConstantTime(Verifies):
    @hookimpl
    async def parse_webhook(self, request):
        return await asyncio.to_thread(asyncio.run, super().parse_webhook(request))

    def same(self, given, expected):
        return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


@pytest.mark.parametrize("plugin", [ComparesInConstantTime, ComparesInAThreadInConstantTime])
async def test_a_comparison_in_constant_time_passes(verdict, plugin):
    assert await verdict("webhooks.constant_time", plugin, "") == ""


class Answers(Example):
    """A plugin that answers in its own way."""

    @hookimpl
    async def parse_webhook(self, request):
        report = await super().parse_webhook(request)
        return Report(events=report.events, ignored=report.ignored, answer=self.reply(request))


@wrong("webhooks.answer", "not a WebhookAnswer")
class AnswersWithAText(Answers):
    def reply(self, request):
        return "<Response/>"


@wrong("webhooks.answer", "body is not bytes")
class AnswersWithATextAsBody(Answers):
    def reply(self, request):
        return WebhookAnswer(body="<Response/>")


@wrong("webhooks.answer", "status is 503")
class AnswersWithAnError(Answers):
    def reply(self, request):
        return WebhookAnswer(status=503)


@wrong("webhooks.answer", "can't be a header")
class AnswersWithTwoHeaders(Answers):
    def reply(self, request):
        return WebhookAnswer(content_type="text/xml\r\nSet-Cookie: x=1")


@wrong("webhooks.answer", "holds the recipient")
class EchoesTheReport(Answers):
    def reply(self, request):
        return WebhookAnswer(body=request.body)


@wrong("webhooks.answer", "holds a secret")
class AnswersWithItsKey(Answers):
    def reply(self, request):
        return WebhookAnswer(body=self._settings.api_key.reveal().encode())


@wrong("webhooks.no_leaks", "recipient is in a Report")
class RecipientAsProviderId(Reads):
    def read(self, report, items):
        return changed(report, provider_id=items[0]["detail"].split()[-1])


@wrong("webhooks.message_ids", "another message's id")
class UpperCaseIds(Reads):
    def read(self, report, items):
        return changed(report, message_id=items[0]["reference"].upper())


@wrong("webhooks.message_ids", "neither our id")
class NamesTheRecipientOnly(Reads):
    def read(self, report, items):
        return Report(
            events=[
                StatusEvent(status=event.status, recipient=Secret("+447700900000")) for event in report.events
            ],
            ignored=report.ignored,
        )


@pytest.mark.parametrize(("check_id", "plugin", "says"), WRONG)
async def test_the_wrong_plugin_fails_the_check(verdict, check_id, plugin, says):
    assert re.search(says, await verdict(check_id, plugin, says))
