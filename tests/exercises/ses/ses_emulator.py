"""An emulated Amazon SES v2 and the SNS topic that it reports to, as strict as their documentation."""

import hmac
import secrets
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.header import decode_header, make_header
from email.utils import parseaddr
from functools import cache
from hashlib import sha256
from typing import Annotated, ClassVar
from urllib.parse import parse_qs, quote

import msgspec
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Meta

from gatepost.model import Mailbox, Status
from gatepost.testing.emulator import Emulator, raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import TakenMessage
from gatepost.testing.webhook_requests import replace_request, with_headers

STATUSES = {
    "InvalidClientTokenId": 403,
    "SignatureDoesNotMatch": 403,
    "NotFoundException": 404,
    "TooManyRequestsException": 429,
}
"""The HTTP statuses of errors; 400 for any other."""
RECIPIENT = "{recipient}"
EVENTS = {
    "Send": {},
    "Delivery": {"delivery": {"recipients": [RECIPIENT], "smtpResponse": "250 2.6.0 Message received"}},
    "DeliveryDelay": {"deliveryDelay": {"delayedRecipients": [{"emailAddress": RECIPIENT}]}},
    "Reject": {"reject": {"reason": "Bad content"}},
    "Rendering Failure": {"failure": {"templateName": "a", "errorMessage": f"none for {RECIPIENT}"}},
    "Open": {"open": {"ipAddress": "192.0.2.1", "userAgent": "Mozilla/5.0"}},
    "Click": {"click": {"ipAddress": "192.0.2.1", "link": f"https://example.com/?to={RECIPIENT}"}},
}


class Struct(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """A part of a request, which has no field that the service model does not name."""


Ascii = Annotated[str, Meta(pattern=r"^[\x00-\x7f]*$")]
Word = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,256}$")]


class Subject(Struct):
    data: Ascii


class Content(Struct):
    data: str
    charset: str = ""

    def __post_init__(self):
        self.data.encode(self.charset or "ascii")


class Body(Struct):
    text: Content | None = None
    html: Content | None = None

    def __post_init__(self):
        if not (self.text or self.html):
            raise ValueError("no body")


class Header(Struct):
    name: Annotated[str, Meta(pattern="^[!-9;-@A-~]{1,126}$")]
    value: Annotated[str, Meta(pattern="^[ -~]{1,995}$")]


class Simple(Struct):
    subject: Subject
    body: Body
    headers: Annotated[list[Header], Meta(max_length=15)] = []


class EmailContent(Struct):
    simple: Simple


class Destination(Struct):
    to_addresses: Annotated[list[Ascii], Meta(min_length=1, max_length=50)]


class Tag(Struct):
    name: Word
    value: Word


class SendEmail(Struct):
    from_email_address: Ascii
    destination: Destination
    content: EmailContent
    reply_to_addresses: list[Ascii] = []
    email_tags: list[Tag] = []
    configuration_set_name: str = ""


