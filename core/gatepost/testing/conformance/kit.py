"""A conformance run of an installed plugin, on its own emulator where it offers one."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from gatepost.errors import ConfigError, Fault
from gatepost.plugin_host import discovery
from gatepost.testing import emulators
from gatepost.testing.conformance.declaration import cases_of, emulated_harness
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.registry import Case
from gatepost.testing.conformance.report import CheckRecord, Report, documentation_url
from gatepost.testing.conformance.runner import CaseResult, run_cases
from gatepost.testing.kit_emulator import KitEmulator

NO_EMULATOR = (
    "offers no emulator for the kit (an entry point of the group gatepost.emulators); "
    "gatepost check --plugin INSTANCE makes the checks that need none"
)

_MEMBERS = [name for name in vars(KitEmulator) if not name.startswith("_")]
"""What an emulator has that is there for more than the demo."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """An installed plugin that offers an emulator for the checks."""

    use: str
    plugin: type

    @asynccontextmanager
    async def harness(self) -> AsyncIterator[Harness]:
        """Yield a harness with an emulated provider of its own, which runs meanwhile."""
        emulator = emulators.create(self.use)
        with TemporaryDirectory(prefix="gatepost-conformance-") as folder:
            async with emulator:
                yield emulated_harness(self.plugin, emulator, Path(folder))


def find(use: str) -> Subject:
    """Return the installed plugin with this name; raise ConfigError where it can't be used, or has no emulator."""
    plugin = discovery.load(use)
    if use not in emulators.installed():
        raise ConfigError([Fault("", NO_EMULATOR)])
    try:
        created = emulators.create(use)
    except RuntimeError as error:
        raise ConfigError([Fault("", str(error))]) from None
    if not all(hasattr(type(created), name) for name in _MEMBERS):
        raise ConfigError([Fault("", NO_EMULATOR)])
    return Subject(use=use, plugin=plugin)


async def run(subject: Subject, show: Callable[[CaseResult], None] = lambda _: None) -> Report:
    """Run every check that the plugin can be put to, and return the report; ``show`` gets each result at once."""
    async with subject.harness() as harness:
        cases: Mapping[str, Case] = cases_of(harness)
        hooks, declared = list(harness.hooks), sorted(map(str, harness.declared))
    records: list[CheckRecord] = []
    async for result in run_cases(cases, subject.harness):
        show(result)
        records.append(CheckRecord(result.case.id, result.outcome, result.problem, result.cause))
    distribution = discovery.installed()[subject.use].dist
    return Report(
        plugin=subject.use,
        distribution=distribution.name if distribution else "",
        version=distribution.version if distribution else "",
        hooks=hooks,
        declared=declared,
        documentation=documentation_url(distribution),
        checks=records,
    )
