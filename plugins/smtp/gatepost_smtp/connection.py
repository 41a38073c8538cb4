"""One connection to the relay."""

import asyncio
import contextlib
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from gatepost.errors import Unavailable
from gatepost_smtp.dialogue import Dialogue, Disconnected, InvalidReply, Reply

MAX_AGE = 300.0
"""Seconds that a connection is used."""
MAX_IDLE = 30.0
"""Seconds without a mail after which a connection is not used again; servers close it after 60 to 300."""

_QUIT_TIMEOUT = 1.0
"""Seconds that a QUIT may take."""
_IN_USE = 1.0
"""Seconds after a mail in which a relay that ends the connection does so because of the mails, not of the silence."""
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


class ConnectionLost(Unavailable):
    """The connection broke before the mail was sent: another connection may take the mail at once."""


class ProbeResult(NamedTuple):
    """What a new connection to the relay has shown."""

    tls_version: str
    """Such as TLSv1.3; empty without TLS."""
    offers_reports: bool
    """Whether the relay offers to report deliveries (DSN)."""


class Connection:
    """A connection that is signed in."""

    def __init__(self, transport: asyncio.BaseTransport, extensions: Collection[str]) -> None:
        """Take over the transport of a session; ``extensions`` are those in the answer to EHLO, in lower case."""
        self._dialogue = Dialogue(transport)
        self._extensions = extensions
        self.drops_commands = False
        """Whether the server seems to read only the first of commands that come together."""
        self.mails = 0
        """The number of mails that went over the connection before this one."""
        self.opened_at = asyncio.get_running_loop().time()
        self._used_at = self.opened_at

    @property
    def is_open(self) -> bool:
        """Whether neither side has ended the connection."""
        return self._dialogue.is_open

    @property
    def ended_at(self) -> float | None:
        """When the connection ended, by the loop's clock."""
        return self._dialogue.ended_at

    @property
    def has_unsent(self) -> bool:
        """Whether a part of what was written has not left yet."""
        return self._dialogue.has_unsent

    @property
    def has_ended_in_use(self) -> bool:
        """Whether the connection ended right after a mail, or when the next one came right after it."""
        return self.ended_at is not None and self.ended_at - self._used_at < _IN_USE

    def supports(self, extension: str) -> bool:
        """Tell whether the server named this extension in its answer to EHLO."""
        return extension in self._extensions

    def probe_result(self) -> ProbeResult:
        """Return what the connection has shown."""
        return ProbeResult(self._dialogue.tls_version, self.supports("dsn"))

    def count_mail(self) -> None:
        """Count a mail that went over the connection, which is idle from now on."""
        self.mails += 1
        self._used_at = asyncio.get_running_loop().time()

    def is_fresh(self) -> bool:
        """Tell whether the connection is open, not too old, and not too long without a mail."""
        now = asyncio.get_running_loop().time()
        return self.is_open and now - self.opened_at < MAX_AGE and now - self._used_at < MAX_IDLE

    def write_commands(self, commands: Sequence[str]) -> None:
        """Send commands, together; raises Disconnected."""
        if any(map(_CONTROL_CHARACTERS.search, commands)):
            raise ValueError("a command holds a control character")
        self._dialogue.write("".join(f"{one}\r\n" for one in commands).encode(), replies=len(commands))

    def write_content(self, content: bytes) -> None:
        """Send a mail, which is dot-stuffed and has its last dot; raises Disconnected."""
        self._dialogue.write(content)

    async def read(self, until: float) -> Reply:
        """Return the next reply; raises Disconnected, InvalidReply, and TimeoutError at ``until`` by the loop's clock."""
        return await self._dialogue.read(until)

    async def execute(self, command: str, until: float) -> Reply:
        """Send a command and return its reply, which must come by then; raises what ``read`` does."""
        self.write_commands([command])
        return await self.read(until)

    def abort(self) -> None:
        """Close the connection at once and drop unsent data, so that no mail in flight can be completed."""
        self._dialogue.abort()

    async def quit(self) -> None:
        """Close the connection with QUIT; abort it if the server does not answer within a second.

        It waits until the server has closed its side too: until then the relay counts the connection.
        """
        try:
            with contextlib.suppress(Disconnected, InvalidReply, TimeoutError):
                until = asyncio.get_running_loop().time() + _QUIT_TIMEOUT
                await self.execute("QUIT", until)
                await self._dialogue.wait_closed(until)
        finally:
            self.abort()
