"""The listener to which other mail servers bring bounces and complaints."""

import asyncio
import errno
import ipaddress
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from gatepost.errors import ConfigError, Fault, Unavailable
from gatepost.hookspecs import Context
from gatepost_smtp.bounce_certificate import BounceCertificate
from gatepost_smtp.bounce_connection import BounceConnection
from gatepost_smtp.bounce_mailbox import BounceMailbox
from gatepost_smtp.bounce_session import BounceSession
from gatepost_smtp.settings import Settings, listen_address

MAX_CONNECTIONS = 100
MAX_CONNECTIONS_PER_NETWORK = 20
"""Connections from one IPv4 address or one /64 of IPv6."""
STOP_TIMEOUT = 3.0
"""Seconds in which a mail that is being received must end. A lifespan may take 5."""
_START_INTERVAL = 0.2
"""Seconds between two looks whether the gateway runs."""
_READ_LIMIT = 64 * 1024
_BACKLOG = 128

_owners: dict[str, list[str]] = {}
"""The instance that listens on each address, once for each of its sockets: two during a reload. The operating system would
let two instances share an address, and each would get half of the mails."""


@asynccontextmanager
async def listening(settings: Settings, context: Context, slots: asyncio.Semaphore) -> AsyncIterator[None]:
    """Listen on ``bounce_listen`` while the block runs; raise ConfigError if that can't be.

    ``slots`` limits the threads that parse at once.
    """
    certificate = None
    if settings.bounce_certificate and settings.bounce_key:
        files = settings.bounce_certificate, settings.bounce_key
        certificate = await asyncio.to_thread(BounceCertificate, *files, context.log)
    bound = await asyncio.to_thread(_bind, settings.bounce_listen)
    listener = BounceListener(bound, BounceMailbox(settings, context, slots), certificate, context)
    start = asyncio.create_task(listener.start())
    try:
        with _owned(settings.bounce_listen, context.name):
            yield
    finally:
        start.cancel()
        await listener.close()


@contextmanager
def _owned(listen: str, instance: str) -> Iterator[None]:
    """Hold an address for an instance; raise ConfigError if another one has it."""
    owners = _owners.setdefault(listen, [])
    if owners and owners[0] != instance:
        problem = (
            f"the instance {owners[0]} listens on {listen}: choose another port, or let it listen for both"
        )
        raise ConfigError([Fault("bounce_listen", problem)])
    owners.append(instance)
    try:
        yield
    finally:
        owners.pop()


def _bind(listen: str) -> socket.socket:
    """Return a socket with this address, on which other processes of the gateway may listen at the same time."""
    address = listen_address(listen)
    assert address is not None
    bound = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise ConfigError([Fault("bounce_listen", _bind_problem(address, error))]) from None
    return bound


def _bind_problem(address: tuple[str, int], error: OSError) -> str:
    host, port = address
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this machine has no address {host}: use one of its own, or 0.0.0.0 for all of them"
    if error.errno == errno.EADDRINUSE:
        return f"another program listens on {host} port {port}: stop it, or choose another port"
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {port}: choose a port above 1023"
    return f"can't listen on {host} port {port}: {error.strerror}"


class BounceListener:
    """Accepts connections, up to a number of all and of each network."""

    def __init__(
        self,
        bound: socket.socket,
        mailbox: BounceMailbox,
        certificate: BounceCertificate | None,
        context: Context,
    ) -> None:
        self._socket = bound
        self._mailbox = mailbox
        self._certificate = certificate
        self._context = context
        self._server: asyncio.Server | None = None
        self._sessions: set[BounceSession] = set()
        self._networks: Counter[str] = Counter()

    async def start(self) -> None:
        """Accept connections from the moment on when the gateway can record reports.

        ``gatepost check --live`` thus takes no connections from a gateway that runs.
        """
        while True:
            try:
                await self._context.state.read("bounce_listen")
                break
            except Unavailable:
                await asyncio.sleep(_START_INTERVAL)
        self._server = await asyncio.start_server(
            self._serve, sock=self._socket, limit=_READ_LIMIT, backlog=_BACKLOG, start_serving=False
        )
        # Not in one step: cancelled in the middle of it, a server would go on that ``close`` does not know.
        await self._server.start_serving()
        self._context.log.info("bounces_listening", port=self._socket.getsockname()[1])

    async def close(self) -> None:
        """Accept no more, let mails that are being received end, and close all connections."""
        if self._server:
            self._server.close()
        self._socket.close()
        for timeout in (STOP_TIMEOUT, None):
            if not self._sessions:
                return
            for session in self._sessions:
                session.stop() if timeout else session.cancel()
            await asyncio.wait([session.task for session in self._sessions], timeout=timeout)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        network = _network(writer)
        if len(self._sessions) >= MAX_CONNECTIONS or self._networks[network] >= MAX_CONNECTIONS_PER_NETWORK:
            writer.write(b"421 4.7.0 too many connections\r\n")
            writer.close()
            return
        session = BounceSession(BounceConnection(reader, writer), self._mailbox, self._certificate)
        self._sessions.add(session)
        self._networks[network] += 1
        try:
            await session.run()
        except Exception:
            self._context.log.exception("bounce_session_failed")
        finally:
            self._sessions.remove(session)
            self._networks[network] -= 1
            if not self._networks[network]:
                del self._networks[network]


def _network(writer: asyncio.StreamWriter) -> str:
    """Return the network that counts as one client."""
    peer = writer.get_extra_info("peername")
    if not peer:
        return ""
    address = ipaddress.ip_address(peer[0].partition("%")[0])
    return str(ipaddress.ip_network((address, 64 if address.version == 6 else 32), strict=False))
