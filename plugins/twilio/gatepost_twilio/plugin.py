"""The plugin's hooks."""

import re
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from functools import partial
from typing import ClassVar

import msgspec

from gatepost import wire
from gatepost.errors import Faults, Unavailable, Uncertain
from gatepost.hookspecs import Context, HasLifespan, HasPing, SmsSender, WebhookParser, hookimpl
from gatepost.model import Receipt, Report, Secret, Sms, WebhookRequest
from gatepost_twilio import reports
from gatepost_twilio.error_codes import error_code, refusal
from gatepost_twilio.messages import message_form
from gatepost_twilio.settings import Settings, check

# In a year to come, so that nobody's message is in the answer.
_NO_MESSAGES = "?PageSize=1&DateSent=2999-12-31"


_PARTS = re.compile("[0-9]{1,2}")
# Negative, as the account loses it.
_PRICE = re.compile(r"-?([0-9]{1,6}(?:\.[0-9]{1,6})?)")
_CURRENCY = re.compile("[A-Z]{3}")


class _Answer(msgspec.Struct):
    """What is read of an answer: a message, or an error with its ``code``."""

    sid: object = None
    num_segments: object = None
    price: object = None
    price_unit: object = None
    code: object = None


class Twilio(HasLifespan, HasPing, SmsSender, WebhookParser):
    """A Twilio account or subaccount."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._webhook_url = context.webhook_url
        self._messages = f"/2010-04-01/Accounts/{settings.account_sid}/Messages.json"
        tokens = (settings.auth_token, settings.secondary_auth_token)
        self._tokens = [token for token in tokens if token is not None]
        self._read_report = partial(reports.read_report, account_sid=settings.account_sid)
        faults = Faults(check(settings))
        with faults:
            user, password = settings.account_sid, settings.auth_token
            if settings.api_key_sid:
                user, password = settings.api_key_sid, settings.api_key_secret
            self._http = wire.connect(
                settings.base_url,
                timeout=context.timeout,
                connections=context.concurrency,
                headers=wire.basic_auth(user, password or Secret("")),
                options=settings.connection,
            )
        faults.expect_none()

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Keep a pool of connections to Twilio open."""
        return self._http.lifespan()

    @hookimpl
    async def ping(self) -> None:
        """List no messages, which costs nothing: it proves the credentials, but no credit and no sender.

        Not the account itself, which most API keys may not read.
        """
        reply = await self._http.get(self._messages + _NO_MESSAGES)
        _expect_success(reply, accepted={200}, misconfigured=wire.ANY_REFUSAL)

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Send one message on the instance's channel."""
        form = message_form(message, self._settings, webhook_url=self._webhook_url)
        reply = await self._http.post(self._messages, form)
        _expect_success(reply, accepted={201}, misconfigured=wire.MISCONFIGURED)
        return _receipt(reply.decode(_Answer) or _Answer())

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify a request of Twilio's, then translate it."""
        return await wire.read_webhook(request, self._read_report, self._tokens or None, setting="auth_token")


def _expect_success(reply: wire.Reply, *, accepted: Collection[int], misconfigured: Collection[int]) -> None:
    code = ""
    if 400 <= reply.status < 500:
        code = error_code((reply.decode(_Answer) or _Answer()).code)
        error = refusal(code, wire.retry_after(reply.headers))
        if error is not None and (reply.sends or isinstance(error, Unavailable)):
            raise error
    wire.expect_success(reply, code=code, accepted=accepted, misconfigured=misconfigured)


def _receipt(answer: _Answer) -> Receipt:
    provider_id = wire.safe_id(answer.sid)
    if not provider_id:
        raise Uncertain("the answer is not from Twilio: check base_url", code="201")
    # A Messaging Service chooses the sender later, and counts no parts until then.
    parts = _PARTS.fullmatch(str(answer.num_segments))
    price, currency = _PRICE.fullmatch(str(answer.price)), _CURRENCY.fullmatch(str(answer.price_unit))
    known = price is not None and currency is not None
    return Receipt(
        provider_id,
        parts=int(parts[0]) if parts else 0,
        price=Decimal(price[1]) if price and known else None,
        currency=currency[0] if currency and known else "",
    )
