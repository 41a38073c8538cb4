"""The whole proof: two rehearsals, the plants, the search, and the report."""

import asyncio
import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from gatepost import __version__
from gatepost.config.settings import Settings
from gatepost.plugin_host import discovery
from gatepost.prove.canaries import Canaries
from gatepost.prove.digests import HASHES
from gatepost.prove.dotted import dotted_lines
from gatepost.prove.outcomes import Outcomes
from gatepost.prove.places import CALLBACKS, STORE, Place
from gatepost.prove.plants import plant_all
from gatepost.prove.private_copy import sending_instances
from gatepost.prove.rehearsal import Rehearsal, Traces
from gatepost.prove.report import (
    Configuration,
    Finding,
    PluginRecord,
    RehearsalRecord,
    Report,
    Searched,
    verdict,
)
from gatepost.prove.search import Needles
from gatepost.prove.views import VIEWS
from gatepost.testing import emulators

REHEARSALS: Mapping[str, str] = {
    "emulators": "your plugins, each at the emulator of its provider",
    "echo": "your routes, with providers that quote the recipient in everything",
}
"""The rehearsals by name, and what each is."""


class _Finished(NamedTuple):
    """A rehearsal that has ended."""

    name: str
    secrets: Mapping[str, str]
    outcomes: Outcomes
    traces: Traces
    folder: Path

    @property
    def record(self) -> RehearsalRecord:
        """What the report says of it."""
        return RehearsalRecord(
            name=self.name,
            title=REHEARSALS[self.name],
            requests=self.traces.requests,
            callbacks=self.traces.callbacks,
            exercised=self.outcomes.exercised,
            not_exercised=self.outcomes.not_exercised,
            memory=self.traces.memory,
        )


async def prove(
    settings: Settings, file: Path, *, store_url: str, network: str, tell: Callable[[str], None]
) -> Report:
    """Run the proof; ``tell`` gets a line for each step. Raises RuntimeError where a gateway does not start."""
    started, begin = datetime.now(UTC), time.monotonic()
    canaries = Canaries()
    planted = canaries.add()
    with TemporaryDirectory(prefix="gatepost-prove-") as folder:
        finished = []
        for name, title in REHEARSALS.items():
            tell(f"Rehearsing: {title} …")
            finished.append(await _rehearse(name, settings, canaries, Path(folder), store_url))
        tell("Searching …")
        store = None if store_url else finished[-1].folder / "gatepost.db"
        people, last = canaries.needles({}), finished[-1].traces
        # Before the search itself: what it does not see here it would not see there.
        plants = await asyncio.to_thread(plant_all, last.places, store, planted, people)
        found = await asyncio.to_thread(lambda: sorted(set(_search(finished, canaries))))
    return Report(
        verdict=verdict(found, plants, min(one.outcomes.sent for one in finished)),
        gatepost=__version__,
        python=platform.python_version(),
        system=platform.system(),
        started=f"{started:%Y-%m-%d %H:%M:%SZ}",
        seconds=round(time.monotonic() - begin, 1),
        network=network,
        store="postgresql" if store_url else "sqlite",
        configuration=await asyncio.to_thread(_configuration, file, last.changes),
        plugins=list(_plugins(settings)),
        people=len(canaries.people),
        spellings=people.spellings,
        views=VIEWS,
        hashes=HASHES,
        rehearsals=[one.record for one in finished],
        searched=list(_searched(finished)),
        plants=plants,
        findings=found,
    )


async def _rehearse(
    name: str, settings: Settings, canaries: Canaries, folder: Path, store_url: str
) -> _Finished:
    outcomes = Outcomes()
    rehearsal = Rehearsal(settings, canaries, outcomes, emulate=name == "emulators")
    own = folder / name
    await asyncio.to_thread(own.mkdir, 0o700)
    traces = await rehearsal.run(own, store_url)
    return _Finished(name, rehearsal.secrets, outcomes, traces, own)


def _configuration(file: Path, changes: Sequence[str]) -> Configuration:
    return Configuration(
        file=str(file),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        lines=dotted_lines(file),
        changes=changes,
    )


def _search(finished: Sequence[_Finished], canaries: Canaries) -> Iterator[Finding]:
    for one in finished:
        people = canaries.needles({})
        everything = canaries.needles(
            {f"secret: {name}": text.removeprefix("Bearer ") for name, text in one.secrets.items()}
        )
        for place in one.traces.places:
            # Smartico gets the key with each callback, as the contract says.
            needles: Needles = people if place.kind == CALLBACKS else everything
            for hit in needles.search(place.content):
                yield Finding(
                    rehearsal=one.name,
                    place=place.kind,
                    name=place.name,
                    value=hit.value,
                    spelling=hit.spelling,
                )


def _searched(finished: Sequence[_Finished]) -> Iterator[Searched]:
    for one in finished:
        kinds: dict[str, list[Place]] = {}
        for place in one.traces.places:
            kinds.setdefault(place.kind, []).append(place)
        for kind, places in kinds.items():
            names = list(dict.fromkeys(place.name for place in places))
            size = sum(len(place.content) for place in places)
            # While it runs, and at its end.
            names = [f"{name}, twice" if kind == STORE and name.endswith(".db") else name for name in names]
            yield Searched(rehearsal=one.name, place=kind, names=names, bytes=size)


def _plugins(settings: Settings) -> Iterator[PluginRecord]:
    for name in sending_instances(settings):
        use = settings.plugins[name].use
        emulator, distribution = emulators.installed().get(use), discovery.installed()[use].dist
        yield PluginRecord(
            instance=name,
            plugin=use,
            version=distribution.version if distribution else "",
            stood_for_by=f"its emulator, {emulator.value}"
            if emulator
            else "the stand-in: it has no emulator",
        )
