"""The conformance suites: subclass those for what the plugin can do, and pytest runs their checks on it.

::

    class TestAcme(SmsSuite, WebhookSuite, LifespanSuite, PingSuite):
        plugin = AcmeSms
        plays = {*EMULATED, Trouble.UNREACHABLE}
        reports_are = {Form.BODY_SIGNED, Form.TIME_SIGNED, Form.BATCHED}
        meanings = {"sent": [], "arrived": [Status.DELIVERED]}
        verification_keys = {"webhook_secret"}

        @pytest.fixture
        async def provider(self):  # an Emulator, or a Provider; a plugin without a provider needs none
            async with AcmeEmulator() as emulator:
                yield emulator

        @pytest.fixture  # the keys of its [plugins.NAME] table, leading to the stand-in
        def table(self, provider):
            return {"api_key": "…", "base_url": provider.base_url, "webhook_secret": provider.secret}

        def at_port(self, port):
            return {"base_url": f"http://127.0.0.1:{port}"}

What a suite does not declare is not checked, and named at the end of pytest's report.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gatepost.hookspecs import SEND_HOOKS, Plugin
from gatepost.model import Channel, Contact, Status
from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance.bench import Bench, no_port, usual_recipient
from gatepost.testing.conformance.people import PEOPLE
from gatepost.testing.conformance.provider import EMULATED, Emulated, Form, Provider, Trouble
from gatepost.testing.conformance.registry import Check, Group, of
from gatepost.testing.emulator import Emulator

__all__ = [
    "EMULATED",
    "ContactsSuite",
    "EmailSuite",
    "Form",
    "LifespanSuite",
    "PingSuite",
    "PluginSuite",
    "Provider",
    "SmsSuite",
    "Trouble",
    "WebhookSuite",
]


class PluginSuite:
    """What every plugin must do. The other suites inherit from it."""

    plugin: ClassVar[type[Plugin]]
    """The class under test."""
    plays: ClassVar[Collection[Trouble]] = frozenset()
    """The troubles that the stand-in can make: ``EMULATED`` for an Emulator of ``gatepost.testing``."""

    groups: ClassVar[Collection[Group]] = (Group.PLUGIN, Group.SETTINGS)
    hook: ClassVar[str] = ""
    reports_are: ClassVar[Collection[Form]] = frozenset()
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {}
    verification_keys: ClassVar[Collection[str]] = frozenset()

    def at_port(self, port: int) -> Mapping[str, Any]:
        """The keys of the table that lead to a port of this machine; needed for Trouble.UNREACHABLE."""
        return no_port(port)

    def recipient(self, channel: Channel, number: int, trouble: Trouble | None) -> str:
        """An address or number; replace it where the recipient is what makes the stand-in misbehave.

        Another one for each ``number`` (from 0 on), so that one can be told from the other.
        """
        return usual_recipient(channel, number, trouble)

    @pytest.fixture
    def anyio_backend(self) -> str:
        """The gateway's event loop is asyncio's."""
        return "asyncio"

    @pytest.fixture
    def bench(self, request: pytest.FixtureRequest, table: Mapping[str, Any], tmp_path: Path) -> Bench:
        """What the checks run on."""
        provider = _provider(request)
        return Bench(
            plugin=self.plugin,
            table=table,
            provider=Emulated(provider) if isinstance(provider, Emulator) else provider,
            channels=channels(type(self)),
            hooks=hooks(type(self)),
            plays=frozenset(self.plays),
            reports_are=frozenset(self.reports_are),
            recipient=self.recipient,
            at_port=self.at_port,
            meanings=self.meanings,
            verification_keys=self.verification_keys,
            people=PEOPLE,
            base=tmp_path,
        )

    @pytest.mark.anyio
    async def test_conformance(self, bench: Bench, case: "tuple[Check, Channel | None]") -> None:
        """One check of the kit."""
        check, channel = case
        await check.run(bench.on(channel) if channel else bench)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each check that the class declares."""
        if "case" in metafunc.fixturenames and metafunc.cls is not None:
            found = cases(metafunc.cls)
            metafunc.parametrize("case", [pytest.param(case, id=name) for name, case in found.items()])


def _provider(request: pytest.FixtureRequest) -> Any:
    """The fixture ``provider``, from the class or a conftest; None where there is none."""
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
    """For a contact source. The fixture ``table`` leads to a source that holds the fixture ``people``."""

    groups = (Group.CONTACTS,)
    hook = "find_contact"

    @pytest.fixture
    def people(self) -> Mapping[str, Contact]:
        """Who has to be in the source, by ext_user_id; put them in as they are."""
        return PEOPLE


class EmailSuite(PluginSuite):
    """For a plugin that sends email."""

    groups = (Group.SEND,)
    hook = SEND_HOOKS[Channel.EMAIL]


class SmsSuite(PluginSuite):
    """For a plugin that sends text messages."""

    groups = (Group.SEND,)
    hook = SEND_HOOKS[Channel.SMS]


class WebhookSuite(PluginSuite):
    """For a plugin whose provider reports back, about messages that the plugin has sent."""

    groups = (Group.WEBHOOKS,)
    hook = "parse_webhook"

    reports_are: ClassVar[Collection[Form]] = frozenset()
    """What is true of the provider's reports."""
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {}
    """What each kind of report means; an empty list for a kind that means no status."""
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
    """The hooks that the suites of a class stand for."""
    return [base.hook for base in SUITES if base.hook and issubclass(suite, base)]


def channels(suite: type[PluginSuite]) -> list[Channel]:
    """What the suites of a class say that the plugin sends."""
    return [channel for channel, hook in SEND_HOOKS.items() if hook in hooks(suite)]


def cases(suite: type[PluginSuite]) -> dict[str, tuple[Check, Channel | None]]:
    """The checks for a class, by what pytest calls them; those of sending once a channel."""
    found: dict[str, tuple[Check, Channel | None]] = {}
    for check in _of(suite):
        if not check.needs <= declared(suite):
            continue
        if check.group is not Group.SEND:
            found[check.id] = check, None
            continue
        for channel in channels(suite):
            found[f"{check.id}-{channel}"] = check, channel
    return found


def declared(suite: type[PluginSuite]) -> frozenset[Trouble | Form]:
    """What a class declares beside its hooks."""
    return frozenset({*suite.plays, *suite.reports_are})


def undeclared(suite: type[PluginSuite]) -> list[str]:
    """What is not checked: hooks that are no suite's, and what the checks of the others would need."""
    names = [f"{base.hook} ({base.__name__})" for base in SUITES if base.hook and not issubclass(suite, base)]
    plugin = getattr(suite, "plugin", None)
    there = [name for name in names if plugin and implements(plugin, name.partition(" ")[0])]
    marked = [f"{name}, WHICH IT HAS" if name in there else name for name in names]
    needs = {need for check in _of(suite) for need in check.needs}
    return [*marked, *sorted(str(need) for need in needs - declared(suite))]


def _of(suite: type[PluginSuite]) -> list[Check]:
    groups = {group for base in SUITES if issubclass(suite, base) for group in base.groups}
    return of(groups)
