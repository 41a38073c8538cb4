"""Each of these plugins is wrong in one way, and one check of the kit must find it: content, cost and keys."""

import asyncio
import html
import re
import uuid

import msgspec
import pytest

from full_plugin import Full, KeylessEmulator
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Mailbox, Receipt
from gatepost.testing.conformance import cpu_units
from gatepost_example import Example
from wrong_plugins import ChangesTheBody, OwnHttp, body_of, collect

WRONG, wrong = collect()


@wrong("send.content", "a short text: the text has changed")
class CutsTheText(ChangesTheBody):
    def changes(self, body, message):
        return {"text": message.text[:10]}


@wrong("send.content", "161 characters of GSM-7: the text has changed")
class CutsAtOnePart(ChangesTheBody):
    def changes(self, body, message):
        return {"text": message.text[:160]}


@wrong("send.content", "a text in Unicode: the text has changed")
class DropsWhatIsNotAscii(ChangesTheBody):
    def changes(self, body, message):
        return {"text": message.text.encode("ascii", "ignore").decode()}


@wrong("send.content", "a text in Unicode: the text has changed")
class ReplacesWhatIsNotAscii(ChangesTheBody):
    def changes(self, body, message):
        return {"text": message.text.encode("ascii", "replace").decode()}


@wrong("send.content", "an emoji: the text has changed")
class KnowsTheBasicPlaneOnly(ChangesTheBody):
    def changes(self, body, message):
        return {"text": "".join(letter for letter in message.text if ord(letter) < 0x10000)}


@wrong("send.content", "blanks at both ends: the text has changed")
class StripsTheText(ChangesTheBody):
    def changes(self, body, message):
        return {"text": message.text.strip()}


@wrong("send.content", "lines: the text has changed")
class JoinsLines(ChangesTheBody):
    def changes(self, body, message):
        return {"text": " ".join(message.text.splitlines()) if "\n" in message.text else message.text}


@wrong("send.content", "a text like a merge field: the text has changed")
class FillsTemplatesItself(ChangesTheBody):
    def changes(self, body, message):
        return {"text": message.text.replace("{{contact.vip}}", message.attributes.get("vip", ""))}


@wrong("send.content", "a short text: the text has changed")
class AddsAnAdvertisement(ChangesTheBody):
    def changes(self, body, message):
        return {"text": f"{message.text} - sent with Example"}


@wrong("send.content", "a text in Unicode: the text has changed")
class DecodesTwice(ChangesTheBody):
    def changes(self, body, message):
        return {"text": message.text.encode().decode("latin-1")}


@wrong("send.content", "a euro sign at the edge of a part: it raised Rejected")
class RefusesTheEuroSign(Example):
    @hookimpl
    async def send_sms(self, message):
        if "€" in message.text:
            return await self._send(b"not JSON, which the provider refuses", "")
        return await super().send_sms(message)


@wrong("send.content", "HTML in Unicode: the html has changed")
class UnescapesHtml(ChangesTheBody):
    wrong_on = Channel.EMAIL

    def changes(self, body, message):
        return {"html": html.unescape(message.html)}


@wrong("send.content", "a long subject: the subject has changed")
class CutsTheSubject(ChangesTheBody):
    wrong_on = Channel.EMAIL

    def changes(self, body, message):
        return {"subject": message.subject[:78]}


@wrong("send.content", "the html has changed")
class SwapsTheParts(ChangesTheBody):
    wrong_on = Channel.EMAIL

    def changes(self, body, message):
        return {"html": message.text, "text": message.text}


@wrong("send.large_content", "the text has changed")
class CutsLargeContent(ChangesTheBody):
    def changes(self, body, message):
        return {"text": message.text[:100_000]}


@wrong("send.one_message", "sent 2 messages")
class SendsACopyToItself(Example):
    @hookimpl
    async def send_sms(self, message):
        copy = body_of(message, to="+447700900999", reference=str(uuid.uuid4()))
        await self._send(copy, str(uuid.uuid4()))
        return await super().send_sms(message)


@wrong("send.one_message", "sent 3 messages")
class SplitsLongTexts(Example):
    @hookimpl
    async def send_sms(self, message):
        for start in range(0, len(message.text), 153):
            receipt = await self._send(body_of(message, text=message.text[start : start + 153]), "")
        return receipt


@wrong("send.sender", "another sender")
class HasOneSender(ChangesTheBody):
    def changes(self, body, message):
        return {"from": "X"}


