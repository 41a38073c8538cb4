"""The emulated Twilio: messages, status callbacks, and texts from users."""

import secrets
import ssl
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hmac import digest
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from aiohttp import web

from gatepost.model import Status, WebhookRequest
from gatepost.sms_parts import count_parts
from gatepost.testing.emulator import Emulator, raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import AutomaticReports, Event, TakenMessage
from gatepost.testing.webhook_requests import replace_request, with_headers
from gatepost_twilio.testing.request_rules import refusal_code

_API_VERSION = "2010-04-01"
_FORM = "application/x-www-form-urlencoded"
# The codes of errors that have nothing but a status.
_CODES: Mapping[int, int] = {400: 21211, 401: 20003, 403: 20403, 404: 20404, 429: 20429, 503: 20503}


class TwilioEmulator(Emulator):
    """Twilio's Messages for SMS and WhatsApp, its status callbacks, and the texts that users send.

    A report is sent to its message's own StatusCallback. Kinds of reports are the statuses of a message, with an error's
    code as in ``"undelivered:30003"``. As at Twilio, recipients and senders of the range +15005550000 have errors of
    their own.
    """

    # Twilio says only that all of a report's tries end within 15 seconds.
    retry_pauses = (1.0, 1.0, 2.0, 4.0, 6.0)

    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.LIFETIME,
            MessageFeature.WEBHOOK_URL,
            MessageFeature.CONNECTIONS,
        }
    )
    # Everything is signed but the time.
    report_features = frozenset(
        {ReportFeature.BODY_SIGNED, ReportFeature.IDS_SIGNED, ReportFeature.URL_SIGNED}
    )
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {
        "queued": [Status.ACCEPTED],
        "sent": [Status.ACCEPTED],
        "delivered": [Status.DELIVERED],
        "read": [Status.OPENED],
        "undelivered:30003": [Status.FAILED],
        "undelivered:30007": [Status.REJECTED],
        "failed:30008": [Status.FAILED],
        "failed:30034": [Status.REJECTED],
        "failed:21610": [Status.UNSUBSCRIBED, Status.REJECTED],
        "canceled": [Status.REJECTED],
        "partially_delivered": [],
    }
    verification_keys = frozenset({"auth_token"})

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__(tls=tls, port=port)
        self.account_sid = _new_sid("AC")
        self.auth_token = secrets.token_hex(16)
        self.api_key_sid = _new_sid("SK")
        self.api_key_secret = secrets.token_urlsafe(24)
        self.template = _new_sid("HX")
        """The one content template of the account."""
        self.price: str | None = None
        """The price in the answers; at first Twilio knows none."""

    @property
    def table(self) -> Mapping[str, Any]:
        """The keys of the plugin's table that lead to this emulator."""
        return {
            "account_sid": self.account_sid,
            "auth_token": self.auth_token,
            "api_key": {"username": self.api_key_sid, "password": self.api_key_secret},
            "default_sender": "Amazing",
            "base_url": self.base_url,
        }

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        form = taken.message
        period = form.get("ValidityPeriod")
        return ReceivedMessage(
            id=taken.id,
            recipients=[form["To"].removeprefix("whatsapp:")],
            sender=form.get("From", "").removeprefix("whatsapp:"),
            text=_text(form),
            lifetime=None if period is None else float(period),
            webhook_url=form.get("StatusCallback", "").partition("?")[0],
            raw=raw_request(taken),
        )

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        logins = [(self.account_sid, self.auth_token), (self.api_key_sid, self.api_key_secret)]
        headers = [f"Basic {b64encode(':'.join(login).encode()).decode()}" for login in logins]
        given = request.headers.get("Authorization", "")
        if given not in headers:
            return self.refuse(401, "20003")
        account = f"/{_API_VERSION}/Accounts/{self.account_sid}"
        match request.method, request.path:
            case "GET", path if path == f"{account}.json":
                # A standard API key may not read accounts.
                if given != headers[0]:
                    return self.refuse(401, "20003")
                return web.json_response({"sid": self.account_sid, "status": "active", "type": "Full"})
            case "GET", path if path == f"{account}/Messages.json":
                # Of one day, or of all days.
                listed = [] if "DateSent" in request.query else [self._resource(one) for one in self.taken]
                return web.json_response({"messages": listed[:1], "page": 0, "page_size": 1})
            case "POST", path if path == f"{account}/Messages.json":
                return await self._send(request, body)
        return self.refuse(404, "20404")

    async def _send(self, request: web.BaseRequest, body: bytes) -> web.Response:
        try:
            pairs = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
            )
        except ValueError:
            pairs = []
        if request.content_type != _FORM or not pairs:
            return self.refuse(400, "20001")
        if code := refusal_code(pairs, {self.template}):
            return self.refuse(400, str(code))
        form = dict(pairs)
        reference = dict(parse_qsl(urlsplit(form.get("StatusCallback", "")).query)).get("id", "")
        taken = TakenMessage(id=reference, provider_id=_new_sid("SM"), message=form, headers=request.headers)
        await self.take(taken)
        return web.json_response(self._resource(taken), status=201)

    def _resource(self, taken: TakenMessage) -> Mapping[str, object]:
        """Return a new message as the API describes it."""
        form, in_service = taken.message, "MessagingServiceSid" in taken.message
        uri = f"/{_API_VERSION}/Accounts/{self.account_sid}/Messages/{taken.provider_id}"
        return {
            "account_sid": self.account_sid,
            "api_version": _API_VERSION,
            "body": _text(form),
            "date_created": "Thu, 24 Aug 2023 05:01:45 +0000",
            "date_sent": None,
            "date_updated": "Thu, 24 Aug 2023 05:01:45 +0000",
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": form.get("From"),
            "messaging_service_sid": form.get("MessagingServiceSid"),
            "num_media": "0",
            "num_segments": "0" if in_service else str(count_parts(_text(form))),
            "price": self.price,
            "price_unit": "USD",
            "sid": taken.provider_id,
            "status": "accepted" if in_service else "queued",
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": form["To"],
            "uri": f"{uri}.json",
        }

    def error(self, status: int, reason: str) -> object:
        code = int(reason) if reason.isdigit() else _CODES.get(status, 20500)
        return {
            "code": code,
            # The vendor's texts quote numbers too.
            "message": f"{HTTPStatus(status).phrase if status < 512 else 'Error'}: '+447700900123' ({code})",
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": status,
        }

    def event(self, kind: str, taken: TakenMessage) -> Event:
        """Return a status callback. ``sign`` moves our id, which Twilio repeats in the URL, from the form to there."""
        status, _, code = kind.partition(":")
        event = {
            "MessageSid": taken.provider_id,
            "SmsSid": taken.provider_id,
            "MessageStatus": status,
            "SmsStatus": status,
            "AccountSid": self.account_sid,
            "To": taken.message["To"],
            "From": taken.message.get("From", ""),
            "ApiVersion": _API_VERSION,
            "id": taken.id,
        }
        if code:
            event |= {"ErrorCode": code, "ErrorMessage": f"not delivered to {event['To']}"}
        return event

    def incoming(self, text: str, number: str, **fields: str) -> Event:
        """Return a text that a user has sent; ``fields`` such as OptOutType replace its own."""
        sid = _new_sid("SM")
        own = {
            "MessageSid": sid,
            "SmsMessageSid": sid,
            "SmsSid": sid,
            "SmsStatus": "received",
            "AccountSid": self.account_sid,
            "From": number,
            "To": "+15005550006",
            "Body": text,
            "NumMedia": "0",
            "NumSegments": "1",
            "ApiVersion": _API_VERSION,
        }
        return {**own, **fields}

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:  # noqa: ARG002  each body holds one event
        return [urlencode(event).encode() for event in events]

    def sign(self, request: WebhookRequest, *, forged: bool = False) -> WebhookRequest:
        pairs = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        url = request.url
        if own_id := dict(pairs).get("id"):
            pairs = [pair for pair in pairs if pair[0] != "id"]
            url = url if urlsplit(url).query else f"{url}?{urlencode({'id': own_id})}"
            request = replace_request(request, url=url, body=urlencode(pairs).encode())
        token = "another token" if forged else self.auth_token
        signed = url + "".join(name + value for name, value in sorted(set(pairs)))
        signature = b64encode(digest(token.encode(), signed.encode("utf-8", "replace"), "sha1")).decode()
        headers = {"X-Twilio-Signature": signature, "Content-Type": f"{_FORM}; charset=UTF-8"}
        return with_headers(request, headers)

    async def _report_on(self, taken: TakenMessage, automatic: AutomaticReports) -> None:
        url, _, overrides = taken.message.get("StatusCallback", "").partition("#")
        policy = dict(parse_qsl(overrides))
        # By default Twilio tries no report again that got an answer.
        tries = 1 + int(policy.get("rc", "1")) if policy.get("rp") == "all" else 1
        for kind in automatic.kinds:
            await self.report([self.event(kind, taken)], to=url, delay=automatic.delay, tries=tries)


def _text(form: Mapping[str, str]) -> str:
    """Return the text of a message, or the variables that fill its template."""
    if "Body" in form:
        return form["Body"]
    return "\n".join(msgspec.json.decode(form.get("ContentVariables", "{}"), type=dict[str, str]).values())


def _new_sid(prefix: str) -> str:
    return prefix + secrets.token_hex(16)
