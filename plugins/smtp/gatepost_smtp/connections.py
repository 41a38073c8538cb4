"""Connections to the relay: opened when needed, kept, used by one mail at a time, never repaired."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, cast

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from gatepost.errors import Unavailable
from gatepost_smtp.replies import failure_code
from gatepost_smtp.settings import Settings

MAX_MAILS = 100
"""Mails over one connection; many relays refuse more at some point, and balancers want to move."""
MAX_AGE = 300.0
"""Seconds of one connection's life."""
MAX_IDLE = 30.0
"""Seconds unused after which a connection is not trusted any more; servers hang up after 60 to 300."""

PATIENCE = 0.2
"""The share of a send's time that it may wait for a free connection."""
BEGINNING = 0.5
"""The share of a send's time after which no mail is begun: the relay needs the rest to take it. To give a mail
up before it is out costs a try, to give it up afterwards leaves everybody in doubt."""

_FAREWELL = 1.0  # seconds that a QUIT may take

T = TypeVar("T")


class Lost(Unavailable):
    """The connection broke before the message was out: another connection may take it at once."""


class Deadline:
    """One moment that every step of a send shares."""

    def __init__(self, seconds: float) -> None:
        self._clock = asyncio.get_running_loop().time
        now = self._clock()
        self._seconds = seconds
        self._at = now + seconds
        self._begun_by = now + seconds * BEGINNING

    def limit(self) -> asyncio.Timeout:
        """``async with`` it around a step: TimeoutError once no time is left."""
        # aiosmtplib's own timeouts are off. They stand on wait_for, which in Python 3.11 loses a
        # cancellation that comes together with a result, and they count anew with every answer.
        return asyncio.timeout_at(self._at)

    def beginning(self, share: float = 1.0) -> asyncio.Timeout:
        """The same for a step before the mail: for this share of what is left until it must have begun."""
        now = self._clock()
        return asyncio.timeout_at(now + (self._begun_by - now) * share)

    def waiting(self) -> asyncio.Timeout:
        """The same for the wait for a free connection."""
        return asyncio.timeout_at(min(self._clock() + self._seconds * PATIENCE, self._begun_by))


class Connection:
    """A client that is connected and signed in."""

    def __init__(self, client: SMTP) -> None:
        self.client = client
        self.mails = 0
        """Mails that were tried over it before this one."""
        now = asyncio.get_running_loop().time()
        self._opened = now
        self._used = now

    def offers(self, extension: str) -> bool:
        """Whether the server named this extension in its answer to EHLO."""
        return self.client.supports_extension(extension)

    def kept(self) -> None:
        """Note that a mail has been through it and that it waits for the next."""
        self.mails += 1
        self._used = asyncio.get_running_loop().time()

    def is_usable(self) -> bool:
        """Whether the next mail may go over it."""
        now = asyncio.get_running_loop().time()
        return (
            self.client.is_connected
            and self.mails < MAX_MAILS
            and now - self._opened < MAX_AGE
            and now - self._used < MAX_IDLE
        )

    def abort(self) -> None:
        """Cut it off, with whatever had not left yet. Nothing that it had begun can be completed."""
        transport = self.client.transport
        if transport is not None:
            # What uvloop makes is no subclass of asyncio's transports.
            cast("asyncio.WriteTransport", transport).abort()
        self.client.close()

    async def quit(self) -> None:
        """Take leave as SMTP wants it, within a second; cut it off where the server doesn't answer."""
        try:
            async with asyncio.timeout(_FAREWELL):
                await self.client.quit()
        except (SMTPException, OSError):
            pass
        finally:
            self.abort()


