"""One try to send a message: what is handed over, what comes of it, and when the next one is due."""

import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from gatepost.content import EmailContent, decode_content, encode_content
from gatepost.delivery.html_text import TextParts
from gatepost.errors import Rejected, SendError, Uncertain
from gatepost.model import Email, Receipt, Secret, Sms
from gatepost.outbox import Claim, SendResult
from gatepost.outbox.states import State
from gatepost.throttle import Content

LONGEST_PAUSE = 900.0
"""Seconds between two tries of a message at the most."""


class Asked(NamedTuple):
    """Who was asked last, and what came of it."""

    instance: str
    answer: Receipt | SendError


class Composed(NamedTuple):
    """A message as a plugin gets it."""

    message: Email | Sms
    content: bytes = b""
    """What to store for the next try in place of the message's content; empty: that is as it should be."""


def pause(attempt: int, draw: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds until the next try, after the ``attempt``-th: full jitter, so that nobody comes in step."""
    return draw(0.0, min(LONGEST_PAUSE, 2.0 * 2.0 ** min(attempt - 1, 20)))


async def compose(
    claim: Claim, recipient: Secret, attributes: Mapping[str, str], text_parts: TextParts
) -> Composed:
    """Make the message of what is stored. Raises ValueError when the stored content is none."""
    content = decode_content(claim.channel, claim.content)
    if isinstance(content, EmailContent):
        text, derived = content.text, b""
        if text is None:
            text = await text_parts.derive(claim.id, claim.client, content.html)
            derived = encode_content(msgspec.structs.replace(content, text=text))
        email = Email(
            id=claim.id,
            recipient=recipient,
            sender=content.sender,
            reply_to=content.reply_to,
            subject=content.subject,
            html=content.html,
            text=text,
            lifetime=claim.lifetime,
            attributes=attributes,
        )
        return Composed(email, derived)
    sms = Sms(
        id=claim.id,
        recipient=recipient,
        sender=content.sender,
        text=content.text,
        lifetime=claim.lifetime,
        attributes=attributes,
    )
    return Composed(sms)


def content_of(claim: Claim, message: Email | Sms) -> Content:
    """Tell contents apart, within this process.

    A mail's body is often written for its recipient alone, so a campaign is known by its sender and subject.
    """
    subject = message.subject if isinstance(message, Email) else message.text
    return Content(claim.client, hash((message.sender, subject)))


def outcome_of(claim: Claim, asked: Asked, uncertain_wait: float) -> SendResult:
    """What becomes of the message; ``uncertain_wait``: seconds for which a report is waited for."""
    answer = asked.answer
    if isinstance(answer, Receipt):
        return ended(claim, State.SENT, "", instance=asked.instance, provider_id=answer.provider_id)
    if isinstance(answer, Rejected):
        return ended(claim, State.REJECTED, answer.reason, instance=asked.instance, code=answer.code)
    uncertain = isinstance(answer, Uncertain)
    return SendResult(
        id=claim.id,
        attempt=claim.attempt,
        state=State.UNCERTAIN if uncertain else State.QUEUED,
        delay=uncertain_wait if uncertain else pause(claim.attempt),
        instance=asked.instance,
        reason=answer.reason,
        code=answer.code,
    )


def later(claim: Claim, reason: str) -> SendResult:
    """Surely not sent, and due again after a pause."""
    return SendResult(
        id=claim.id, attempt=claim.attempt, state=State.QUEUED, delay=pause(claim.attempt), reason=reason
    )


def ended(
    claim: Claim, state: State, reason: str, *, instance: str = "", provider_id: str = "", code: str = ""
) -> SendResult:
    """At its end: SENT, REJECTED or FAILED."""
    return SendResult(
        id=claim.id,
        attempt=claim.attempt,
        state=state,
        instance=instance,
        provider_id=provider_id,
        reason=reason,
        code=code,
    )


def word(answer: Receipt | SendError) -> str:
    """An answer as logs and metrics call it: sent, rejected, unavailable, uncertain."""
    return "sent" if isinstance(answer, Receipt) else type(answer).__name__.lower()
