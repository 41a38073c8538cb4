"""Several gateways as one service: a parent that starts them on one socket, starts again those that die, and stops all."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from gatepost.config.settings import Settings
from gatepost.errors import ConfigError
from gatepost.observe import logs
from gatepost.server.inherited_sockets import SOCKETS, take_sockets
from gatepost.server.listeners import Listeners
from gatepost.server.service_manager import ServiceManager
from gatepost.web.admin.own_metrics import PROCESS

RESTART_PAUSES = (0.2, 1.0, 5.0, 15.0)
"""Seconds before a gateway that has died is started again: longer each time, until one has lived for STABLE_AFTER."""

STABLE_AFTER = 60.0
"""Seconds after which the next death counts as the first one."""

STOP_TIMEOUT = 20.0
"""Seconds for which a stop waits; a gateway takes at most 12."""

_log = logs.get(__name__)


class Supervisor:
    """The parent. It reads no request and opens no store."""

    def __init__(self, settings: Settings, count: int) -> None:
        """Open the sockets; raises ConfigError where that is impossible."""
        self._settings = settings
        self._manager = ServiceManager(os.environ)
        self._listeners = Listeners(settings, take_sockets(os.environ))
        if self._listeners.faults:
            self._listeners.close()
            raise ConfigError(self._listeners.faults)
        self._stopping = asyncio.Event()
        self._count = count
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    async def run(self) -> int:
        """Run the gateways until SIGTERM or SIGINT; return the exit code: 0 where each has ended with 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._signal_all, signal.SIGHUP)
        with TemporaryDirectory(prefix="gatepost-") as folder:
            ready = [asyncio.Event() for _ in range(self._count)]
            tasks = [
                asyncio.create_task(self._run_one(number, Path(folder), ready), name=f"process-{number}")
                for number in range(1, self._count + 1)
            ]
            watch = asyncio.create_task(self._announce(ready))
            codes = await asyncio.gather(*tasks)
            watch.cancel()
        self._listeners.close()
        return max(codes)

    async def _announce(self, ready: Sequence[asyncio.Event]) -> None:
        for one in ready:
            await one.wait()
        _log.info("all_processes_listen", url=self._listeners.public.url, processes=self._count)
        self._manager.ready()
        await self._manager.watch()

    async def _run_one(self, number: int, folder: Path, ready: Sequence[asyncio.Event]) -> int:
        """Run one gateway until the stop; return its last exit code."""
        if number > 1:
            # The first one tells every fault of the configuration, once, and updates the tables.
            waits = [asyncio.create_task(one.wait()) for one in (ready[0], self._stopping)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for one in waits:
                one.cancel()
            if self._stopping.is_set():
                return 0
        return await self._keep_running(number, folder, ready[number - 1])

    async def _keep_running(self, number: int, folder: Path, ready: asyncio.Event) -> int:
        """Run one gateway again and again until the stop; return its last exit code.

        One that was never ready has told why: then all stop.
        """
        loop = asyncio.get_running_loop()
        deaths = 0
        while True:
            with _NotifySocket(folder / f"{number}") as notify:
                began = loop.time()
                child = self._children[number] = self._start(number, notify.path)
                readiness = asyncio.create_task(notify.wait_until_ready(ready))
                code = await self._wait(child)
                readiness.cancel()
            if self._stopping.is_set():
                # Before a gateway listens, the signal ends it as any process: it has nothing in hand.
                return 0 if code == -signal.SIGTERM else abs(code)
            if not ready.is_set():
                self._stopping.set()
                return abs(code)
            deaths = 0 if loop.time() - began > STABLE_AFTER else deaths + 1
            pause = RESTART_PAUSES[min(deaths, len(RESTART_PAUSES)) - 1]
            _log.error("process_died", process=number, code=code, restarted_in=pause)
            try:
                await asyncio.wait_for(self._stopping.wait(), pause)
            except TimeoutError:
                continue
            return abs(code)

    def _start(self, number: int, notify: Path) -> subprocess.Popen[bytes]:
        sockets = [self._listeners.public.socket]
        # The pages of a console must all come from one process.
        if self._listeners.console and number == 1:
            sockets.append(self._listeners.console.socket)
        descriptors = [one.fileno() for one in sockets]
        own: Mapping[str, str] = {
            SOCKETS: ",".join(map(str, descriptors)),
            PROCESS: str(number),
            "NOTIFY_SOCKET": str(notify),
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("WATCHDOG_")}
        return subprocess.Popen(  # noqa: S603  our own command
            [sys.executable, "-m", "gatepost", "serve", "--config", str(self._settings.path)],
            env={**inherited, **own},
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
        )

    async def _wait(self, child: subprocess.Popen[bytes]) -> int:
        """Wait until a gateway has ended; after the stop for at most STOP_TIMEOUT seconds. Return its exit code."""
        ended = asyncio.create_task(asyncio.to_thread(child.wait))
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not ended.done():
            self._manager.stopping()
            child.terminate()
            await asyncio.wait({ended}, timeout=STOP_TIMEOUT)
            if not ended.done():
                child.kill()
        return await ended

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self._children.values():
            child.send_signal(number)


class _NotifySocket:
    """Where a gateway says that it is ready."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)  # noqa: FBT003  the standard library's signature
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)

    async def wait_until_ready(self, ready: asyncio.Event) -> None:
        while True:
            message = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
            if b"READY=1" in message.split(b"\n"):
                ready.set()
