"""Whether a connection is read, and whether it can be written."""

import asyncio


class FlowControl:
    """Pauses and resumes the reading of a connection, and says when its client has read enough to be sent more."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_paused = False
        self.write_paused = False
        self._writable = asyncio.Event()
        self._writable.set()
        self.blocked = False
        """Whether reading waits until the received bytes have been parsed."""

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again, unless that is blocked."""
        if self.read_paused and not self.blocked:
            self.read_paused = False
            self._transport.resume_reading()

    def block_reading(self) -> None:
        """Pause reading until ``blocked`` is cleared."""
        self.blocked = True
        self.pause_reading()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        self.write_paused = False
        self._writable.set()

    async def drain(self) -> None:
        """Wait until the connection can be written."""
        await self._writable.wait()
