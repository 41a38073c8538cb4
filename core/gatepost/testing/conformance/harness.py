"""What the checks run on: a plugin with its settings, an emulated provider, messages to send."""

import itertools
import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gatepost.config.settings import CORE_KEYS
from gatepost.config.toml_table import Table
from gatepost.errors import ConfigError, Fault
from gatepost.hookspecs import Context
from gatepost.model import Channel, Contact, Email, Mailbox, Receipt, Secret, Sms, Status
from gatepost.observe.leaves import secrets
from gatepost.testing.conformance.provider import FailureMode, Provider, Reporter, ReportFeature
from gatepost.testing.conformance.recorder import Recorder, recording
from gatepost.testing.conformance.running_plugin import TIMEOUT, RunningPlugin, describe, lifespan_of

_DEFAULT_RECIPIENT = {Channel.EMAIL: "canary.{}+tag@people.example", Channel.SMS: "+4477009000{:02}"}


def default_recipient(channel: Channel, number: int, failure: FailureMode | None) -> str:  # noqa: ARG001  a provider that fails by recipient replaces this
    """Return the recipient of the message with this number: an address or number that is in no use."""
    return _DEFAULT_RECIPIENT[channel].format(10 + number % 80)


def no_port_table(port: int) -> Mapping[str, Any]:
    """Raise NotImplementedError: the default for a suite without ``table_for_port``."""
    raise NotImplementedError(
        f"table_for_port({port}) is missing: it returns the keys of the table that lead to a port"
    )


@dataclass(kw_only=True, repr=False)
class Harness:
    """One plugin under test, and everything that its author has declared about it."""

    plugin: type[Any]
    table: Mapping[str, Any]
    """The plugin's own keys of its ``[plugins.NAME]`` table, as TOML would have them."""
    provider: Provider | None = None
    channel: Channel | None = None
    """The channel that this check sends on."""
    channels: Sequence[Channel] = ()
    """The channels that the plugin was declared to send on."""
    hooks: Collection[str] = ()
    """The hooks that the plugin was declared to have."""
    failure_modes: Collection[FailureMode] = ()
    """The ways in which the emulated provider can fail."""
    report_features: Collection[ReportFeature] = ()
    recipient: Callable[[Channel, int, FailureMode | None], str] = default_recipient
    table_for_port: Callable[[int], Mapping[str, Any]] = no_port_table
    meanings: Mapping[str, Sequence[Status]] = field(default_factory=dict)
    """The statuses that each kind of report means; empty for a kind that means no status."""
    verification_keys: Collection[str] = ()
    """The keys without which the plugin accepts no webhooks."""
    contacts: Mapping[str, Contact] = field(default_factory=dict)
    """The users that the source knows, by ext_user_id."""
    base: Path = field(default_factory=Path)
    """The folder that relative paths in the table start from."""
    recipients: list[str] = field(default_factory=list)
    """The recipients of all messages so far: none of them may appear in a log or an error."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    # The plugin.

    def settings(self, table: Mapping[str, Any] | None = None) -> Any:
        """Return the table as the core would convert it; raises ConfigError as the core does."""
        source = Table.root(
            self.table if table is None else table, base=self.base, environment=os.environ
        ).split(CORE_KEYS)[1]
        settings = source.convert(self.plugin.settings_type, "")
        if settings is None:
            raise ConfigError(Fault(key.removeprefix("."), problem) for key, problem in source.faults)
        return settings

    def secrets(self) -> list[str]:
        """Return the values of the settings' Secrets."""
        return [secret.reveal() for secret in secrets(self.settings())]

    def make_plugin(
        self,
        recorder: Recorder | None = None,
        *,
        table: Mapping[str, Any] | None = None,
        timeout: float = TIMEOUT,
        concurrency: int = 4,
    ) -> Any:
        """Return an instance of the plugin; raises ConfigError as its constructor does."""
        log = (recorder or Recorder()).logger("conformance")
        context = Context(name="conformance", log=log, concurrency=concurrency, timeout=timeout)
        return self.plugin(self.settings(table), context)

    @asynccontextmanager
    async def run_plugin(
        self,
        *,
        table: Mapping[str, Any] | None = None,
        timeout: float = TIMEOUT,  # noqa: ASYNC109  the plugin's own
        concurrency: int = 4,
    ) -> AsyncIterator[RunningPlugin]:
        """Run a new instance inside its lifespan, with everything that it does recorded."""
        recorder = Recorder()
        with recording(), recorder.capture_output():
            plugin = self.make_plugin(recorder, table=table, timeout=timeout, concurrency=concurrency)
            async with lifespan_of(plugin, recorder):
                yield RunningPlugin(plugin, recorder)

    @contextmanager
    def failing(self, failure: FailureMode) -> Iterator[None]:
        """Make the emulated provider fail in this way while the block runs."""
        self.emulated_provider.simulate(failure)
        try:
            yield
        finally:
            self.emulated_provider.simulate(None)

    @contextmanager
    def unreachable_table(self) -> Iterator[Mapping[str, Any]]:
        """Yield a table that leads the plugin to a port without a server; the port stays so in the block."""
        with closed_port() as port:
            yield {**self.table, **self.table_for_port(port)}

    # The provider and the messages.

    @property
    def emulated_provider(self) -> Provider:
        """The emulated provider; AssertionError where the suite has none."""
        if self.provider is None:
            raise AssertionError(
                "this check needs an emulated provider: the suite's fixture `provider` has none"
            )
        return self.provider

    @property
    def reporter(self) -> Reporter:
        """The emulated provider as one that reports; AssertionError where it can't."""
        reporter: Any = self.emulated_provider
        if not (hasattr(reporter, "report") and hasattr(reporter, "sign")):
            raise AssertionError("the suite's `provider` can't report: give it `report` and `sign`")
        found: Reporter = reporter
        return found

    def for_channel(self, channel: Channel) -> "Harness":
        """Return the same harness for another channel."""
        return replace(self, channel=channel)

    def message(self, failure: FailureMode | None = None, **fields: Any) -> Any:
        """Return a message of the harness's channel with an id and a recipient of its own."""
        channel = self.channel or next(iter(self.channels))
        recipient = self.recipient(channel, next(self._numbers), failure)
        values = {"id": str(uuid.uuid4()), "lifetime": 600.0, "text": "Hello there", **fields}
        values.setdefault("recipient", Secret(recipient))
        self.recipients.append(values["recipient"].reveal())
        if channel is Channel.SMS:
            return Sms(**{"sender": "Amazing", **values})
        sender = Mailbox("news@amazing.example", "Amazing")
        return Email(**{"sender": sender, "subject": "Hello", "html": "<p>Hello there</p>", **values})

    async def send_message(self, running: RunningPlugin) -> tuple[Any, Receipt]:
        """Send a message and return it with its Receipt; raise AssertionError where there is none."""
        message = self.message()
        receipt = await running.send(message)
        if not isinstance(receipt, Receipt):
            raise AssertionError(f"a good message was not taken: {describe(receipt)}")  # noqa: TRY004  a check's failure
        return message, receipt


@contextmanager
def closed_port() -> Iterator[int]:
    """Yield a port of this machine without a server; no other process gets it while the block runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
