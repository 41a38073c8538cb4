"""The plugin's hooks."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from time import time
from typing import ClassVar

from gatepost.errors import ConfigError, Fault, SendError
from gatepost.hookspecs import Context, EmailSender, HasLifespan, HasPing, WebhookParser, hookimpl
from gatepost.model import Email, Receipt, Report, WebhookRequest
from gatepost_smtp.addresses import return_path
from gatepost_smtp.bounce_listener import listening
from gatepost_smtp.connection import Connection
from gatepost_smtp.deadline import Deadline
from gatepost_smtp.dkim import Signer, sign, signers_for
from gatepost_smtp.dns_findings import Grade, Line
from gatepost_smtp.mime import Mail, build_mail
from gatepost_smtp.pool import ConnectionPool
from gatepost_smtp.relay_advice import describe_probe
from gatepost_smtp.reports import read_report
from gatepost_smtp.settings import Settings, check
from gatepost_smtp.transaction import Envelope, send

_MAX_INLINE_CHARACTERS = 50_000
"""A mail with a longer body is built and signed in a thread: it takes about a millisecond or more."""

_REPORT_THREADS = 2
"""Threads that parse reports at once; the event loop's threads are few, and every plugin shares them."""

_PING_SHARE = 0.9
"""The share of its time that a ping takes. The core ends it at the whole, and then all that was found would be lost."""


class SmtpRelay(HasLifespan, HasPing, EmailSender, WebhookParser):
    """Sends email through an SMTP relay, and reads the reports that a mail server posts."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    _pool: ConnectionPool  # set by the lifespan

    def __init__(self, settings: Settings, context: Context) -> None:
        self._signers = _load_signers(settings, context)
        if self._signers:
            for domain in context.sender_domains:
                if not signers_for(domain, self._signers):
                    context.warn("dkim", f"mails from {domain} are not signed: add a key of this domain")
        self._settings = settings
        self._context = context
        self._report_slots = asyncio.Semaphore(_REPORT_THREADS)
        self.reports_itself = bool(settings.bounce_listen)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Create the pool, whose connections the first sends open, and listen for bounces; close both at the end."""
        tls = None
        if self._settings.security != "none":
            # One context for all connections, in a thread because it reads files.
            tls = await asyncio.to_thread(_tls_context, self._settings)
        elif self._settings.password:
            self._context.log.warning(
                "password_in_clear_text", problem='security = "none": the password is sent unencrypted'
            )
        self._pool = ConnectionPool(self._settings, tls, self._context.log.warning)
        listener = (
            listening(self._settings, self._context, self._report_slots)
            if self._settings.bounce_listen
            else nullcontext()
        )
        try:
            async with listener:
                yield
        finally:
            await self._pool.close()

    @hookimpl
    async def ping(self) -> None:
        """Open a new connection, with TLS and sign-in as configured, and send NOOP; look the DNS records up."""
        deadline = Deadline(self._context.timeout * _PING_SHARE)
        probe = await self._pool.probe(deadline)
        for line in describe_probe(probe, self._settings):
            self._tell(line)
        if self._signers or self._context.sender_domains:
            await self._check_dns(deadline)
        else:
            self._context.advise(
                "no DNS record was looked up: list the senders in email_senders of each client"
            )

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        """Send a mail; one deadline covers the wait for a connection, its opening and the transaction."""
        deadline = Deadline(self._context.timeout)
        if len(message.html) + len(message.text) > _MAX_INLINE_CHARACTERS:
            mail = await asyncio.to_thread(self._signed_mail, message)
        else:
            mail = self._signed_mail(message)
        envelope = self._envelope(message)

        async def operation(connection: Connection) -> SendError | None:
            return await send(connection, envelope, mail, deadline)

        error = await self._pool.run(operation, deadline)
        if error is not None:
            raise error
        return Receipt()

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Read a bounce or a complaint: a ``message/rfc822`` with webhook_secret as bearer token."""
        return await read_report(request, self._settings, self._report_slots)

    async def _check_dns(self, deadline: Deadline) -> None:
        """Look up the records of the sender domains, and say what is in order and what is missing."""
        # Loaded late: a gateway that runs does not need it.
        from gatepost_smtp.dns_check import check_dns  # noqa: PLC0415

        domains = self._context.sender_domains
        for line in await check_dns(self._settings, self._signers, domains, deadline):
            self._tell(line)

    def _tell(self, line: Line) -> None:
        match line.grade:
            case Grade.GOOD:
                self._context.confirm(line.text)
            case Grade.UNKNOWN:
                self._context.advise(line.text)
            case Grade.PROBLEM:
                self._context.warn("", line.text)

    def _signed_mail(self, message: Email) -> Mail:
        now = int(time())
        mail = build_mail(message, sent_at=now)
        signers = signers_for(message.sender.address.rpartition("@")[2], self._signers)
        return Mail(sign(mail.content, signers, time=now), mail.utf8) if signers else mail

    def _envelope(self, message: Email) -> Envelope:
        settings = self._settings
        configured = settings.return_path
        if settings.bounce_domain and settings.webhook_secret:
            configured = return_path(message.id, settings.bounce_domain, settings.webhook_secret.reveal())
        return Envelope(
            id=message.id,
            sender=configured or message.sender.address,
            recipient=message.recipient.reveal(),
            configured_sender=bool(configured),
            wants_success=settings.wants_success,
        )


def _load_signers(settings: Settings, context: Context) -> Mapping[str, Sequence[Signer]]:
    """Return the signers by domain; raise ConfigError with all that is wrong with the settings and the keys."""
    if not settings.dkim:
        check(settings)
        return {}
    # Loaded late, with the library of the keys: an instance without keys does not need it.
    from gatepost_smtp.dkim_keys import load_keys  # noqa: PLC0415

    keys = load_keys(settings.dkim)
    check(settings, keys.faults)
    for warning in keys.warnings:
        context.warn(warning.key, warning.problem)
    return keys.signers


def _tls_context(settings: Settings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError):
        raise ConfigError(
            [Fault("ca_file", "can't be read as PEM certificates: check its path, permissions and content")]
        ) from None
