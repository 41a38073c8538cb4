"""What goes wrong in the sample day, and when: all times are hours before its end."""

import random
from decimal import Decimal
from typing import NamedTuple

from gatepost.callbacks.attempt import CallOutcome
from gatepost.errors import Rejected, SendError, Unavailable, Uncertain
from gatepost.model import Channel, Receipt, Status
from gatepost.outbox import Callback, Claim
from gatepost.sms_parts import count_parts

DAY = 31.0
"""Hours of the sample day: long enough for callbacks that were tried until they were given up."""

MAIL_OUTAGE = (5.2, 3.4)
"""The first mail provider is down. Brands with a second one go on; the mails of the others wait."""

OPERATOR_ARRIVES = 4.3
"""When somebody pauses that provider."""

CAMPAIGN_STOPPED = 3.9
"""When the waiting mails of a brand are cancelled."""

SWEDEN_OUTAGE = (17.5, 12.5)
"""No text message to Sweden is taken, for longer than the lifetime of a text message."""

GERMANY_REFUSED = (2.0, 0.0)
"""Text messages to Germany are refused, because a sender is not registered there."""

LOST_ANSWERS = (1.6, 0.3)
"""The answers of a provider of text messages are lost from time to time."""

CALLBACK_OUTAGE = (2.9, 2.3)
"""The host that a brand wants called answers 503."""

WRONG_CALLBACK = (30.9, 30.3)
"""Callbacks of messages of this time are answered with 404 for ever."""

SENT_AGAIN = 1.3
"""When an operator sends failed messages again."""

PAUSED_SINCE = 1.2
"""Since when the text messages of a brand are paused."""

_PRICES = {"GB": "0.034", "DE": "0.071", "FR": "0.052", "SE": "0.043"}
"""Of one part of a text message, in euros."""


class Reported(NamedTuple):
    """A report of a provider that comes some time after the send."""

    after: float
    """Seconds."""
    status: Status
    code: str = ""


def is_in(window: tuple[float, float], hours: float) -> bool:
    """Return whether the moment ``hours`` before the end is in a window."""
    return window[0] >= hours > window[1]


def answer(rng: random.Random, instance: str, claim: Claim, text: str, hours: float) -> Receipt | SendError:
    """Return what an instance answers to a message."""
    if instance == "mail-main" and is_in(MAIL_OUTAGE, hours):
        return Unavailable("the provider has an error of its own", code="503")
    if claim.channel is Channel.EMAIL:
        return Receipt(f"{instance}-{rng.getrandbits(48):012x}")
    if claim.country == "SE" and is_in(SWEDEN_OUTAGE, hours):
        return Unavailable("the network of the recipient can't be reached", code="8")
    if claim.country == "DE" and is_in(GERMANY_REFUSED, hours) and instance == "sms-main":
        return Rejected("the sender is not registered in this country", code="15")
    if instance == "sms-value" and is_in(LOST_ANSWERS, hours) and rng.random() < 0.5:
        return Uncertain("the connection was lost", code="lost")
    parts = count_parts(text)
    return Receipt(
        f"{instance}-{rng.getrandbits(48):012x}", parts, Decimal(_PRICES[claim.country]) * parts, "EUR"
    )


def duration(rng: random.Random, instance: str, failure: SendError | None) -> float:
    """Return how many seconds an instance took to answer."""
    if isinstance(failure, Uncertain):
        return 1.1
    usual = {"mail-main": 0.11, "mail-backup": 0.24, "sms-main": 0.18, "sms-value": 0.41}[instance]
    return usual * rng.lognormvariate(0.0, 0.35)


def reports(rng: random.Random, claim: Claim, email: str) -> list[Reported]:
    """Return what the provider reports about a message that it took; ``email`` is the player's address."""
    if claim.channel is Channel.SMS:
        delay = rng.lognormvariate(2.0, 0.8)
        if rng.random() < (0.09 if claim.country == "FR" else 0.025):
            return [Reported(delay, Status.FAILED, "absent subscriber")]
        return [Reported(delay, Status.DELIVERED)] if rng.random() < 0.97 else []
    delay = rng.lognormvariate(1.0, 0.7)
    if email.startswith("bounce") or rng.random() < 0.012:
        return [Reported(delay, Status.FAILED, "5.1.1")]
    found = [Reported(delay, Status.DELIVERED)]
    opened = delay + rng.lognormvariate(6.6, 1.2)
    if rng.random() < (0.62 if email.startswith("open") else 0.2):
        found.append(Reported(opened, Status.OPENED))
    if email.startswith("complain") and rng.random() < 0.5:
        found.append(Reported(opened + 30, Status.COMPLAINED, "abuse"))
    if email.startswith("unsubscribe") and rng.random() < 0.5:
        found.append(Reported(opened + 40, Status.UNSUBSCRIBED))
    return found


def call(callback: Callback, hours: float, accepted_hours: float) -> CallOutcome:
    """Return what Smartico answers to a callback about a message accepted ``accepted_hours`` before the end."""
    if callback.client == "nordic" and is_in(WRONG_CALLBACK, accepted_hours):
        return CallOutcome("HTTP 404", http_status=404)
    if callback.client == "lucky" and is_in(CALLBACK_OUTAGE, hours):
        return CallOutcome("HTTP 503", target_failed=True, http_status=503)
    return CallOutcome(http_status=200)
