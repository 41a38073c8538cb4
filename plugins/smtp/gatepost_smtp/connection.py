"""One connection to the relay."""

import asyncio
from typing import cast

from aiosmtplib import SMTP, SMTPException

from gatepost.errors import Unavailable

MAX_MAILS = 100
"""Mails over one connection; many relays refuse more at some point, and load balancers need new connections."""
MAX_AGE = 300.0
"""Seconds that a connection is used."""
MAX_IDLE = 30.0
"""Seconds without a mail after which a connection is not used again; servers close it after 60 to 300."""

_QUIT_TIMEOUT = 1.0
"""Seconds that a QUIT may take."""


class ConnectionLost(Unavailable):
    """The connection broke before the mail was sent: another connection may take the mail at once."""


class Connection:
    """A client that is connected and signed in."""

    def __init__(self, client: SMTP) -> None:
        self.client = client
        self.mails = 0
        """The number of mails that went over the connection before this one."""
        now = asyncio.get_running_loop().time()
        self._opened_at = now
        self._used_at = now

    def supports(self, extension: str) -> bool:
        """Tell whether the server named this extension in its answer to EHLO."""
        return self.client.supports_extension(extension)

    def count_mail(self) -> None:
        """Count a mail that went over the connection, which is idle from now on."""
        self.mails += 1
        self._used_at = asyncio.get_running_loop().time()

    def is_usable(self) -> bool:
        """Tell whether the next mail may go over the connection."""
        now = asyncio.get_running_loop().time()
        return (
            self.client.is_connected
            and self.mails < MAX_MAILS
            and now - self._opened_at < MAX_AGE
            and now - self._used_at < MAX_IDLE
        )

    def abort(self) -> None:
        """Close the connection at once and drop unsent data, so that no mail in flight can be completed."""
        transport = self.client.transport
        if transport is not None:
            # uvloop's transports are no subclass of asyncio's.
            cast("asyncio.WriteTransport", transport).abort()
        self.client.close()

    async def quit(self) -> None:
        """Close the connection with QUIT; abort it if the server does not answer within a second.

        It waits until the server has closed its side too: until then the relay counts the connection.
        """
        try:
            async with asyncio.timeout(_QUIT_TIMEOUT):
                await self.client.execute_command(b"QUIT")
                if self.client.protocol is not None:
                    await self.client.protocol.read_response()
        except (SMTPException, OSError):
            pass
        finally:
            self.abort()
