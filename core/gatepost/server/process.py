"""The gateway as a process: its listening socket, its signals, and a shutdown that loses no message."""

import asyncio
import contextlib
import selectors
import signal
import socket
from collections.abc import Callable, Iterator, Mapping

from litestar.types import ASGIApp

from gatepost.app import open_gateway
from gatepost.config.certificate import Certificate
from gatepost.config.settings import Settings
from gatepost.errors import StoreError
from gatepost.gateway import DRAIN_TIMEOUT, Gateway
from gatepost.observe import logs
from gatepost.outbox import audit_chain
from gatepost.plugin_host.instances import Instance
from gatepost.server import admin_connection
from gatepost.server import uvicorn_api as uvicorn
from gatepost.server.connection_limits import ConnectionLimits
from gatepost.server.listeners import BACKLOG, Listeners
from gatepost.server.protocol import Connection
from gatepost.web.admin.api import AdminApi
from gatepost.web.admin.app import AdminApp
from gatepost.web.admin.services import OperationRefused
from gatepost.web.admin.socket_file import admin_socket
from gatepost.web.routes import create_app

MAX_CONNECTIONS = 16_384
"""Open connections, where the system allows the process enough open files."""

MAX_CONSOLE_CONNECTIONS = 256
"""Open connections of the console."""

ACCEPT_GRACE = 0.1
"""Seconds of a shutdown in which new connections are still accepted, and each answer says ``connection: close``."""

