"""What Smartico asks the gateway to send for the demo's brands: at random, with the same seed always the same."""

import math
import random
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from gatepost.demo.brands import BRANDS, PLAYERS, Brand
from gatepost.demo.requests import User
from gatepost.model import Channel

SMS_SHARE = 0.35
"""The part of all messages that are text messages."""

UNKNOWN_SHARE = 0.012
"""The part of the requests that name a user whom no contact source knows."""

_FREQUENCIES = (6, 3, 1)
"""How often the texts of a brand are sent, the first the most."""


class BrandRequest(NamedTuple):
    """One request of a brand."""

    brand: Brand
    channel: Channel
    user: User | None
    """None: the request names a user whom no contact source knows."""
    fields: Mapping[str, str]
    """The contract's, without the callback URL."""

    @property
    def uid(self) -> str:
        """Smartico's own id of the message."""
        return self.fields["email_uid" if self.channel is Channel.EMAIL else "im_uid"]

    @property
    def ext_user_id(self) -> str:
        """The id of the user."""
        return self.fields["ext_user_id"]

    def body(self, callback_url: str) -> bytes:
        """Return the body of the HTTP request."""
        return msgspec.json.encode({**self.fields, "callback_url": callback_url})


class Traffic:
    """The requests of all brands, one after the other."""

    def __init__(self, rng: random.Random, first_number: int = 1) -> None:
        """``first_number`` is in the first uid."""
        self._rng = rng
        self._players = {brand.name: brand.players() for brand in BRANDS}
        self._number = first_number - 1

    def requests(self, hours: float, seconds: float, per_hour: float) -> Iterator[BrandRequest]:
        """Yield the requests of so many seconds, ``hours`` before now; ``per_hour`` in the busiest hour of the day."""
        expected = per_hour * _activity(hours) * seconds / 3600
        count = int(expected) + (self._rng.random() < expected % 1)
        for _ in range(count):
            yield self.next()

    def next(self, brand: Brand | None = None) -> BrandRequest:
        """Return the next request, of this brand or of any."""
        self._number += 1
        brand = brand or self._rng.choices(BRANDS, [one.share for one in BRANDS])[0]
        channel = Channel.SMS if self._rng.random() < SMS_SHARE else Channel.EMAIL
        # Some players are much more active than others.
        number = min(int(PLAYERS * self._rng.betavariate(1.2, 1.8)), PLAYERS - 1)
        user: User | None = self._players[brand.name][number]
        if self._rng.random() < UNKNOWN_SHARE:
            user = None
        identity = user.ext_user_id if user else f"{brand.id_prefix}9{self._number:03}"
        fields = _email_fields if channel is Channel.EMAIL else _sms_fields
        return BrandRequest(brand, channel, user, fields(brand, identity, self._number, self._rng))


def _activity(hours: float) -> float:
    """Return how busy the moment ``hours`` before now is, between 0.15 and 1: now it is evening, whatever the time is."""
    day = 0.5 + 0.5 * math.cos((hours - 1.5) / 24 * 2 * math.pi)
    return 0.15 + 0.85 * day * day


def _email_fields(brand: Brand, user: str, number: int, rng: random.Random) -> Mapping[str, str]:
    subject = rng.choices(brand.subjects, _FREQUENCIES)[0]
    return {
        "ext_user_id": user,
        "from_email_address": brand.sender,
        "subject": subject,
        "body": f"<p>{subject}</p>",
        "text_body": subject,
        "email_uid": f"{brand.name}-mail-{number:05}",
    }


def _sms_fields(brand: Brand, user: str, number: int, rng: random.Random) -> Mapping[str, str]:
    return {
        "ext_user_id": user,
        "from_number": brand.sms_sender,
        "body": rng.choices(brand.texts, _FREQUENCIES)[0],
        "im_uid": f"{brand.name}-sms-{number:05}",
    }