@wrong("send.sender", "another sender")
class RemembersTheFirstSender(ChangesTheBody):
    first = None

    def changes(self, body, message):
        self.first = self.first or message.sender
        return {"from": self.first}


@wrong("send.sender", "the sender's name has changed")
class LosesTheSendersName(ChangesTheBody):
    wrong_on = Channel.EMAIL

    def changes(self, body, message):
        return {"from_name": ""}


@wrong("send.reply_to", "another reply address")
class RepliesToTheSender(ChangesTheBody):
    wrong_on = Channel.EMAIL

    def changes(self, body, message):
        return {"reply_to": message.sender.address}


@wrong("send.headers", "List-Unsubscribe is missing or has changed")
class LosesHeaders(Full):
    wrong_on = Channel.EMAIL

    @hookimpl
    async def send_email(self, message):
        return await super().send_email(msgspec.structs.replace(message, headers={}))


@wrong("send.headers", "List-Unsubscribe is missing or has changed")
class FoldsHeaders(Full):
    wrong_on = Channel.EMAIL

    @hookimpl
    async def send_email(self, message):
        headers = {name: f"{value[:60]}\r\n {value[60:]}" for name, value in message.headers.items()}
        return await super().send_email(msgspec.structs.replace(message, headers=headers))


class ChangesLabels(Full):
    async def _send_labelled(self, body, message):
        return await super()._send_labelled(body, msgspec.structs.replace(message, **self.changes(message)))


@wrong("send.tags", "has not its tag brand")
class DropsTheTags(ChangesLabels):
    def changes(self, message):
        return {"tags": ()}


@wrong("send.tags", "has not its tag news")
class SendsOneTag(ChangesLabels):
    def changes(self, message):
        return {"tags": message.tags[:1]}


@wrong("send.tags", "a tag of another message")
class CollectsTags(ChangesLabels):
    def __init__(self, settings, context):
        super().__init__(settings, context)
        self.collected = []

    def changes(self, message):
        self.collected += message.tags
        return {"tags": self.collected}


@wrong("send.client", "the client of the message is '' instead of 'brand'")
class DropsTheClient(ChangesLabels):
    def changes(self, message):
        return {"client": ""}


@wrong("send.client", "is 'brand' instead of 'other-brand'")
class RemembersTheFirstClient(ChangesLabels):
    first = ""

    def changes(self, message):
        self.first = self.first or message.client
        return {"client": self.first}


@wrong("send.uid", "the uid of the message is '[0-9a-f-]{36}' instead of 'uid-4711'")
class TakesTheIdForTheUid(ChangesLabels):
    def changes(self, message):
        return {"uid": message.id}


@wrong("send.lifetime", "the message says 86400")
class HasOneLifetime(ChangesTheBody):
    def changes(self, body, message):
        return {"expires_in": 86_400}


@wrong("send.lifetime", "the message says 600000")
class LifetimeInMilliseconds(ChangesTheBody):
    def changes(self, body, message):
        return {"expires_in": int(message.lifetime * 1000)}


@wrong("send.webhook_url", "instead of context.webhook_url")
class ReportsGoElsewhere(ChangesTheBody):
    def changes(self, body, message):
        return {"report_to": "https://gateway.example/elsewhere"}


@wrong("send.idempotency_key", "not the message's own")
class MakesItsOwnKey(Full):
    @hookimpl
    async def send_sms(self, message):
        key = str(uuid.uuid4())
        return await super().send_sms(msgspec.structs.replace(message, idempotency_key=key))


@wrong("send.idempotency_key", "not the message's own")
class TheIdAsKey(Full):
    @hookimpl
    async def send_sms(self, message):
        return await super().send_sms(msgspec.structs.replace(message, idempotency_key=message.id))


@wrong("send.idempotency_key", "other bytes")
class ChangesRepeats(Full):
    count = 0

    async def _send(self, body, idempotency_key):
        self.count += 1
        return await super()._send(body.replace(b"{", b'{"try":%d,' % self.count, 1), idempotency_key)


@wrong("send.idempotency_key", "two messages have the same")
class OneKeyForAll(Full):
    first = ""

    @hookimpl
    async def send_sms(self, message):
        self.first = self.first or message.idempotency_key
        return await super().send_sms(msgspec.structs.replace(message, idempotency_key=self.first))


