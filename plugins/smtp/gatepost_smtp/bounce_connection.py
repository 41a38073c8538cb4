"""The bytes of one connection to the bounce listener: lines, mails, replies and the encryption."""

import asyncio
import ssl

IDLE_TIMEOUT = 300.0
"""Seconds to wait for the client: RFC 5321, 4.5.3.2.7."""
HANDSHAKE_TIMEOUT = 30.0
CLOSE_TIMEOUT = 1.0
"""Seconds in which the client takes what it was sent last."""

MAX_LINE_BYTES = 1000
_CHUNK_BYTES = 64 * 1024
_END_OF_MAIL = b"\r\n.\r\n"


class Ended(Exception):
    """Ends the connection with the reply that is its text."""


class BounceConnection:
    """Reads commands and mails, and writes replies. A client that takes too long raises TimeoutError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self.encrypted = False

    async def reply(self, text: str) -> None:
        """Write a reply, which may have several lines."""
        self._writer.write(f"{text}\r\n".encode("ascii"))
        async with asyncio.timeout(IDLE_TIMEOUT):
            await self._writer.drain()

    async def read_command(self) -> str:
        """Return the next line; raise Ended if it is too long.

        Only CR LF ends a line, here as in a mail: a server that also takes other ends can be made to see other mails
        in the same bytes than the one before it (SMTP smuggling).
        """
        while (end := self._buffer.find(b"\r\n", 0, MAX_LINE_BYTES + 2)) < 0:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise Ended("500 5.5.2 the line is too long")
            await self._fill_buffer()
        line = self._buffer[:end].decode("ascii", "replace")
        del self._buffer[: end + 2]
        return line

    async def read_mail(self, max_bytes: int) -> tuple[bytes, int]:
        """Return the first ``max_bytes`` of a mail, and its size; the rest is read and not stored."""
        mail = bytearray()
        size = 0
        # The end may come at once.
        self._buffer[:0] = b"\r\n"
        while True:
            end = self._buffer.find(_END_OF_MAIL)
            # Without an end: up to where one may have begun.
            taken = end + 2 if end >= 0 else max(0, len(self._buffer) - len(_END_OF_MAIL) + 1)
            size += taken
            mail += self._buffer[: min(taken, max_bytes + 2 - len(mail))]
            if end >= 0:
                del self._buffer[: end + len(_END_OF_MAIL)]
                return bytes(mail).replace(b"\r\n.", b"\r\n")[2:], size - 2
            del self._buffer[:taken]
            await self._fill_buffer()

    async def encrypt(self, context: ssl.SSLContext) -> None:
        """Agree to STARTTLS and encrypt; raise Ended if the client has sent more already.

        Whoever can write into the connection could else put commands before those that are encrypted.
        """
        if self._buffer or await self._has_input():
            raise Ended("501 5.5.1 nothing may follow before the encryption")
        # Without a pause between these two, so that the event loop reads nothing more before the encryption.
        self._writer.write(b"220 2.0.0 begin\r\n")
        await self._writer.start_tls(context, ssl_handshake_timeout=HANDSHAKE_TIMEOUT)
        self.encrypted = True

    async def close(self, last_reply: str = "") -> None:
        """Write a last reply and close the connection, even if the client reads nothing."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                if last_reply:
                    await self.reply(last_reply)
                self._writer.close()
                await self._writer.wait_closed()
        except (TimeoutError, OSError, asyncio.CancelledError):
            self._writer.transport.abort()

    async def _fill_buffer(self) -> None:
        async with asyncio.timeout(IDLE_TIMEOUT):
            data = await self._reader.read(_CHUNK_BYTES)
        if not data:
            raise EOFError
        self._buffer += data

    async def _has_input(self) -> bool:
        try:
            async with asyncio.timeout(0):
                return bool(await self._reader.read(1))
        except TimeoutError:
            return False
