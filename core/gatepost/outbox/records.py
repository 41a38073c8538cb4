"""What goes into the outbox and what comes out of it. Durations in seconds, in both directions."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox.states import State

OUR_ID = {"id": "ext_message_id"}
"""What an operator sees: a message's id under the name that it has in the contract with Smartico."""


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was accepted; its id is already Smartico's ext_message_id."""

    id: str
    client: str
    channel: Channel
    uid: str
    fingerprint: bytes
    ext_user_id: str
    preview: str
    """The reference of a preview's recipient; empty for everybody else's message."""
    callback_url: str
    content: bytes
    lifetime: float


class StoredMessage(msgspec.Struct, frozen=True):
    """What the outbox has under a uid."""

    id: str
    fingerprint: bytes


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A message in the hands of one sender, until its lease ends. ``attempt`` is its fence."""

    id: str
    attempt: int
    client: str
    channel: Channel
    ext_user_id: str
    preview: str
    content: bytes
    lifetime: float
    """Seconds until it has failed; may be negative."""


class SendResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a claim. Changes nothing when the claim was lost meanwhile."""

    id: str
    attempt: int
    state: State
    """SENT, QUEUED, UNCERTAIN, REJECTED or FAILED."""
    delay: float = 0.0
    """QUEUED: until it is due again; UNCERTAIN: how long to wait for a report."""
    instance: str = ""
    """Who was asked last."""
    provider_id: str = ""
    reason: str = ""
    code: str = ""
    content: bytes = b""
    """Replaces what is stored, if it is to be kept; empty: it stays as it is."""


class ReportedEvents(msgspec.Struct, frozen=True, kw_only=True):
    """The events of one webhook request."""

    instance: str
    events: Sequence[StatusEvent]
    channels: frozenset[Channel] = frozenset(Channel)
    """Those on whose route the instance is; of other messages only one that it was asked to send can be its."""


class RecordResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a webhook request's events."""

    new: int
    """Statuses that were not known before, ``accepted`` included where a report proved it."""
    repeated: int
    unknown: int
    """Events about messages that the outbox doesn't have."""


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """A status to be told, in the hands of one caller until its lease ends."""

    seq: int
    attempt: int
    message_id: str
    client: str
    channel: Channel
    status: Status
    callback_url: str
    target: str
    """``host:port`` of the URL."""


class CallbackResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a Callback; fenced as an SendResult is."""

    seq: int
    attempt: int
    acknowledged: bool
    retry_in: float | None = None
    """Seconds until the next try; None with ``acknowledged`` False: it is dead."""
    counts: bool = True
    """Whether it was a try; False gives the claim's attempt back."""
    problem: str = ""


class EndedMessage(NamedTuple):
    """A message that has come to an end."""

    id: str
    client: str
    channel: Channel
    state: State
    """SENT, REJECTED or FAILED."""


class SweepResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one sweep moved."""

    orphaned: int
    """Claims whose lease ended: now uncertain, or held."""
    deadly: Sequence[str]
    """Ids of those of them that are held, because they were in hand at too many deaths of the process."""
    resent: int
    held: int
    failed: int
    """Messages whose lifetime ended."""
    pulled_in: int
    """Due times further off than any pause is: the clock had jumped."""
    calls: int
    """Callbacks whose caller was lost."""

    @property
    def moved(self) -> int:
        """How much there was to do; zero means that nothing is left."""
        return self.orphaned + self.resent + self.held + self.failed + self.pulled_in + self.calls


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How the outbox treats what nobody holds; from the `delivery` settings."""

    uncertain_wait: float = 120.0
    hold: bool = False
    retention: float = 2_592_000.0
