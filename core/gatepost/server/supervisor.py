"""Several gateways as one service: a parent that starts them on one socket, starts again those that die, and stops all."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Self

from gatepost.config.settings import Settings
from gatepost.errors import ConfigError
from gatepost.observe import logs
from gatepost.server import hangups
from gatepost.server.inherited_sockets import SOCKETS, STAY_OPEN, take_sockets
from gatepost.server.listeners import Listeners
from gatepost.server.service_manager import ServiceManager
from gatepost.web.admin.own_metrics import PROCESS

RESTART_PAUSES = (0.2, 1.0, 5.0, 15.0)
"""Seconds before a gateway that has died is started again: longer each time, and from the first one on after one that
has lived for STABLE_AFTER."""

STABLE_AFTER = 60.0
"""Seconds after which the next death counts as the first one."""

HANGS_AFTER = 30.0
"""Seconds without a sign of life after which a gateway is ended, unless the service manager watches this process for another
time."""

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
        self._hangs_after = self._manager.watchdog or HANGS_AFTER
        self._stopping = asyncio.Event()
        self._count = count
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    async def run(self) -> int:
        """Run the gateways until SIGTERM or SIGINT; return the exit code: 0 where each has ended with 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._signal_all, signal.SIGHUP)
        hangups.let_through()
        ready = [asyncio.Event() for _ in range(self._count)]
        tasks = [
            asyncio.create_task(self._run_one(number, ready), name=f"process-{number}")
            for number in range(1, self._count + 1)
        ]
        beside = [
            asyncio.create_task(self._announce(ready)),
            asyncio.create_task(self._close_listeners()),
        ]
        codes = await asyncio.gather(*tasks)
        for task in beside:
            task.cancel()
        self._listeners.close()
        return max(codes)

    async def _close_listeners(self) -> None:
        """Close the sockets as soon as the stop begins.

        The gateways accept what waits there, and then close them too. While this process had them open, clients could
        go on to connect, and would wait in vain.
        """
        await self._stopping.wait()
        self._listeners.close()

    async def _announce(self, ready: Sequence[asyncio.Event]) -> None:
        for one in ready:
            await one.wait()
        _log.info("all_processes_listen", url=self._listeners.public.url, processes=self._count)
        self._manager.ready()
        await self._manager.watch()

    async def _run_one(self, number: int, ready: Sequence[asyncio.Event]) -> int:
        """Run one gateway until the stop; return its last exit code."""
        if number > 1:
            # The first one tells every fault of the configuration, once, and updates the tables.
            waits = [asyncio.create_task(one.wait()) for one in (ready[0], self._stopping)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for one in waits:
                one.cancel()
            if self._stopping.is_set():
                return 0
        return await self._keep_running(number, ready[number - 1])

    async def _keep_running(self, number: int, ready: asyncio.Event) -> int:
        """Run one gateway again and again until the stop; return its last exit code.

        One that was never ready has told why: then all stop.
        """
        loop = asyncio.get_running_loop()
        deaths = 0
        while True:
            with _NotifySocket() as notify:
                began = loop.time()
                child = self._children[number] = self._start(number, notify.address)
                listening = asyncio.create_task(notify.listen(ready))
                watching = asyncio.create_task(self._end_if_it_hangs(child, notify, number))
                code = await self._wait(child)
                listening.cancel()
                watching.cancel()
            if self._stopping.is_set():
                # Before a gateway listens, the signal ends it as any process: it has nothing in hand.
                return 0 if code == -signal.SIGTERM else abs(code)
            if not ready.is_set():
                self._stopping.set()
                return abs(code)
            deaths = count_death(deaths, loop.time() - began)
            pause = restart_pause(deaths)
            _log.error("process_died", process=number, code=code, restarted_in=pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            if self._stopping.is_set():
                # Its death was told when it happened; nothing was left to stop.
                return 0

    def _start(self, number: int, notify: str) -> subprocess.Popen[bytes]:
        sockets = [self._listeners.public.socket]
        # The pages of a console must all come from one process.
        if self._listeners.console and number == 1:
            sockets.append(self._listeners.console.socket)
        descriptors = [one.fileno() for one in sockets]
        own: Mapping[str, str] = {
            SOCKETS: ",".join(map(str, descriptors)),
            STAY_OPEN: "1" if self._listeners.stay_open else "",
            PROCESS: str(number),
            "NOTIFY_SOCKET": notify,
            "WATCHDOG_USEC": str(int(self._hangs_after * 1e6)),
        }
        inherited = {name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"}
        with hangups.held():
            return subprocess.Popen(  # noqa: S603  our own command
                [sys.executable, "-m", "gatepost", "serve", "--config", str(self._settings.path)],
                env={**inherited, **own},
                pass_fds=descriptors,
                # Nothing is written to it. It ends with this process, and so the gateway knows.
                stdin=subprocess.PIPE,
            )

    async def _end_if_it_hangs(
        self, child: subprocess.Popen[bytes], notify: "_NotifySocket", number: int
    ) -> None:
        """Kill a gateway that was alive once, and then gave no sign of life for the time that it has.

        The time is divided into two halves. This process itself may have been stopped during one of them, and then it
        did not hear the gateway.
        """
        await notify.alive.wait()
        silent = 0
        while silent < 2:
            notify.alive.clear()
            await asyncio.sleep(self._hangs_after / 2)
            silent = 0 if notify.alive.is_set() else silent + 1
            if self._stopping.is_set():
                return
        _log.error("process_hangs", process=number, seconds=self._hangs_after)
        child.kill()

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
        code = await ended
        assert child.stdin
        child.stdin.close()
        return code

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self._children.values():
            child.send_signal(number)


def count_death(earlier: int, seconds: float) -> int:
    """Return which death in a row it is of a gateway that lived for some seconds after ``earlier`` deaths."""
    return 1 if seconds > STABLE_AFTER else earlier + 1


def restart_pause(deaths: int) -> float:
    """Return the seconds before the restart after so many deaths in a row, at least one."""
    return RESTART_PAUSES[min(deaths, len(RESTART_PAUSES)) - 1]


class _NotifySocket:
    """Where a gateway says that it is ready, and that it is alive."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # A free address without a file: there may be no folder that can be written.
        self._socket.bind("")
        self._socket.setblocking(False)  # noqa: FBT003  the standard library's signature
        self.address = "@" + self._socket.getsockname()[1:].decode()
        """As NOTIFY_SOCKET has it."""
        self.alive = asyncio.Event()
        """Set with each sign of life."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def listen(self, ready: asyncio.Event) -> None:
        while True:
            lines = (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).split(b"\n")
            if b"READY=1" in lines:
                ready.set()
            if b"WATCHDOG=1" in lines:
                self.alive.set()
