"""A provider over https that takes every mail at once, and reports each as delivered, signed and in batches.

``python benchmarks/reporting_provider.py PORT COUNT_PORT CERTIFICATE KEY WEBHOOK_URL``; KEY is the PEM file of
an ECDSA key. It says what SendGrid says, as tersely as it can be said: the time is for those who are measured.
"""

import asyncio
import base64
import sys
import time
from pathlib import Path

import aiohttp
import msgspec
import provider
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from sink import Taken, main

EVERY = 0.1
"""Seconds from one batch to the next."""
MOST = 500
"""Events in a batch."""


class Recipient(msgspec.Struct):
    """Whom a mail is for."""

    email: str


class Personalization(msgspec.Struct):
    """A mail to one recipient."""

    to: list[Recipient]
    custom_args: dict[str, str] = {}


class Mail(msgspec.Struct):
    """What matters of a mail here."""

    personalizations: list[Personalization]
    custom_args: dict[str, str] = {}


DECODER = msgspec.json.Decoder(Mail)
waiting: list[dict[str, object]] = []


class Connection(provider.Connection):
    """One connection: takes a mail, and has something to report."""

    def take(self, body: bytearray) -> None:
        super().take(body)
        mail = DECODER.decode(body)
        one = mail.personalizations[0]
        waiting.append(
            {
                **mail.custom_args,
                **one.custom_args,
                "email": one.to[0].email,
                "timestamp": int(time.time()),
                "smtp-id": f"<{Taken.count:016x}@geopod-ismtpd-0>",
                "event": "delivered",
                "sg_event_id": f"{Taken.count:022d}",
                "sg_message_id": f"{Taken.count:022d}.recvd-5d9f7c9b4d-abcde-1-66b7a2f1-6.0",
                "response": "250 2.0.0 OK",
                "ip": "192.0.2.1",
                "tls": 1,
            }
        )


async def report() -> None:
    """Post what waits, one batch at a time, until it is heard."""
    key = load_pem_private_key(Path(sys.argv[4]).read_bytes(), None)  # noqa: ASYNC240  once, at the start
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    async with aiohttp.ClientSession() as session:
        while True:
            await asyncio.sleep(EVERY)
            batch = waiting[:MOST]
            if batch and await heard(session, key, msgspec.json.encode(batch)):
                del waiting[: len(batch)]


async def heard(session: aiohttp.ClientSession, key: ec.EllipticCurvePrivateKey, body: bytes) -> bool:
    now = str(int(time.time()))
    signature = base64.b64encode(key.sign(now.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()
    headers = {
        "Content-Type": "application/json",
        "X-Twilio-Email-Event-Webhook-Signature": signature,
        "X-Twilio-Email-Event-Webhook-Timestamp": now,
    }
    async with session.post(sys.argv[5], data=body, headers=headers) as answer:
        return answer.status == 200


if __name__ == "__main__":
    main(Connection, *sys.argv[1:4], report)
