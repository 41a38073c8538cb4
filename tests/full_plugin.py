"""A plugin that does everything that the contract allows, and the emulator of its provider, for the tests of the kit."""

import asyncio
import hmac
from contextlib import asynccontextmanager
from urllib.parse import quote

import msgspec
from aiohttp import web

from gatepost.errors import BadSignature, Unavailable
from gatepost.hookspecs import BatchSource, UserFinder, hookimpl
from gatepost.model import Channel, Contact, Secret
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.webhook_requests import with_headers
from gatepost_example import Example, messages, reports, testing, users

URL_SIGNATURE = "Example-Url-Signature"


class ExampleEmulator(testing.ExampleEmulator):
    """The emulator of the template, and a setting that all text messages have."""

    @property
    def table(self):
        return {**super().table, "default_sender": "Amazing"}


class KeylessEmulator(ExampleEmulator):
    """One whose API takes no keys against repeats."""

    message_features = ExampleEmulator.message_features - {MessageFeature.IDEMPOTENCY_KEY}


class FullEmulator(ExampleEmulator):
    """An Example that also takes labels, finds many users and whose number it is, and keeps reports."""

    message_features = frozenset(MessageFeature)
    report_features = frozenset(ReportFeature) - {ReportFeature.POLLED}

    async def answer_to(self, request, body):
        if request.headers.get("Authorization") == f"Bearer {self.api_key}":
            match request.path:
                case "/v1/batch":
                    ids = msgspec.json.decode(request.query["ids"])
                    found = [self.users[one] for one in ids if one in self.users]
                    return web.json_response({"users": found})
                case "/v1/owners":
                    field, value = request.query["field"], request.query["value"]
                    owners = [one["id"] for one in self.users.values() if one[field] == value]
                    return web.json_response({"ids": owners})
                case "/v1/reports":
                    after = int(request.query["after"])
                    return web.json_response({"events": self.queued[after:]})
        return await super().answer_to(request, body)

    def received(self, taken):
        return msgspec.structs.replace(
            super().received(taken),
            tags=taken.message.get("tags", ()),
            client=taken.message.get("client", ""),
            uid=taken.message.get("uid", ""),
        )

    def sign(self, request, *, forged=False):
        secret = "another secret" if forged else self.webhook_secret
        return with_headers(
            super().sign(request, forged=forged), {URL_SIGNATURE: _sign_url(secret, request.url)}
        )


class PollingEmulator(FullEmulator):
    report_features = frozenset(ReportFeature)


def _sign_url(secret, url):
    return hmac.digest(secret.encode("utf-8", "replace"), url.encode("utf-8", "replace"), "sha256").hex()


class Full(Example, BatchSource, UserFinder):
    """Everything that the contract allows."""

    replay_safe = 600.0

    @hookimpl
    async def find_contacts(self, ext_user_ids):
        encodable = [one for one in ext_user_ids if users.lookup_path(one)]
        reply = await self._look_up(f"/v1/batch?ids={quote(msgspec.json.encode(encodable))}")
        match reply.json():
            case {"users": [*found]}:
                return {
                    one["id"]: Contact(
                        email=one["email"] and Secret(one["email"]),
                        phone=one["phone"] and Secret(one["phone"]),
                        blocked=one["blocked"],
                    )
                    for one in found
                }
        raise Unavailable("the answer is not Example's")

    @hookimpl
    async def find_user(self, channel, recipient):
        field = "email" if channel is Channel.EMAIL else "phone"
        reply = await self._look_up(f"/v1/owners?field={field}&value={quote(recipient.reveal(), safe='')}")
        match reply.json():
            case {"ids": [*ids]}:
                return ids
        raise Unavailable("the answer is not Example's")

    async def _look_up(self, path):
        try:
            async with asyncio.timeout(self._context.lookup_timeout):
                return await self._get(path)
        except TimeoutError:
            raise Unavailable("no answer in time") from None

    @hookimpl
    async def send_email(self, message):
        body = messages.email_body(message, webhook_url=self._context.webhook_url)
        return await self._send_labelled(body, message)

    @hookimpl
    async def send_sms(self, message):
        body = messages.sms_body(
            message, default_sender=self._settings.default_sender, webhook_url=self._context.webhook_url
        )
        return await self._send_labelled(body, message)

    async def _send_labelled(self, body, message):
        labels = {"tags": message.tags, "client": message.client, "uid": message.uid}
        labelled = msgspec.json.encode({**msgspec.json.decode(body), **labels})
        return await self._send(labelled, message.idempotency_key)

    @hookimpl
    async def parse_webhook(self, request):
        if self._settings.webhook_secret is not None:
            own = _sign_url(self._settings.webhook_secret.reveal(), request.url)
            given = request.headers.get(URL_SIGNATURE.lower(), "").encode("utf-8", "replace")
            if not hmac.compare_digest(own.encode(), given):
                raise BadSignature("the URL is not signed")
        return await super().parse_webhook(request)


class Polling(Full):
    """One that fetches reports, too."""

    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        async with super().lifespan():
            task = asyncio.create_task(self._poll(), name="poll")
            try:
                yield
            finally:
                task.cancel()
                await asyncio.wait({task})

    async def _poll(self):
        while True:
            try:
                if await self._context.lease("poll", 30.0):
                    await self.fetch()
            except Unavailable:
                pass
            await asyncio.sleep(0.005)

    async def fetch(self):
        after = await self._context.state.read("cursor")
        reply = await self._get(f"/v1/reports?after={after or 0}")
        count = len(reply.json()["events"])
        if count:
            await self.pass_on(reports.translate(reply), after, str(int(after or 0) + count))

    async def pass_on(self, report, after, cursor):
        await self._context.report(report)
        await self._context.state.replace("cursor", after, cursor)
