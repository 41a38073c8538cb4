"""Every error that Gatepost raises on purpose, and what each one makes the gateway do.

    GatepostError
    ├── ConfigError          the start is refused, every fault named at once
    ├── Refused              Smartico's request is refused, with the code it hears
    ├── SendError            what a sending hook may raise
    │   ├── Rejected         final: status `rejected`, nobody else is asked
    │   ├── Unavailable      surely not taken: the next plugin of the route, or later
    │   └── Uncertain        nobody knows: wait for a webhook, then the operator's policy
    ├── WebhookError         what parse_webhook may raise
    │   ├── NoVerificationKey 404, as if there were no such address
    │   ├── BadSignature     401, most providers don't try again
    │   ├── BadWebhook       400, the body is not this provider's
    │   └── WebhookRetry     503, most providers try again
    ├── StoreError
    │   ├── StoreBusy        this call failed and may be repeated: Smartico hears code 12
    │   └── StoreBroken      the store can't be trusted any more: the process stops
    └── PluginError          a plugin broke its contract; names the instance and the hook

A reason given to any of them ends in logs, in the store and before an operator's eyes.
Write it yourself, out of codes and closed lists; never pass on a provider's free text, which likes
to quote addresses. The core scrubs reasons all the same.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple


class GatepostError(Exception):
    """The root of the tree."""


class Fault(NamedTuple):
    """One thing that is wrong with a configuration."""

    key: str
    """The path of the key, such as ``plugins.relay.port``; empty for the file as a whole."""
    problem: str
    """What is wrong and what to do, without the value where the value could be a secret."""

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}" if self.key else self.problem


class ConfigError(GatepostError):
    """The configuration can't be used; ``faults`` names everything that is wrong with it.

    A plugin's constructor raises it for what its settings' types can't express, with keys relative
    to its own table (``ConfigError([Fault("port", "…")])``); the core puts the table's path before them.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class SendError(GatepostError):
    """What a sending hook raises when it can't return a Receipt.

    ``reason`` is a short text of the plugin's own; ``code`` is the provider's code where it has one
    (``"550 5.1.1"``, ``"1240"``), and it is what operators search for.
    """

    def __init__(self, reason: str, *, code: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Rejected(SendError):
    """The provider, or the plugin before it asked the provider, refused this message for good.

    The core records the status ``rejected`` and asks nobody else. It does not count against the
    instance's health: a bad recipient says nothing about the provider.
    """


class Unavailable(SendError):
    """The message was surely not taken, and another try may succeed.

    The core asks the next plugin of the route at once, or tries later. Several in a row make the
    instance rest. ``retry_after`` (seconds) is the provider's own wish and rests the whole instance,
    bounded to between one second and one hour. ``misconfigured`` says that only the operator can
    mend it (a wrong key, no credit): it is logged as an error and shown by ``/health/ready``.
    ``message_only`` says that the reason lies with this message alone (a greylisted recipient): it says
    nothing about the instance's health. ``content_only`` says that it may lie with the content or the sender, and
    every other mail may well be taken: the instance rests only when five different contents in a row were answered
    so, and with several clients not all of the same one. An answer that anybody would get now is neither.

    A contact source raises it when it can't be asked now.
    """

    def __init__(
        self,
        reason: str,
        *,
        code: str = "",
        retry_after: float | None = None,
        misconfigured: bool = False,
        message_only: bool = False,
        content_only: bool = False,
    ) -> None:
        super().__init__(reason, code=code)
        self.retry_after = retry_after
        self.misconfigured = misconfigured
        self.message_only = message_only
        self.content_only = content_only


class Uncertain(SendError):
    """The provider may or may not have the message: the connection died after the body was out.

    Never failed over blindly. The core waits ``delivery.uncertain_wait`` seconds for a webhook that bears
    the message's id, then follows ``delivery.uncertain``; sent again for this it is but once.
    """


class WebhookError(GatepostError):
    """What parse_webhook raises when it can't return a Report."""


class NoVerificationKey(WebhookError):
    """The instance's settings hold no key to verify reports with, so it takes none."""


class BadSignature(WebhookError):
    """The signature is missing where it must be, forged, stale, or made for another body."""


class BadWebhook(WebhookError):
    """The request is not one of this provider's: not JSON, not a list, another product's."""


class WebhookRetry(WebhookError):
    """Not now: it is answered with 503, after which most providers send it again."""


class StoreError(GatepostError):
    """The outbox could not do what was asked; nothing of it was done."""


class StoreBusy(StoreError):
    """The store can't take this now (locked, full, too many waiting, shutting down)."""


class StoreBroken(StoreError):
    """A write or sync failed in a way after which the store can't be trusted; the process must stop."""


class PluginError(GatepostError):
    """A plugin broke its contract: raised what it may not raise, overran, or returned nonsense."""

    def __init__(self, instance: str, hook: str, problem: str) -> None:
        super().__init__(f"plugin {instance!r}, {hook}: {problem}")
        self.instance = instance
        self.hook = hook
        self.problem = problem


class Code(IntEnum):
    """What Smartico reads in ``error_code``; 0 is the only one that is no refusal."""

    ACCEPTED = 0
    USER_NOT_FOUND = 1
    NO_ADDRESS = 2
    """The user has no email address or no phone number, or an unusable one."""
    WRONG_AUTHORIZATION = 3
    NOT_ALLOWED = 4
    """The caller's address is not on the allowlist."""
    MALFORMED = 5
    """The request is malformed, or its body did not arrive in time."""
    TOO_LARGE = 6
    CALLBACK_REFUSED = 7
    NO_PROVIDER = 8
    """No provider is configured for this channel."""
    UID_USED = 9
    """The same uid was already used for a different message."""
    SENDER_REFUSED = 10
    PREVIEW_REFUSED = 11
    """The address that came with the request is not permitted."""
    TRY_AGAIN = 12
    """The gateway can't take messages now."""
    INTERNAL = 99


class Refused(GatepostError):
    """Smartico's request is refused; ``message`` tells an operator what to change.

    It holds no address, no phone number and no secret.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
