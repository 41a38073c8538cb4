"""Each of these plugins is wrong in one way, and one check of the kit must find it: settings, lifespan and ping."""

import ast
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
from gatepost.testing.conformance import registry
from gatepost.testing.conformance.registry import checks
from gatepost_example import Example
from gatepost_example.settings import Settings

WRONG = []
LEFT = []


def wrong(check_id, says):
    return lambda plugin: WRONG.append(pytest.param(check_id, plugin, says, id=plugin.__name__)) or plugin


@wrong("plugin.version", "api_version")
class AnotherNumber(Example):
    api_version = 99


@wrong("plugin.hooks", "without @hookimpl")
class UnmarkedHook(Example):
    async def ping(self):
        pass


@wrong("plugin.hooks", "async def")
class HookThatIsNotAsync(Example):
    @hookimpl
    def ping(self):
        pass


@wrong("plugin.declared_hooks", "no hook find_contact")
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


class Unfrozen(msgspec.Struct, forbid_unknown_fields=True):
    api_key: Secret
    base_url: str = ""
    webhook_secret: Secret | None = None


@wrong("settings.frozen", "frozen")
class UnfrozenSettings(Example):
    settings_type = Unfrozen


class AnyKeys(msgspec.Struct, frozen=True):
    depth: int = 0


class Nested(Settings, frozen=True):
    inner: AnyKeys | None = None


@wrong("settings.unknown_keys", "accept unknown keys.*AnyKeys")
class NestedTableWithAnyKeys(Example):
    settings_type = Nested


class Timed(Settings, frozen=True):
    timeout: float = 1.0


@wrong("settings.core_keys", "timeout")
class KeyOfTheCore(Example):
    settings_type = Timed


class Plain(Settings, frozen=True):
    webhook_token: str = ""


@wrong("settings.secret_types", "webhook_token")
class SecretAsText(Example):
    settings_type = Plain


@wrong("settings.no_leaks_in_repr", "secret can be read")
class ReprWithTheKey(Example):
    def __repr__(self):
        return f"<Example {self._settings.api_key.reveal()}>"


@wrong("settings.hostile_texts", "ValueError instead of ConfigError")
class ValueErrorForAUrl(Example):
    def __init__(self, settings, context):
        if not settings.base_url.startswith("http"):
            raise ValueError("no URL")
        super().__init__(settings, context)


class RaisesAnotherFault(Example):
    fault = Fault("", "")

    def __init__(self, settings, context):
        try:
            super().__init__(settings, context)
        except ConfigError:
            raise ConfigError([self.complaint(settings)]) from None


@wrong("settings.fault_keys", "not one of the table's")
class FaultWithTheWholePath(RaisesAnotherFault):
    def complaint(self, settings):
        return Fault("plugins.mine.api_key", "is wrong")


@wrong("settings.no_leaks_in_faults", "quotes a secret")
class QuotesTheKey(RaisesAnotherFault):
    def complaint(self, settings):
        return Fault("api_key", f"is wrong: {settings.api_key.reveal()}")


@wrong("settings.no_leaks_in_faults", "quotes a secret")
class QuotesAnotherKey(RaisesAnotherFault):
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


@wrong("lifespan.two_instances", "not taken")
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
class BlocksInLifespan(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        time.sleep(0.001)  # noqa: ASYNC251  that is the point
        async with super().lifespan():
            yield


@wrong("lifespan.provider_down", "did not open")
class PingsInLifespan(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        async with super().lifespan():
            await self.ping()
            yield


@wrong("ping.success", "returned True")
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
class PingThatAlwaysSucceeds(Example):
    @hookimpl
    async def ping(self):
        with suppress(Unavailable):
            await super().ping()


@wrong("ping.denied", "misconfigured")
class PingThatIsNeverMisconfigured(Example):
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
        try:
            await super().ping()
        except Unavailable as error:
            raise Uncertain(error.reason) from None


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


@wrong("ping.no_leaks", "a secret is in")
class PingThatLogsItsKey(Example):
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
async def test_the_wrong_plugin_fails_the_check(verdict, check_id, plugin, says):
    assert re.search(says, await verdict(check_id, plugin, says))


def test_every_check_has_seen_a_wrong_plugin():
    files = Path(__file__).parent.glob("test_conformance_*.py")
    seen = {
        found
        for file in files
        for found in re.findall(r'^@wrong\("([\w.]+)"', file.read_text(), re.MULTILINE)
    }

    assert seen == set(checks())


@pytest.mark.parametrize("check", checks().values(), ids=checks())
def test_every_check_says_what_to_do(check):
    assert re.fullmatch(r"[A-Z].{15,230}\.", check.advice)
    # What is asked for is an act: no check repeats what passes.
    assert check.advice != check.summary


def test_a_check_without_advice_can_not_be_registered():
    async def nameless(harness):
        """Do something."""

    with pytest.raises(ValueError, match=r"plugin\.nameless has no advice"):
        registry.check(registry.Group.PLUGIN)(nameless)
    assert "plugin.nameless" not in checks()


@pytest.mark.parametrize(
    "file", sorted(Path(registry.__file__).parent.glob("*.py")), ids=lambda file: file.stem
)
def test_every_assertion_of_the_kit_says_what_is_wrong(file):
    asserts = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Assert)]

    assert [node.lineno for node in asserts if node.msg is None] == []


def test_every_check_says_what_passes():
    assert [
        check.id for check in checks().values() if not re.fullmatch(r"[A-Z].{15,100}\.", check.summary)
    ] == []
