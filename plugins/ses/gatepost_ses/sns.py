"""Messages of SNS: their signatures, the certificates for them, and the confirmation of a subscription."""

import asyncio
import re
from base64 import b64decode
from collections import deque
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from datetime import datetime
from urllib.parse import urlencode

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gatepost import wire
from gatepost.errors import BadSignature, BadWebhook, Unavailable, WebhookRetry
from gatepost.model import WebhookRequest

_TYPES = {"Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"}
# Of these a message has those of its type.
_SIGNED = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
# Version 1 is what a topic has unless its SignatureVersion is set.
_HASHES = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[\w-]{1,64}\.pem", re.ASCII)
_MAX_BYTES = 524_288  # SNS has none of more than 256 KiB, and each takes CPU before its signature is known.
_MAX_CERTIFICATES = 8
_MAX_REQUESTS = 10  # A minute. SNS changes its certificate about once a year.


class Sns:
    """A topic, and SNS in its region: the only place from which anything is fetched, a few times a minute at most."""

    def __init__(self, http: wire.Http, url: str, topic_arn: str) -> None:
        self._http = http
        self._url = url
        self._topic_arn = topic_arn
        self._keys: dict[str, rsa.RSAPublicKey] = {}
        self._fetching = asyncio.Lock()
        self._requests: deque[float] = deque(maxlen=_MAX_REQUESTS)

    async def read_message(self, request: WebhookRequest) -> Mapping[str, str]:
        """Return the texts of a message of the topic, by name; raise the errors of ``parse_webhook``."""
        body = request.json() if len(request.body) <= _MAX_BYTES else None
        if not isinstance(body, dict):
            raise BadWebhook("the body is no message of SNS")
        message = {name: text for name, text in body.items() if isinstance(text, str)}
        # Everybody can have a topic of their own, whose messages SNS signs too.
        if message.get("TopicArn") != self._topic_arn or message.get("Type") not in _TYPES:
            raise BadSignature("no message of topic_arn: the subscription's raw delivery must be off")
        url = message.get("SigningCertURL", "")
        async with nullcontext() if url in self._keys else self._fetching:
            key = self._keys.get(url) or await self._fetch_key(url)
            _verify(request, message, key)
            # Only now, so that forgeries can't fill the cache.
            if len(self._keys) == _MAX_CERTIFICATES:
                self._keys.clear()
            self._keys[url] = key
        return message

    async def confirm(self, message: Mapping[str, str]) -> None:
        """Confirm the subscription that a verified message asks for; its URL is not followed."""
        query = {"Action": "ConfirmSubscription", "TopicArn": self._topic_arn}
        await self._get(f"/?{urlencode({**query, 'Token': message.get('Token', '')})}")

    async def _fetch_key(self, url: str) -> rsa.RSAPublicKey:
        path = url.removeprefix(self._url)
        if path == url or not _CERTIFICATE.fullmatch(path):
            raise BadSignature("SigningCertURL is no certificate of SNS in the topic's region")
        with suppress(ValueError):
            key = x509.load_pem_x509_certificate(await self._get(path)).public_key()
            if isinstance(key, rsa.RSAPublicKey):
                return key
        raise BadSignature("SigningCertURL leads to no certificate")

    async def _get(self, path: str) -> bytes:
        now = asyncio.get_running_loop().time()
        if len(self._requests) == _MAX_REQUESTS and now - self._requests[0] < 60:
            raise WebhookRetry("too many messages name certificates that are not known")
        self._requests.append(now)
        try:
            reply = await self._http.get(path)
            wire.expect_success(reply)
        except Unavailable:
            raise WebhookRetry("SNS can't be reached, or has no such certificate or subscription") from None
        return reply.body


def _verify(request: WebhookRequest, message: Mapping[str, str], key: rsa.RSAPublicKey) -> None:
    """Raise BadSignature unless SNS signed the message with this key, and not too long ago."""
    content = "".join(f"{name}\n{message[name]}\n" for name in _SIGNED if name in message)
    try:
        signature = b64decode(message["Signature"], validate=True)
        key.verify(signature, content.encode(), padding.PKCS1v15(), _HASHES[message["SignatureVersion"]])
        signed_at = datetime.fromisoformat(message["Timestamp"]).timestamp()
    except (KeyError, ValueError, OverflowError, InvalidSignature, UnsupportedAlgorithm):
        raise BadSignature("the signature is missing, or is not by SNS over this message") from None
    request.expect_fresh(signed_at)
