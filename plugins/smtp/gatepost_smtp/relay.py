"""The plugin: what Gatepost calls."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from gatepost.errors import ConfigError, Fault
from gatepost.hookspecs import (
    API_VERSION,
    Context,
    EmailSender,
    HasLifespan,
    HasPing,
    WebhookParser,
    hookimpl,
)
from gatepost.model import Email, Receipt, Report, WebhookRequest
from gatepost_smtp.addresses import return_path
from gatepost_smtp.connections import Connection, Connections, Deadline
from gatepost_smtp.dialogue import Envelope, deliver
from gatepost_smtp.mime import build
from gatepost_smtp.reports import read_report
from gatepost_smtp.settings import Settings

# Characters of body from which on a mail is built in a thread: about a millisecond's work.
_LONG = 100_000

# Threads that read reports at once: those of the event loop are few, and are there for everybody.
_READERS = 2


class SmtpRelay(HasLifespan, HasPing, EmailSender, WebhookParser):
    """Sends email through an SMTP relay; takes the reports that a mail server hands on."""

    api_version: ClassVar[int] = API_VERSION
    settings_type: ClassVar[type[Settings]] = Settings

    _connections: Connections  # from the lifespan's beginning on

    def __init__(self, settings: Settings, context: Context) -> None:
        settings.check()
        self._settings = settings
        self._context = context
        self._readers = asyncio.Semaphore(_READERS)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Connections are opened by the first sends, and all closed here."""
        tls = None
        if self._settings.security != "none":
            # One for all connections; it reads files.
            tls = await asyncio.to_thread(_tls_context, self._settings)
        elif self._settings.password:
            self._context.log.warning('the password travels in clear text: security = "none"')
        self._connections = Connections(self._settings, tls, self._context.log.warning)
        try:
            yield
        finally:
            await self._connections.close()

    @hookimpl
    async def ping(self) -> None:
        """Connects anew, with TLS and sign-in as configured, and says NOOP."""
        await self._connections.probe(Deadline(self._context.timeout))

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        """The deadline holds for the wait for a connection, the connecting and the dialogue together."""
        deadline = Deadline(self._context.timeout)
        if len(message.html) + len(message.text) > _LONG:
            mail = await asyncio.to_thread(build, message)
        else:
            mail = build(message)
        envelope = self._envelope(message)

        async def work(connection: Connection) -> Exception | None:
            return await deliver(connection, envelope, mail, deadline)

        refused = await self._connections.use(work, deadline)
        if refused is not None:
            raise refused
        return Receipt()

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """A bounce or complaint as ``message/rfc822``, with the shared secret as bearer token."""
        return await read_report(request, self._settings, self._readers)

    def _envelope(self, message: Email) -> Envelope:
        settings = self._settings
        own = settings.return_path
        if settings.bounce_domain and settings.webhook_secret:
            own = return_path(message.id, settings.bounce_domain, settings.webhook_secret.reveal())
        return Envelope(
            id=message.id,
            sender=own or message.sender.address,
            recipient=message.recipient.reveal(),
            own_sender=bool(own),
        )


def _tls_context(settings: Settings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError):
        raise ConfigError(
            [Fault("ca_file", "can't be read as PEM certificates: check the path, its rights and content")]
        ) from None
