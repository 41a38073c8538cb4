"""The SNS topic: its messages with real signatures, and the certificate for them."""

import secrets
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from urllib.parse import parse_qs

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

_UNSIGNED = {"Signature", "SignatureVersion", "SigningCertURL", "UnsubscribeURL"}


class Topic:
    """A topic of SNS that the webhook is subscribed to."""

    def __init__(self, region: str) -> None:
        self.arn = f"arn:aws:sns:{region}:123456789012:mail"
        self.url = f"https://sns.{region}.amazonaws.com"
        """SNS in the region, as the messages name it."""
        self.certificate_path = f"/SimpleNotificationService-{secrets.token_hex(16)}.pem"
        self.signature_version = "1"
        """1: SHA-1, as a topic has by default; 2: SHA-256."""
        self.confirmed: list[str] = []
        """The tokens with which subscriptions were confirmed."""

    def message(self, fields: Mapping[str, str], *, at: float, forged: bool = False) -> bytes:
        """Return a signed message that has these fields."""
        message = {
            "MessageId": secrets.token_hex(16),
            "TopicArn": self.arn,
            "Timestamp": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "SigningCertURL": self.url + self.certificate_path,
            "SignatureVersion": self.signature_version,
            **fields,
        }
        names = sorted(message.keys() - _UNSIGNED)
        content = "".join(f"{name}\n{message[name]}\n" for name in names).encode()
        digest = hashes.SHA1() if message["SignatureVersion"] == "1" else hashes.SHA256()  # noqa: S303
        signature = _private_key("other" if forged else "sns").sign(content, padding.PKCS1v15(), digest)
        return msgspec.json.encode({"Signature": b64encode(signature).decode(), **message})

    def subscription(self, kind: str = "SubscriptionConfirmation") -> dict[str, str]:
        """Return the fields of a message about the subscription itself."""
        token = secrets.token_hex(64)
        url = f"{self.url}/?Action=ConfirmSubscription&TopicArn={self.arn}&Token={token}"
        return {
            "Type": kind,
            "Message": f"You have chosen to subscribe to the topic {self.arn}.",
            "Token": token,
            "SubscribeURL": url,
        }

    def confirm(self, query: str) -> bool:
        """Confirm the subscription that a request asks for; return whether it is one of this topic."""
        fields = parse_qs(query)
        if fields.get("Action") != ["ConfirmSubscription"] or fields.get("TopicArn") != [self.arn]:
            return False
        self.confirmed += fields.get("Token", [])
        return "Token" in fields

    def certificate(self) -> bytes:
        """Return SNS's certificate in PEM."""
        return _certificate()


@cache
def _private_key(_name: str) -> rsa.RSAPrivateKey:
    """Return a key of this process: a new one takes up to a second of CPU."""
    return rsa.generate_private_key(65537, 2048)


@cache
def _certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    key = _private_key("sns")
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + timedelta(days=365))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
