"""A plugin inside its lifespan, as the checks call it."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from gatepost.hookspecs import SEND_HOOKS
from gatepost.model import Channel, Email, Secret, Sms, WebhookRequest
from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance.leaks import text_of
from gatepost.testing.conformance.recorder import Recorder
from gatepost.testing.fakes import FakeCore

TIMEOUT = 10.0
"""Seconds of timeout given to a plugin whose emulated provider answers at once."""
CALL_TIMEOUT = 20.0
"""Seconds after which a check gives up waiting for a call or for anything else."""
CANCEL_TIMEOUT = 10.0
"""Seconds within which a hook that is cancelled must end."""
SHORT_TIMEOUTS = (0.3, 1.2, 4.8)
"""Seconds of timeout given to a plugin whose emulated provider never answers. The longer ones are tried where
a busy machine was too slow for the one before."""


class RunningPlugin:
    """A plugin inside its lifespan. Every call is recorded, and bounded so that it can't hang the tests."""

    def __init__(self, plugin: Any, recorder: Recorder, core: FakeCore) -> None:
        self.plugin = plugin
        self.recorder = recorder
        self.core = core

    async def send(self, message: Email | Sms) -> object:
        """Return what the sending hook returned, or the error that it raised."""
        return await self.outcome(sending_hook(message), message)

    async def ping(self) -> object:
        return await self.outcome("ping")

    async def find(self, ext_user_id: str) -> object:
        return await self.outcome("find_contact", ext_user_id)

    async def find_many(self, ext_user_ids: Sequence[str]) -> object:
        return await self.outcome("find_contacts", ext_user_ids)

    async def find_user(self, channel: Channel, recipient: Secret) -> object:
        return await self.outcome("find_user", channel, recipient)

    async def parse(self, request: WebhookRequest) -> object:
        return await self.outcome("parse_webhook", request)

    async def outcome(self, hook: str, *arguments: object) -> object:
        """Return what a hook returned or raised; raise AssertionError where it does not end."""
        task = self.begin(hook, *arguments)
        await asyncio.wait({task}, timeout=CALL_TIMEOUT)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=1.0)
            raise AssertionError(
                f"{task.get_name()} did not end within {CALL_TIMEOUT:g} s: it has no deadline"
            )
        if task.cancelled():
            raise AssertionError(f"{task.get_name()} cancelled itself")
        return task.exception() or task.result()

    def begin(self, hook: str, *arguments: object) -> "asyncio.Task[Any]":
        """Call a hook in a task of its own, and return the task."""
        with self.recorder.plugin_code():
            task = asyncio.create_task(self._run(hook, *arguments), name=hook)
        # A check that fails before it asks for the outcome must not fail a second time, by an error never retrieved.
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return task

    async def _run(self, hook: str, *arguments: object) -> Any:
        # Called in here: a task that is cancelled before its first turn leaves no coroutine unawaited.
        # A MemorySource's hook is a plain ``def``.
        returned = getattr(self.plugin, hook)(*arguments)
        return await returned if inspect.isawaitable(returned) else returned


def sending_hook(message: Email | Sms) -> str:
    """Return the name of the hook that sends this message."""
    return SEND_HOOKS[Channel.EMAIL if isinstance(message, Email) else Channel.SMS]


@asynccontextmanager
async def lifespan_of(plugin: Any, recorder: Recorder) -> AsyncIterator[None]:
    """Enter the plugin's lifespan, where it has one; only entering and leaving it are recorded."""
    if not hasattr(type(plugin), "lifespan") or not implements(type(plugin), "lifespan"):
        yield
        return
    manager: AbstractAsyncContextManager[None] = plugin.lifespan()
    with recorder.plugin_code():
        await manager.__aenter__()
    try:
        yield
    except BaseException as error:
        with recorder.plugin_code():
            if not await manager.__aexit__(type(error), error, error.__traceback__):
                raise
    else:
        with recorder.plugin_code():
            await manager.__aexit__(None, None, None)


async def wait_until(predicate: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    """Wait until ``predicate`` is true; raise AssertionError with the text of ``otherwise`` where it never is."""
    try:
        async with asyncio.timeout(CALL_TIMEOUT):
            while not predicate():  # noqa: ASYNC110  what is waited for sets no event
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(otherwise()) from None


def describe(outcome: object) -> str:
    """Return a hook's outcome in words, for the plugin's author."""
    if not isinstance(outcome, BaseException):
        return f"it returned {outcome!r}"
    first = text_of(outcome).partition("\n")[0]
    return f"it raised {type(outcome).__name__}({first})"


async def gather(calls: Sequence[Awaitable[object]]) -> list[object]:
    """Await all calls concurrently and return their results in order."""
    return list(await asyncio.gather(*calls))
