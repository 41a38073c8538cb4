"""The plugin's hooks."""

import re
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from functools import partial
from typing import ClassVar

from gatepost import wire
from gatepost.errors import Faults, Unavailable, Uncertain
from gatepost.hookspecs import Context, HasLifespan, HasPing, SmsSender, WebhookParser, hookimpl
from gatepost.model import Receipt, Report, Secret, Sms, WebhookRequest
from gatepost_twilio import reports
from gatepost_twilio.error_codes import refusal
from gatepost_twilio.messages import message_form
from gatepost_twilio.settings import Settings, check

_PRICE = re.compile(r"-?([0-9]{1,6}(?:\.[0-9]{1,6})?) ([A-Z]{3})")  # what the account loses


class Twilio(HasLifespan, HasPing, SmsSender, WebhookParser):
    """A Twilio account or subaccount."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._webhook_url, self._settings = context.webhook_url, settings
        self._messages = f"/2010-04-01/Accounts/{settings.account_sid}/Messages.json"
        self._tokens = [one for one in (settings.auth_token, settings.secondary_auth_token) if one]
        self._read_report = partial(reports.read_report, account_sid=settings.account_sid)
        token = settings.auth_token or Secret("")
        login = settings.api_key or wire.Login(username=settings.account_sid, password=token)
        faults = Faults(check(settings))
        with faults:
            self._http = wire.connect(
                settings.base_url,
                headers=wire.basic_auth(login.username, login.password),
                timeout=context.timeout,
                options=settings.connection,
                connections=context.concurrency,
            )
        faults.expect_none()

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Keep a pool of connections to Twilio open."""
        return self._http.lifespan()

    @hookimpl
    async def ping(self) -> None:
        """List the messages of a day to come, which costs nothing: most API keys may not read the account itself."""
        reply = await self._http.get(f"{self._messages}?PageSize=1&DateSent=2999-12-31")
        _expect_success(reply, accepted={200}, misconfigured=wire.ANY_REFUSAL)

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        """Send one message on the instance's channel."""
        form = message_form(message, self._settings, webhook_url=self._webhook_url)
        reply = await self._http.post(self._messages, form)
        _expect_success(reply, accepted={201}, misconfigured=wire.MISCONFIGURED)
        answer = reply.decode(dict) or {}
        if not wire.safe_id(answer.get("sid")):
            raise Uncertain("the answer is not from Twilio: check base_url", code="201")
        parts = re.fullmatch("[0-9]{1,2}", str(answer.get("num_segments")))
        price = _PRICE.fullmatch(f"{answer.get('price')} {answer.get('price_unit')}")
        cost = (Decimal(price[1]), price[2]) if price else (None, "")
        return Receipt(answer["sid"], int(parts[0]) if parts else 0, *cost)

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify a request of Twilio's, then translate it."""
        return await wire.read_webhook(request, self._read_report, self._tokens or None, setting="auth_token")


def _expect_success(reply: wire.Reply, *, accepted: Collection[int], misconfigured: Collection[int]) -> None:
    """Raise what Twilio's code means, or what the HTTP status means if the code does not say it."""
    code = wire.safe_code((reply.decode(dict) or {}).get("code"))
    error = refusal(code) if 400 <= reply.status < 500 else None
    if error is not None and (reply.sends or isinstance(error, Unavailable)):
        raise error
    wire.expect_success(reply, code=code, accepted=accepted, misconfigured=misconfigured)
