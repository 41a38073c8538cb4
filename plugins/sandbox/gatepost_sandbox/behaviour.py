"""What becomes of a message, read from its recipient. One table, pure functions."""

from enum import Enum, auto

import msgspec

from gatepost.model import Secret


class Answer(Enum):
    """What the sending hook says."""

    TAKEN = auto()
    """A Receipt."""
    LATE = auto()
    """A Receipt, after a while."""
    LOST = auto()
    """Uncertain, though the message is in the folder."""
    REFUSED = auto()
    """Rejected."""
    DOWN = auto()
    """Unavailable."""


class Behaviour(msgspec.Struct, frozen=True):
    """What one kind of recipient meets with."""

    answer: Answer = Answer.TAKEN
    reports: tuple[str, ...] = ("delivered",)
    """The statuses that are reported afterwards, in the sandbox's own words, one after the other."""


USUAL = Behaviour()

BEHAVIOURS = {
    "bounce": Behaviour(reports=("bounced",)),
    "reject": Behaviour(Answer.REFUSED, reports=()),
    "complain": Behaviour(reports=("delivered", "complained")),
    "unsubscribe": Behaviour(reports=("delivered", "unsubscribed")),
    "open": Behaviour(reports=("delivered", "opened")),
    "slow": Behaviour(Answer.LATE),
    "down": Behaviour(Answer.DOWN, reports=()),
    "lost": Behaviour(Answer.LOST),
}
"""By what an email address starts with."""

# From 91 on, so that the numbers of an example file, which count from 00 or 01, meet with nothing odd.
ENDINGS = {str(number): word for number, word in enumerate(BEHAVIOURS, start=91)}
"""By what a phone number ends in."""


def of_email(recipient: Secret) -> Behaviour:
    """The behaviour for an address: upper and lower case are one."""
    address = recipient.reveal().lower()
    return next((what for word, what in BEHAVIOURS.items() if address.startswith(word)), USUAL)


def of_number(recipient: Secret) -> Behaviour:
    """The behaviour for a number, by its last two digits."""
    word = ENDINGS.get(recipient.reveal()[-2:])
    return BEHAVIOURS[word] if word else USUAL