class Connections:
    """At most ``settings.connections`` of them, shared by every send of an instance."""

    def __init__(self, settings: Settings, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._tls = tls
        self._places = asyncio.Semaphore(settings.connections)
        self._idle: list[Connection] = []

    async def use(self, work: Callable[[Connection], Awaitable[T]], deadline: Deadline) -> T:
        """Do ``work`` over a connection of its own, kept or new.

        A kept connection that turns out Lost is replaced once by a new one. Whatever else ``work``
        raises, cancellation included, ends the connection and is passed on. Raises Unavailable when
        there is no connection while enough time is left to begin.
        """
        async with self._place(deadline):
            kept = await self._take(deadline)
            if kept is not None:
                with contextlib.suppress(Lost):
                    return await self._over(kept, work)
            return await self._over(await self._open(deadline), work)

    async def probe(self, deadline: Deadline) -> None:
        """Open a new connection, sign in, have the server answer, and leave. Raises as ``use`` does."""
        async with self._place(deadline):
            kept = await self._take(deadline)
            if kept is not None:
                # One more must not be one too many.
                await kept.quit()
            connection = await self._open(deadline)
            try:
                async with deadline.limit():
                    await connection.client.noop()
            except (SMTPException, OSError) as error:
                raise Unavailable("the relay doesn't answer NOOP", code=failure_code(error)) from None
            finally:
                await connection.quit()

    async def close(self) -> None:
        """Take leave on every kept connection."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.quit() for connection in idle))

    @asynccontextmanager
    async def _place(self, deadline: Deadline) -> AsyncIterator[None]:
        try:
            async with deadline.waiting():
                await self._places.acquire()
        except TimeoutError:
            # The crowd is ours: it says nothing about the relay.
            raise Unavailable(
                f"none of the {self._settings.connections} connections became free in time", message_only=True
            ) from None
        try:
            yield
        finally:
            self._places.release()

    async def _take(self, deadline: Deadline) -> Connection | None:
        """The kept connection that was used last; those past their time are left."""
        taken = None
        worn = []
        while taken is None and self._idle:
            connection = self._idle.pop()
            if connection.is_usable():
                taken = connection
            else:
                worn.append(connection)
        try:
            # Before this mail and not after the last one: nothing is at stake yet.
            with contextlib.suppress(TimeoutError):
                async with deadline.beginning(0.5):
                    await asyncio.gather(*(connection.quit() for connection in worn))
        except BaseException:
            if taken is not None:
                taken.abort()
            raise
        return taken

    async def _over(self, connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            result = await work(connection)
        except BaseException:
            # Perhaps between two commands, with a recipient already named: the next mail would be
            # sent to both. There is no telling, so it is never used again.
            connection.abort()
            raise
        connection.kept()
        if connection.client.is_connected:
            self._idle.append(connection)
        return result

    async def _open(self, deadline: Deadline) -> Connection:
        client = SMTP(
            hostname=self._settings.host,
            port=self._settings.effective_port(),
            # Only a stand-in: without one the client asks the DNS, which may take half a minute.
            local_hostname="localhost",
            use_tls=self._settings.security == "tls",
            start_tls=False,
            tls_context=self._tls,
            timeout=None,
        )
        connection = Connection(client)
        try:
            async with deadline.beginning():
                await self._introduce(client)
        except BaseException as error:
            connection.abort()
            if isinstance(error, SMTPException | OSError | ValueError):
                raise _not_opened(error) from None
            raise
        return connection

    async def _introduce(self, client: SMTP) -> None:
        """Connect, greet, encrypt, sign in."""
        settings = self._settings
        await client.connect()
        helo = settings.helo or _own_name(client)
        await client.ehlo(hostname=helo)
        if settings.security == "starttls":
            if not client.supports_extension("starttls"):
                raise Unavailable(
                    "the relay doesn't offer STARTTLS: check port and security", misconfigured=True
                )
            await client.starttls()
            await client.ehlo(hostname=helo)
        if settings.password:
            if not client.supported_auth_methods:
                raise Unavailable(
                    "the relay offers no way to sign in with a password: check port and security",
                    misconfigured=True,
                )
            await client.login(settings.username, settings.password.reveal())


def _own_name(client: SMTP) -> str:
    """The machine's full name, or else the address that it has towards the relay (RFC 5321 §4.1.3)."""
    name = socket.gethostname()
    if "." in name and name.isascii() and name.replace("-", "").replace(".", "").isalnum():
        return name
    own = ipaddress.ip_address(client.get_transport_info("sockname")[0].partition("%")[0])
    return f"[IPv6:{own}]" if own.version == 6 else f"[{own}]"


def _not_opened(error: Exception) -> Unavailable:
    """Why there is no connection, in our own words."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(error, SMTPResponseException):
        code = failure_code(error)
        return Unavailable(
            f"the relay refused the connection or the sign-in ({code})" if code else "that is no SMTP server",
            code=code,
            misconfigured=not 400 <= error.code < 500,
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Unavailable(
            "the relay's certificate is not trusted: check host and ca_file", misconfigured=True
        )
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        return Unavailable("no TLS with the relay: check port and security", misconfigured=True)
    if isinstance(error, TimeoutError):
        return Unavailable("the relay did not answer in time")
    if isinstance(cause, socket.gaierror):
        return Unavailable("the relay's name can't be resolved: check host")
    return Unavailable(f"no connection to the relay ({type(cause).__name__})")