MAX_ACCEPT_GRACE = 1.0
"""Seconds to which ACCEPT_GRACE is extended while the event loop has not accepted every pending connection."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_LOOP_TURNS = 8
"""Turns of the event loop until a connection that was accepted has been read."""

_log = logs.get(__name__)


class _Server(uvicorn.Server):
    """uvicorn's server, which reports when it listens and leaves signals alone: its own handler ends the process."""

    def __init__(
        self,
        config: uvicorn.Config,
        max_connections: int,
        on_listening: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._on_listening = on_listening
        self.server_state = self._limits = ConnectionLimits(max_connections)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_listening()

    async def on_tick(self, counter: int) -> bool:
        self._limits.abort_expired(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def begin_shutdown(self) -> None:
        """Make ``serve`` end soon, and each connection close after its next answer."""
        self.should_exit = True
        self._limits.drain(asyncio.get_running_loop().time())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Read and answer what has arrived, then shut down; uvicorn alone would reset unread connections."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.sleep(ACCEPT_GRACE)
        while _has_pending_connections(sockets or []) and loop.time() < start + MAX_ACCEPT_GRACE:  # noqa: ASYNC110
            await asyncio.sleep(0)
        # asyncio hands an accepted connection to its server one turn later. If the server has closed by then,
        # the connection stays open and its client waits in vain: so stop accepting first.
        for server in self.servers:
            for listener in server.sockets:
                loop.remove_reader(listener)
        await _read_accepted_connections()
        for server in self.servers:
            server.close()
        await _read_accepted_connections()
        self.config.timeout_graceful_shutdown = max(1, int(DRAIN_TIMEOUT - (loop.time() - start)))
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    settings: Settings,
    instances: Mapping[str, Instance],
    *,
    on_listening: Callable[[str], None] = lambda _url: None,
    on_reload: Callable[[Mapping[str, Instance]], None] = lambda _instances: None,
) -> int:
    """Run the gateway until SIGTERM or SIGINT, and return the exit code; SIGHUP makes it reload its configuration.

    ``on_listening`` is called with the URL as soon as requests are accepted, and ``on_reload`` after each reload with
    the instances in use. The exit code is 0 when all work in
    progress was finished, and 1 when the store or an internal loop failed and the process had to stop. Raises
    ConfigError when the gateway can't start, with the faults of the address, the store and the plugins.
    """
    listeners = Listeners(settings)
    try:
        async with open_gateway(settings, instances, listeners.faults) as gateway:
            # Without it the gateway still works; the store has logged why.
            with contextlib.suppress(StoreError):
                await gateway.outbox.coordinate(audit_chain.log_head, None)
            await _run(settings, gateway, listeners, on_listening, on_reload)
            broken = gateway.outbox.failure.done()
            _log.info("stopping")
    finally:
        listeners.close()
        for number in (*_STOP_SIGNALS, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)
    _log.info("stopped")
    return 1 if broken else 0


async def _run(
    settings: Settings,
    gateway: Gateway,
    listeners: Listeners,
    on_listening: Callable[[str], None],
    on_reload: Callable[[Mapping[str, Instance]], None],
) -> None:
    """Answer requests until a signal arrives or the store breaks."""
    public = listeners.public

    def announce() -> None:
        _log.info("listening", url=public.url)
        on_listening(public.url)

    config = _uvicorn_config(create_app(lambda: gateway.services), Connection, public.tls)
    servers = {public.socket: _Server(config, _max_connections(), announce)}

    def stop() -> None:
        for server in servers.values():
            server.begin_shutdown()
        gateway.stop()

    def take_over() -> None:
        listeners.take_over(gateway.settings)
        on_reload(gateway.instances)

    gateway.on_reload = take_over
    hangup = asyncio.Event()
    async with contextlib.AsyncExitStack() as cleanup:
        if console := listeners.console:
            # Its libraries are an extra.
            from gatepost.console.app import open_console  # noqa: PLC0415

            app = await cleanup.enter_async_context(open_console(settings, gateway.admin, console.host))
            config = _uvicorn_config(app, Connection, console.tls)
            servers[console.socket] = _Server(config, MAX_CONSOLE_CONNECTIONS, console.announce)
        if admin_listener := cleanup.enter_context(admin_socket(settings)):
            config = _uvicorn_config(AdminApp(AdminApi(gateway.admin)), admin_connection.AdminConnection)
            servers[admin_listener] = _Server(config, admin_connection.MAX_CONNECTIONS)
        for tls in listeners.certificates:
            cleanup.callback(asyncio.create_task(tls.follow(), name="certificate").cancel)
        for number in _STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, stop)
        # Where it was ignored from the start (``nohup``) it stays ignored.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup.set)
        cleanup.callback(asyncio.create_task(_reload_at(hangup, gateway), name="reload").cancel)
        gateway.outbox.failure.add_done_callback(lambda _broken: stop())
        await asyncio.gather(*(server.serve(sockets=[one]) for one, server in servers.items()))


async def _reload_at(hangup: asyncio.Event, gateway: Gateway) -> None:
    """Reload at each signal, until cancelled. Signals during a reload make one more, which reads the newest file."""
    assert gateway.admin.reload
    while True:
        await hangup.wait()
        hangup.clear()
        # It refuses while the gateway stops, and has logged everything else.
        with contextlib.suppress(OperationRefused):
            await gateway.admin.reload("SIGHUP", dry=False)


async def _read_accepted_connections() -> None:
    """Wait until the event loop has read from every connection that it has accepted."""
    for _ in range(_LOOP_TURNS):
        await asyncio.sleep(0)


def _has_pending_connections(listeners: list[socket.socket]) -> bool:
    """Return whether the event loop has connections left to accept; some loops accept only one per turn."""
    with selectors.DefaultSelector() as selector:
        for listener in listeners:
            selector.register(listener, selectors.EVENT_READ)
        return bool(selector.select(0))


def _uvicorn_config(
    app: ASGIApp | AdminApp, connection: type[Connection], tls: Certificate | None = None
) -> uvicorn.Config:
    return uvicorn.Config(
        app=app,
        lifespan="off",
        http=connection,
        ws="none",
        # gatepost.web.auth finds the client address, from the operator's own list of trusted proxies.
        proxy_headers=False,
        server_header=False,
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        ssl_context_factory=(lambda _config, _default: tls.context) if tls else None,
    )


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
