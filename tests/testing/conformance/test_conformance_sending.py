"""Each of these plugins is wrong in one way, and one check of the kit must find it: sending."""

import asyncio
import logging
import re
import time

import aiohttp
import pytest

from gatepost.errors import Rejected, SendError, Unavailable, Uncertain
from gatepost.hookspecs import hookimpl
from gatepost.model import Receipt
from gatepost.testing.conformance import cpu_units, running_plugin
from gatepost_example import Example
from wrong_plugins import OwnHttp, RaisesAnotherError, body_of, collect

WRONG, wrong = collect()


@wrong("send.success", "provider has 0 messages")
class ReturnsWithoutSending(Example):
    @hookimpl
    async def send_sms(self, message):
        return Receipt("sure")


@wrong("send.success", "it returned 'sent'")
class ReturnsAText(Example):
    @hookimpl
    async def send_sms(self, message):
        await super().send_sms(message)
        return "sent"


@wrong("send.one_recipient", "not for its own one alone")
class SendsToThePreviousRecipientToo(Example):
    last = ""

    @hookimpl
    async def send_sms(self, message):
        to = f"{message.recipient.reveal()}{self.last}"
        self.last = f",{message.recipient.reveal()}"
        return await self._send(body_of(message, to=to), message.idempotency_key)


@wrong("send.provider_id", "same provider_id")
class OneIdForAll(Example):
    @hookimpl
    async def send_sms(self, message):
        await super().send_sms(message)
        return Receipt("202")


@wrong("send.provider_id", "300 characters")
class LongId(Example):
    @hookimpl
    async def send_sms(self, message):
        receipt = await super().send_sms(message)
        return Receipt(receipt.provider_id.ljust(300, "x"))


@wrong("send.concurrent", "0 times|2 times|other's recipient")
class RemembersOneMessage(Example):
    @hookimpl
    async def send_sms(self, message):
        self.message = message
        await asyncio.sleep(0.01)
        return await super().send_sms(self.message)


@wrong("send.free_loop", "time.sleep")
class BlocksInSend(Example):
    @hookimpl
    async def send_sms(self, message):
        time.sleep(0.001)  # noqa: ASYNC251  that is the point
        return await super().send_sms(message)


@wrong("send.free_loop", "ms of CPU")
class Computes(Example):
    @hookimpl
    async def send_sms(self, message):
        cpu_units.do_work(3 * cpu_units.MAX_UNITS)
        return await super().send_sms(message)


@wrong("send.free_loop", "socket.connect|getaddrinfo")
class ConnectsBlocking(Example):
    @hookimpl
    async def send_sms(self, message):
        import socket  # noqa: PLC0415  as such a plugin would

        host, port = self._settings.base_url.removeprefix("http://").split(":")
        socket.create_connection((host, int(port))).close()
        return await super().send_sms(message)


@wrong("send.no_leaks", "recipient is in a log")
class Prints(Example):
    @hookimpl
    async def send_sms(self, message):
        print(message.recipient.reveal())  # noqa: T201  that is the point
        return await super().send_sms(message)


@wrong("send.no_leaks", "recipient is in a log")
class LogsWithoutThePlus(Example):
    @hookimpl
    async def send_sms(self, message):
        logging.getLogger("some.library").debug("to %s", message.recipient.reveal()[1:])
        return await super().send_sms(message)


@wrong("send.no_leaks", "a secret is in a log")
class LogsItsKey(Example):
    @hookimpl
    async def send_sms(self, message):
        self._context.log.debug("post", authorization=f"Bearer {self._settings.api_key.reveal()}")
        return await super().send_sms(message)


@wrong("send.plugin_host", "plugin_violation")
class ReceiptWithTheRecipient(Example):
    @hookimpl
    async def send_sms(self, message):
        await super().send_sms(message)
        return Receipt(f"{message.recipient.reveal()}-1")


@wrong("send.hostile_content", "raised UnicodeEncodeError")
class OnlyAscii(Example):
    @hookimpl
    async def send_sms(self, message):
        message.text.encode("ascii")
        return await super().send_sms(message)


@wrong("send.no_proxy", "with proxy variables set it raised")
class ReadsTheEnvironment(OwnHttp):
    options = {"trust_env": True}


@wrong("send.without_sender", "raised AttributeError")
class FailsWithoutSender(Example):
    @hookimpl
    async def send_sms(self, message):
        message.sender.strip()
        return await super().send_sms(message)


@wrong("send.cancelled_early", "did not end")
@wrong("send.many_failures", "did not end")
class KeepsALock(Example):
    lock = None

    @hookimpl
    async def send_sms(self, message):
        self.lock = self.lock or asyncio.Semaphore(self._context.concurrency)
        await self.lock.acquire()
        receipt = await super().send_sms(message)
        self.lock.release()
        return receipt


@wrong("send.refused", "instead of raising Rejected")
@wrong("send.denied", "misconfigured")
class NeverRejects(RaisesAnotherError):
    def other(self, error, message):
        return Unavailable(error.reason)


@wrong("send.throttled", "instead of raising Unavailable")
@wrong("send.outage", "instead of raising Unavailable")
@wrong("send.unreachable", "instead of raising Unavailable")
@wrong("send.dropped", "the connection broke")
class AlwaysRejects(RaisesAnotherError):
    def other(self, error, message):
        return Rejected(error.reason)


