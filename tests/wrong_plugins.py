"""What the plugins that are wrong in one way share."""

from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest

from gatepost import wire
from gatepost.errors import SendError, Uncertain
from gatepost.hookspecs import hookimpl
from gatepost.model import Receipt
from gatepost_example import Example, messages


def collect():
    """Return a list of cases, and the decorator that adds a plugin to it with the check that must find it."""
    found = []

    def wrong(check_id, says):
        return lambda plugin: found.append(pytest.param(check_id, plugin, says, id=plugin.__name__)) or plugin

    return found, wrong


def body_of(message, **other):
    body = msgspec.json.decode(messages.sms_body(message, default_sender="x", webhook_url=""))
    return msgspec.json.encode({**body, **other})


class RaisesAnotherError(Example):
    """A plugin that raises another error than it should."""

    @hookimpl
    async def send_sms(self, message):
        try:
            return await super().send_sms(message)
        except SendError as error:
            other = self.other(error, message)
        raise other


class OwnHttp(Example):
    """A plugin that connects without gatepost.wire."""

    options = {}
    how = {}

    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        key = self._settings.api_key.reveal()
        async with aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"}, **self.options
        ) as self.own:
            yield

    @hookimpl
    async def send_sms(self, message):
        url = f"{self._settings.base_url}/v1/messages"
        try:
            async with self.own.post(url, data=body_of(message), **self.how) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Uncertain(type(error).__name__) from None
        reply = wire.Reply(status=response.status, headers=response.headers, body=content)
        wire.expect_success(reply)
        return Receipt(reply.json()["id"])


class ChangesTheBody(Example):
    """A plugin whose request differs from the message."""

    @hookimpl
    async def send_sms(self, message):
        body = msgspec.json.decode(body_of(message, report_to=self._context.webhook_url))
        changed = msgspec.json.encode({**body, **self.changes(body, message)})
        return await self._send(changed, message.idempotency_key)

    @hookimpl
    async def send_email(self, message):
        body = msgspec.json.decode(messages.email_body(message, webhook_url=self._context.webhook_url))
        changed = msgspec.json.encode({**body, **self.changes(body, message)})
        return await self._send(changed, message.idempotency_key)
