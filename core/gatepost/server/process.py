"""The gateway as a process: its servers, its signals, and a shutdown that loses no message."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from gatepost.app import open_gateway
from gatepost.config.settings import Settings
from gatepost.errors import StoreError
from gatepost.gateway import Gateway
from gatepost.observe import logs
from gatepost.outbox import audit_chain
from gatepost.plugin_host.instances import Instance
from gatepost.server import admin_connection, hangups
from gatepost.server.http_server import HttpServer, server_config
from gatepost.server.inherited_sockets import take_sockets
from gatepost.server.listeners import Listener, Listeners
from gatepost.server.protocol import Connection
from gatepost.server.service_manager import ServiceManager
from gatepost.web.admin.api import AdminApi
from gatepost.web.admin.app import AdminApp
from gatepost.web.admin.own_metrics import own_number
from gatepost.web.admin.services import OperationRefused
from gatepost.web.admin.socket_file import admin_socket
from gatepost.web.routes import create_app

MAX_CONNECTIONS = 16_384
"""Open connections, where the system allows the process enough open files."""

MAX_CONSOLE_CONNECTIONS = 256
"""Open connections of the console."""

STOP_TIMEOUT = 12.0
"""Seconds that a stop may take. After that the process ends with what is unfinished, which is safe as in a crash."""

STANDARD_INPUT = 0
"""A descriptor: what Python calls ``sys.stdin`` has been replaced, so that no plugin waits for it."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logs.get(__name__)


async def serve(
    settings: Settings,
    instances: Mapping[str, Instance],
    *,
    on_listening: Callable[[str], None] = lambda _url: None,
    on_reload: Callable[[Mapping[str, Instance]], None] = lambda _instances: None,
    on_wait: Callable[[], None] = lambda: None,
) -> int:
    """Run the gateway until SIGTERM or SIGINT, and return the exit code; SIGHUP makes it reload its configuration.

    ``on_listening`` is called with the URL as soon as requests are accepted, and ``on_reload`` after each reload with
    the instances in use. ``on_wait`` is called when the start waits for another process. The exit code is 0 when all work
    in progress was finished, and 1 when the store or an internal loop failed and the process had to stop. Raises
    ConfigError when the gateway can't start, with the faults of the address, the store and the plugins.

    Where a stop is not finished after STOP_TIMEOUT seconds, the process ends at once with exit code 1.
    """
    manager = ServiceManager(os.environ)
    listeners = Listeners(settings, take_sockets(os.environ))

    def wait() -> None:
        manager.waiting("the store")
        on_wait()

    # Then the process that has the store now was started with the same socket, and is about to end.
    waits = wait if listeners.stay_open else None
    with _released_at_the_end(listeners), _stop_timer() as stop_timer:
        async with open_gateway(settings, instances, listeners.faults, waits) as gateway:
            await _log_audit_head(gateway)
            gateway.on_reload += [listeners.take_over, lambda _settings: on_reload(gateway.instances)]
            async with contextlib.AsyncExitStack() as stack:
                servers = _Servers(gateway, manager, on_listening, stop_timer)
                await servers.open(listeners, stack)
                await servers.run()
            broken = gateway.outbox.failure.done()
            _log.info("stopping")
    _log.info("stopped")
    return 1 if broken else 0


@contextlib.contextmanager
def _released_at_the_end(listeners: Listeners) -> Iterator[None]:
    try:
        yield
    finally:
        listeners.close()
        for number in (*_STOP_SIGNALS, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)


@contextlib.contextmanager
def _stop_timer() -> Iterator[threading.Timer]:
    """Yield the timer of a stop, which ends the process if the block has not ended STOP_TIMEOUT seconds after its start.

    It is a thread, because the event loop may be what does not get on.
    """
    timer = threading.Timer(STOP_TIMEOUT, _end_unfinished)
    timer.daemon = True
    try:
        yield timer
    finally:
        timer.cancel()


def _end_unfinished() -> None:
    """End the process at once, although the stop has not finished."""
    _log.critical("stop_cut_short", seconds=STOP_TIMEOUT)
    os._exit(1)


