"""What the checks run on: a plugin with its settings, a stand-in, messages with telling recipients."""

import asyncio
import inspect
import itertools
import os
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gatepost.config.settings import CORE_KEYS
from gatepost.config.toml_table import Table
from gatepost.errors import ConfigError, Fault
from gatepost.hookspecs import SEND_HOOKS, Context
from gatepost.model import Channel, Contact, Email, Mailbox, Receipt, Secret, Sms, Status, WebhookRequest
from gatepost.observe.leaves import secrets
from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance.provider import Form, Provider, Reporter, Trouble
from gatepost.testing.conformance.watching import (
    Watch,
    everything_in,
    metered,
    noticed,
)

TIMEOUT = 10.0
"""Seconds of timeout given to a plugin whose stand-in answers at once."""
PATIENCE = 20.0
"""Seconds after which something that should have happened long ago never will."""
RELEASE = 10.0
"""Seconds in which a hook that is cancelled must have let go."""
SHORT_TIMEOUTS = (0.3, 1.2, 4.8)
"""Seconds of timeout given to a plugin whose stand-in will never answer. The longer ones are tried where a busy
machine was too slow for the one before."""


_DEFAULT_RECIPIENT = {Channel.EMAIL: "canary.{}+tag@people.example", Channel.SMS: "+4477009000{:02}"}


def usual_recipient(channel: Channel, number: int, trouble: Trouble | None) -> str:  # noqa: ARG001  a stand-in that reads its troubles from the recipient replaces this
    """The recipient of the message with this number (10 and more), an address or number of nobody's."""
    return _DEFAULT_RECIPIENT[channel].format(10 + number % 80)


def no_port(port: int) -> Mapping[str, Any]:
    """Stands where a suite has no ``at_port``."""
    raise NotImplementedError(f"at_port({port}) is missing: it names the settings that lead to a port")


class Live:
    """A plugin inside its lifespan. Every call is watched, and bounded so that it can't hang the tests."""

    def __init__(self, plugin: Any, watch: Watch) -> None:
        self.plugin = plugin
        self.watch = watch

    async def send(self, message: Email | Sms) -> object:
        """What the sending hook returned, or the error that it raised."""
        return await self.outcome(sending_hook(message), message)

    async def ping(self) -> object:
        return await self.outcome("ping")

    async def find(self, ext_user_id: str) -> object:
        return await self.outcome("find_contact", ext_user_id)

    async def parse(self, request: WebhookRequest) -> object:
        return await self.outcome("parse_webhook", request)

    async def outcome(self, hook: str, *arguments: object) -> object:
        """What a hook returned or raised; AssertionError when it does not end."""
        task = self.begin(hook, *arguments)
        await asyncio.wait({task}, timeout=PATIENCE)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=1.0)
            raise AssertionError(f"{task.get_name()} did not end within {PATIENCE:g} s: it has no deadline")
        if task.cancelled():
            raise AssertionError(f"{task.get_name()} cancelled itself")
        return task.exception() or task.result()

    def begin(self, hook: str, *arguments: object) -> "asyncio.Task[Any]":
        """The hook under way, in a task of its own."""
        with self.watch.mine():
            return asyncio.create_task(self._run(hook, *arguments), name=hook)

    async def _run(self, hook: str, *arguments: object) -> Any:
        # Made in here: a task that is cancelled before its first turn leaves no coroutine unawaited.
        return await metered(self.watch, _called(getattr(self.plugin, hook), *arguments))


async def _called(hook: Callable[..., Any], *arguments: object) -> Any:
    """What a hook gives, whether it is written as ``async def`` or, as a MemorySource's, as a plain one."""
    given = hook(*arguments)
    return await given if inspect.isawaitable(given) else given


def sending_hook(message: Email | Sms) -> str:
    """The name of the hook that sends this."""
    return SEND_HOOKS[Channel.EMAIL if isinstance(message, Email) else Channel.SMS]


