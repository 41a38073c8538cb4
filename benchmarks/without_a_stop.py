"""*Without a stop*: reloads and handovers under a steady load, and what its clients notice.

``bench.py reloads`` and ``bench.py handover`` print rows, and write what happened second by second to
``without_a_stop.json``, from which ``docs/explanation/without-a-stop.svg`` is drawn by ``python benchmarks/stop_chart.py``.
"""

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import aiohttp
from databases import Postgres
from driver import email
from gateways import SENDGRID, SQLITE, configure
from machine import Row, free_port, rss, start_script, wait_for_count

RATE = 500
"""Requests a second, each begun at its own moment, whatever became of the one before."""

RELOADS = 100
HANDOVERS = 4
MAX_WAIT = 3.0
"""Seconds that a request may wait during a handover, where a send takes less than one."""

FIRST_SECRETS = '["letmein", "secret-1"]'

SECONDS = Path(__file__).parent / "without_a_stop.json"


class Second(NamedTuple):
    """What the clients saw in one second."""

    answered: int
    refused: int
    slowest: float
    """Seconds."""
    marks: int
    """Reloads or handovers that were ordered."""


class Load:
    """A steady load of new connections, and what became of each request."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.secret = "letmein"
        self._unanswered: Counter[str] = Counter()
        """Requests by their secret."""
        self.outcomes: list[tuple[float, float, bool]] = []
        """For each request when it began, how long it took, and whether it was accepted."""
        self.marks: list[float] = []
        self.began = time.monotonic()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Post while the block runs, and then wait for the answers."""
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        stopping = asyncio.Event()
        async with aiohttp.ClientSession(connector=connector) as http:
            self.began = time.monotonic()
            task = asyncio.create_task(self._post_all(http, stopping))
            try:
                yield
            finally:
                stopping.set()
                await task

    async def _post_all(self, http: aiohttp.ClientSession, stopping: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for number in itertools.count(1):
                if stopping.is_set():
                    break
                group.create_task(self._post(http, number))
                await asyncio.sleep(max(0.0, self.began + number / RATE - time.monotonic()))

    async def _post(self, http: aiohttp.ClientSession, number: int) -> None:
        start = time.monotonic()
        accepted = False
        secret = self.secret
        self._unanswered[secret] += 1
        headers = {"Authorization": secret}
        try:
            async with http.post(
                f"{self._url}/email", data=email(f"n{number}", number), headers=headers
            ) as answer:
                accepted = (await answer.json(content_type=None))["error_code"] == 0
        except (aiohttp.ClientError, OSError, ValueError):
            pass
        self._unanswered[secret] -= 1
        self.outcomes.append((start, time.monotonic() - start, accepted))

    async def use(self, secret: str) -> None:
        """Send another secret from now on; return when each request with the one before has its answer."""
        before, self.secret = self.secret, secret
        while self._unanswered[before]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    @property
    def accepted(self) -> int:
        """How many requests were accepted."""
        return sum(accepted for _, _, accepted in self.outcomes)

    def seconds(self) -> list[Second]:
        """Return what happened, second by second; a request counts where it began."""
        length = int(max(start for start, _, _ in self.outcomes) - self.began) + 1
        found = []
        for second in range(length):
            of_it = [one for one in self.outcomes if int(one[0] - self.began) == second]
            refused = sum(not accepted for _, _, accepted in of_it)
            slowest = max((duration for _, duration, _ in of_it), default=0.0)
            marks = sum(int(mark - self.began) == second for mark in self.marks)
            found.append(Second(len(of_it) - refused, refused, slowest, marks))
        return found


class Gateway:
    """``gatepost serve`` on a listening socket that outlives it."""

    def __init__(self, config: Path, listener: socket.socket) -> None:
        self.log = config.with_name(f"{time.monotonic_ns()}.log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gatepost", "serve", "--config", str(config)],
                env={**os.environ, "GATEPOST_SOCKETS": str(listener.fileno())},
                pass_fds=(listener.fileno(),),
                stdout=log,
                stderr=log,
            )
        self._reader = self.log.open()

    async def says(self, *events: str) -> str:
        """Wait for one of these events in what its log has beyond the last one; return it."""
        while True:
            for line in self._reader:
                for event in events:
                    if f'"event": "{event}"' in line:
                        return event
            if self.process.poll() is not None:
                raise RuntimeError(self.log.read_text()[-2000:])
            await asyncio.sleep(0.02)

    async def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.process.wait)


