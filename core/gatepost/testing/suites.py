"""The conformance suites: subclass those for the plugin's hooks, and pytest runs their checks on it.

::

    class TestAcme(SmsSuite, WebhookSuite, LifespanSuite, PingSuite):
        plugin = AcmeSms
        failure_modes = {*EMULATED, FailureMode.UNREACHABLE}
        report_features = {
            ReportFeature.BODY_SIGNED,
            ReportFeature.TIME_SIGNED,
            ReportFeature.BATCHED,
        }
        meanings = {"sent": [], "arrived": [Status.DELIVERED]}
        verification_keys = {"webhook_secret"}

        @pytest.fixture
        async def provider(self):  # an Emulator or a Provider; left out where there is no provider
            async with AcmeEmulator() as emulator:
                yield emulator

        @pytest.fixture  # the keys of its [plugins.NAME] table, which lead to the emulated provider
        def table(self, provider):
            return {"api_key": "…", "base_url": provider.base_url, "webhook_secret": provider.secret}

        def table_for_port(self, port):
            return {"base_url": f"http://127.0.0.1:{port}"}

What a suite does not declare is not checked; the end of pytest's report names it.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gatepost.hookspecs import SEND_HOOKS, Plugin
from gatepost.model import Channel, Contact, Status
from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance.harness import Harness, default_recipient, no_port_table
from gatepost.testing.conformance.provider import (
    EMULATED,
    ContactFeature,
    EmulatedProvider,
    FailureMode,
    Provider,
    ReportFeature,
)
from gatepost.testing.conformance.registry import Check, Group, Need, checks_of
from gatepost.testing.conformance.sample_contacts import BLOCKED_CONTACTS, SAMPLE_CONTACTS
from gatepost.testing.emulator import Emulator

__all__ = [
    "EMULATED",
    "ContactFeature",
    "ContactsSuite",
    "EmailSuite",
    "FailureMode",
    "LifespanSuite",
    "PingSuite",
    "PluginSuite",
    "Provider",
    "ReportFeature",
    "SmsSuite",
    "WebhookSuite",
]


class PluginSuite:
    """What every plugin must do. The other suites inherit from it."""

    plugin: ClassVar[type[Plugin]]
    """The class under test."""
    failure_modes: ClassVar[Collection[FailureMode]] = frozenset()
    """How the emulated provider can fail: ``EMULATED`` for an Emulator of ``gatepost.testing``."""

    groups: ClassVar[Collection[Group]] = (Group.PLUGIN, Group.SETTINGS)
    hook: ClassVar[str] = ""
    contact_features: ClassVar[Collection[ContactFeature]] = frozenset()
    report_features: ClassVar[Collection[ReportFeature]] = frozenset()
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {}
    verification_keys: ClassVar[Collection[str]] = frozenset()

    def table_for_port(self, port: int) -> Mapping[str, Any]:
        """Return the keys of the table that lead to a port of this machine; for FailureMode.UNREACHABLE."""
        return no_port_table(port)

    def recipient(self, channel: Channel, number: int, failure: FailureMode | None) -> str:
        """Return an address or number; override it where the emulated provider fails by recipient.

        Each ``number`` (from 0 on) must give another recipient.
        """
        return default_recipient(channel, number, failure)

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Run the checks on asyncio's event loop, as the gateway does."""
        return "asyncio"

    @pytest.fixture
    def harness(self, request: pytest.FixtureRequest, table: Mapping[str, Any], tmp_path: Path) -> Harness:
        """Return what the checks run on."""
        provider = _provider(request)
        return Harness(
            plugin=self.plugin,
            table=table,
            provider=EmulatedProvider(provider) if isinstance(provider, Emulator) else provider,
            channels=channels(type(self)),
            hooks=hooks(type(self)),
            failure_modes=frozenset(self.failure_modes),
            report_features=frozenset(self.report_features),
            recipient=self.recipient,
            table_for_port=self.table_for_port,
            meanings=self.meanings,
            verification_keys=self.verification_keys,
            contacts=sample_contacts(type(self)),
            base=tmp_path,
        )

    @pytest.mark.anyio
    async def test_conformance(self, harness: Harness, case: "tuple[Check, Channel | None]") -> None:
        """Run one check of the kit."""
        check, channel = case
        await check.run(harness.for_channel(channel) if channel else harness)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each check for what the class declares."""
        if "case" in metafunc.fixturenames and metafunc.cls is not None:
            found = cases(metafunc.cls)
            metafunc.parametrize("case", [pytest.param(case, id=name) for name, case in found.items()])


def _provider(request: pytest.FixtureRequest) -> Any:
    """Return the fixture ``provider`` of the class or a conftest; None where there is none."""
    try:
        return request.getfixturevalue("provider")
    except pytest.FixtureLookupError as error:
        if error.argname != "provider":
            raise
        return None


class LifespanSuite(PluginSuite):
    """For a plugin with a ``lifespan``."""

    groups = (Group.LIFESPAN,)
    hook = "lifespan"


class PingSuite(PluginSuite):
    """For a plugin with a ``ping``."""

    groups = (Group.PING,)
    hook = "ping"


class ContactsSuite(PluginSuite):
    """For a contact source. The fixture ``table`` leads to a source that holds the fixture ``contacts``."""

    groups = (Group.CONTACTS,)
    hook = "find_contact"

    contact_features: ClassVar[Collection[ContactFeature]] = frozenset()
    """The properties of the source."""

    @pytest.fixture
    def contacts(self) -> Mapping[str, Contact]:
        """Return the users that the source must hold unchanged, by ext_user_id; with BLOCKS, some are blocked."""
        return sample_contacts(type(self))


class EmailSuite(PluginSuite):
    """For a plugin that sends email."""

    groups = (Group.SEND,)
    hook = SEND_HOOKS[Channel.EMAIL]


class SmsSuite(PluginSuite):
    """For a plugin that sends text messages."""

    groups = (Group.SEND,)
    hook = SEND_HOOKS[Channel.SMS]


class WebhookSuite(PluginSuite):
    """For a plugin whose provider reports on the messages that the plugin has sent."""

    groups = (Group.WEBHOOKS,)
    hook = "parse_webhook"

    report_features: ClassVar[Collection[ReportFeature]] = frozenset()
    """The properties of the provider's reports."""
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {}
    """The statuses that each kind of report means; an empty list for a kind that means no status."""
    verification_keys: ClassVar[Collection[str]] = frozenset()
    """The keys of the table without which reports can't be verified."""


