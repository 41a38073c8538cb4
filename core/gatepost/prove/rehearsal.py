"""One rehearsal: a gateway with the private copy of the configuration, everything it is put through, and its traces."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import aiohttp

from gatepost.config.settings import Settings
from gatepost.model import Channel
from gatepost.prove import deliveries, memory, places, stand_in
from gatepost.prove.canaries import Canaries, Person
from gatepost.prove.client import GatewayClient
from gatepost.prove.console_pages import read_console
from gatepost.prove.emulated import EmulatedPlugin
from gatepost.prove.memory import MemorySearch
from gatepost.prove.operations import operate
from gatepost.prove.outcomes import Outcomes
from gatepost.prove.places import Place
from gatepost.prove.private_copy import OWN_CLIENT, PrivateCopy, sender_of, sending_instances
from gatepost.prove.refusals import INTERNAL, Refusals, RefusedPeople
from gatepost.prove.route_plan import route_tests, usual_sender
from gatepost.prove.surroundings import Surroundings, surround
from gatepost.prove.traces import TraceCollector
from gatepost.testing import smartico
from gatepost.testing.process import GatewayProcess

_STOP_SECONDS = 15.0
_SETTLE_SECONDS = 1.0
"""Until calls that are under way at the end have come, and until what waited half a second was sent on."""


class Traces(NamedTuple):
    """What a rehearsal leaves behind."""

    places: Sequence[Place]
    changes: Sequence[str]
    memory: MemorySearch
    requests: int
    callbacks: int


class Rehearsal:
    """One gateway, either with the real plugins at emulators or with providers that quote everything."""

    def __init__(self, settings: Settings, canaries: Canaries, outcomes: Outcomes, *, emulate: bool) -> None:
        self.secrets: dict[str, str] = {}
        self._settings = settings
        self._canaries = canaries
        self._outcomes = outcomes
        self._emulate = emulate
        self._preview = canaries.add()
        self._clients = [*settings.clients, OWN_CLIENT]

    async def run(self, folder: Path, store_url: str) -> Traces:
        """Run everything; return what is to be searched. Raises RuntimeError where the gateway does not start or ends."""
        instances = sending_instances(self._settings)
        async with (
            surround(
                self._settings,
                instances,
                self._clients,
                emulate=self._emulate,
                store_url=store_url or "sqlite:///gatepost.db",
                preview=self._preview.email,
            ) as around,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
            TraceCollector().running() as collector,
        ):
            self.secrets = dict(around.secrets)
            copy = PrivateCopy(self._settings, around)
            config = await asyncio.to_thread(copy.write, folder)
            environment = await asyncio.to_thread(stand_in.install, folder / places.CODE)
            process = GatewayProcess(config, environment=environment)
            process.environment = collector.environment(process.environment)
            gateway = GatewayClient(session, around, self._clients)
            async with _running(process):
                await self._exercise(gateway, around, folder)
                await asyncio.sleep(_SETTLE_SECONDS)
                await operate(gateway, folder, process, self._preview, self._outcomes)
                await read_console(gateway, around.console, self._outcomes)
                self._note_callbacks(around)
                found = [places.processes_of(process.pid)]
                in_memory = await asyncio.to_thread(memory.search, process.pid, self._canaries.people)
                # Once while it runs, with what is in the write-ahead log only, and once at its end.
                found += [one for one in places.files_of(folder) if one.kind == places.STORE]
            found += places.files_of(folder)
            if store_url:
                found += await places.tables_of(store_url)
            found += [places.outputs_of(kind, outputs) for kind, outputs in gateway.outputs.items()]
            found.append(places.callbacks_of(around.smartico))
            found += collector.places(self._outcomes)
            return Traces(found, copy.changes, in_memory, gateway.requests, len(around.smartico.attempts))

    async def _exercise(self, gateway: GatewayClient, around: Surroundings, folder: Path) -> None:
        self._fail_callbacks(around)
        refused = RefusedPeople(self._canaries)
        await self._introduce(folder, [*refused.known])
        await self._refuse(gateway, around, refused, folder)
        if self._emulate:
            await self._emulated(gateway, around, folder)
        else:
            await self._by_route(gateway, around, folder)

    async def _by_route(self, gateway: GatewayClient, around: Surroundings, folder: Path) -> None:
        tests = list(route_tests(self._settings, self._canaries, self._outcomes))
        await self._introduce(folder, [test.person for test in tests])
        for test in tests:
            await deliveries.send_by_route(test, gateway, around, self._outcomes)
        await deliveries.send_while_source_is_down(tests, gateway, self._outcomes)
        for client in {test.client: test for test in tests if test.channel is Channel.EMAIL}:
            sender = usual_sender(self._settings.clients[client], Channel.EMAIL)
            await deliveries.send_preview(client, sender, gateway, around, self._outcomes)

    async def _emulated(self, gateway: GatewayClient, around: Surroundings, folder: Path) -> None:
        plugins = []
        for position, standing in enumerate(around.standings):
            where = f"{standing.instance} ({standing.use})"
            if standing.emulator is None:
                self._outcomes.missing(where, "the plugin's own code", standing.why)
                continue
            listed = [
                channel
                for channel in Channel
                if standing.instance in self._settings.routes.instances(channel)
            ]
            plugins.append(EmulatedPlugin(position, standing, listed, self._canaries))
        await self._introduce(folder, [person for plugin in plugins for person in plugin.people])
        # Each has its own provider and its own counter.
        await asyncio.gather(*(plugin.exercise(gateway, around.url, self._outcomes) for plugin in plugins))

    async def _refuse(
        self, gateway: GatewayClient, around: Surroundings, people: RefusedPeople, folder: Path
    ) -> None:
        refusals = Refusals(gateway, people, self._outcomes, self._settings.server.max_body)
        senders: dict[Channel, str] = {}
        for channel in Channel:
            for name, client in self._settings.clients.items():
                if self._settings.routes.of(channel):
                    await refusals.of_client(name, client, channel)
            instances = self._settings.routes.instances(channel)
            if not instances:
                await refusals.without_route(channel)
                continue
            position = sending_instances(self._settings).index(instances[0])
            senders[channel] = sender_of(channel, position)
            await refusals.of_own_client(channel, senders[channel])
        if around.store_url.startswith("sqlite"):
            # Takes ten seconds, and so only in one of the rehearsals.
            if not self._emulate:
                await refusals.while_store_is_locked(folder / "gatepost.db", senders)
        else:
            self._outcomes.missing("every client", "code 12, try again", "only an SQLite file can be locked")
        self._outcomes.missing("every client", "code 99, internal", INTERNAL)

    def _fail_callbacks(self, around: Surroundings) -> None:
        """Let some of the first callbacks fail, with answers that quote a canary."""
        quote = self._preview.private_text.encode()
        for failure in (
            smartico.Failure(status=500, body=quote),
            smartico.redirect(f"http://127.0.0.1:1/?to={self._preview.email}"),
            smartico.Failure(
                body=b'{"error_code": 5, "error_message": "%s"}' % quote,
                headers={"Content-Type": "application/json"},
            ),
            smartico.close(),
        ):
            around.smartico.fail(failure, calls=2)

    def _note_callbacks(self, around: Surroundings) -> None:
        what = "callbacks that failed: 500, a redirect, an error_code, a lost connection"
        if len(around.smartico.attempts) > len(around.smartico.callbacks):
            self._outcomes.done("Smartico", what)
        else:
            self._outcomes.missing("Smartico", what, "no callback came")

    async def _introduce(self, folder: Path, people: Sequence[Person]) -> None:
        for person in people:
            await asyncio.to_thread(stand_in.write_person, folder, person)


@asynccontextmanager
async def _running(process: GatewayProcess) -> AsyncIterator[None]:
    try:
        await asyncio.to_thread(process.start)
        yield
        if not process.running:
            raise RuntimeError(f"the gateway has ended:\n{process.log.read_text()[-2000:]}")
    finally:
        if process.running:
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.terminate, _STOP_SECONDS)
        process.kill()
