"""An emulated Twilio: messages, the account, status callbacks and incoming texts, as strict as its documentation."""

import hmac
import re
import secrets
from base64 import b64encode
from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiohttp import web

from gatepost.model import Status
from gatepost.testing.emulator import Emulator, raw_request
from gatepost.testing.features import MessageFeature, ReportFeature
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import TakenMessage
from gatepost.testing.webhook_requests import replace_request, with_headers

PARAMETERS = {"To", "From", "Body", "MessagingServiceSid", "StatusCallback", "ValidityPeriod"}
NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
SENDER = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 +_&-]{1,11}")


class TwilioEmulator(Emulator):
    # By default Twilio repeats a callback that got no connection or a 5xx once.
    retry_pauses = (15.0,)
    message_features = frozenset(
        {
            MessageFeature.SENDER,
            MessageFeature.LIFETIME,
            MessageFeature.WEBHOOK_URL,
            MessageFeature.CONNECTIONS,
        }
    )
    report_features = frozenset(
        {ReportFeature.BODY_SIGNED, ReportFeature.IDS_SIGNED, ReportFeature.URL_SIGNED}
    )
    verification_keys = frozenset({"auth_token"})
    meanings: ClassVar = {
        "queued": [Status.ACCEPTED],
        "sent": [Status.ACCEPTED],
        "delivered": [Status.DELIVERED],
        "undelivered:30003": [Status.FAILED],
        "failed:30007": [Status.FAILED],
        "failed:21612": [Status.REJECTED],
        "failed:21610": [Status.UNSUBSCRIBED, Status.REJECTED],
        "canceled": [Status.REJECTED],
        "read": [Status.OPENED],
        "partially_delivered": [],
    }

    def __init__(self, **options):
        super().__init__(**options)
        self.account_sid = f"AC{secrets.token_hex(16)}"
        self.key_sid = f"SK{secrets.token_hex(16)}"
        self.key_secret = secrets.token_hex(16)
        self.auth_token = secrets.token_hex(16)
        self.account_status = "active"
        self.refusal = 0
        """The code with which the next messages are refused."""

    @property
    def table(self):
        return {
            "account_sid": self.account_sid,
            "key_sid": self.key_sid,
            "key_secret": self.key_secret,
            "auth_token": self.auth_token,
            "default_sender": "Amazing",
            "base_url": self.base_url,
        }

    async def answer_to(self, request, body):
        keys = {self.account_sid: self.auth_token, self.key_sid: self.key_secret}
        logins = [b64encode(f"{user}:{secret}".encode()).decode() for user, secret in keys.items()]
        if request.headers.get("Authorization") not in [f"Basic {login}" for login in logins]:
            return self.refuse(401, "20003")
        account = f"/2010-04-01/Accounts/{self.account_sid}"
        match request.method, request.path:
            case "GET", path if path == f"{account}.json":
                return web.json_response({"sid": self.account_sid, "status": self.account_status})
            case "POST", path if path == f"{account}/Messages.json":
                return await self._send(request, body)
        return self.refuse(404, "20404")

    async def _send(self, request, body):
        if request.content_type != "application/x-www-form-urlencoded":
            return self.refuse(400, "20001")
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
        form = dict(pairs)
        code = self.refusal or _wrong(pairs, form)
        if code:
            return self.refuse(400, str(code))
        callback = form.get("StatusCallback", "")
        reference = dict(parse_qsl(urlsplit(callback).query)).get("id", "")
        sid = f"SM{secrets.token_hex(16)}"
        await self.take(TakenMessage(id=reference, provider_id=sid, message=form, headers=request.headers))
        units = form["Body"].encode("utf-16-le")
        answer = {
            "sid": sid,
            "status": "queued",
            "num_segments": str(max(1, -(-len(units) // 134))),
            "price": None,
        }
        return web.json_response({**answer, "price_unit": "USD", "error_code": None}, status=201)

    def error(self, status, reason):
        code = int(reason) if reason.isdigit() else {401: 20003, 429: 20429}.get(status, 20500)
        return {
            "code": code,
            "message": f"{status}: free text that may quote a number",
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": status,
        }

    def received(self, taken):
        form = taken.message
        return ReceivedMessage(
            id=taken.id,
            recipients=[form["To"]],
            sender=form.get("From", ""),
            text=form["Body"],
            lifetime=float(form["ValidityPeriod"]),
            webhook_url=form.get("StatusCallback", "").partition("?")[0],
            raw=raw_request(taken),
        )

    def event(self, kind, taken):
        status, _, code = kind.partition(":")
        event = {
            "MessageSid": taken.provider_id,
            "SmsSid": taken.provider_id,
            "MessageStatus": status,
            "SmsStatus": status,
            "AccountSid": self.account_sid,
            "To": taken.message["To"],
            "From": taken.message.get("From", ""),
            "ApiVersion": "2010-04-01",
            "id": taken.id,
        }
        return {**event, "ErrorCode": code, "ErrorMessage": f"to {event['To']}"} if code else event

    def incoming(self, text, number, **more):
        return {
            "MessageSid": f"SM{secrets.token_hex(16)}",
            "SmsStatus": "received",
            "AccountSid": self.account_sid,
            "From": number,
            "To": "+15005550006",
            "Body": text,
            "NumMedia": "0",
            **more,
        }

    def bodies(self, events: Sequence[dict], *, batch: int):
        return [urlencode(event).encode() for event in events]

    def sign(self, request, *, forged=False):
        # Our id is in the URL of the callback, not in its body.
        pairs = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        reference = "".join(value for name, value in pairs if name == "id")
        if reference:
            rest = [pair for pair in pairs if pair[0] != "id"]
            url = f"{request.url}?id={reference}"
            request = replace_request(request, url=url, body=urlencode(rest).encode())
            pairs = rest
        secret = "another token" if forged else self.auth_token
        signed = request.url + "".join(name + value for name, value in sorted(pairs))
        signature = b64encode(hmac.digest(secret.encode(), signed.encode(), "sha1")).decode()
        headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
        return with_headers(request, headers)

    def tries_again(self, status):
        return status == 0 or status >= 500


def _wrong(pairs, form):
    """Return Twilio's code for the first thing that is wrong with a request; 0 where all is well."""
    period = form.get("ValidityPeriod", "14400")
    callback = urlsplit(form.get("StatusCallback", "https://a.example"))
    rules = {
        20001: len(form) == len(pairs)
        and form.keys() <= PARAMETERS
        and period.isdecimal()
        and 1 <= int(period) <= 36_000,
        21211: NUMBER.fullmatch(form.get("To", "")),
        21603: "From" in form or "MessagingServiceSid" in form,
        21212: "From" not in form or SENDER.fullmatch(form["From"]),
        21602: form.get("Body"),
        21617: len(form.get("Body", "")) <= 1_600,
        21609: callback.scheme in {"http", "https"} and callback.hostname,
    }
    return next((code for code, met in rules.items() if not met), 0)
