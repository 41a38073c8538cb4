"""A run against a real provider: a ping, and one message to each recipient that the author has named."""

import time
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from gatepost.contacts.addresses import canonical_email, canonical_phone
from gatepost.hookspecs import SEND_HOOKS
from gatepost.model import Channel, Email, Mailbox, Receipt, Secret, Sms
from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.report import LiveRecord
from gatepost.testing.conformance.runner import describe_problem

TEXT = "This is a test of a Gatepost plugin. You can ignore it."
LIFETIME = 600.0
"""Seconds for which a test message is worth delivering."""


class Step(NamedTuple):
    """One step of the run, for the author: what was done, and how it ended."""

    text: str
    problem: str = ""
    """Why it failed; empty where it did not. Holds no recipient."""


class LiveOrder(NamedTuple):
    """What the author asks for."""

    recipients: Sequence[tuple[Channel, Secret]]
    """Who gets a message: canonical addresses and numbers."""
    sender: str = ""
    """The sender of the messages; a plugin for text messages may have a default of its own."""
    send: bool = False
    """Whether to send at all; if not, only the ping is made."""


def parse_recipient(text: str) -> tuple[Channel, Secret]:
    """Return an address or a number in E.164 with its channel. Raises ValueError, whose text does not hold it."""
    if "@" in text:
        found, channel = canonical_email(text), Channel.EMAIL
    else:
        found, channel = canonical_phone(text, ""), Channel.SMS
    if not found:
        raise ValueError("is neither an email address nor a number such as +447700900123")
    return channel, Secret(found)


async def run_live(harness: Harness, order: LiveOrder) -> tuple[LiveRecord, list[Step]]:
    """Ping the provider, and send where that is ordered; return the record, and each step in words."""
    steps: list[Step] = []
    pinged, sent = True, 0
    async with harness.run_plugin() as running:
        if implements(harness.plugin, "ping"):
            answer = await running.ping()
            pinged = not isinstance(answer, BaseException)
            steps.append(Step("asked the provider for a ping", _problem(answer, harness)))
        for number, (channel, recipient) in enumerate(order.recipients, start=1):
            text = f"recipient {number} ({channel})"
            if not implements(harness.plugin, SEND_HOOKS[channel]):
                steps.append(Step(f"{text}: not sent", "the plugin does not send on this channel"))
            elif not order.send:
                steps.append(Step(f"{text}: would be sent one message; --send sends it"))
            else:
                harness.recipients.append(recipient.reveal())
                result = await running.send(_message(channel, recipient, order.sender))
                sent += isinstance(result, Receipt)
                steps.append(Step(f"{text}: sent one message", _problem(result, harness)))
    failed = sum(bool(step.problem) for step in steps) - (not pinged)
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return LiveRecord(date=date, pinged=pinged, sent=sent, failed=failed), steps


def _message(channel: Channel, recipient: Secret, sender: str) -> Email | Sms:
    identity = str(uuid.uuid4())
    if channel is Channel.SMS:
        return Sms(id=identity, recipient=recipient, sender=sender or None, text=TEXT, lifetime=LIFETIME)
    return Email(
        id=identity,
        recipient=recipient,
        sender=Mailbox(sender),
        subject="Test of a Gatepost plugin",
        html=f"<p>{TEXT}</p>",
        text=TEXT,
        lifetime=LIFETIME,
    )


def _problem(answer: object, harness: Harness) -> str:
    if not isinstance(answer, BaseException):
        return ""
    reason, code = getattr(answer, "reason", ""), getattr(answer, "code", "")
    if reason:
        error = AssertionError(f"{type(answer).__name__}: {reason}{f' (code {code})' if code else ''}")
        return describe_problem(error, harness)
    return describe_problem(answer, harness)
