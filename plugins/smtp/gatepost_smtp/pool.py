"""A pool of connections to the relay: opened when needed, reused, and used by one mail at a time."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable

from gatepost.errors import SendError, Unavailable
from gatepost_smtp.connection import Connection, ConnectionLost, ProbeResult
from gatepost_smtp.connection_limit import ConnectionLimit
from gatepost_smtp.deadline import Deadline
from gatepost_smtp.dialogue import Disconnected, InvalidReply
from gatepost_smtp.mail_limit import MailLimit
from gatepost_smtp.replies import full_code
from gatepost_smtp.session import open_session
from gatepost_smtp.settings import Settings
from gatepost_smtp.throttle import Throttle

PIPELINING_DELAY = 3600.0
"""Seconds without pipelining after the relay seems to have dropped commands that came together."""

Operation = Callable[[Connection], Awaitable[SendError | None]]
"""A mail: what is to be done with a connection. It returns the relay's refusal, or None."""


class LimitReached(Exception):
    """The relay refused a connection while ``others`` of ours were open or being opened."""

    def __init__(self, cause: Unavailable, others: int) -> None:
        super().__init__(cause.reason)
        self.cause = cause
        self.others = others


class ConnectionPool:
    """At most ``settings.connections`` connections, shared by all sends of an instance.

    If the relay refuses a connection while another one works, the relay only allows fewer. The send then waits
    for an open connection, as if fewer were configured. ``warn`` logs a new limit.
    """

    def __init__(self, settings: Settings, tls: ssl.SSLContext | None, warn: Callable[..., object]) -> None:
        self._settings = settings
        self._tls = tls
        self._warn = warn
        clock = asyncio.get_running_loop().time
        self._limit = ConnectionLimit(settings.connections, clock)
        self._mail_limit = MailLimit(clock)
        self._throttle = Throttle(clock, warn)
        self._clock = clock
        self._pipelining_from = 0.0
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._opening = 0
        """Sends that have a slot and are about to have a connection."""
        self._lowest_limit = settings.connections
        self._new_limit: LimitReached | None = None
        """A refused connection beside others that may be of a limit which the operator does not know yet."""

    async def run(self, operation: Operation, deadline: Deadline) -> SendError | None:
        """Run ``operation`` with a connection of its own, an idle or a new one; return what it returns.

        If an idle connection turns out to be lost (ConnectionLost), the operation is run once more with a new
        one. Any other exception of the operation, cancellation included, aborts the connection and is passed
        on. Raises Unavailable if there is no connection while there is time to start, and in a pause.
        """
        try:
            error = await self._run_within_limit(operation, deadline)
        except Unavailable as unavailable:
            self._throttle.note(unavailable)
            raise
        self._throttle.note(error)
        return error

    async def probe(self, deadline: Deadline) -> ProbeResult:
        """Open a new connection, sign in, send NOOP and close it; return what it has shown.

        Raises Unavailable if one of these fails.
        """
        await self._acquire_slot(deadline)
        try:
            idle = self._idle.pop() if self._idle else None
            if idle is not None:
                # Closed, so that the new connection does not exceed the limit.
                await idle.quit()
            connection = await self._open(deadline)
            try:
                reply = await connection.execute("NOOP", deadline.end)
                if reply.code // 100 != 2:
                    raise Unavailable(
                        "the relay doesn't answer NOOP with 250", code=full_code(reply.code, reply.text)
                    )
                return connection.probe_result()
            except (Disconnected, InvalidReply, TimeoutError):
                raise Unavailable("the relay doesn't answer NOOP") from None
            finally:
                await connection.quit()
        except LimitReached as error:
            raise error.cause from None
        finally:
            self._limit.release()

    async def close(self) -> None:
        """Close every idle connection with QUIT."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.quit() for connection in idle))

    async def _run_within_limit(self, operation: Operation, deadline: Deadline) -> SendError | None:
        """Run the operation in a slot; wait for another slot when the relay allows no further connection."""
        refusal: Unavailable | None = None
        while True:
            await self._acquire_slot(deadline, refusal)
            new_limit = self._new_limit
            try:
                result = await self._run_on_any(operation, deadline)
            except LimitReached as error:
                refusal = error.cause
                self._limit.withhold(error.others)
                # While others are being opened, their number is not known yet.
                if not self._opening and error.others < self._lowest_limit:
                    self._new_limit = error
            except BaseException:
                self._limit.release()
                raise
            else:
                self._limit.release()
                if result is None and new_limit is not None and new_limit is self._new_limit:
                    self._warn_of_limit(new_limit)
                return result

    def _open_count(self) -> int:
        return sum(connection.is_open for connection in (*self._idle, *self._busy))

    async def _acquire_slot(self, deadline: Deadline, refusal: Unavailable | None = None) -> None:
        """Wait for a slot; ``refusal`` says why this send could not open a connection before."""
        if self._limit.is_retry_due() and self._open_count():
            self._limit.retry()
        try:
            # A timeout costs more than the rest.
            async with (
                contextlib.nullcontext() if self._limit.has_free_slot() else deadline.until_wait_ends()
            ):
                await self._limit.acquire()
        except TimeoutError:
            raise Unavailable(
                f"none of the {self._open_count() or self._settings.connections} connections became free in time",
                # If a connection works, only our own load is too high: that says nothing about the relay.
                message_only=self._open_count() > 0,
            ) from None
        if refusal and not self._open_count():
            # None of the connections that were being opened succeeded, so another try is of no use.
            self._limit.release()
            raise refusal

    async def _take_idle(self, deadline: Deadline) -> Connection | None:
        """Return the idle connection that was used last, which the relay may have ended.

        If it is too old or has carried its last mail, close it and return None.
        """
        if not self._idle:
            return None
        connection = self._idle.pop()
        if not connection.is_open or (connection.is_fresh() and self._mail_limit.permits(connection.mails)):
            return connection
        self._opening += 1
        try:
            # Closed before this mail and not after the last one: at this moment no mail can be lost.
            with contextlib.suppress(TimeoutError):
                async with deadline.until_start(0.5):
                    await connection.quit()
        finally:
            self._opening -= 1
        return None

    async def _run_on_any(self, operation: Operation, deadline: Deadline) -> SendError | None:
        self._throttle.check()
        idle = await self._take_idle(deadline)
        if idle is not None and idle.is_open:
            with contextlib.suppress(ConnectionLost):
                return await self._run_on(idle, operation)
        result = await self._run_on(await self._open(deadline), operation)
        if idle is not None and idle.has_ended_in_use:
            self._mail_limit.record_end(idle)
        return result

    async def _run_on(self, connection: Connection, operation: Operation) -> SendError | None:
        self._busy.add(connection)
        try:
            result = await operation(connection)
        except BaseException:
            # It may have ended between two commands, with a recipient already named: the next mail would go to
            # both recipients. So the connection is never used again.
            connection.abort()
            raise
        finally:
            self._busy.discard(connection)
            if connection.drops_commands:
                self._pipelining_from = self._clock() + PIPELINING_DELAY
        connection.count_mail()
        self._mail_limit.record_taken(connection.mails)
        if connection.is_open:
            self._idle.append(connection)
        return result

    async def _open(self, deadline: Deadline) -> Connection:
        """Open a connection.

        If that fails, raises LimitReached beside other connections, and Unavailable without any.
        """
        self._opening += 1
        try:
            # Beside others it leaves time to wait for one of them.
            time_limit = deadline.until_start(0.5 if self._open_count() else 1.0)
            pipelining = self._clock() >= self._pipelining_from
            connection = await open_session(self._settings, self._tls, time_limit, pipelining=pipelining)
        except BaseException as error:
            others = self._open_count() + self._opening - 1
            if not others:
                self._limit.reset()
                self._new_limit = None
            elif isinstance(error, Unavailable):
                raise LimitReached(error, others) from None
            raise
        finally:
            self._opening -= 1
        self._limit.record_open(self._open_count() + 1)
        return connection

    def _warn_of_limit(self, error: LimitReached) -> None:
        """Warn the operator of fewer connections than ever before; a mail was taken over one of them since then."""
        self._new_limit, self._lowest_limit = None, error.others
        self._warn(
            "relay_limits_connections",
            problem=f"the relay allows only {error.others} of {self._settings.connections} connections at "
            f"once ({error.cause.reason}): lower connections",
        )
