"""The scenarios that the sandbox simulates; a message's recipient selects one. Pure functions."""

from enum import Enum, auto

import msgspec

from gatepost.model import Secret


class SendOutcome(Enum):
    """The outcome of a send, as the sending hook gives it."""

    ACCEPTED = auto()
    """A Receipt."""
    DELAYED = auto()
    """A Receipt, after `slow` seconds."""
    UNCERTAIN = auto()
    """Uncertain is raised, although the message is in the folder."""
    REJECTED = auto()
    """Rejected is raised."""
    UNAVAILABLE = auto()
    """Unavailable is raised."""


class Scenario(msgspec.Struct, frozen=True):
    """The outcome of a send, and the reports that follow it."""

    outcome: SendOutcome = SendOutcome.ACCEPTED
    reports: tuple[str, ...] = ("delivered",)
    """The reported statuses, in the sandbox's own words and in this order."""


DEFAULT = Scenario()

SCENARIOS = {
    "bounce": Scenario(reports=("bounced",)),
    "reject": Scenario(SendOutcome.REJECTED, reports=()),
    "complain": Scenario(reports=("delivered", "complained")),
    "unsubscribe": Scenario(reports=("delivered", "unsubscribed")),
    "open": Scenario(reports=("delivered", "opened")),
    "slow": Scenario(SendOutcome.DELAYED),
    "down": Scenario(SendOutcome.UNAVAILABLE, reports=()),
    "lost": Scenario(SendOutcome.UNCERTAIN),
}
"""Scenarios by the beginning of an email address."""

# From 91, because the numbers of sample files usually count from 00 or 01: they get the default scenario.
NUMBER_ENDINGS = {str(ending): name for ending, name in enumerate(SCENARIOS, start=91)}
"""Names of scenarios by the last two digits of a phone number."""


def email_scenario(recipient: Secret) -> Scenario:
    """Return the scenario for an email address, which may be in upper or lower case."""
    address = recipient.reveal().lower()
    return next((scenario for name, scenario in SCENARIOS.items() if address.startswith(name)), DEFAULT)


def sms_scenario(recipient: Secret) -> Scenario:
    """Return the scenario for a phone number."""
    name = NUMBER_ENDINGS.get(recipient.reveal()[-2:])
    return SCENARIOS[name] if name else DEFAULT
