"""The exceptions that Gatepost raises on purpose, and what the gateway does after each one.

    GatepostError
    ├── ConfigError             the gateway does not start; all faults are named at once
    ├── Refused                 Smartico's request is refused with an error_code
    ├── SendError               may be raised by a sending hook
    │   ├── Rejected            final: status `rejected`, no other plugin is tried
    │   ├── Unavailable         certainly not accepted: the next plugin of the route, or a later attempt
    │   └── Uncertain           perhaps accepted: wait for a webhook, then the operator's policy
    ├── WebhookError            may be raised by parse_webhook
    │   ├── NoVerificationKey   404, as if there were no such address
    │   ├── BadSignature        401, most providers don't try again
    │   ├── BadWebhook          400, the request is not one of this provider's
    │   └── WebhookRetry        503 or the plugin's `retry_status`, after which its provider tries again
    ├── StoreError
    │   ├── StoreBusy           this call failed and may be repeated: Smartico gets code 12
    │   └── StoreBroken         the store can't be trusted any more: the process stops
    └── PluginError             a plugin broke its contract; names the instance and the hook

A reason given to any of them is written to logs and to the store, and operators read it. Compose it of codes and
words from closed lists. Never pass on a provider's free text, which may quote an address. The core redacts reasons
all the same.
"""

from collections.abc import Iterable
from enum import IntEnum
from types import TracebackType
from typing import NamedTuple

from gatepost.status import Status


class GatepostError(Exception):
    """The base class of all errors that Gatepost raises on purpose."""


class Fault(NamedTuple):
    """One error in a configuration."""

    key: str
    """The path of the key, such as ``plugins.relay.port``; empty for the file as a whole."""
    problem: str
    """What is wrong and what to do; without the value where the value could be a secret."""

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}" if self.key else self.problem


class ConfigError(GatepostError):
    """The configuration can't be used; ``faults`` holds everything that is wrong with it.

    A plugin's constructor raises it for faults that the types of its settings can't express. Its keys are relative
    to the plugin's own table (``ConfigError([Fault("port", "…")])``); the core puts the table's path before them.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class Faults(list[Fault]):
    """The faults that a plugin's constructor has found so far, so that all of them are named at once.

        faults = Faults(check(settings))
        with faults:
            self._key = parse_key(settings.key)
        faults.expect_none()

    A ConfigError inside ``with`` ends there, and its faults are added.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, ConfigError):
            return False
        self.extend(error.faults)
        return True

    def expect_none(self) -> None:
        """Raise ConfigError with the faults if there are any."""
        if self:
            raise ConfigError(self)


class SendError(GatepostError):
    """The base class of the errors that a sending hook raises when it can't return a Receipt.

    ``reason`` is a short text of the plugin's own. ``code`` is the provider's code where it has one (``"550 5.1.1"``,
    ``"1240"``); operators search for it.
    """

    def __init__(self, reason: str, *, code: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Rejected(SendError):
    """The provider refused this message permanently, or the plugin did before it called the provider.

    The core records the status ``rejected`` and tries no other plugin. The instance's breaker does not count it: a
    bad recipient says nothing about the provider.

    ``status`` is what the answer proves about the user, and may be the reason to suppress her: ``Status.UNSUBSCRIBED``
    where the provider refuses because the user has opted out, ``Status.COMPLAINED`` where it does so because the user
    has called an earlier message spam. It is recorded after ``rejected``, and on a route with ``next_after`` no other
    plugin gets the message either. There are no others: the rest would contradict ``rejected``.
    """

    def __init__(self, reason: str, *, code: str = "", status: Status | None = None) -> None:
        super().__init__(reason, code=code)
        self.status = status


class Unavailable(SendError):
    """The message was certainly not accepted, and another attempt may succeed.

    The core tries the next plugin of the route at once, or tries again later. After several in a row the instance
    rests: it gets no messages for a while.

    - ``retry_after``: the seconds that the provider asks to wait. The whole instance rests that long, at least one
      second and at most one hour.
    - ``misconfigured``: only the operator can fix the cause (a wrong key, no credit). It is logged as an error and
      shown by ``/health/ready``.
    - ``message_only``: the reason is this message alone (a greylisted recipient). The breaker does not count it.
    - ``content_only``: the reason may be the content or the sender, and other messages may be accepted. The instance
      rests only after five different contents in a row got this answer; where there are several clients, the five
      must not all come from one client.

    Set neither of the last two for an answer that every message would get now.

    A contact source raises it when it can't answer now.
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
    """The provider may or may not have the message: the connection was lost after the body had begun to leave.

    The core does not try another plugin at once. It waits ``delivery.uncertain_wait`` seconds for a webhook that
    names the message, then follows ``delivery.uncertain``, which repeats the send once at most.
    """


class WebhookError(GatepostError):
    """The base class of the errors that parse_webhook raises when it can't return a Report."""


class NoVerificationKey(WebhookError):
    """The instance's settings have no key to verify reports with, so it accepts none."""


class BadSignature(WebhookError):
    """The signature is missing, forged, too old, or computed for another body."""


class BadWebhook(WebhookError):
    """The request is not one of this provider's: not JSON, not a list, from another product."""


class WebhookRetry(WebhookError):
    """The request can't be handled now; it is answered with the class's ``retry_status``, after which the provider repeats it."""


class StoreError(GatepostError):
    """The outbox could not carry out a call: all of its changes were made, or none.

    None, unless the connection to the database was lost before the answer to the commit came.
    """


class StoreBusy(StoreError):
    """The store can't carry out this call now: it is locked, full, overloaded or shutting down."""


class StoreBroken(StoreError):
    """A write or sync failed in a way after which the store can't be trusted; the process must stop."""


class PluginError(GatepostError):
    """A plugin broke its contract: it raised an unlisted error, took too long, or returned an invalid result."""

    def __init__(self, instance: str, hook: str, problem: str) -> None:
        super().__init__(f"plugin {instance!r}, {hook}: {problem}")
        self.instance = instance
        self.hook = hook
        self.problem = problem


class Code(IntEnum):
    """The ``error_code`` in the answers to Smartico; every code except 0 is a refusal."""

    ACCEPTED = 0
    USER_NOT_FOUND = 1
    NO_ADDRESS = 2
    """The user has no email address or phone number, or an invalid one."""
    WRONG_AUTHORIZATION = 3
    NOT_ALLOWED = 4
    """The client address is not on the allowlist."""
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
    """The recipient that the request names is not allowed."""
    TRY_AGAIN = 12
    """The gateway can't accept messages now."""
    MUST_NOT_CONTACT = 13
    """The user must not be contacted: a contact source or the suppressions say so."""
    RULES_REFUSE = 14
    """The operator's rules refuse this message: a route's `refuse`, too many parts, a daily limit."""
    INTERNAL = 99


class Refused(GatepostError):
    """A request of Smartico is refused; ``message`` tells an operator what to change.

    The message holds no address, phone number or secret.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.uid = ""
        """The uid of the refused request, as soon as it is known."""
        self.ext_user_id = ""
        """Its user, likewise."""
