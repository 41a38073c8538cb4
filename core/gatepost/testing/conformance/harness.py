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
from gatepost.model import Channel, Contact, Email, Mailbox, Receipt, Secret, Sms, Status
from gatepost.observe.leaves import secrets
from gatepost.testing.conformance.provider import Provider, Reporter
from gatepost.testing.conformance.recorder import Recorder, recording
from gatepost.testing.conformance.running_plugin import TIMEOUT, RunningPlugin, describe, lifespan_of
from gatepost.testing.fakes import FakeCore
from gatepost.testing.features import FailureMode, Need
from gatepost.testing.kit_emulator import default_recipient, no_port_table, with_https
from gatepost.testing.received import ReceivedMessage

CANARY = "Xaviera"
"""A word in every message's text and subject, which must turn up in no log and no error."""


@dataclass(kw_only=True, repr=False)
class Harness:
    """One plugin under test, and everything that its author has declared about it.

    Large, because the checks of every hook reach the plugin, its provider and its messages through it.
    """

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
    declared: Collection[Need] = ()
    """How the emulated provider can fail, what it can carry, and how it reports."""
    recipient: Callable[[Channel, int, FailureMode | None], str] = default_recipient
    table_for_port: Callable[[int], Mapping[str, Any]] = no_port_table
    table_for_tls_port: Callable[[int], Mapping[str, Any]] | None = None
    """None: the keys of ``table_for_port`` with https in place of http."""
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

    def private_values(self) -> list[str]:
        """Return what no report of a check may show: the secrets and the recipients of the messages so far."""
        try:
            return [*self.secrets(), *self.recipients]
        except (ConfigError, AttributeError):
            return self.recipients

    def make_plugin(
        self, core: FakeCore | None = None, *, table: Mapping[str, Any] | None = None, **context: Any
    ) -> Any:
        """Return an instance of the plugin; raises ConfigError as its constructor does.

        ``context`` are fields of its Context.
        """
        core = core or FakeCore(Recorder().logger("conformance"))
        defaults = {
            "folder": self.base,
            "timeout": TIMEOUT,
            "lookup_timeout": TIMEOUT,
            "concurrency": 4,
        }
        return self.plugin(self.settings(table), core.context(**{**defaults, **context}))

    @asynccontextmanager
    async def run_plugin(
        self, *, table: Mapping[str, Any] | None = None, lease_free: bool = True, **context: Any
    ) -> AsyncIterator[RunningPlugin]:
        """Run a new instance inside its lifespan, with everything that it does recorded.

        ``context`` are fields of its Context; ``lease_free`` says whether it gets its leases.
        """
        recorder = Recorder()
        core = FakeCore(recorder.logger("conformance"))
        core.lease_free = lease_free
        with recording(), recorder.capture_output():
            plugin = self.make_plugin(core, table=table, **context)
            async with lifespan_of(plugin, recorder):
                yield RunningPlugin(plugin, recorder, core)
            # What it keeps in the store must hold nothing private either.
            recorder.texts += [f"state {key} {value}" for key, value in core.values.items()]

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

    def tls_table(self, port: int) -> Mapping[str, Any]:
        """Return a table that leads the plugin to a port of this machine where a TLS server is."""
        own = self.table_for_tls_port
        return {**self.table, **(own(port) if own else with_https(self.table_for_port(port)))}

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

    def received(self, message_id: str) -> list[ReceivedMessage]:
        """Return what the emulated provider has taken with this id of ours."""
        return [one for one in self.emulated_provider.received() if one.id == message_id]

    def for_channel(self, channel: Channel) -> "Harness":
        """Return the same harness for another channel."""
        return replace(self, channel=channel)

    def message(self, failure: FailureMode | None = None, **fields: Any) -> Any:
        """Return a message of the harness's channel with an id and a recipient of its own."""
        channel = self.channel or next(iter(self.channels))
        recipient = self.recipient(channel, next(self._numbers), failure)
        values = {
            "id": str(uuid.uuid4()),
            "lifetime": 600.0,
            "text": f"{CANARY}, 20 spins wait",
            "client": "brand",
            "uid": f"uid-{uuid.uuid4()}",
            "tags": ("brand", "news"),
            "idempotency_key": str(uuid.uuid4()),
            **fields,
        }
        values.setdefault("recipient", Secret(recipient))
        self.recipients.append(values["recipient"].reveal())
        if channel is Channel.SMS:
            return Sms(**{"sender": "Amazing", **values})
        sender = Mailbox("news@amazing.example", "Amazing")
        defaults = {
            "sender": sender,
            "subject": f"{CANARY}, a letter for you",
            "html": f"<p>{CANARY}, 20 spins wait</p>",
        }
        return Email(**{**defaults, **values})

    async def send_message(self, running: RunningPlugin, **fields: Any) -> tuple[Any, Receipt]:
        """Send a message and return it with its Receipt; raise AssertionError where there is none."""
        message = self.message(**fields)
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