class AnswersRepeatsWith(Full):
    """A plugin whose provider answers a repeat with an error, which it takes for this one."""

    @hookimpl
    async def send_sms(self, message):
        receipt = await super().send_sms(message)
        if message.idempotency_key in vars(self).setdefault("known", set()):
            raise self.error
        self.known.add(message.idempotency_key)
        return receipt


@wrong("send.idempotency_key", "no Receipt and not Uncertain: it raised Rejected")
class RejectsRepeats(AnswersRepeatsWith):
    error = Rejected("the provider answered 409", code="409")


@wrong("send.idempotency_key", "no Receipt and not Uncertain: it raised Unavailable")
class WaitsAfterRepeats(AnswersRepeatsWith):
    error = Unavailable("the provider answered 409", code="409")


class LeavesRepeatsOpen(AnswersRepeatsWith):
    error = Uncertain("the provider knows the key", code="409")


@wrong("plugin.replay_key", "does not declare MessageFeature.IDEMPOTENCY_KEY")
class PromisesReplays(Example):
    replay_safe = 60.0
    own_emulator = KeylessEmulator


@wrong("send.cpu", "units of work")
class ComputesInAThread(Example):
    @hookimpl
    async def send_sms(self, message):
        await asyncio.to_thread(cpu_units.do_work, 3 * cpu_units.MAX_SEND_UNITS)
        return await super().send_sms(message)


@wrong("send.cpu", "units of work")
class ComputesInSmallSteps(Example):
    @hookimpl
    async def send_sms(self, message):
        for _ in range(round(3 * cpu_units.MAX_SEND_UNITS)):
            cpu_units.do_work(1)
            await asyncio.sleep(0)
        return await super().send_sms(message)


@wrong("send.connections", "connections for")
class ConnectsForEachMessage(Example):
    @hookimpl
    async def send_sms(self, message):
        async with Example.lifespan(self):
            return await super().send_sms(message)


@wrong("send.only_its_provider", "connects to 192.0.2.1")
class CallsHome(Example):
    @hookimpl
    async def send_sms(self, message):
        await asyncio.get_running_loop().getaddrinfo("192.0.2.1", 443)
        return await super().send_sms(message)


@wrong("send.untrusted", "certificate was not verified")
class VerifiesNoCertificate(OwnHttp):
    how = {"ssl": False}


@wrong("send.untrusted", "instead of raising Unavailable")
class UncertainAboutCertificates(OwnHttp):
    @hookimpl
    async def send_sms(self, message):
        try:
            return await super().send_sms(message)
        except Uncertain:
            raise Uncertain("no connection") from None


@wrong("send.untrusted", "did not connect")
class HasItsOwnUrl(Example):
    def __init__(self, settings, context):
        plain = settings.base_url.replace("https:", "http:").rpartition(":")[0] + ":1"
        super().__init__(msgspec.structs.replace(settings, base_url=plain), context)


@wrong("send.success", "SystemExit")
class ExitsInSend(Example):
    @hookimpl
    async def send_sms(self, message):
        raise SystemExit(3)


@wrong("send.success", "SystemExit")
class ExitsInAThread(Example):
    @hookimpl
    async def send_sms(self, message):
        await asyncio.to_thread(exit, 3)


@wrong("send.success", "it raised")
class ReturnsBeforeItIsSent(Example):
    @hookimpl
    async def send_sms(self, message):
        raise Uncertain("sent in the background")


@wrong("send.success", "provider has 0 messages")
class SendsInTheBackground(Example):
    @hookimpl
    async def send_sms(self, message):
        self.later = asyncio.get_running_loop().create_future()
        return Receipt("queued")


@wrong("send.hostile_content", "was taken 0 times")
class DropsWhatIsOdd(Example):
    @hookimpl
    async def send_sms(self, message):
        if not message.text.isprintable():
            return Receipt(str(uuid.uuid4()))
        return await super().send_sms(message)


@wrong("send.sender", "another sender")
class TakesTheNameForTheAddress(ChangesTheBody):
    wrong_on = Channel.EMAIL

    def changes(self, body, message):
        sender = Mailbox(message.sender.name or "x", message.sender.name)
        return {"from": sender.address, "from_name": sender.name}


@pytest.mark.parametrize(("check_id", "plugin", "says"), WRONG)
async def test_the_wrong_plugin_fails_the_check(verdict, check_id, plugin, says):
    assert re.search(says, await verdict(check_id, plugin, says))


async def test_a_repeat_may_leave_open_what_became_of_the_first_try(verdict):
    assert not await verdict("send.idempotency_key", LeavesRepeatsOpen, "")
