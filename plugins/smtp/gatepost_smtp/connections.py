"""Connections to the relay: opened when needed, kept, used by one mail at a time, never repaired."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from aiosmtplib import SMTP, SMTPException

from gatepost.errors import Unavailable
from gatepost_smtp.opening import introduce, new_client
from gatepost_smtp.places import Places
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


class LimitReached(Exception):
    """A connection could not be opened while ``others`` of ours were open or about to be."""

    def __init__(self, cause: Unavailable, others: int) -> None:
        super().__init__(cause.reason)
        self.cause = cause
        self.others = others


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
        """Take leave as SMTP wants it, within a second; cut it off where the server doesn't answer.

        It is over when the server has hung up: until then it counts among those that the relay allows.
        """
        try:
            async with asyncio.timeout(_FAREWELL):
                await self.client.execute_command(b"QUIT")
                if self.client.protocol is not None:
                    await self.client.protocol.read_response()
        except (SMTPException, OSError):
            pass
        finally:
            self.abort()


class Connections:
    """At most ``settings.connections`` of them, shared by every send of an instance.

    While a connection works, one more that the relay refuses says only how many it allows: the send waits for
    one that is open, as if no more had been configured.
    """

    def __init__(self, settings: Settings, tls: ssl.SSLContext | None, warn: Callable[[str], object]) -> None:
        self._settings = settings
        self._tls = tls
        self._warn = warn
        self._places = Places(settings.connections, asyncio.get_running_loop().time)
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._coming = 0
        """Sends that have a place and are about to have a connection."""
        self._fewest = settings.connections

    async def use(self, work: Callable[[Connection], Awaitable[T]], deadline: Deadline) -> T:
        """Do ``work`` over a connection of its own, kept or new.

        A kept connection that turns out Lost is replaced once by a new one. Whatever else ``work``
        raises, cancellation included, ends the connection and is passed on. Raises Unavailable when
        there is no connection while enough time is left to begin.
        """
        refused: Unavailable | None = None
        while True:
            await self._take_place(deadline, refused)
            try:
                result = await self._over_any(work, deadline)
            except LimitReached as error:
                refused = error.cause
                self._places.withhold(error.others)
                self._warn_of_fewer(error)
            except BaseException:
                self._places.release()
                raise
            else:
                self._places.release()
                return result

    async def _over_any(self, work: Callable[[Connection], Awaitable[T]], deadline: Deadline) -> T:
        kept = await self._take(deadline)
        if kept is not None:
            with contextlib.suppress(Lost):
                return await self._over(kept, work)
        return await self._over(await self._open(deadline), work)

    async def probe(self, deadline: Deadline) -> None:
        """Open a new connection, sign in, have the server answer, and leave. Raises as ``use`` does."""
        await self._take_place(deadline)
        try:
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
        except LimitReached as error:
            raise error.cause from None
        finally:
            self._places.release()

    async def close(self) -> None:
        """Take leave on every kept connection."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.quit() for connection in idle))

    def _open_now(self) -> int:
        """How many connections are open and work."""
        return sum(connection.client.is_connected for connection in (*self._idle, *self._busy))

    async def _take_place(self, deadline: Deadline, refused: Unavailable | None = None) -> None:
        """Wait for a place; ``refused`` says why the send that waits could not open a connection before."""
        if self._places.is_try_due() and self._open_now():
            self._places.try_another()
        try:
            async with deadline.waiting():
                await self._places.take()
        except TimeoutError:
            raise Unavailable(
                f"none of the {self._open_now() or self._settings.connections} connections became free in time",
                # While one works the crowd is ours: it says nothing about the relay.
                message_only=self._open_now() > 0,
            ) from None
        if refused and not self._open_now():
            # None of those that were being opened came to be: no use in trying again.
            self._places.release()
            raise refused

    async def _take(self, deadline: Deadline) -> Connection | None:
        """The kept connection that was used last; where it is past its time it is left, and there is none."""
        if not self._idle:
            return None
        connection = self._idle.pop()
        if connection.is_usable():
            return connection
        self._coming += 1
        try:
            # Before this mail and not after the last one: nothing is at stake yet.
            with contextlib.suppress(TimeoutError):
                async with deadline.beginning(0.5):
                    await connection.quit()
        finally:
            self._coming -= 1
        return None

    async def _over(self, connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
        self._busy.add(connection)
        try:
            result = await work(connection)
        except BaseException:
            # Perhaps between two commands, with a recipient already named: the next mail would be
            # sent to both. There is no telling, so it is never used again.
            connection.abort()
            raise
        finally:
            self._busy.discard(connection)
        connection.kept()
        if connection.client.is_connected:
            self._idle.append(connection)
        return result

    async def _open(self, deadline: Deadline) -> Connection:
        """Open a connection. Raises LimitReached where it can't be had beside others, Unavailable where there are none."""
        connection = Connection(new_client(self._settings, self._tls))
        self._coming += 1
        try:
            # Beside others it leaves enough time to wait for one of them.
            limit = deadline.beginning(0.5 if self._open_now() else 1.0)
            await introduce(connection.client, self._settings, limit)
        except BaseException as error:
            connection.abort()
            others = self._open_now() + self._coming - 1
            if not others:
                self._places.forget()
            elif isinstance(error, Unavailable):
                raise LimitReached(error, others) from None
            raise
        finally:
            self._coming -= 1
        self._places.opened(self._open_now() + 1)
        return connection

    def _warn_of_fewer(self, refused: LimitReached) -> None:
        """Tell the operator when the relay allows fewer connections than ever before."""
        # While others are being opened the number is not known yet.
        if not self._coming and refused.others < self._fewest:
            self._fewest = refused.others
            self._warn(
                f"the relay allows only {refused.others} of {self._settings.connections} connections at once "
                f"({refused.cause.reason}): lower connections"
            )
