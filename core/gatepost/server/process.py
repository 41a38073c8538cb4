"""The gateway as a process: a socket, signals, and an end that loses nothing."""

import asyncio
import contextlib
import errno
import selectors
import signal
import socket
from collections.abc import Callable, Iterator, Mapping

import uvicorn
from litestar import Litestar

from gatepost.app import DRAIN_TIMEOUT, Gateway, create_app, open_gateway
from gatepost.config.certificate import Certificate
from gatepost.config.settings import Server, Settings
from gatepost.errors import Fault
from gatepost.observe import logs
from gatepost.plugin_host.instances import Instance
from gatepost.server.protocol import Connection, Connections
from gatepost.web import admin

BACKLOG = 2048

MOST_CONNECTIONS = 16_384
"""Callers at once, where the system lets the process have as many files."""

TAKING_IN = 0.1
"""Seconds at a stop in which what is on its way still comes in, and callers are told not to come again."""

MOST_TAKING_IN = 1.0
"""Seconds of that while more callers than the loop has accepted wait at the door."""

_TURNS = 8
"""Turns of the loop until a connection that was accepted has been read."""

_log = logs.get(__name__)


class _Uvicorn(uvicorn.Server):
    """Uvicorn that says when it listens, and has no idea of signals: it would end the process by one."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening
        self.server_state = self._connections = Connections(_most_connections())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()

    async def on_tick(self, counter: int) -> bool:
        self._connections.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def leave(self) -> None:
        """End soon; each caller is told with its next answer that this was the last."""
        self.should_exit = True
        self._connections.leave(asyncio.get_running_loop().time())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn's, which resets whatever it has not read; so what has arrived is read first, and answered."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.sleep(TAKING_IN)
        while _somebody_waits(sockets or []) and loop.time() < begun + MOST_TAKING_IN:  # noqa: ASYNC110
            await asyncio.sleep(0)
        # asyncio hands an accepted connection to its server one turn later. If the server has closed by then,
        # the connection stays open and its caller waits in vain: so stop accepting first.
        for server in self.servers:
            for listener in server.sockets:
                loop.remove_reader(listener)
        await _turns()
        for server in self.servers:
            server.close()
        await _turns()
        self.config.timeout_graceful_shutdown = max(1, int(DRAIN_TIMEOUT - (loop.time() - begun)))
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    settings: Settings,
    instances: Mapping[str, Instance],
    *,
    listening: Callable[[str], None] = lambda _url: None,
) -> int:
    """Run the gateway until SIGTERM, SIGINT or SIGHUP; returns the exit code.

    ``listening`` is called with the URL once requests are taken. Zero: everything in hand was finished.
    One: the store or a loop broke, and the process had to stop. Raises ConfigError when it can't start,
    with the faults of the address, the store and the plugins.
    """
    certificate, key = settings.server.certificate, settings.server.key
    tls = Certificate(certificate, key) if certificate and key else None
    listener = _listen(settings.server)
    known = [listener] if isinstance(listener, Fault) else []
    try:
        async with open_gateway(settings, instances, known) as gateway:
            assert isinstance(listener, socket.socket)
            await _run(settings, gateway, listener, tls, listening)
            broken = gateway.outbox.failure.done()
            _log.info("stopping")
    finally:
        if isinstance(listener, socket.socket):
            listener.close()
        for number in _stopping_signals():
            asyncio.get_running_loop().remove_signal_handler(number)
    _log.info("stopped")
    return 1 if broken else 0


async def _run(
    settings: Settings,
    gateway: Gateway,
    listener: socket.socket,
    tls: Certificate | None,
    listening: Callable[[str], None],
) -> None:
    """Take requests until a signal comes or the store breaks."""
    url = _url(settings.server, listener)
    notes = contextlib.ExitStack()

    def announce() -> None:
        notes.enter_context(admin.noted(settings, url, gateway.control.token))
        _log.info("listening", url=url)
        listening(url)

    server = _Uvicorn(_config(create_app(gateway.services), tls), announce)
    if tls:
        notes.callback(asyncio.create_task(tls.follow(), name="certificate").cancel)

    def stop() -> None:
        server.leave()
        gateway.stop()

    for number in _stopping_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop)
    gateway.outbox.failure.add_done_callback(lambda _broken: stop())
    with notes:
        await server.serve(sockets=[listener])


async def _turns() -> None:
    """Wait until the loop has read from every connection that it has accepted."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _somebody_waits(listening: list[socket.socket]) -> bool:
    """Whether there are connections that the loop has not accepted; some loops accept one a turn."""
    with selectors.DefaultSelector() as door:
        for one in listening:
            door.register(one, selectors.EVENT_READ)
        return bool(door.select(0))


def _stopping_signals() -> Iterator[signal.Signals]:
    """The signals that stop the gateway.

    SIGHUP is one of them, because its default action would kill the process and make what is being sent
    uncertain. Where it was ignored from the start (``nohup``) it stays ignored.
    """
    yield from (signal.SIGTERM, signal.SIGINT)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        yield signal.SIGHUP


def _config(app: Litestar, tls: Certificate | None) -> uvicorn.Config:
    return uvicorn.Config(
        app=app,
        lifespan="off",
        http=Connection,
        ws="none",
        # Who is behind a proxy is for the allowlist to say, by its own list of proxies.
        proxy_headers=False,
        server_header=False,
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        ssl_context_factory=(lambda _config, _default: tls.context) if tls else None,
    )


def _most_connections() -> int:
    """How many callers leave enough files for the store, the providers and the callbacks."""
    try:
        import resource  # noqa: PLC0415  not there on every platform
    except ImportError:
        return MOST_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(files - 384, files // 2))


def _listen(server: Server) -> socket.socket | Fault:
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        return socket.create_server((server.host, server.port), family=family, backlog=BACKLOG)
    except OSError as error:
        return _listen_fault(server, error)


def _listen_fault(server: Server, error: OSError) -> Fault:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        text = f"this machine has no address {server.host}: name one of its own, or 0.0.0.0 for all of them"
        return Fault("server.host", text)
    if error.errno == errno.EADDRINUSE:
        text = f"another program listens on {server.host} port {server.port}: stop it, or choose another port"
        return Fault("server.port", text)
    if error.errno == errno.EACCES:
        text = f"port {server.port} needs more rights than this user has: choose one above 1023"
        return Fault("server.port", text)
    return Fault("server", f"can't listen on {server.host} port {server.port}: {error.strerror}")


def _url(server: Server, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "https" if server.certificate else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
