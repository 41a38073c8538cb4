"""Messages of SNS: their signatures, and the confirmation of a subscription."""

import asyncio
import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gatepost import wire
from gatepost.errors import BadSignature, BadWebhook, Unavailable, WebhookRetry
from gatepost.model import WebhookRequest

_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED_FIELDS = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
# Version 1 is what a topic has by default.
_HASHES = {"1": hashes.SHA1(), "2": hashes.SHA256()}
_CERTIFICATE = re.compile(r"/[A-Za-z0-9_-]+\.pem")
_MAX_CERTIFICATES = 8
_MAX_AGE = 26 * 3600.0
_MAX_CLOCK_ERROR = 3600.0


class Sns:
    """One topic of SNS, and the only place from which anything is fetched."""

    def __init__(self, http: wire.Http, url: str, topic_arn: str) -> None:
        self._http = http
        self._url = url
        self._topic_arn = topic_arn
        self._keys: dict[str, rsa.RSAPublicKey] = {}
        self._fetching = asyncio.Lock()

    async def read_message(self, request: WebhookRequest) -> Mapping[str, str]:
        """Return the texts of a message of this topic, by name; raise the errors of ``parse_webhook``."""
        fields = _texts(request.body)
        # Everybody can have a topic of their own, whose messages SNS signs too.
        if fields.get("TopicArn") != self._topic_arn or fields.get("Type") not in _SIGNED_FIELDS:
            raise BadSignature("the request is no message of the topic topic_arn")
        _verify(fields, await self._key(fields.get("SigningCertURL", "")))
        try:
            age = request.received_at - datetime.fromisoformat(fields["Timestamp"]).timestamp()
        except (KeyError, ValueError, OverflowError):
            raise BadSignature("the message has no time") from None
        if not -_MAX_CLOCK_ERROR < age < _MAX_AGE:
            raise BadSignature("the message is too old, or from the future")
        return fields

    async def confirm(self, message: Mapping[str, str]) -> None:
        """Confirm the subscription that a verified message asks for."""
        path = self._path(message.get("SubscribeURL", ""))
        if not path.startswith("/?Action=ConfirmSubscription&"):
            raise BadWebhook("SubscribeURL is no confirmation at SNS")
        reply = await self._get(path)
        if reply.status != 200:
            raise WebhookRetry("SNS did not confirm the subscription")

    async def _key(self, url: str) -> rsa.RSAPublicKey:
        path = self._path(url)
        if not _CERTIFICATE.fullmatch(path):
            raise BadSignature("SigningCertURL is no certificate of SNS")
        async with self._fetching:
            if path not in self._keys:
                key = _public_key(await self._get(path))
                if len(self._keys) >= _MAX_CERTIFICATES:
                    self._keys.clear()
                self._keys[path] = key
            return self._keys[path]

    def _path(self, url: str) -> str:
        """Return what follows the URL of SNS; empty for a URL of anybody else."""
        return url.removeprefix(self._url) if url.startswith(f"{self._url}/") else ""

    async def _get(self, path: str) -> wire.Reply:
        try:
            reply = await self._http.get(path)
        except Unavailable:
            raise WebhookRetry("SNS can't be reached") from None
        if reply.status == 429 or reply.status >= 500:
            raise WebhookRetry("SNS has an error")
        return reply


def _texts(body: bytes) -> dict[str, str]:
    try:
        fields = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise BadWebhook("the body is not a JSON object")
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _public_key(reply: wire.Reply) -> rsa.RSAPublicKey:
    try:
        key = x509.load_pem_x509_certificate(reply.body).public_key()
    except ValueError:
        key = None
    if reply.status != 200 or not isinstance(key, rsa.RSAPublicKey):
        raise BadSignature("SNS has no such certificate")
    return key


def _verify(fields: Mapping[str, str], key: rsa.RSAPublicKey) -> None:
    signed = (name for name in _SIGNED_FIELDS[fields["Type"]] if name in fields)
    content = "".join(f"{name}\n{fields[name]}\n" for name in signed)
    try:
        signature = b64decode(fields["Signature"], validate=True)
        key.verify(signature, content.encode(), padding.PKCS1v15(), _HASHES[fields["SignatureVersion"]])
    except (KeyError, ValueError, InvalidSignature):
        raise BadSignature("the signature is missing, or is not by SNS over this message") from None
