"""What one running gateway knows of itself for ``gatepost status``; the store knows the rest."""

from collections.abc import Mapping, Sequence

import msgspec

from gatepost.upkeep.freshness import Freshness


class InstanceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A sending instance; durations in seconds."""

    instance: str
    state: str
    """``usable``, ``resting`` or ``probing``."""
    seconds: float
    """Until the rest is over; 0 without one."""
    failing_for: float
    """Since it began to rest, with no success since then; 0 where it works."""
    misconfigured: bool
    reason: str
    """Why it rests or is misconfigured; empty after a success."""
    since_success: float | None
    """Since it took a message; None where it took none since the start."""
    per_minute: float
    """Messages in the last minute."""
    shares: Mapping[str, float]
    """The part of each split route that the configuration gives it, by the key of the route."""


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A contact source; times in seconds since the epoch."""

    instance: str
    users: int | None
    """None where the source does not say it."""
    as_of: float | None
    """When its data were the newest; None where the source does not say it."""
    freshness: Freshness
    problem: str
    """Why newer data, or some of the data, are not used."""
    is_failing: bool
    """Whether it failed to answer the last time."""
    failed_at: float | None
    failure: str
    """The last failure to answer about a user, and when that was."""


class TargetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A host that is not called back at present; durations in seconds."""

    client: str
    target: str
    seconds: float
    """Until it is called again."""
    failing_for: float
    reason: str


class GatewayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One running gateway; durations in seconds."""

    version: str
    uptime: float
    lag: float
    """By how much the event loop was late at most, in the last minute."""
    store_fails: bool
    missing_keys: Mapping[str, int]
    """How many messages wait because the key of their content is not configured, by the id of the key."""
    certificate_ends_at: float | None
    """Seconds since the epoch; None without a certificate."""
    plugins: Sequence[InstanceStatus]
    sources: Sequence[SourceStatus]
    resting_targets: Sequence[TargetStatus]
