"""The conformance suites: subclass those for the plugin's hooks, and pytest runs their checks on it.

::

    class TestAcme(SmsSuite, WebhookSuite, LifespanSuite, PingSuite):
        plugin = AcmeSms
        emulator = AcmeEmulator

The emulator, an Emulator or another ``KitEmulator``, declares what the provider can do. A suite without one has the fixtures ``provider``
(anything with the methods of ``conformance.provider.Provider``; left out where there is no provider) and ``table``, and
declares in its own attributes what is checked.

What a suite does not declare is not checked; the end of pytest's report names it.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gatepost.hookspecs import SEND_HOOKS, Plugin
from gatepost.model import Channel, Contact, Status
from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance import registry, runner
from gatepost.testing.conformance.declaration import declared_by
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.provider import Provider, provider_of
from gatepost.testing.conformance.registry import Case, checks_of, groups_of
from gatepost.testing.conformance.sample_contacts import BLOCKED_CONTACTS, SAMPLE_CONTACTS
from gatepost.testing.features import ContactFeature, FailureMode, MessageFeature, Need, ReportFeature
from gatepost.testing.kit_emulator import PROSE, KitEmulator, default_recipient, no_port_table, with_https
from gatepost.testing.plugin import RESULT

__all__ = [
    "PROSE",
    "BatchSuite",
    "ContactFeature",
    "ContactsSuite",
    "EmailSuite",
    "FailureMode",
    "LifespanSuite",
    "MessageFeature",
    "PingSuite",
    "PluginSuite",
    "Provider",
    "ReportFeature",
    "SmsSuite",
    "UserFinderSuite",
    "WebhookSuite",
]


class PluginSuite:
    """What every plugin must do. The other suites inherit from it.

    Large, because a suite of several hooks has the declarations of all of them.
    """

    plugin: ClassVar[type[Plugin]]
    """The class under test."""
    emulator: ClassVar[type[KitEmulator] | None] = None
    """The emulated provider; it declares itself what the attributes below would."""
    failure_modes: ClassVar[Collection[FailureMode]] = frozenset()
    """How the emulated provider can fail."""
    message_features: ClassVar[Collection[MessageFeature]] = frozenset()
    """For EmailSuite and SmsSuite: the parts of a message that the provider's API can carry."""
    report_features: ClassVar[Collection[ReportFeature]] = frozenset()
    """For WebhookSuite: the properties of the provider's reports."""
    contact_features: ClassVar[Collection[ContactFeature]] = frozenset()
    """For ContactsSuite: the properties of the source."""
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {}
    """For WebhookSuite: the statuses that each kind of report means; an empty list for a kind that means no status."""
    verification_keys: ClassVar[Collection[str]] = frozenset()
    """For WebhookSuite: the keys of the table without which reports can't be verified."""

    hook: ClassVar[str] = ""

    def table_for_port(self, port: int) -> Mapping[str, Any]:
        """Return the keys of the table that lead to a port of this machine; for FailureMode.UNREACHABLE."""
        return self.emulator.table_for_port(port) if self.emulator else no_port_table(port)

    def table_for_tls_port(self, port: int) -> Mapping[str, Any]:
        """Return the keys of the table that lead to a TLS server on this machine; for FailureMode.UNTRUSTED."""
        if self.emulator:
            return self.emulator.table_for_tls_port(port)
        return with_https(self.table_for_port(port))

    def recipient(self, channel: Channel, number: int, failure: FailureMode | None) -> str:
        """Return an address or number; override it where the emulated provider fails by recipient.

        Each ``number`` (from 0 on) must give another recipient.
        """
        return (self.emulator.recipient if self.emulator else default_recipient)(channel, number, failure)

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Run the checks on asyncio's event loop, as the gateway does."""
        return "asyncio"

    @pytest.fixture
    def harness(self, provider: Any, table: Mapping[str, Any], tmp_path: Path) -> Harness:
        """Return what the checks run on."""
        own = type(self)
        if self.emulator:
            provider.load_contacts(sample_contacts(own))
        return Harness(
            plugin=self.plugin,
            table=table,
            provider=provider_of(provider),
            channels=channels(own),
            hooks=hooks(own),
            declared=declared(own),
            recipient=self.recipient,
            table_for_port=self.table_for_port,
            table_for_tls_port=self.table_for_tls_port,
            meanings=self.meanings or (self.emulator.meanings if self.emulator else {}),
            verification_keys=self.verification_keys
            or (self.emulator.verification_keys if self.emulator else ()),
            contacts=sample_contacts(own),
            base=tmp_path,
        )

    @pytest.mark.anyio
    async def test_conformance(self, harness: Harness, case: Case, request: pytest.FixtureRequest) -> None:
        """Run one check of the kit; where another one that it builds on fails, it is skipped with that reason."""
        judged = request.config.stash.setdefault(_judged, {}).setdefault(type(self), {})
        result = await runner.judge(case, harness, cases(type(self)), judged)
        text = result.cause or result.problem
        request.node.user_properties.append((RESULT, (case.id, str(result.outcome), text)))
        if result.outcome is runner.CaseOutcome.NOT_JUDGED:
            pytest.skip(f"not judged: mend {result.cause} first")
        if result.error is not None:
            raise AssertionError(f"{_first_line(result.error)}\n{case.check.lesson}") from result.error

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each check for what the class declares."""
        if "case" in metafunc.fixturenames and metafunc.cls is not None:
            found = cases(metafunc.cls)
            metafunc.parametrize("case", [pytest.param(case, id=name) for name, case in found.items()])


_judged = pytest.StashKey[dict[type, dict[str, runner.CaseResult]]]()


def _first_line(error: BaseException) -> str:
    if isinstance(error, AssertionError):
        return str(error).partition("\n")[0]
    return f"it raised {type(error).__name__}"


class LifespanSuite(PluginSuite):
    """For a plugin with a ``lifespan``."""

    hook = "lifespan"


class PingSuite(PluginSuite):
    """For a plugin with a ``ping``."""

    hook = "ping"


class ContactsSuite(PluginSuite):
    """For a contact source. The fixture ``table`` leads to a source that holds the fixture ``contacts``."""

    hook = "find_contact"

    @pytest.fixture
    def contacts(self) -> Mapping[str, Contact]:
        """Return the users that the source must hold unchanged, by ext_user_id; with BLOCKS, some are blocked."""
        return sample_contacts(type(self))


class BatchSuite(PluginSuite):
    """For a contact source that looks up several users at once; beside ContactsSuite."""

    hook = "find_contacts"


class UserFinderSuite(PluginSuite):
    """For a contact source that knows whose a number or an address is; beside ContactsSuite."""

    hook = "find_user"


class EmailSuite(PluginSuite):
    """For a plugin that sends email."""

    hook = SEND_HOOKS[Channel.EMAIL]


class SmsSuite(PluginSuite):
    """For a plugin that sends text messages."""

    hook = SEND_HOOKS[Channel.SMS]


class WebhookSuite(PluginSuite):
    """For a plugin whose provider reports on the messages that the plugin has sent."""

    hook = "parse_webhook"


SUITES: Sequence[type[PluginSuite]] = (
    PluginSuite,
    LifespanSuite,
    PingSuite,
    ContactsSuite,
    BatchSuite,
    UserFinderSuite,
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
    blocks = ContactFeature.BLOCKS in declared(suite)
    return {**SAMPLE_CONTACTS, **BLOCKED_CONTACTS} if blocks else SAMPLE_CONTACTS


def cases(suite: type[PluginSuite]) -> dict[str, Case]:
    """Return the cases for a class, by the names of their tests; those of sending once for each channel."""
    return registry.cases(groups_of(hooks(suite)), channels(suite), declared(suite))


def declared(suite: type[PluginSuite]) -> frozenset[Need]:
    """Return what a class declares besides its hooks, by itself or by its emulator."""
    own = {*suite.failure_modes, *suite.message_features, *suite.report_features, *suite.contact_features}
    return frozenset({*own, *(declared_by(suite.emulator) if suite.emulator else ())})


def undeclared(suite: type[PluginSuite]) -> list[str]:
    """Return what is not checked: hooks without a suite, and failures and features that the class does not declare."""
    names = [f"{base.hook} ({base.__name__})" for base in SUITES if base.hook and not issubclass(suite, base)]
    plugin = getattr(suite, "plugin", None)
    implemented = [name for name in names if plugin and implements(plugin, name.partition(" ")[0])]
    marked = [f"{name}, WHICH THE PLUGIN IMPLEMENTS" if name in implemented else name for name in names]
    given = declared(suite)
    left_out = [check for check in checks_of(groups_of(hooks(suite))) if not check.can_run(given)]
    needs = {need for check in left_out for need in check.needs | check.needs_any}
    return [*marked, *sorted(str(need) for need in needs - given)]
