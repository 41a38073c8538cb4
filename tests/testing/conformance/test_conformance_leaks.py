"""Each of these plugins is wrong in one way, and one check of the kit must find it: what logs and errors hold."""

import base64
import hashlib
import re
import uuid

import pytest

from gatepost.errors import Rejected, Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel
from gatepost_example import Example
from wrong_plugins import RaisesAnotherError, collect

WRONG, wrong = collect()


class Logs(Example):
    """A plugin that logs something of each message."""

    @hookimpl
    async def send_sms(self, message):
        self._context.log.info("sending", what=self.what(message.recipient.reveal(), message))
        return await super().send_sms(message)

    @hookimpl
    async def send_email(self, message):
        self._context.log.info("sending", what=self.what(message.recipient.reveal(), message))
        return await super().send_email(message)


@wrong("send.no_fragments", "the end of the recipient's number")
class LogsTheLastDigits(Logs):
    def what(self, recipient, message):
        return f"to …{recipient[-4:]}"


@wrong("send.no_fragments", "the end of the recipient's number")
class LogsAMaskedNumber(Logs):
    def what(self, recipient, message):
        return f"{recipient[:3]}xxxxxx{recipient[-4:]}"


@wrong("send.no_fragments", "the beginning of the recipient's number")
class LogsTheFirstDigits(Logs):
    def what(self, recipient, message):
        return f"{recipient[:-2]}**"


@wrong("send.no_fragments", "a plain hash \\(sha256\\)")
class LogsAHash(Logs):
    def what(self, recipient, message):
        return hashlib.sha256(recipient.encode()).hexdigest()


@wrong("send.no_fragments", "a plain hash \\(sha1\\)")
class LogsAShortHash(Logs):
    def what(self, recipient, message):
        return hashlib.sha1(recipient[1:].encode()).hexdigest()[:12]


@wrong("send.no_fragments", "a plain hash \\(md5\\)")
class LogsAHashInBase64(Logs):
    def what(self, recipient, message):
        return base64.b64encode(hashlib.md5(recipient.encode()).digest())


@wrong("send.no_fragments", "a plain hash")
class LogsTheHashOfAnAddress(Logs):
    wrong_on = Channel.EMAIL

    def what(self, recipient, message):
        return hashlib.sha256(recipient.encode()).hexdigest().upper()


@wrong("send.no_fragments", "message's content is in a log")
class LogsTheText(Logs):
    def what(self, recipient, message):
        return message.text[:12]


@wrong("send.no_fragments", "message's content is in a log")
class LogsTheSubject(Logs):
    wrong_on = Channel.EMAIL

    def what(self, recipient, message):
        return message.subject


@wrong("send.no_leaks", "recipient is in a log")
class LogsTheLocalPart(Logs):
    wrong_on = Channel.EMAIL

    def what(self, recipient, message):
        return recipient.partition("@")[0]


@wrong("send.no_leaks", "recipient is in a log")
class LogsTheNationalNumber(Logs):
    def what(self, recipient, message):
        return f"0{recipient[3:]}"


@wrong("send.no_leaks", "recipient is in a log")
class KeepsTheRecipientInItsState(Example):
    @hookimpl
    async def send_sms(self, message):
        last = await self._context.state.read("last")
        await self._context.state.replace("last", last, message.recipient.reveal())
        return await super().send_sms(message)


@wrong("send.no_fragments_in_errors", "the end of the recipient's number is in the error")
class LastDigitsInTheReason(RaisesAnotherError):
    def other(self, error, message):
        return type(error)(f"refused for {message.recipient.reveal()[-4:]}")


@wrong("send.no_fragments_in_errors", "content is in the error")
class TextInTheReason(RaisesAnotherError):
    def other(self, error, message):
        return type(error)(f"refused: {message.text}")


class ReadsTheRefusal(Example):
    """Reads the provider's free text out of its refusal."""

    async def _send(self, body, idempotency_key):
        reply = await self._http.post("/v1/messages", body)
        if reply.status >= 400:
            self.fail(reply.body.decode(), reply.status)
        return await super()._send(body, idempotency_key)


@wrong("send.own_words", "the reason is the provider's prose")
class ProseAsReason(ReadsTheRefusal):
    def fail(self, text, status):
        raise Unavailable(text)


@wrong("send.own_words", "the code is the provider's prose")
class ProseAsCode(ReadsTheRefusal):
    def fail(self, text, status):
        raise Rejected("refused", code=text)


@wrong("send.own_words", "prose is in a log")
class ProseInALog(ReadsTheRefusal):
    def fail(self, text, status):
        self._context.log.warning("refused", why=text)
        raise Unavailable("refused")


@wrong("send.codes", "is no code")
class SentenceAsCode(RaisesAnotherError):
    def other(self, error, message):
        return type(error)("refused", code="The number that you gave is not one that we know")


@wrong("send.codes", "is no code")
class NumberAsCode(RaisesAnotherError):
    def other(self, error, message):
        return type(error)("refused", code=1240)


@wrong("send.codes", "two messages failed alike")
class RequestIdAsCode(RaisesAnotherError):
    def other(self, error, message):
        return type(error)("refused", code=uuid.uuid4().hex)


@pytest.mark.parametrize(("check_id", "plugin", "says"), WRONG)
async def test_the_wrong_plugin_fails_the_check(verdict, check_id, plugin, says):
    assert re.search(says, await verdict(check_id, plugin, says))