@dataclass(kw_only=True, repr=False)
class Bench:
    """One plugin under test, and everything that its author has said about it."""

    plugin: type[Any]
    table: Mapping[str, Any]
    """The plugin's own keys of its ``[plugins.NAME]`` table, as TOML would have them."""
    provider: Provider | None = None
    channel: Channel | None = None
    """What is sent in this check."""
    channels: Sequence[Channel] = ()
    """What the plugin was declared to send."""
    hooks: Collection[str] = ()
    """The hooks that the plugin was declared to have."""
    plays: Collection[Trouble] = ()
    """The troubles that the stand-in can make."""
    reports_are: Collection[Form] = ()
    recipient: Callable[[Channel, int, Trouble | None], str] = usual_recipient
    at_port: Callable[[int], Mapping[str, Any]] = no_port
    meanings: Mapping[str, Sequence[Status]] = field(default_factory=dict)
    """What each kind of the provider's reports means; nothing for one that means no status."""
    verification_keys: Collection[str] = ()
    """The keys without which the plugin takes no webhooks."""
    people: Mapping[str, Contact] = field(default_factory=dict)
    """Whom the source knows."""
    base: Path = field(default_factory=Path)
    """What relative paths of the table are relative to."""
    recipients: list[str] = field(default_factory=list)
    """All that messages were made for: none of them may turn up anywhere."""
    watches: list[Watch] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    # The plugin.

    def settings(self, table: Mapping[str, Any] | None = None) -> Any:
        """The table as the core would convert it; raises ConfigError as the core does."""
        source = Table.root(
            self.table if table is None else table, base=self.base, environment=os.environ
        ).split(CORE_KEYS)[1]
        made = source.convert(self.plugin.settings_type, "")
        if made is None:
            raise ConfigError(Fault(key.removeprefix("."), problem) for key, problem in source.faults)
        return made

    def secrets(self) -> list[str]:
        """The values of the settings' Secrets."""
        return [secret.reveal() for secret in secrets(self.settings())]

    def make(
        self,
        watch: Watch | None = None,
        *,
        table: Mapping[str, Any] | None = None,
        seconds: float = TIMEOUT,
        concurrency: int = 4,
    ) -> Any:
        """An instance of the plugin with this timeout; raises ConfigError as its constructor does."""
        log = (watch or Watch()).logger("conformance")
        context = Context(name="conformance", log=log, concurrency=concurrency, timeout=seconds)
        return self.plugin(self.settings(table), context)

    @asynccontextmanager
    async def live(
        self, *, table: Mapping[str, Any] | None = None, seconds: float = TIMEOUT, concurrency: int = 4
    ) -> AsyncIterator[Live]:
        """A new instance inside its lifespan, with this timeout and everything about it watched."""
        watch = Watch()
        self.watches.append(watch)
        with noticed(), watch.listening():
            plugin = self.make(watch, table=table, seconds=seconds, concurrency=concurrency)
            async with lifespan_of(plugin, watch):
                yield Live(plugin, watch)

    @contextmanager
    def playing(self, trouble: Trouble) -> Iterator[None]:
        """The stand-in makes this trouble while the block runs."""
        self.stand_in.play(trouble)
        try:
            yield
        finally:
            self.stand_in.play(None)

    @contextmanager
    def nobody_listening(self) -> Iterator[Mapping[str, Any]]:
        """The table that leads the plugin to a port where no one is; nobody takes the port meanwhile."""
        with closed_port() as port:
            yield {**self.table, **self.at_port(port)}

    # What is sent.

    @property
    def stand_in(self) -> Provider:
        """The provider; a check that asks for it can't do without."""
        if self.provider is None:
            raise AssertionError("the suite's fixture `provider` gives none, and this check needs one")
        return self.provider

    @property
    def reporter(self) -> Reporter:
        """The provider as one that reports."""
        reporter: Any = self.stand_in
        if not (hasattr(reporter, "report") and hasattr(reporter, "sign")):
            raise AssertionError("the suite's `provider` can't report: give it `report` and `sign`")
        found: Reporter = reporter
        return found

    def on(self, channel: Channel) -> "Bench":
        """The same bench for another channel."""
        return replace(self, channel=channel)

    def message(self, trouble: Trouble | None = None, **fields: Any) -> Any:
        """A message of the bench's channel with an id and a recipient of its own."""
        channel = self.channel or next(iter(self.channels))
        recipient = self.recipient(channel, next(self._numbers), trouble)
        values = {"id": str(uuid.uuid4()), "lifetime": 600.0, "text": "Hello there", **fields}
        values.setdefault("recipient", Secret(recipient))
        self.recipients.append(values["recipient"].reveal())
        if channel is Channel.SMS:
            return Sms(**{"sender": "Amazing", **values})
        sender = Mailbox("news@amazing.example", "Amazing")
        return Email(**{"sender": sender, "subject": "Hello", "html": "<p>Hello there</p>", **values})

    async def delivered(self, live: Live) -> tuple[Any, Receipt]:
        """A message that was sent well; AssertionError when it was not."""
        message = self.message()
        receipt = await live.send(message)
        if not isinstance(receipt, Receipt):
            raise AssertionError(f"a good message was not taken: {described(receipt)}")  # noqa: TRY004  a check's failure
        return message, receipt


@asynccontextmanager
async def lifespan_of(plugin: Any, watch: Watch) -> AsyncIterator[None]:
    """The plugin's lifespan, where it has one; in and out are the plugin's doing, what lies between is not."""
    if not hasattr(type(plugin), "lifespan") or not implements(type(plugin), "lifespan"):
        yield
        return
    manager: AbstractAsyncContextManager[None] = plugin.lifespan()
    with watch.mine():
        await manager.__aenter__()
    try:
        yield
    except BaseException as error:
        with watch.mine():
            if not await manager.__aexit__(type(error), error, error.__traceback__):
                raise
    else:
        with watch.mine():
            await manager.__aexit__(None, None, None)


@contextmanager
def closed_port() -> Iterator[int]:
    """A port of this machine where no one listens, and that nobody takes while the block runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def until(condition: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    """Wait for something that others do; AssertionError when it never comes."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  what is waited for sets no event
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(otherwise()) from None


def described(outcome: object) -> str:
    """An outcome for the author's eyes."""
    if not isinstance(outcome, BaseException):
        return f"it returned {outcome!r}"
    first = everything_in(outcome).partition("\n")[0]
    return f"it raised {type(outcome).__name__}({first})"


async def gathered(work: Sequence[Awaitable[object]]) -> list[object]:
    """All of it at once."""
    return list(await asyncio.gather(*work))