@wrong("send.throttled", "not for the operator to correct")
@wrong("send.outage", "not for the operator to correct")
class AlwaysMisconfigured(RaisesAnotherError):
    def other(self, error, message):
        return Unavailable(error.reason, misconfigured=True)


@wrong("send.retry_after", "without retry_after")
class NoRetryAfter(RaisesAnotherError):
    def other(self, error, message):
        return Unavailable(error.reason)


@wrong("send.retry_after", "retry_after is 7000")
class PauseInMilliseconds(RaisesAnotherError):
    def other(self, error, message):
        return Unavailable(error.reason, retry_after=7000)


@wrong("send.lost", "instead of raising Uncertain")
class UnavailableForLost(RaisesAnotherError):
    def other(self, error, message):
        return Unavailable(error.reason)


@wrong("send.hang", "no deadline")
class NoDeadline(OwnHttp):
    options = {"timeout": aiohttp.ClientTimeout(total=None)}


@wrong("send.drip", "no deadline")
class DeadlineForEachByte(OwnHttp):
    options = {"timeout": aiohttp.ClientTimeout(total=None, sock_read=60)}


@wrong("send.redirected", "redirect was followed")
class FollowsRedirects(OwnHttp):
    pass


@wrong("send.nonsense", "raised KeyError")
class TrustsEveryAnswer(OwnHttp):
    how = {"allow_redirects": False}


@wrong("send.no_retries", "in 3 requests")
class TriesAgain(Example):
    @hookimpl
    async def send_sms(self, message):
        for _ in range(2):
            try:
                return await super().send_sms(message)
            except Unavailable:
                pass
        return await super().send_sms(message)


@wrong("send.declared_errors", "not declare")
class RaisesUndeclaredErrors(RaisesAnotherError):
    def other(self, error, message):
        return RuntimeError(error.reason)


@wrong("send.declared_errors", "no reason")
class NoReason(RaisesAnotherError):
    def other(self, error, message):
        return type(error)("")


@wrong("send.no_leaks_in_errors", "error holds the recipient")
class QuotesTheRecipient(RaisesAnotherError):
    def other(self, error, message):
        return type(error)(f"{message.recipient.reveal()}: {error.reason}")


@wrong("send.no_leaks_in_errors", "error holds the recipient")
class RecipientInTheContext(Example):
    @hookimpl
    async def send_sms(self, message):
        try:
            return await super().send_sms(message)
        except SendError as error:
            error.add_note(f"to {message.recipient.reveal()}")
            raise Rejected("no") from None


@wrong("send.no_leaks_in_errors", "error holds a secret")
class QuotesTheKey(RaisesAnotherError):
    def other(self, error, message):
        return type(error)("wrong key", code=self._settings.api_key.reveal())


@wrong("send.no_leaks_in_failures", "the recipient is in a log")
class LogsTheRecipientOfAFailure(RaisesAnotherError):
    def other(self, error, message):
        self._context.log.warning("not sent", to=message.recipient.reveal())
        return error


@wrong("send.recovers", "after refuse")
class NeverRecovers(RaisesAnotherError):
    broken = False

    @hookimpl
    async def send_sms(self, message):
        if self.broken:
            raise Unavailable("broken")
        return await super().send_sms(message)

    def other(self, error, message):
        self.broken = True
        return error


@wrong("send.cancelled", "did not end as cancelled")
@wrong("send.after_cancelled", "did not end as cancelled")
class UncertainWhenCancelled(Example):
    @hookimpl
    async def send_sms(self, message):
        try:
            return await super().send_sms(message)
        except asyncio.CancelledError:
            raise Uncertain("cancelled") from None


@wrong("send.cancelled", "ignores its cancellation")
class IgnoresCancellation(Example):
    @hookimpl
    async def send_sms(self, message):
        try:
            return await super().send_sms(message)
        except asyncio.CancelledError:
            await asyncio.sleep(30)


@wrong("send.after_cancelled", "was cancelled was sent later")
class SendsCancelledMessagesLater(Example):
    def __init__(self, settings, context):
        super().__init__(settings, context)
        self.waiting = []

    @hookimpl
    async def send_sms(self, message):
        self.waiting.append(message)
        while len(self.waiting) > 1 and self.waiting[0] is not message:
            earlier = self.waiting.pop(0)
            await super().send_sms(earlier)
        receipt = await super().send_sms(message)
        self.waiting.remove(message)
        return receipt


@wrong("send.cancelled_releases", "tasks still run")
class LeavesATaskWhenCancelled(Example):
    @hookimpl
    async def send_sms(self, message):
        try:
            return await super().send_sms(message)
        except asyncio.CancelledError:
            self.stray = asyncio.create_task(asyncio.sleep(60), name="stray")
            raise


@pytest.mark.parametrize(("check_id", "plugin", "says"), WRONG)
async def test_the_wrong_plugin_fails_the_check(verdict, check_id, plugin, says):
    assert re.search(says, await verdict(check_id, plugin, says))


async def test_the_sends_of_a_check_end_with_it_where_the_provider_is_slow(verdict, monkeypatch):
    ended = []

    class RecordsErrors(Example):
        @hookimpl
        async def send_sms(self, message):
            try:
                return await super().send_sms(message)
            except BaseException as error:
                ended.append(type(error))
                raise

    monkeypatch.setattr(running_plugin, "CALL_TIMEOUT", 0.0)
    problem = await verdict("send.cancelled_releases", RecordsErrors, "saw")

    assert problem == "the provider saw 0 of 3 messages sent concurrently"
    assert ended == [asyncio.CancelledError] * 3