class SesEmulator(Emulator):
    # Three retries, 20 seconds apart, unless the topic has a delivery policy.
    retry_pauses = (20.0, 20.0, 20.0)
    message_features = frozenset(
        {MessageFeature.SENDER, MessageFeature.REPLY_TO, MessageFeature.HEADERS, MessageFeature.CONNECTIONS}
    )
    # The signature covers fields of the body, not its bytes.
    report_features = frozenset({ReportFeature.IDS_SIGNED, ReportFeature.TIME_SIGNED})
    verification_keys = frozenset({"topic_arn"})
    meanings: ClassVar = {
        "Send": [Status.ACCEPTED],
        "DeliveryDelay": [Status.ACCEPTED],
        "Delivery": [Status.DELIVERED],
        "Bounce:Permanent:General": [Status.FAILED],
        "Bounce:Permanent:OnAccountSuppressionList": [Status.REJECTED],
        "Bounce:Transient:MailboxFull": [Status.FAILED],
        "Bounce:Undetermined:Undetermined": [Status.FAILED],
        "Reject": [Status.REJECTED],
        "Rendering Failure": [Status.REJECTED],
        "Complaint:abuse": [Status.COMPLAINED],
        "Complaint:not-spam": [],
        "Complaint::OnAccountSuppressionList": [Status.REJECTED, Status.COMPLAINED],
        "Open": [Status.OPENED],
        "Click": [],
    }

    def __init__(self, **options):
        super().__init__(**options)
        self.region = "eu-west-1"
        self.key_id = f"AKIA{secrets.token_hex(8).upper()}"
        self.key_secret = secrets.token_urlsafe(30)
        self.topic_arn = f"arn:aws:sns:{self.region}:123456789012:mail"
        self.certificate = f"/SimpleNotificationService-{secrets.token_hex(16)}.pem"
        self.sending_enabled = True
        self.refusal = ""
        """The error with which the next mails are refused."""
        self.signature_version = "1"
        self.confirmed = []
        """The tokens with which subscriptions were confirmed."""

    @property
    def table(self):
        return {
            "access_key_id": self.key_id,
            "secret_access_key": self.key_secret,
            "region": self.region,
            "configuration_set": "reports",
            "topic_arn": self.topic_arn,
            "base_url": self.base_url,
            "sns_url": self.base_url,
        }

    async def answer_to(self, request, body):
        if request.method == "GET" and request.path == self.certificate:
            return web.Response(body=certificate(), content_type="application/x-pem-file")
        if request.method == "GET" and request.path == "/":
            return self._confirm(request)
        wrong = self._wrong_signature(request, body)
        if wrong:
            return self._refuse(wrong)
        match request.method, request.path:
            case "GET", "/v2/email/account":
                return web.json_response({"SendingEnabled": self.sending_enabled, "SendQuota": {}})
            case "POST", "/v2/email/outbound-emails":
                return await self._send(request, body)
        return self._refuse("NotFoundException")

    def _refuse(self, code):
        return self.refuse(STATUSES.get(code, 400), code, headers={"x-amzn-ErrorType": f"{code}:http://x"})

    def _wrong_signature(self, request, body):
        """Return the error of a request that is not signed as AWS4-HMAC-SHA256 demands; empty for a good one."""
        algorithm, _, rest = request.headers.get("Authorization", "").partition(" ")
        parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
        names = parts.get("SignedHeaders", "").split(";")
        if algorithm != "AWS4-HMAC-SHA256" or not {"host", "x-amz-date", "content-type"} <= {*names}:
            return "IncompleteSignature"
        stamp = request.headers.get("X-Amz-Date", "")
        try:
            sent = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            return "IncompleteSignature"
        if abs(datetime.now(UTC) - sent) > timedelta(minutes=15):
            return "RequestExpired"
        scope = f"{stamp[:8]}/{self.region}/ses/aws4_request"
        if parts.get("Credential") != f"{self.key_id}/{scope}":
            return "InvalidClientTokenId"
        headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names)
        canonical = (
            f"{request.method}\n{quote(request.path)}\n{request.query_string}\n{headers}\n"
            f"{';'.join(sorted(names))}\n{sha256(body).hexdigest()}"
        )
        to_sign = f"{algorithm}\n{stamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self.key_secret}".encode()
        for part in (stamp[:8], self.region, "ses", "aws4_request", to_sign):
            key = hmac.digest(key, part.encode(), "sha256")
        return "" if hmac.compare_digest(key.hex(), parts.get("Signature", "")) else "SignatureDoesNotMatch"

    async def _send(self, request, body):
        if self.refusal:
            return self._refuse(self.refusal)
        try:
            mail = msgspec.json.decode(body, type=SendEmail)
        except (ValueError, LookupError):
            return self._refuse("BadRequestException")
        if mail.configuration_set_name not in {"", "reports"}:
            return self._refuse("NotFoundException")
        tags = {tag.name: tag.value for tag in mail.email_tags}
        provider_id = f"0102{secrets.token_hex(6)}-{secrets.token_hex(4)}-000000"
        await self.take(
            TakenMessage(
                id=tags.get("gp_id", ""),
                provider_id=provider_id,
                message=msgspec.json.decode(body),
                headers=request.headers,
            )
        )
        return web.json_response({"MessageId": provider_id})

    def _confirm(self, request):
        query = parse_qs(request.query_string)
        if query.get("Action") != ["ConfirmSubscription"] or query.get("TopicArn") != [self.topic_arn]:
            return self._refuse("InvalidParameter")
        self.confirmed += query["Token"]
        return web.Response(text="<ConfirmSubscriptionResponse/>", content_type="text/xml")

    def error(self, status, reason):
        codes = {429: "TooManyRequestsException", 503: "ServiceUnavailable", 401: "NotAuthorized"}
        return {"code": codes.get(status, "BadRequestException"), "message": reason}

    def received(self, taken):
        mail = taken.message
        simple = mail["Content"]["Simple"]
        parts = {name: part["Data"] for name, part in simple["Body"].items()}
        sender = _mailbox(mail["FromEmailAddress"])
        destination = mail["Destination"]
        return ReceivedMessage(
            id=taken.id,
            recipients=[one for kind in destination.values() for one in kind],
            sender=sender.address,
            sender_name=sender.name,
            reply_to="".join(_mailbox(one).address for one in mail.get("ReplyToAddresses", ())),
            subject=_decoded(simple["Subject"]["Data"]),
            text=parts.get("Text", ""),
            html=parts.get("Html", ""),
            headers={header["Name"]: header["Value"] for header in simple.get("Headers", ())},
            raw=raw_request(taken),
        )

    def event(self, kind, taken):
        name, _, rest = kind.partition(":")
        first, _, second = rest.partition(":")
        recipient = taken.message["Destination"]["ToAddresses"][0]
        special = EVENTS.get(name, {})
        if name == "Bounce":
            dsn = {"status": "5.1.1", "diagnosticCode": f"smtp; 550 5.1.1 <{RECIPIENT}> user unknown"}
            recipients = [{"emailAddress": RECIPIENT, "action": "failed", **dsn}]
            special = {"bounceType": first, "bounceSubType": second, "bouncedRecipients": recipients}
            special = {"bounce": {**special, "feedbackId": secrets.token_hex(8)}}
        if name == "Complaint":
            special = {"complainedRecipients": [{"emailAddress": RECIPIENT}]}
            special |= {"complaintFeedbackType": first} if first else {}
            special = {"complaint": {**special, "complaintSubType": second or None}}
        tags = {tag["Name"]: [tag["Value"]] for tag in taken.message["EmailTags"]}
        mail = {
            "timestamp": datetime.now(UTC).isoformat(),
            "source": taken.message["FromEmailAddress"],
            "messageId": taken.provider_id,
            "destination": [recipient],
            "headersTruncated": False,
            "commonHeaders": {"to": [recipient]},
            "tags": {"ses:configuration-set": ["reports"], **tags},
        }
        filled = msgspec.json.encode(special).replace(RECIPIENT.encode(), recipient.encode())
        return {"eventType": name, "mail": mail, **msgspec.json.decode(filled)}

    def bodies(self, events: Sequence[dict], *, batch: int):
        return [msgspec.json.encode(event) for event in events]

    def sign(self, request, *, forged=False):
        """Return the event in the envelope of SNS, in which the signature is."""
        fields = {"Type": "Notification", "Message": request.body.decode("utf-8", "replace")}
        return self.seal(request, {**fields, "UnsubscribeURL": self.base_url}, forged=forged)

    def seal(self, request, fields, *, forged=False):
        """Return the request with a message of SNS that has these fields."""
        at = datetime.fromtimestamp(request.received_at, UTC)
        message = {
            "MessageId": secrets.token_hex(16),
            "TopicArn": self.topic_arn,
            "Timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "SigningCertURL": self.base_url + self.certificate,
            "SignatureVersion": self.signature_version,
            **fields,
        }
        unsigned = {"Signature", "SignatureVersion", "SigningCertURL", "UnsubscribeURL"}
        names = sorted(message.keys() - unsigned)
        content = "".join(f"{name}\n{message[name]}\n" for name in names).encode()
        digest = hashes.SHA1() if message["SignatureVersion"] == "1" else hashes.SHA256()
        signature = private_key("other" if forged else "sns").sign(content, padding.PKCS1v15(), digest)
        body = msgspec.json.encode({**message, "Signature": b64encode(signature).decode()})
        request = replace_request(request, body=body)
        return with_headers(request, {"Content-Type": "text/plain; charset=UTF-8"})

    def confirmation(self, kind="SubscriptionConfirmation", **more):
        """Return the fields of a message about the subscription itself."""
        token = secrets.token_hex(16)
        query = f"Action=ConfirmSubscription&TopicArn={self.topic_arn}&Token={token}"
        url = f"{self.base_url}/?{query}"
        return {"Type": kind, "Message": "You have…", "Token": token, "SubscribeURL": url, **more}

    def tries_again(self, status):
        return status in {0, 429} or status >= 500


@cache
def private_key(_name):
    return rsa.generate_private_key(65537, 2048)


@cache
def certificate():
    """Return SNS's certificate, which it has signed itself."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    end = now + timedelta(days=365)
    builder = x509.CertificateBuilder(name, name, private_key("sns").public_key(), 7, now, end)
    return builder.sign(private_key("sns"), hashes.SHA256()).public_bytes(Encoding.PEM)


def _mailbox(text):
    name, address = parseaddr(text)
    return Mailbox(name=_decoded(name), address=address)


def _decoded(text):
    """Return a text with its encoded words decoded; the newer parser of email puts spaces between them."""
    return str(make_header(decode_header(text)))