async def _log_audit_head(gateway: Gateway) -> None:
    # Without it the gateway still works; the store has logged why.
    with contextlib.suppress(StoreError):
        await gateway.outbox.coordinate(audit_chain.log_head, None)


@contextlib.contextmanager
def _parent_watched(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` when the parent of several gateways has died, by the end of the standard input that it gave.

    Nobody would start again a gateway that it has left behind, or stop it, and the next parent could not listen.
    """
    if not own_number():
        yield
        return
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.remove_reader(STANDARD_INPUT)
        _log.error("parent_died")
        stop()

    loop.add_reader(STANDARD_INPUT, end)
    try:
        yield
    finally:
        loop.remove_reader(STANDARD_INPUT)


class _Servers:
    """The servers of one gateway: for Smartico and the providers, for the console, and for commands."""

    def __init__(
        self,
        gateway: Gateway,
        manager: ServiceManager,
        on_listening: Callable[[str], None],
        stop_timer: threading.Timer,
    ) -> None:
        self._gateway = gateway
        self._manager = manager
        self._on_listening = on_listening
        self._stop_timer = stop_timer
        self._servers: list[HttpServer] = []
        self._hangup = asyncio.Event()

    async def open(self, listeners: Listeners, stack: contextlib.AsyncExitStack) -> None:
        """Create the servers, and begin what goes on beside them; the ``stack`` ends that."""
        gateway, public = self._gateway, listeners.public
        self._add(
            public, create_app(lambda: gateway.services), _max_connections(), partial(self._announce, public)
        )
        if console := listeners.console:
            # Its libraries are an extra.
            from gatepost.console.app import open_console  # noqa: PLC0415

            opened = open_console(gateway.settings, gateway.admin, console.host)
            self._add(
                console, await stack.enter_async_context(opened), MAX_CONSOLE_CONNECTIONS, console.announce
            )
        if admin := stack.enter_context(admin_socket(gateway.settings)):
            config = server_config(AdminApp(AdminApi(gateway.admin)), admin_connection.AdminConnection)
            self._servers.append(HttpServer(config, admin, admin_connection.MAX_CONNECTIONS))
        loops = [
            self._reload_at_signals(),
            self._manager.watch(),
            *(tls.follow() for tls in listeners.certificates),
        ]
        for loop in loops:
            stack.callback(asyncio.create_task(loop).cancel)

    async def run(self) -> None:
        """Answer requests until a signal arrives or the store breaks."""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._stop)
        # Where it was ignored from the start (``nohup``) it stays ignored.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, self._hangup.set)
        hangups.let_through()
        self._gateway.outbox.failure.add_done_callback(lambda _broken: self._stop())
        with _parent_watched(self._stop):
            await asyncio.gather(*(server.answer() for server in self._servers))

    def _add(
        self, listener: Listener, app: Any, max_connections: int, on_listening: Callable[[], None]
    ) -> None:
        config = server_config(app, Connection, listener.tls)
        server = HttpServer(
            config, listener.socket, max_connections, on_listening, stays_open=listener.stays_open
        )
        self._servers.append(server)

    def _announce(self, listener: Listener) -> None:
        _log.info("listening", url=listener.url)
        self._manager.ready()
        self._on_listening(listener.url)

    def _stop(self) -> None:
        self._manager.stopping()
        for server in self._servers:
            server.begin_shutdown()
        self._gateway.stop()
        # Last, because a system may refuse another thread. Not ``is_alive``: a store that breaks at the very end of a stop
        # comes here after the timer was cancelled.
        if self._stop_timer.ident is None:
            self._stop_timer.start()

    async def _reload_at_signals(self) -> None:
        """Reload at each signal, until cancelled. Signals during a reload make one more, which reads the newest file."""
        reload = self._gateway.admin.reload
        assert reload
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            self._manager.reloading()
            # It refuses while the gateway stops, and has logged everything else.
            with contextlib.suppress(OperationRefused):
                await reload("SIGHUP", dry=False)
            self._manager.ready()


def _max_connections() -> int:
    """Return how many connections leave enough open files for the store, the providers and the callbacks."""
    try:
        import resource  # noqa: PLC0415  not available on every platform
    except ImportError:
        return MAX_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(files - 384, files // 2))
