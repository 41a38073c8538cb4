"""The emulated Amazon SES v2, and the SNS topic that it reports to."""

import secrets
import ssl
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import msgspec
from aiohttp import web

from gatepost.model import Status, WebhookRequest
from gatepost.testing.emulator import NO_FAILURE, Emulator, Failure, raw_request
from gatepost.testing.features import FailureMode, MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import Event, TakenMessage
from gatepost.testing.webhook_requests import replace_request, with_headers
from gatepost_ses.testing.mail_rules import MAX_MAIL, Mail, decoded, name_and_address, read_mail
from gatepost_ses.testing.sending_events import sending_event
from gatepost_ses.testing.signature import signature_error
from gatepost_ses.testing.topic import Topic

ERROR_STATUSES: Mapping[str, int] = {
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "InternalFailure": 500,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "NotFoundException": 404,
    "RequestEntityTooLarge": 413,
    "ServiceUnavailable": 503,
    "TooManyRequestsException": 429,
    "UnrecognizedClientException": 403,
}
"""The HTTP statuses of errors; 400 for any other."""


class SesEmulator(Emulator):
    """SES in one region: SendEmail and GetAccount, SNS's certificate and ConfirmSubscription, and signed messages.

    Kinds of reports are those of SES, with types and subtypes as in ``Bounce:Transient:MailboxFull`` and
    ``Complaint:abuse``; with ``v1:`` before it, a notification of the identity, which has no tags.
    """

    # Three repeats, 20 seconds apart, unless the topic has a delivery policy.
    retry_pauses = (20.0, 20.0, 20.0)

    # SES names no pause.
    failure_modes = frozenset(FailureMode) - {FailureMode.RETRY_AFTER}
    message_features = frozenset(
        {MessageFeature.SENDER, MessageFeature.REPLY_TO, MessageFeature.HEADERS, MessageFeature.CONNECTIONS}
    )
    # The signature covers fields of the body, not its bytes.
    report_features = frozenset({ReportFeature.IDS_SIGNED, ReportFeature.TIME_SIGNED})
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "Send": [Status.ACCEPTED],
        "Delivery": [Status.DELIVERED],
        "DeliveryDelay": [Status.ACCEPTED],
        "Bounce:Permanent:General": [Status.FAILED],
        "Bounce:Permanent:NoEmail": [Status.FAILED],
        "Bounce:Permanent:Suppressed": [Status.REJECTED],
        "Bounce:Permanent:OnAccountSuppressionList": [Status.REJECTED],
        "Bounce:Transient:General": [Status.FAILED],
        "Bounce:Transient:General:reply": [],
        "Bounce:Transient:MailboxFull": [Status.FAILED],
        "Bounce:Undetermined:Undetermined": [Status.FAILED],
        "Complaint": [Status.COMPLAINED],
        "Complaint:abuse": [Status.COMPLAINED],
        "Complaint:not-spam": [],
        "Complaint:auth-failure": [],
        "Complaint::OnAccountSuppressionList": [Status.COMPLAINED, Status.REJECTED],
        "Reject": [Status.REJECTED],
        "Rendering Failure": [Status.REJECTED],
        "Open": [Status.OPENED],
        "Click": [],
        "Subscription": [Status.UNSUBSCRIBED],
        "Subscription:topic": [Status.UNSUBSCRIBED],
        "Subscription:none": [],
        "v1:Delivery": [Status.DELIVERED],
        "v1:Bounce:Permanent:General": [Status.FAILED],
        "v1:Complaint:abuse": [Status.COMPLAINED],
    }
    verification_keys = frozenset({"topic_arn"})

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__(tls=tls, port=port)
        self.region = "eu-west-1"
        self.access_key_id = f"AKIA{secrets.token_hex(8).upper()}"
        self.secret_access_key = secrets.token_urlsafe(30)
        self.session_token = ""
        """The token that comes with the access key; empty for a key that is not temporary."""
        self.topic = Topic(self.region)
        self.configuration_sets: Collection[str] = {"reports"}
        self.sending_enabled = True
        self.production_access = True
        """False: the account is in the sandbox, so that recipients have to be verified too."""
        self.verified: Collection[str] | None = None
        """The verified addresses and domains; None: every sender's, and none of a recipient."""
        self.sns_failure: Failure = NO_FAILURE
        """What goes wrong with every request to SNS."""
        self.error_code = ""
        """The error with which the next requests are refused."""
        self.error_text = ""

    @property
    def table(self) -> Mapping[str, str]:
        """The keys of the plugin's table that lead to this emulator."""
        return {
            "region": self.region,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            **({"session_token": self.session_token} if self.session_token else {}),
            "configuration_set": "reports",
            "topic_arn": self.topic.arn,
            "base_url": self.base_url,
            "sns_url": self.base_url,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith("/v2/"):
            return await super().handle(request)
        # SNS is a service of its own, and does not fail when SES does.
        self.requests.append((request.method, request.path))
        return await self._respond(request, self.sns_failure)

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if not request.path.startswith("/v2/"):
            return self._sns(request)
        keys = {self.access_key_id: self.secret_access_key}
        error = signature_error(request, body, keys=keys, token=self.session_token, region=self.region)
        if error or self.error_code:
            return self._refuse(error or self.error_code, self.error_text)
        match request.method, request.path:
            case "GET", "/v2/email/account":
                return web.json_response(self._account())
            case "POST", "/v2/email/outbound-emails":
                return await self._send(request, body)
        return self._refuse("UnknownOperationException", "")

    def _sns(self, request: web.BaseRequest) -> web.Response:
        match request.method, request.path:
            case "GET", self.topic.certificate_path:
                return web.Response(body=self.topic.certificate(), content_type="application/x-pem-file")
            case "GET", "/" if self.topic.confirm(request.query_string):
                return web.Response(text="<ConfirmSubscriptionResponse/>", content_type="text/xml")
        return self.refuse(404, "SNS has no such thing")

    def _account(self) -> Mapping[str, object]:
        return {
            "DedicatedIpAutoWarmupEnabled": False,
            "EnforcementStatus": "HEALTHY",
            "ProductionAccessEnabled": self.production_access,
            "SendQuota": {"Max24HourSend": 200.0, "MaxSendRate": 1.0, "SentLast24Hours": len(self.taken)},
            "SendingEnabled": self.sending_enabled,
        }

    def _refuse(self, code: str, text: str) -> web.Response:
        status = ERROR_STATUSES.get(code, 400)
        return self.refuse(
            status, code, body={"message": text}, headers={"x-amzn-ErrorType": f"{code}:http://x"}
        )

    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.content_type != "application/json":
            return self._refuse("BadRequestException", "The Content-Type is not JSON.")
        if len(body) > MAX_MAIL:
            return self._refuse("RequestEntityTooLarge", "")
        try:
            mail = read_mail(body)
        except ValueError as error:
            return self._refuse("BadRequestException", str(error))
        name = mail.configuration_set_name
        if name and name not in self.configuration_sets:
            return self._refuse("NotFoundException", f"Configuration set <{name}> does not exist.")
        if unverified := self._unverified(mail):
            problem = "Email address is not verified. The following identities failed the check in region"
            text = f"{problem} {self.region.upper()}: {', '.join(unverified)}"
            return self._refuse("MessageRejected", text)
        provider_id = f"0102{secrets.token_hex(6)}-{secrets.token_hex(4)}-000000"
        tags = {tag.name: tag.value for tag in mail.email_tags}
        await self.take(
            TakenMessage(
                id=tags.get("gp_id", ""),
                provider_id=provider_id,
                message=msgspec.json.decode(body),
                headers=request.headers,
            )
        )
        return web.json_response({"MessageId": provider_id})

    def _unverified(self, mail: Mail) -> list[str]:
        """Return the addresses that have to be verified and are not."""
        checked = [] if self.verified is None else [name_and_address(mail.from_email_address)[1]]
        if not self.production_access:
            checked += mail.recipients
        verified = self.verified or ()
        return [one for one in checked if one not in verified and one.rpartition("@")[2] not in verified]

    def refuse(
        self, status: int, reason: str, *, body: object = None, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        codes = {400: "BadRequestException", **{number: code for code, number in ERROR_STATUSES.items()}}
        own = {"x-amzn-ErrorType": codes[status]} if status in codes else {}
        return super().refuse(status, reason, body=body, headers={**own, **(headers or {})})

    def error(self, status: int, reason: str) -> object:  # noqa: ARG002  the code is in a header
        return {"message": reason}

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        mail = msgspec.convert(taken.message, Mail)
        simple = mail.content.simple
        sender_name, sender = name_and_address(mail.from_email_address)
        return ReceivedMessage(
            id=taken.id,
            recipients=mail.recipients,
            sender=sender,
            sender_name=sender_name,
            reply_to="".join(name_and_address(one)[1] for one in mail.reply_to_addresses),
            subject=decoded(simple.subject.data),
            text=simple.body.text.data if simple.body.text else "",
            html=simple.body.html.data if simple.body.html else "",
            tags=[tag.value for tag in mail.email_tags if tag.name != "gp_id"],
            headers={header.name: header.value for header in simple.headers},
            raw=raw_request(taken),
        )

    def event(self, kind: str, taken: TakenMessage) -> Event:
        return sending_event(kind, taken)

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:  # noqa: ARG002  each message holds one event
        return [msgspec.json.encode(event) for event in events]

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        """Return the event in a message of the topic, which holds the signature."""
        fields = {
            "Type": "Notification",
            "Message": request.body.decode("utf-8", "replace"),
            "UnsubscribeURL": f"{self.topic.url}/?Action=Unsubscribe",
        }
        return self.request_with(request, fields, forged=forged)

    def request_with(
        self, request: WebhookRequest, fields: Mapping[str, str], *, forged: bool = False
    ) -> WebhookRequest:
        """Return the request with a signed message of the topic that has these fields."""
        body = self.topic.message(fields, at=request.received_at, forged=forged)
        return with_headers(
            replace_request(request, body=body), {"Content-Type": "text/plain; charset=UTF-8"}
        )

    def tries_again(self, status: int) -> bool:
        """Return True for 429, 5xx and no answer; for SNS any other 4xx is final."""
        return status in {0, 429} or status >= 500