SUITES: Sequence[type[PluginSuite]] = (
    PluginSuite,
    LifespanSuite,
    PingSuite,
    ContactsSuite,
    EmailSuite,
    SmsSuite,
    WebhookSuite,
)


def hooks(suite: type[PluginSuite]) -> list[str]:
    """Return the hooks that the suites of a class check."""
    return [base.hook for base in SUITES if base.hook and issubclass(suite, base)]


def channels(suite: type[PluginSuite]) -> list[Channel]:
    """Return the channels that the suites of a class send on."""
    return [channel for channel, hook in SEND_HOOKS.items() if hook in hooks(suite)]


def sample_contacts(suite: type[PluginSuite]) -> Mapping[str, Contact]:
    """Return the users that the source of a class must hold, by ext_user_id."""
    blocks = ContactFeature.BLOCKS in suite.contact_features
    return {**SAMPLE_CONTACTS, **BLOCKED_CONTACTS} if blocks else SAMPLE_CONTACTS


def cases(suite: type[PluginSuite]) -> dict[str, tuple[Check, Channel | None]]:
    """Return the checks for a class, by the names of their tests; those of sending once for each channel."""
    found: dict[str, tuple[Check, Channel | None]] = {}
    for check in _checks(suite):
        if not check.needs <= declared(suite):
            continue
        if check.group is not Group.SEND:
            found[check.id] = check, None
            continue
        for channel in channels(suite):
            found[f"{check.id}-{channel}"] = check, channel
    return found


def declared(suite: type[PluginSuite]) -> frozenset[Need]:
    """Return what a class declares besides its hooks."""
    return frozenset({*suite.failure_modes, *suite.contact_features, *suite.report_features})


def undeclared(suite: type[PluginSuite]) -> list[str]:
    """Return what is not checked: hooks without a suite, and failures and features that the class does not declare."""
    names = [f"{base.hook} ({base.__name__})" for base in SUITES if base.hook and not issubclass(suite, base)]
    plugin = getattr(suite, "plugin", None)
    implemented = [name for name in names if plugin and implements(plugin, name.partition(" ")[0])]
    marked = [f"{name}, WHICH THE PLUGIN IMPLEMENTS" if name in implemented else name for name in names]
    needs = {need for check in _checks(suite) for need in check.needs}
    return [*marked, *sorted(str(need) for need in needs - declared(suite))]


def _checks(suite: type[PluginSuite]) -> list[Check]:
    groups = {group for base in SUITES if issubclass(suite, base) for group in base.groups}
    return checks_of(groups)
