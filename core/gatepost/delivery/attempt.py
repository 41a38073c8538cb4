"""One attempt to send a message: its result, and the delay until the next attempt."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from gatepost.errors import Rejected, SendError, Uncertain
from gatepost.model import Email, Receipt, Sms
from gatepost.observe.redaction import redact_patterns
from gatepost.observe.trail import MAX_ATTRIBUTES, Trail
from gatepost.outbox import Claim, SendResult, Try
from gatepost.outbox.states import State
from gatepost.routing.router import Decision
from gatepost.sms_parts import count_parts, first_not_gsm7
from gatepost.throttle import ContentKey

MAX_RETRY_DELAY = 900.0
"""Seconds between two attempts at most."""


class InstanceAnswer(NamedTuple):
    """The answer of an instance, with its name."""

    instance: str
    answer: Receipt | SendError


def log_tries(trail: Trail, claim: Claim, tries: Sequence[Try]) -> None:
    """Write the tries of an attempt to the trail."""
    for one in tries:
        trail.tried(
            claim.id,
            client=claim.client,
            uid=claim.uid,
            instance=one.instance,
            outcome=one.outcome,
            code=one.code,
            seconds=one.duration,
        )


def retry_delay(attempt: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Return the seconds until the next attempt, after the ``attempt``-th.

    With full jitter, so that messages that failed together are not all due together again.
    """
    return uniform(0.0, min(MAX_RETRY_DELAY, 2.0 * 2.0 ** min(attempt - 1, 20)))


def with_another_key(message: Email | Sms, tries: int) -> Email | Sms:
    """Return the message for the next instance, after so many tries of this attempt.

    Its bytes may be others there, and two instances may be of one account.
    """
    return msgspec.structs.replace(message, idempotency_key=f"{message.idempotency_key}-{tries}")


def content_key(claim: Claim, message: Email | Sms, template: str) -> ContentKey:
    """Return a key that is equal for messages of the same content, within this process.

    The body of a mail is often written for its recipient alone, so a campaign is known by its sender and its subject
    or text; ``template`` is the latter as it is stored.
    """
    return ContentKey(claim.client, hash((message.sender, template)))


def send_result(claim: Claim, answer: InstanceAnswer, uncertain_wait: float) -> SendResult:
    """Return the result of an answer; ``uncertain_wait``: seconds to wait for a report after Uncertain."""
    instance, received = answer
    if isinstance(received, Receipt):
        return final_result(claim, State.SENT, "", instance=instance)
    if isinstance(received, Rejected):
        rejected = final_result(claim, State.REJECTED, received.reason, instance=instance, code=received.code)
        return msgspec.structs.replace(rejected, status=received.status)
    uncertain = isinstance(received, Uncertain)
    return SendResult(
        id=claim.id,
        attempt=claim.attempt,
        state=State.UNCERTAIN if uncertain else State.QUEUED,
        delay=uncertain_wait if uncertain else retry_delay(claim.attempt),
        instance=instance,
        reason=received.reason,
        code=received.code,
    )


def retry_result(claim: Claim, reason: str) -> SendResult:
    """Return the result of a message that was certainly not sent: it is due again after a delay."""
    return SendResult(
        id=claim.id,
        attempt=claim.attempt,
        state=State.QUEUED,
        delay=retry_delay(claim.attempt),
        reason=reason,
    )


def unroutable_result(claim: Claim, decision: Decision) -> SendResult:
    """Return the result of a message that no route takes.

    A message that had a route waits: a replica with another configuration, or the next configuration, may have it.
    """
    if claim.route:
        return retry_result(claim, "its route is no longer configured, and no other one takes it")
    reason = decision.route.refuse if decision.route else "it fits no route"
    return final_result(claim, State.REJECTED, reason)


def final_result(
    claim: Claim, state: State, reason: str, *, instance: str = "", code: str = ""
) -> SendResult:
    """Return the result of a message that needs no further attempt: SENT, REJECTED or FAILED."""
    return SendResult(
        id=claim.id,
        attempt=claim.attempt,
        state=state,
        instance=instance,
        reason=reason,
        code=code,
    )


def try_record(
    instance: str,
    message: Email | Sms,
    answer: Receipt | SendError,
    duration: float,
    choice: str,
    pause: float,
    template: str,
    lacking: Sequence[str] = (),
) -> Try:
    """Return the record of one try that took ``duration`` seconds; ``choice``: why this instance was chosen.

    ``pause``: the seconds since the try before it ended. ``template``: the stored text; a letter of a value that fills
    its merge fields must not be recorded. ``lacking``: the attributes that are missing in what was sent.
    """
    if isinstance(answer, Receipt):
        return Try(
            instance=instance,
            choice=choice,
            outcome="sent",
            provider_id=answer.provider_id,
            reason=_lacking_text(lacking),
            duration=duration,
            pause=pause,
            parts=answer.parts,
            counted_parts=count_parts(message.text) if isinstance(message, Sms) and not answer.parts else 0,
            not_gsm7=first_not_gsm7(template) if isinstance(message, Sms) else "",
            price="" if answer.price is None else f"{answer.price:f}",
            currency=answer.currency,
        )
    return Try(
        instance=instance,
        choice=choice,
        outcome=outcome_label(answer),
        reason=answer.reason,
        code=answer.code,
        duration=duration,
        pause=pause,
    )


def _lacking_text(names: Sequence[str]) -> str:
    if not names:
        return ""
    return redact_patterns(f"merge fields without a value: {', '.join(names[:MAX_ATTRIBUTES])}")


def outcome_label(answer: Receipt | SendError) -> str:
    """Return the name of an answer in logs and metrics: sent, rejected, unavailable or uncertain."""
    return "sent" if isinstance(answer, Receipt) else type(answer).__name__.lower()
