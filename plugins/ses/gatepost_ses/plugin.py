"""The plugin's hooks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import ClassVar

from gatepost import wire
from gatepost.errors import Faults, NoVerificationKey, Unavailable, Uncertain
from gatepost.hookspecs import Context, EmailSender, HasLifespan, HasPing, WebhookParser, hookimpl
from gatepost.model import Email, Receipt, Report, WebhookRequest
from gatepost_ses.events import read_event
from gatepost_ses.messages import mail_body
from gatepost_ses.refusals import expect_success
from gatepost_ses.settings import Settings, check
from gatepost_ses.sns import Sns


class Ses(HasLifespan, HasPing, EmailSender, WebhookParser):
    """Amazon SES in one region of an AWS account."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        # Imported here: botocore takes 0.2 s of CPU and 6 MiB to load, and a list of plugins does not need it.
        from gatepost_ses.signing import Signer  # noqa: PLC0415

        self._settings = settings
        self._log, self._warn = context.log, context.warn
        connect = partial(wire.connect, options=settings.connection)
        self._url = settings.base_url.rstrip("/") or f"https://email.{settings.region}.amazonaws.com"
        topic_region = "".join(settings.topic_arn.split(":")[3:4]) or settings.region
        sns_url = f"https://sns.{topic_region}.amazonaws.com"
        faults = Faults(check(settings))
        with faults:
            self._http = connect(self._url, timeout=context.timeout, connections=context.concurrency)
        with faults:
            # SNS waits 15 seconds for an answer, for which it may have to be asked twice.
            url, timeout = settings.sns_url or sns_url, min(context.timeout / 2, 5.0)
            self._sns_http = connect(url, timeout=timeout, connections=2, max_reply=16_384, key="sns_url")
        faults.expect_none()
        self._signer = Signer(settings)
        self._sns = Sns(self._sns_http, sns_url, settings.topic_arn)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep connections to SES and SNS open."""
        async with self._http, self._sns_http:
            yield

    @hookimpl
    async def ping(self) -> None:
        """Read the account, which costs nothing: it must be able to send."""
        match await self._request("GET", "/v2/email/account"):
            case {"SendingEnabled": True, "ProductionAccessEnabled": True}:
                return
            case {"SendingEnabled": True}:
                self._warn("region", "AWS has the account in the sandbox there: request production access")
            case _:
                raise Unavailable("account paused, or base_url wrong", code="disabled", misconfigured=True)

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        """Send one mail."""
        body = mail_body(message, self._settings.configuration_set)
        match await self._request("POST", "/v2/email/outbound-emails", body):
            case {"MessageId": str(provider_id)} if wire.safe_id(provider_id):
                return Receipt(provider_id)
        raise Uncertain("the answer is not from SES: check base_url", code="200")

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify a message of the topic, then translate it, or confirm the subscription."""
        if not self._settings.topic_arn:
            raise NoVerificationKey("topic_arn is not set")
        message = await self._sns.read_message(request)
        match message["Type"]:
            case "Notification":
                return read_event(message.get("Message", ""))
            case "SubscriptionConfirmation":
                await self._sns.confirm(message)
            case _:
                self._log.warning("ses_subscription_ended", hint="subscribe the webhook to the topic again")
        return Report(ignored={message["Type"].lower(): 1})

    async def _request(self, method: str, path: str, body: bytes = b"") -> object:
        headers = await self._signer.headers(method, self._url + path, body)
        reply = await self._http.request(method, path, body=body or None, headers=headers)
        expect_success(reply)
        return reply.json()
