"""A provider over https that takes every mail immediately, and reports each as delivered in signed batches.

``python benchmarks/reporting_provider.py PORT COUNT_PORT CERTIFICATE KEY WEBHOOK_URL [FAILING]``; KEY is the PEM file of
an ECDSA key. In the first FAILING seconds of each minute it takes nothing: it answers 503. ``sink.py`` describes COUNT_PORT. The reports look like SendGrid's, but cost as little CPU as
possible, because the gateway is measured on the same cores.
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
from sink import MessageCount, main

BATCH_INTERVAL = 0.1
"""Seconds between batches."""

BATCH_SIZE = 500
"""The most events in a batch."""

FAILING = float(sys.argv[6]) if len(sys.argv) > 6 else 0.0


class Recipient(msgspec.Struct):
    """The recipient of a mail."""

    email: str


class Personalization(msgspec.Struct):
    """A mail to one recipient."""

    to: list[Recipient]
    custom_args: dict[str, str] = {}


class Mail(msgspec.Struct):
    """The fields of a mail that a report needs."""

    personalizations: list[Personalization]
    custom_args: dict[str, str] = {}


DECODER = msgspec.json.Decoder(Mail)
pending: list[dict[str, object]] = []


class Connection(provider.Connection):
    """A connection whose mails are reported."""

    def take(self, body: bytearray) -> None:
        if time.time() % 60 < FAILING:
            self.transport.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            return
        super().take(body)
        mail = DECODER.decode(body)
        personalization = mail.personalizations[0]
        pending.append(
            {
                **mail.custom_args,
                **personalization.custom_args,
                "email": personalization.to[0].email,
                "timestamp": int(time.time()),
                "smtp-id": f"<{MessageCount.count:016x}@geopod-ismtpd-0>",
                "event": "delivered",
                "sg_event_id": f"{MessageCount.count:022d}",
                "sg_message_id": f"{MessageCount.count:022d}.recvd-5d9f7c9b4d-abcde-1-66b7a2f1-6.0",
                "response": "250 2.0.0 OK",
                "ip": "192.0.2.1",
                "tls": 1,
            }
        )


async def report() -> None:
    """Post pending events, one batch at a time, and repeat a batch until it is acknowledged."""
    key = load_pem_private_key(Path(sys.argv[4]).read_bytes(), None)  # noqa: ASYNC240  read once, at the start
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    async with aiohttp.ClientSession() as session:
        while True:
            await asyncio.sleep(BATCH_INTERVAL)
            batch = pending[:BATCH_SIZE]
            if batch and await deliver(session, key, msgspec.json.encode(batch)):
                del pending[: len(batch)]


async def deliver(session: aiohttp.ClientSession, key: ec.EllipticCurvePrivateKey, body: bytes) -> bool:
    """Post a signed batch, and return whether it was acknowledged."""
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
