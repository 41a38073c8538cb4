"""The dialogue of one SMTP connection with a mail server that brings bounces (RFC 5321)."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from gatepost.errors import Unavailable
from gatepost_smtp.bounce_certificate import BounceCertificate
from gatepost_smtp.bounce_connection import BounceConnection, Ended
from gatepost_smtp.bounce_mailbox import BounceMailbox
from gatepost_smtp.reports import MAX_BYTES

SESSION_TIMEOUT = 900.0
"""Seconds that a connection may last, whatever the client does."""
MAX_MAIL_BYTES = 64 * 2**20
"""The announced SIZE. Only the beginning of a mail is stored; the rest is read, because a refused bounce is lost."""
MAX_COMMANDS = 1000
MAX_ERRORS = 10
MAX_RECIPIENTS = 5

_PATH = re.compile(r"(FROM|TO):\s*<(.*)>(.*)", re.IGNORECASE)
_BODIES = frozenset({"7BIT", "8BITMIME"})


class _Path(NamedTuple):
    """The argument of MAIL or RCPT."""

    address: str
    parameters: Mapping[str, str]


class BounceSession:
    """The dialogue with one client. No reply quotes what the client wrote."""

    def __init__(
        self,
        connection: BounceConnection,
        mailbox: BounceMailbox,
        certificate: BounceCertificate | None,
    ) -> None:
        """Begin in the task that will call ``run``."""
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._connection = connection
        self._mailbox = mailbox
        self._certificate = certificate
        self._stopping = False
        self._receiving = False
        self._reset(greeted=False)
        self._commands: Mapping[str, Callable[[str], Awaitable[str]]] = {
            "HELO": self._helo,
            "EHLO": self._ehlo,
            "STARTTLS": self._starttls,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
        }

    async def run(self) -> None:
        """Talk with the client until one of the two ends the connection; then close it. Raises only for a defect."""
        last_reply = ""
        try:
            async with asyncio.timeout(SESSION_TIMEOUT):
                await self._converse()
        except Ended as error:
            last_reply = str(error)
        except TimeoutError:
            last_reply = "421 4.4.2 timeout"
        except asyncio.CancelledError:
            last_reply = "421 4.3.2 the service stops, try again"
        except (OSError, EOFError):
            pass
        finally:
            await self._connection.close(last_reply)

    def stop(self) -> None:
        """End the connection, but first receive the mail that has begun to come."""
        self._stopping = True
        if not self._receiving:
            self.cancel()

    def cancel(self) -> None:
        """End the connection now. A mail without an answer is sent again."""
        self.task.cancel()

    async def _converse(self) -> None:
        await self._connection.reply(f"220 {self._mailbox.domain} ESMTP")
        errors = 0
        for _ in range(MAX_COMMANDS):
            verb, _, argument = (await self._connection.read_command()).partition(" ")
            if verb.upper() == "QUIT":
                raise Ended("221 2.0.0 bye")
            command = self._commands.get(verb.upper())
            reply = await command(argument.strip()) if command else "502 5.5.1 no such command"
            if reply:
                await self._connection.reply(reply)
            if self._stopping:
                raise Ended("421 4.3.2 the service stops, try again")
            errors += reply.startswith("5")
            if errors >= MAX_ERRORS:
                raise Ended("421 4.7.0 too many errors")
            # A client that sends many commands at once must not keep the event loop for itself.
            await asyncio.sleep(0)
        raise Ended("421 4.7.0 too many commands")

    def _reset(self, *, greeted: bool = True) -> None:
        self._greeted = greeted
        self._sender: str | None = None
        self._recipients: list[str] = []

    async def _helo(self, argument: str) -> str:
        if not argument:
            return "501 5.5.4 a host name is missing"
        self._reset()
        return f"250 {self._mailbox.domain}"

    async def _ehlo(self, argument: str) -> str:
        if not argument:
            return "501 5.5.4 a host name is missing"
        self._reset()
        extensions = ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", f"SIZE {MAX_MAIL_BYTES}"]
        if self._certificate and not self._connection.encrypted:
            extensions.insert(0, "STARTTLS")
        lines = [self._mailbox.domain, *extensions]
        return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])

    async def _starttls(self, argument: str) -> str:
        if argument:
            return "501 5.5.4 no parameter is allowed"
        if not self._certificate or self._connection.encrypted:
            return "502 5.5.1 no such command"
        await self._connection.encrypt(await self._certificate.newest())
        self._reset(greeted=False)
        return ""

    async def _mail(self, argument: str) -> str:
        if not self._greeted or self._sender is not None:
            return "503 5.5.1 not now"
        path = _path(argument, "FROM")
        if path is None:
            return "501 5.5.4 not understood"
        size = path.parameters.get("SIZE", "0")
        if path.parameters.keys() - {"SIZE", "BODY", "SMTPUTF8"}:
            return "555 5.5.4 no such parameter"
        if not size.isdigit() or path.parameters.get("BODY", "7BIT") not in _BODIES:
            return "501 5.5.4 not understood"
        if int(size) > MAX_MAIL_BYTES:
            return "552 5.3.4 the mail is too large"
        self._sender = path.address
        return "250 2.1.0 ok"

    async def _rcpt(self, argument: str) -> str:
        if self._sender is None:
            return "503 5.5.1 not now"
        path = _path(argument, "TO")
        if path is None:
            return "501 5.5.4 not understood"
        if path.parameters:
            return "555 5.5.4 no such parameter"
        recipient = self._mailbox.find_recipient(path.address)
        if recipient is None:
            return "550 5.1.1 no such address"
        if len(self._recipients) == MAX_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        self._recipients.append(recipient)
        return "250 2.1.5 ok"

    async def _data(self, argument: str) -> str:
        if argument:
            return "501 5.5.4 no parameter is allowed"
        if self._sender is None or not self._recipients:
            return "503 5.5.1 not now"
        self._receiving = True
        try:
            await self._connection.reply("354 end with a dot on a line of its own")
            mail, size = await self._connection.read_mail(MAX_BYTES)
            if size > MAX_MAIL_BYTES:
                return "552 5.3.4 the mail is too large"
            await self._mailbox.deliver(self._sender, self._recipients, mail)
        except Unavailable:
            return "451 4.3.0 try again later"
        finally:
            self._receiving = False
            self._reset()
        return "250 2.0.0 read"

    async def _rset(self, _argument: str) -> str:
        self._reset(greeted=self._greeted)
        return "250 2.0.0 ok"

    async def _noop(self, _argument: str) -> str:
        return "250 2.0.0 ok"


def _path(argument: str, keyword: str) -> _Path | None:
    """Parse the argument of MAIL or RCPT; return None for anything else."""
    match = _PATH.fullmatch(argument)
    if match is None or match[1].upper() != keyword:
        return None
    pairs = (word.upper().partition("=") for word in match[3].split())
    return _Path(match[2], {name: value for name, _, value in pairs})
