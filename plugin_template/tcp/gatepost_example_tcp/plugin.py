"""The hooks that Gatepost calls; ``gatepost.hookspecs`` says what each of them promises."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from gatepost import wire  # <sms>
from gatepost.errors import Unavailable, Uncertain
from gatepost.hookspecs import (
    Context,
    EmailSender,  # <email>
    HasLifespan,
    HasPing,
    SmsSender,  # <sms>
    hookimpl,
)
from gatepost.model import (
    Email,  # <email>
    Receipt,
    Sms,  # <sms>
)

from gatepost_example_tcp import messages
from gatepost_example_tcp.connection import Message, Pool
from gatepost_example_tcp.settings import Settings, check


class ExampleTcp(
    HasLifespan,
    HasPing,
    EmailSender,  # <email>
    SmsSender,  # <sms>
):
    """One account at ExampleTcp."""

    # The version of the plugin contract that this plugin is written for.
    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        check(settings)
        self._settings = settings
        self._timeout = context.timeout

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep connections open. The first message opens the first one, so the server may be down at the start."""
        # In a thread, as it reads the system's certificates.
        self._pool = await asyncio.to_thread(Pool, self._settings)
        try:
            yield
        finally:
            self._pool.close()

    @hookimpl
    async def ping(self) -> None:
        """Log in, which costs nothing and proves that the key is valid."""
        try:
            answer = await self._request({"ping": True})
        except Uncertain as error:
            # A ping sends no message.
            unavailable = Unavailable(error.reason)
        else:
            if answer == {"ok": True}:
                return
            unavailable = Unavailable("the server is not ready")
        raise unavailable

    # <email>
    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        """Send one email."""
        return messages.receipt(await self._request(messages.email_request(message)))

    # </email>
    # <sms>
    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Send one text message."""
        sender = wire.sender_of(message, self._settings.default_sender)
        return messages.receipt(await self._request(messages.sms_request(message, sender)))

    # </sms>
    async def _request(self, request: Message) -> Message:
        """Return the answer; raise Unavailable where the request has not left, and Uncertain where it may have."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        async with self._pool.connection(deadline) as connection:
            try:
                async with asyncio.timeout_at(deadline):
                    return await connection.exchange(request)
            except TimeoutError:
                raise Uncertain("no answer in time") from None
