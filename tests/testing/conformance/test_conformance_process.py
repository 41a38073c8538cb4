"""Each of these plugins is wrong in one way, and one check of the kit must find it: the process, and the class itself."""

import asyncio
import functools
import gc
import logging
import os
import re
import signal
import socket
import ssl
import sys
import threading
from contextlib import asynccontextmanager
from typing import Annotated

import pytest
from msgspec import Meta

from gatepost.errors import ConfigError, Fault
from gatepost.hookspecs import hookimpl
from gatepost_example import Example
from gatepost_example.settings import Settings
from wrong_plugins import collect

WRONG, wrong = collect()


class Constructs(Example):
    """A plugin that does something in its constructor."""

    def __init__(self, settings, context):
        super().__init__(settings, context)
        self.also()


@wrong("plugin.process", "os.environ")
class SetsAnEnvironmentVariable(Constructs):
    def also(self):
        os.environ["HTTPS_PROXY"] = "http://proxy.example"


@wrong("plugin.process", "logging.disable")
class DisablesLogging(Constructs):
    def also(self):
        logging.disable(logging.INFO)


@wrong("plugin.process", "default timeout of sockets")
class SetsTheDefaultTimeout(Constructs):
    def also(self):
        socket.setdefaulttimeout(5)


@wrong("plugin.process", "the working directory")
class ChangesTheDirectory(Constructs):
    def also(self):
        os.chdir("/")


@wrong("plugin.process", "the umask")
class SetsTheUmask(Constructs):
    def also(self):
        os.umask(0)


@wrong("plugin.process", "root logger's handlers")
class AddsARootHandler(Constructs):
    def also(self):
        logging.getLogger().addHandler(logging.NullHandler())


@wrong("plugin.process", "root logger's filters")
class AddsARootFilter(Constructs):
    def also(self):
        logging.getLogger().addFilter(lambda record: True)


@wrong("plugin.process", "ssl's default context")
class SwitchesVerificationOff(Constructs):
    def also(self):
        ssl._create_default_https_context = ssl._create_unverified_context


@wrong("plugin.process", "socket.getaddrinfo")
class PatchesTheResolver(Constructs):
    def also(self):
        socket.getaddrinfo = functools.partial(socket.getaddrinfo, proto=socket.IPPROTO_TCP)


@wrong("plugin.process", "sys.excepthook")
class SetsTheExceptionHook(Constructs):
    def also(self):
        sys.excepthook = lambda *_: None


@wrong("plugin.process", "recursion limit")
class SetsTheRecursionLimit(Constructs):
    def also(self):
        sys.setrecursionlimit(sys.getrecursionlimit() + 100)


@wrong("plugin.process", "garbage collector")
class StopsTheGarbageCollector(Constructs):
    def also(self):
        gc.disable()


@wrong("plugin.process", "sys.path")
class ExtendsThePath(Constructs):
    def also(self):
        sys.path.insert(0, "/opt/acme")


@wrong("plugin.process", "opening it changes the signal handlers")
class HandlesSignals(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        before = signal.signal(signal.SIGUSR2, lambda *_: None)
        try:
            async with super().lifespan():
                yield
        finally:
            signal.signal(signal.SIGUSR2, before)


@wrong("plugin.process", "a hook changes os.environ")
class SetsItWhileItSends(Example):
    @hookimpl
    async def send_sms(self, message):
        os.environ["ACME_LAST"] = message.id
        return await super().send_sms(message)


@wrong("plugin.process", "logging.raiseExceptions")
class SilencesLoggingErrors(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        logging.raiseExceptions = False
        async with super().lifespan():
            yield


@wrong("plugin.process", "level of loggers that are not its own")
class SilencesAsyncio(Constructs):
    def also(self):
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)


STOP = threading.Event()


@wrong("plugin.constructor", "starts a thread")
class StartsAThread(Constructs):
    def also(self):
        threading.Thread(target=STOP.wait, args=(5,), daemon=True).start()


@wrong("plugin.constructor", "makes a socket")
class MakesASocket(Constructs):
    def also(self):
        socket.socket().close()


@wrong("plugin.starts", "RuntimeError")
class FailsToOpen(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        raise RuntimeError("no")
        yield


@wrong("plugin.starts", "SystemExit")
class ExitsInTheConstructor(Constructs):
    def also(self):
        raise SystemExit(1)


@wrong("plugin.starts", "ConfigError")
class RefusesItsTable(Constructs):
    def also(self):
        raise ConfigError([Fault("api_key", "is never right")])


@wrong("lifespan.opens_and_closes", "threads still run")
class LeavesAThread(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        threading.Thread(target=STOP.wait, args=(60,), name="stray", daemon=True).start()
        async with super().lifespan():
            yield


@wrong("lifespan.background_exits", "SystemExit")
class ExitsInATask(Example):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        async def leave():
            sys.exit(1)

        self.task = asyncio.create_task(leave())
        async with super().lifespan():
            yield
        await asyncio.wait({self.task})
        self.task.exception()


@wrong("plugin.hooks", "has a hook send_smss, which is not in the contract: is it send_sms?")
class MisspelledHook(Example):
    @hookimpl
    async def send_smss(self, message):
        raise NotImplementedError


@wrong("plugin.hooks", "recieve, which is not in the contract; there are: lifespan")
class InventedHook(Example):
    @hookimpl
    async def recieve(self, message):
        raise NotImplementedError


@wrong("plugin.hooks", "Argument")
class MisspelledArgument(Example):
    @hookimpl
    async def send_sms(self, msg):
        raise NotImplementedError


@wrong("plugin.attributes", "retry_status is 400")
class RetriesAfter400(Example):
    retry_status = 400


@wrong("plugin.attributes", "replay_safe is '1 h'")
class ReplaySafeAsText(Example):
    replay_safe = "1 h"


@wrong("plugin.attributes", "replay_safe is -1")
class NegativeReplaySafe(Example):
    replay_safe = -1.0


@wrong("plugin.attributes", "delivers is 'no'")
class DeliversAsText(Example):
    delivers = "no"


@wrong("plugin.attributes", "reports_itself is 1, not True or False")
class ReportsItselfAsNumber(Example):
    reports_itself = 1


@wrong("plugin.attributes", "retry_statuses is no attribute of the contract: is it retry_status?")
class MisspelledAttribute(Example):
    retry_statuses = 429


class PublicKeyId(Settings, frozen=True):
    token: Annotated[str, Meta(extra={"public": True})] = ""


class WithAPublicKeyId(Example):
    settings_type = PublicKeyId


async def test_a_key_that_anybody_may_see_is_no_secret(verdict):
    assert await verdict("settings.secret_types", WithAPublicKeyId, "") == ""


@pytest.fixture(autouse=True)
def ends_threads():
    STOP.clear()
    yield
    STOP.set()


@pytest.mark.parametrize(("check_id", "plugin", "says"), WRONG)
async def test_the_wrong_plugin_fails_the_check(verdict, check_id, plugin, says):
    before = dict(os.environ)

    assert re.search(says, await verdict(check_id, plugin, says))

    assert dict(os.environ) == before