def reloads() -> Iterator[Row]:
    """Reload a hundred times: another secret, another plugin in the route, other settings of a plugin."""

    async def order(load: Load, gateway: Gateway, folder: Path, start: Callable[[], Gateway]) -> Gateway:
        del start
        config = folder / "gatepost.toml"
        text = config.read_text()
        memory: list[float] = []
        for number in range(1, RELOADS + 1):
            # The configuration in use knows this secret already, as during a rotation; the one before goes.
            await load.use(f"secret-{number}")
            new = text.replace(FIRST_SECRETS, f'["secret-{number}", "secret-{number + 1}"]')
            new = new.replace('email = ["out"]', f'email = ["{("out", "other")[number % 2]}"]')
            draft = config.with_suffix(".new")
            draft.write_text(new.replace("concurrency = 65", f"concurrency = {65 + number}"))
            draft.rename(config)
            load.marks.append(time.monotonic())
            gateway.process.send_signal(signal.SIGHUP)
            await gateway.says("reloaded")
            memory.append(rss(gateway.process.pid))
            await asyncio.sleep(0.1)
        tenths = " ".join(f"{one:.0f}" for one in memory[9 :: RELOADS // 10])
        print(f"memory in MB, from the tenth reload on in tenths of the run: {tenths}", file=sys.stderr)
        return gateway

    yield from _rows("reloads", f"{RELOADS} reloads", order, SQLITE)


def handovers() -> Iterator[Row]:
    """Let the next process start, wait for the store, and take over, on both stores; and restart as systemd does."""

    async def order(load: Load, gateway: Gateway, folder: Path, start: Callable[[], Gateway]) -> Gateway:
        del folder
        for _ in range(HANDOVERS):
            await asyncio.sleep(1.5)
            load.marks.append(time.monotonic())
            new = start()
            is_listening = await new.says("store_in_use", "listening") == "listening"
            await gateway.end()
            if not is_listening:
                await new.says("listening")
            gateway = new
        return gateway

    async def restart(load: Load, gateway: Gateway, folder: Path, start: Callable[[], Gateway]) -> Gateway:
        del folder
        for _ in range(HANDOVERS):
            await asyncio.sleep(4.0)
            load.marks.append(time.monotonic())
            await gateway.end()
            gateway = start()
            await gateway.says("listening")
        return gateway

    yield from _rows("handover-sqlite", f"{HANDOVERS} handovers, SQLite", order, SQLITE)
    yield from _rows("restart-sqlite", f"{HANDOVERS} restarts, SQLite", restart, SQLITE)
    with Postgres() as server:
        store = server.new_database()
        yield from _rows("handover-postgresql", f"{HANDOVERS} handovers, PostgreSQL", order, store)


Order = Callable[[Load, Gateway, Path, Callable[[], Gateway]], Awaitable[Gateway]]


def _rows(key: str, name: str, order: Order, store: str) -> Iterator[Row]:
    load, arrived = asyncio.run(_measure(order, store))
    seconds = load.seconds()
    known = json.loads(SECONDS.read_text()) if SECONDS.exists() else {}
    SECONDS.write_text(json.dumps({**known, key: seconds}, indent=0) + "\n")
    durations = sorted(duration for _, duration, _ in load.outcomes)
    refused = len(load.outcomes) - load.accepted
    note = f"of {len(load.outcomes)} at {RATE} a second; p99 {durations[len(durations) * 99 // 100] * 1000:.0f} ms"
    yield Row(f"{name}: refused", refused, "requests", 0, at_least=False, note=note)
    lost = load.accepted - arrived
    yield Row(f"{name}: lost or doubled", abs(lost), "messages", 0, at_least=False, note=f"{arrived} arrived")
    yield Row(f"{name}: longest wait", durations[-1], "s", MAX_WAIT, at_least=False)


async def _measure(order: Order, store: str) -> tuple[Load, int]:
    with TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        folder, port, count_port = Path(name), free_port(), free_port()
        plugin = SENDGRID.format(port=port, connections=64)
        plugins = plugin + plugin.replace("plugins.out", "plugins.other").replace("= 64", "= 65")
        own_port = listener.getsockname()[1]
        config = configure(folder, plugins, store, port=own_port)
        config.write_text(config.read_text().replace('["letmein"]', FIRST_SECRETS))
        with start_script("provider.py", port, count_port):
            started: list[Gateway] = []

            def start() -> Gateway:
                started.append(Gateway(config, listener))
                return started[-1]

            try:
                gateway = start()
                await gateway.says("listening")
                load = Load(f"http://127.0.0.1:{own_port}")
                async with load.running():
                    await asyncio.sleep(1.0)
                    gateway = await order(load, gateway, folder, start)
                    await asyncio.sleep(1.0)
                await asyncio.to_thread(wait_for_count, count_port, load.accepted, 60.0)
                # What would come twice has come by then.
                await asyncio.sleep(2.0)
                arrived = int((await asyncio.to_thread(wait_for_count, count_port, 0))["count"])
                await gateway.end()
            finally:
                for one in started:
                    if one.process.poll() is None:
                        one.process.kill()
        return load, arrived
