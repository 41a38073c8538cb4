"""Plugins that are wrong in one way each, and the check of the kit that is meant to say so: the frame."""

import asyncio
import re
import socket
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from gatepost.errors import ConfigError, Fault, Rejected, Unavailable, Uncertain
from gatepost.hookspecs import hookimpl
from gatepost.model import Secret, Sms
from gatepost.testing.conformance.registry import checks
from gatepost_example import Example, Settings

WRONG = []
LEFT = []


def wrong(check_id, says):
    return lambda plugin: WRONG.append(pytest.param(check_id, plugin, says, id=plugin.__name__)) or plugin


@wrong("plugin.version", "api_version")
class AnotherNumber(Example):
    api_version = 2


@wrong("plugin.hooks", "without @hookimpl")
class UnmarkedHook(Example):
    async def ping(self):
        pass


@wrong("plugin.hooks", "async def")
class HookThatIsNotAsync(Example):
    @hookimpl
    def ping(self):
        pass


@wrong("plugin.declared", "no hook find_contact")
class HookThatIsNotThere(Example):
    find_contact = None


@wrong("plugin.constructor", "opens|calls open")
class ConstructorReads(Example):
    def __init__(self, settings, context):
        super().__init__(settings, context)
        Path("/dev/null").read_bytes()


@wrong("plugin.constructor", "starts a task")
class ConstructorStarts(Example):
    def __init__(self, settings, context):
        super().__init__(settings, context)
        self._task = asyncio.create_task(asyncio.sleep(60))


class Thawed(msgspec.Struct, forbid_unknown_fields=True):
    api_key: Secret
    base_url: str = ""
    webhook_secret: Secret | None = None


@wrong("settings.frozen", "frozen")
class SettingsThatMelt(Example):
    settings_type = Thawed


class Lax(msgspec.Struct, frozen=True):
    depth: int = 0


class Holding(Settings, frozen=True):
    inner: Lax | None = None


@wrong("settings.unknown_keys", "unknown key is taken.*Lax")
class TableInsideThatTakesAnything(Example):
    settings_type = Holding


class Timed(Settings, frozen=True):
    timeout: float = 1.0


@wrong("settings.core_keys", "timeout")
class KeyOfTheCore(Example):
    settings_type = Timed


class Plain(Settings, frozen=True):
    webhook_token: str = ""


@wrong("settings.secrets_typed", "webhook_token")
class SecretAsText(Example):
    settings_type = Plain


@wrong("settings.secrets_unseen", "secret can be read")
class ReprWithTheKey(Example):
    def __repr__(self):
        return f"<Example {self._settings.api_key.reveal()}>"


@wrong("settings.hostile", "ValueError instead of ConfigError")
class StumblesOverAUrl(Example):
    def __init__(self, settings, context):
        if not settings.base_url.startswith("http"):
            raise ValueError("no URL")
        super().__init__(settings, context)


class Complaining(Example):
    fault = Fault("", "")

    def __init__(self, settings, context):
        try:
            super().__init__(settings, context)
        except ConfigError:
            raise ConfigError([self.complaint(settings)]) from None


@wrong("settings.faults_placed", "is no key")
class BlamesItsWholePath(Complaining):
    def complaint(self, settings):
        return Fault("plugins.mine.api_key", "is wrong")


@wrong("settings.faults_quote_nothing", "quotes a secret")
class QuotesTheKey(Complaining):
    def complaint(self, settings):
        return Fault("api_key", f"is wrong: {settings.api_key.reveal()}")


@wrong("settings.faults_quote_nothing", "quotes a secret")
class QuotesAnotherKey(Complaining):
    def complaint(self, settings):
        return Fault("base_url", f"is wrong in {[value.reveal() for value in [settings.webhook_secret]]}")


@wrong("lifespan.opens_and_closes", "tasks still run")
class LeavesATask(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        self._stray = asyncio.create_task(asyncio.sleep(60), name="stray")
        async with super().lifespan():
            yield


@wrong("lifespan.opens_and_closes", "sockets are still open")
class LeavesASocket(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        LEFT.append(socket.socket())
        async with super().lifespan():
            yield


@wrong("lifespan.twice", "not taken")
class SharesItsPool(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        async with super().lifespan():
            type(self)._http = self.__dict__.pop("_http")
            try:
                yield
            finally:
                type(self)._http = None


@wrong("lifespan.error_inside", "swallowed an error")
class SwallowsErrors(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        async with super().lifespan():
            with suppress(Exception):
                yield


@wrong("lifespan.cancelled", "swallowed a cancellation")
class SwallowsCancellation(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        async with super().lifespan():
            with suppress(asyncio.CancelledError):
                yield


@wrong("lifespan.free_loop", "time.sleep")
class OpensSlowly(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        time.sleep(0.001)  # noqa: ASYNC251  that is the point
        async with super().lifespan():
            yield


@wrong("lifespan.provider_down", "did not open")
class WantsAnAnswerToBegin(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        async with super().lifespan():
            await self.ping()
            yield


@wrong("ping.fine", "returned True")
class PingThatReturns(Example):
    @hookimpl
    async def ping(self):
        return True


@wrong("ping.sends_nothing", "asked to send")
class PingThatSends(Example):
    @hookimpl
    async def ping(self):
        await self.send_sms(
            Sms(id="ping", recipient=Secret("+447700900000"), sender="x", text="ping", lifetime=1)
        )


@wrong("ping.outage", "instead of raising Unavailable")
class PingThatIsAlwaysFine(Example):
    @hookimpl
    async def ping(self):
        with suppress(Unavailable):
            await super().ping()


@wrong("ping.denied", "misconfigured")
class PingThatBlamesNobody(Example):
    @hookimpl
    async def ping(self):
        try:
            await super().ping()
        except Unavailable as error:
            raise Unavailable(error.reason) from None


@wrong("ping.hang", "raised Uncertain")
@wrong("ping.drop", "raised Uncertain")
class PingThatIsUncertain(Example):
    @hookimpl
    async def ping(self):
        await self._http.get("/v1/account")


@wrong("ping.hang", "no deadline")
class PingWithoutADeadline(Example):
    @hookimpl
    async def ping(self):
        try:
            await super().ping()
        except Unavailable:
            await asyncio.sleep(60)


@wrong("ping.unreachable", "raised Rejected")
class PingThatRejects(Example):
    @hookimpl
    async def ping(self):
        try:
            await super().ping()
        except (Unavailable, Uncertain) as error:
            raise Rejected(error.reason) from None


@wrong("ping.says_no_secret", "a secret stands")
class PingThatTellsItsKey(Example):
    @hookimpl
    async def ping(self):
        self._context.log.debug("signing in", headers={"auth": self._settings.api_key.reveal()})
        await super().ping()


@pytest.fixture(autouse=True)
def left_alone():
    yield
    while LEFT:
        LEFT.pop().close()


@pytest.mark.parametrize(("check_id", "plugin", "says"), WRONG)
async def test_the_wrong_plugin_is_caught(verdict, check_id, plugin, says):
    assert re.search(says, await verdict(check_id, plugin, says))


def test_every_check_has_seen_a_wrong_plugin():
    files = Path(__file__).parent.glob("test_conformance_*.py")
    seen = {
        found
        for file in files
        for found in re.findall(r'^@wrong\("([\w.]+)"', file.read_text(), re.MULTILINE)
    }

    assert seen == set(checks())


def test_every_check_says_what_passes():
    assert [
        check.id for check in checks().values() if not re.fullmatch(r"[A-Z].{15,100}\.", check.summary)
    ] == []
