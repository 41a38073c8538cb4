"""The plugin's hooks."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.header import Header
from email.utils import formataddr
from typing import ClassVar

import msgspec

from gatepost import wire
from gatepost.errors import Faults, NoVerificationKey, Rejected, Unavailable, Uncertain
from gatepost.hookspecs import Context, EmailSender, HasLifespan, HasPing, WebhookParser, hookimpl
from gatepost.model import Email, Mailbox, Receipt, Report, WebhookRequest
from gatepost_ses_exercise import reports
from gatepost_ses_exercise.settings import Settings, check
from gatepost_ses_exercise.signature import signed_headers
from gatepost_ses_exercise.sns import Sns

# Answers with the status 400 that say nothing about the mail.
_MISCONFIGURED = {"AccountSuspendedException", "SendingPausedException", "AccessDeniedException"}
_MISCONFIGURED |= {"IncompleteSignature", "NotAuthorized", "RequestExpired"}
_BUSY = {"ThrottlingException", "LimitExceededException"}
_UNVERIFIED_SENDER = "MailFromDomainNotVerifiedException"


class _Answer(msgspec.Struct, rename="pascal"):
    message_id: str = ""
    sending_enabled: bool = False


class Ses(HasLifespan, HasPing, EmailSender, WebhookParser):
    """Amazon SES in one region of an AWS account."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._log = context.log
        faults = Faults(check(settings))
        with faults:
            wire.check_base_url(settings.sns, "sns_url")
            # A webhook may take two requests to SNS.
            self._sns_http = wire.connect(
                settings.sns, timeout=context.timeout / 3, connections=2, options=settings.connection
            )
            self._sns = Sns(self._sns_http, settings.sns, settings.topic_arn)
        with faults:
            self._http = wire.connect(
                settings.api,
                timeout=context.timeout,
                connections=context.concurrency,
                options=settings.connection,
            )
        faults.expect_none()

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep connections to SES and SNS open."""
        async with self._http, self._sns_http:
            yield

    @hookimpl
    async def ping(self) -> None:
        """Read the account, which costs nothing; it must be able to send."""
        reply = await self._request("GET", "/v2/email/account")
        wire.expect_success(reply, code=_error_code(reply), misconfigured=wire.ANY_REFUSAL)
        if not (reply.decode(_Answer) or _Answer()).sending_enabled:
            raise Unavailable("the account may not send in this region", code="account", misconfigured=True)

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        """Send one mail."""
        body = msgspec.json.encode(_mail(message, self._settings.configuration_set))
        reply = await self._request("POST", "/v2/email/outbound-emails", body)
        code = _error_code(reply)
        if code == _UNVERIFIED_SENDER:
            problem = "the sender's domain is not verified in this region"
            raise Unavailable(problem, code=code, misconfigured=True, content_only=True)
        if code in _MISCONFIGURED or code in _BUSY:
            problem = "SES does not send for this account now: see the code"
            raise Unavailable(problem, code=code, misconfigured=code in _MISCONFIGURED)
        wire.expect_success(reply, code=code, accepted={200})
        provider_id = wire.safe_id((reply.decode(_Answer) or _Answer()).message_id)
        if not provider_id:
            raise Uncertain("the answer is not from SES: check base_url", code="200")
        return Receipt(provider_id)

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify a message of SNS, then translate it, or confirm the subscription."""
        if not self._settings.topic_arn:
            raise NoVerificationKey("topic_arn is not set")
        message = await self._sns.read_message(request)
        if message["Type"] == "Notification":
            return reports.read_event(message.get("Message", ""))
        if message["Type"] == "SubscriptionConfirmation":
            await self._sns.confirm(message)
            return Report(ignored={"subscription": 1})
        self._log.warning("ses_subscription_ended", hint="subscribe the webhook to the topic again")
        return Report(ignored={"unsubscription": 1})

    async def _request(self, method: str, path: str, body: bytes = b"") -> wire.Reply:
        headers = signed_headers(method, path, body, self._settings, now=datetime.now(UTC))
        return await self._http.request(method, path, body=body or None, headers=headers)


def _mail(message: Email, configuration_set: str) -> Mapping[str, object]:
    recipient = message.recipient.reveal()
    reply_to = [message.reply_to] if message.reply_to else []
    if not all(one.isascii() for one in (recipient, *(box.address for box in (message.sender, *reply_to)))):
        raise Rejected("SES has no SMTPUTF8: a local part is not ASCII", code="SMTPUTF8")
    parts = {"Text": message.text, "Html": message.html}
    content = {
        "Subject": {"Data": _ascii(message.subject)},
        "Body": {name: {"Data": text, "Charset": "UTF-8"} for name, text in parts.items() if text},
        "Headers": [{"Name": name, "Value": value} for name, value in message.headers.items()],
    }
    mail = {
        "FromEmailAddress": _address(message.sender),
        "Destination": {"ToAddresses": [recipient]},
        "ReplyToAddresses": [_address(mailbox) for mailbox in reply_to],
        "Content": {"Simple": content},
        "EmailTags": [{"Name": reports.ID_TAG, "Value": message.id}],
    }
    return mail | ({"ConfigurationSetName": configuration_set} if configuration_set else {})


def _address(mailbox: Mailbox) -> str:
    if mailbox.name.isascii():
        return formataddr((mailbox.name, mailbox.address))
    return f"{_ascii(mailbox.name)} <{mailbox.address}>"


def _ascii(text: str) -> str:
    """Return the text with encoded words (RFC 2047), of which SES wants subjects and names."""
    return text if text.isascii() else Header(text, "utf-8").encode(linesep="")


def _error_code(reply: wire.Reply) -> str:
    code = reply.headers.get("x-amzn-errortype") or (reply.decode(dict[str, object]) or {}).get("code")
    return wire.safe_code(str(code).partition(":")[0].rpartition("#")[2]) if code else ""
