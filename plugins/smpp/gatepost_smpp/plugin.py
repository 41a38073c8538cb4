"""The plugin's hooks."""

import asyncio
import itertools
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from gatepost.errors import ConfigError, Fault, Faults, SendError, Unavailable, Uncertain
from gatepost.hookspecs import Context, HasLifespan, HasPing, SmsSender, hookimpl
from gatepost.model import Receipt, Sms
from gatepost_smpp import pdu
from gatepost_smpp.bind import Bind
from gatepost_smpp.deliveries import Deliveries
from gatepost_smpp.messages import bodies
from gatepost_smpp.receipts import canonical_id
from gatepost_smpp.settings import Settings, check
from gatepost_smpp.statuses import refusal, unavailable


class Smpp(HasLifespan, HasPing, SmsSender):
    """An account at a message centre."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings
    reports_itself: ClassVar[bool] = True

    def __init__(self, settings: Settings, context: Context) -> None:
        Faults(check(settings)).expect_none()
        self._settings = settings
        self._context = context
        self._references = itertools.count(secrets.randbelow(256))
        if not settings.tls:
            context.warn("tls", "is false: the password and every text leave in clear text")

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Bind in the background, as receipts come without a send too; the provider may be down."""
        settings, timeout = self._settings, self._context.timeout
        # In a thread, as it reads files.
        tls = await asyncio.to_thread(_tls_context, settings) if settings.tls else None
        self._deliveries = deliveries = Deliveries(settings, self._context)
        self._binds = [Bind(settings, tls, timeout, deliveries) for _ in range(settings.connections)]
        for bind in self._binds:
            deliveries.begin(bind.keep())
        try:
            yield
        finally:
            await deliveries.close()

    @hookimpl
    async def ping(self) -> None:
        """Bind, which proves the account, and ask the provider whether it is there."""
        try:
            answer = await self._bind().request(self._deadline(), pdu.ENQUIRE_LINK)
        except Uncertain as error:
            # A ping sends no message.
            raise Unavailable(error.reason) from None
        if answer.status:
            raise unavailable(answer.status)

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Send the parts of one text message, one after the other."""
        parts = bodies(message, self._settings, next(self._references) % 256)
        deadline = self._deadline()
        provider_id = ""
        for taken, body in enumerate(parts):
            # The last part stands for the message.
            own_id = message.id if body is parts[-1] else ""
            try:
                answer = await self._bind().request(deadline, pdu.SUBMIT_SM, body, own_id)
                if answer.status:
                    raise refusal(answer.status)
            except SendError as error:
                if not taken:
                    raise
                reason = f"the provider took {taken} of {len(parts)} parts, then: {error.reason}"
                raise Uncertain(reason, code=error.code) from None
            provider_id = canonical_id(answer.body, self._settings, answered=True)
        self._deliveries.remember(provider_id, message.id)
        return Receipt(provider_id)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._context.timeout

    def _bind(self) -> Bind:
        """Return the bind that has the least to do."""
        return min(self._binds, key=lambda bind: (not bind.is_open, bind.load))


def _tls_context(settings: Settings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError:
        problem = "can't be read as PEM certificates: check its path, permissions and content"
        raise ConfigError([Fault("ca_file", problem)]) from None
