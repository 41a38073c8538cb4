"""The configured plugin instances. The rest of the core calls a plugin's hooks only through them.

An Instance keeps the plugin's side of the contract, whatever the plugin does: a result comes in time, has the
right type and is redacted, and an error is one of those that the hook may raise.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import msgspec
import pluggy

from gatepost import hookspecs
from gatepost.config.settings import InstanceSettings
from gatepost.errors import (
    ConfigError,
    Fault,
    PluginError,
    Rejected,
    SendError,
    Unavailable,
    Uncertain,
    WebhookError,
    WebhookRetry,
)
from gatepost.hookspecs import HOOKS, SEND_HOOKS
from gatepost.model import Channel, Contact, Email, Receipt, Report, Secret, Sms, WebhookRequest
from gatepost.observe import redaction
from gatepost.plugin_host import sanitize
from gatepost.plugin_host.contract_problems import find_problems
from gatepost.plugin_host.isolation import HookFailure, HookRunner, default_close_timeout
from gatepost.plugin_host.receipts import copy_receipt
from gatepost.plugin_host.reports import ReportChecker
from gatepost.plugin_host.services import InstanceServices
from gatepost.plugin_host.source import Source, as_unavailable
from gatepost.plugin_host.unknown_hooks import unknown_hooks

SEND_OVERRUN = 1.0
"""Seconds that a send may take beyond its `timeout` before it is cancelled."""


class Instance:
    """One configured plugin: a method for each hook, and properties that say what the plugin can do.

    It has more than 15 methods because each property answers one question about the plugin.
    """

    def __init__(
        self, settings: InstanceSettings, plugin: object, services: InstanceServices | None = None
    ) -> None:
        """Register the plugin's hooks; ``services`` are those of the Context that the plugin has.

        Raises ConfigError, with keys from the root of the file, when the hooks can't be used.
        """
        self.settings = settings
        self.name, self.use = settings.name, settings.use
        self.services = services or InstanceServices(settings.name)
        self.package = type(plugin).__module__.partition(".")[0]
        """The top-level package of the plugin's code."""
        self.delivers: bool = getattr(plugin, "delivers", True)
        """Whether the messages that it takes reach their recipients."""
        self.reports_itself: bool = getattr(plugin, "reports_itself", False)
        self.replay_safe: float = getattr(plugin, "replay_safe", 0.0)
        """Seconds for which the provider drops repeats with the same idempotency key."""
        self.retry_status: int = getattr(plugin, "retry_status", 503)
        """The HTTP status after which its provider repeats a webhook."""
        self._preview_request: Callable[[Email | Sms], str] | None = getattr(plugin, "preview_request", None)
        try:
            manager = _manager_of(plugin, self.name)
        except pluggy.PluginValidationError as error:
            problems = [*unknown_hooks(plugin)] or [str(error).replace("\n", " ")]
            raise self._refused(problems) from None
        self._calls = cast("hookspecs.Hooks", manager.hook)
        found = {name: getattr(manager.hook, name).get_hookimpls() for name in HOOKS}
        self.hooks = frozenset(name for name, methods in found.items() if methods)
        """The names of the hooks that the plugin implements."""
        if problems := [*find_problems(plugin, found)]:
            raise self._refused(problems)
        # Called directly: pluggy takes as long to call it as the loop to start its task.
        self._send_functions = {hook: one.function for hook in SEND_HOOKS.values() for one in found[hook]}
        self._runner = HookRunner(self.name, self.package)
        finders = [one.function for one in found["find_contact"]]
        self.as_source = Source(self._runner, self._calls, self.hooks, *finders)
        """The plugin as a contact source; of no use where it is none."""
        self.reports = ReportChecker(self._runner)

    def __repr__(self) -> str:
        return f"<Instance {self.name} use={self.use}>"

    @property
    def channels(self) -> frozenset[Channel]:
        """The channels that the plugin can send on."""
        return frozenset(channel for channel, hook in SEND_HOOKS.items() if hook in self.hooks)

    @property
    def is_source(self) -> bool:
        """Whether the plugin is a contact source."""
        return "find_contact" in self.hooks

    @property
    def takes_webhooks(self) -> bool:
        """Whether the plugin takes its provider's reports."""
        return "parse_webhook" in self.hooks

    @property
    def violations(self) -> int:
        """How often the plugin violated the contract. Each violation has a line in the log."""
        return self._runner.violations

    @property
    def has_ended(self) -> bool:
        """Whether its lifespan has ended, so that it can do nothing any more."""
        return self._runner.lifespan_ended

    def count_blocked_loop(self) -> None:
        """Count a violation: the plugin's code blocked the event loop. May be called from any thread."""
        self._runner.violations += 1

    async def send(self, message: Email | Sms) -> Receipt:
        """Make one attempt to send; the plugin has `timeout` and SEND_OVERRUN seconds.

        Raises Rejected, Unavailable or Uncertain, and nothing else. Every violation of the contract is
        Uncertain, because the message may have been sent.
        """
        if self.has_ended:
            raise Unavailable("its lifespan has ended: reload or restart the gateway", misconfigured=True)
        hook = SEND_HOOKS[Channel.EMAIL if isinstance(message, Email) else Channel.SMS]

        async def send() -> Receipt:
            receipt = await self._send_functions[hook](message=copy)
            if not isinstance(receipt, Receipt):
                raise sanitize.InvalidResult(f"returned {sanitize.type_name(receipt)} instead of a Receipt")
            return self._checked_receipt(hook, receipt, message.recipient)

        with redaction.redaction_scope(Contact(email=message.recipient, attributes=message.attributes)):
            copy = _copy_message(message)
            result = await self._runner.run(
                hook,
                send,
                self.settings.timeout + SEND_OVERRUN,
                sanitize.SEND_ERRORS,
                copy_error=partial(self._copy_send_error, hook),
            )
            if isinstance(result, Receipt):
                return result
            if isinstance(result.error, SendError):
                raise result.error
            raise Uncertain(cast("PluginError", result.error).problem)

    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Let the plugin verify and translate a provider's request, within `timeout` seconds.

        Raises NoVerificationKey, BadSignature, BadWebhook or WebhookRetry, and nothing else. Every violation
        of the contract is WebhookRetry, after which most providers send the report again. The Report has valid
        events only; the others are counted in its ``ignored`` as ``invalid``. It has no answer that can't be sent.
        """

        async def parse() -> Report:
            return self.reports.copy("parse_webhook", await self._calls.parse_webhook(request=request))

        result = await self._runner.run(
            "parse_webhook",
            parse,
            self.settings.timeout,
            sanitize.WEBHOOK_ERRORS,
            copy_error=sanitize.copy_webhook_error,
        )
        if isinstance(result, Report):
            return result
        raise result.error if isinstance(result.error, WebhookError) else WebhookRetry("the plugin failed")

    async def ping(self) -> None:
        """Ask the provider whether a send would succeed; raises Unavailable, and nothing else.

        Must only be called when the plugin implements ``ping``.
        """
        result = await self._runner.run(
            "ping",
            self._calls.ping,
            self.settings.timeout,
            (Unavailable,),
            copy_error=sanitize.copy_send_error,
        )
        if isinstance(result, HookFailure):
            raise as_unavailable(result)

    @asynccontextmanager
    async def lifespan(
        self, close_timeout: Callable[[], float] = default_close_timeout
    ) -> AsyncIterator[None]:
        """Hold the plugin's lifespan open while the block runs, where it has one.

        ``close_timeout`` is called at the end of the block and returns the seconds that closing may take.
        Raises ConfigError when the lifespan can't be opened. Closing it never raises. After it the plugin's Context
        does nothing for it any more.
        """
        try:
            if "lifespan" not in self.hooks:
                yield
                return
            async with self._runner.lifespan(self._calls.lifespan, close_timeout):
                yield
        finally:
            self.services.stop()

    def preview_request(self, message: Email | Sms) -> str | None:
        """Return the request that a send of this message would make; None where the plugin can't show it.

        Raises a SendError where it would not send the message.
        """
        return None if self._preview_request is None else self._preview_request(message)

    def _checked_receipt(self, hook: str, receipt: Receipt, recipient: Secret) -> Receipt:
        checked = copy_receipt(receipt, recipient)
        for problem in checked.problems:
            self._runner.record_violation(hook, f"returned {problem}")
        return checked.receipt

    def _copy_send_error(self, hook: str, error: BaseException) -> SendError:
        copy = sanitize.copy_send_error(error)
        if isinstance(copy, Rejected) and copy.status is None and getattr(error, "status", None) is not None:
            allowed = " or ".join(status.value for status in sanitize.USER_STATUSES)
            self._runner.record_violation(hook, f"raised Rejected with a status other than {allowed}")
        return copy

    def _refused(self, problems: Iterable[str]) -> ConfigError:
        return ConfigError([Fault(f"plugins.{self.name}", f"the plugin {text}") for text in problems])


def _manager_of(plugin: object, name: str) -> pluggy.PluginManager:
    """Return a manager of this plugin alone, so that no call reaches another one, or another instance of this one.

    Raises PluginValidationError when the hooks can't be used.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs.Hooks)
    manager.register(plugin, name)
    manager.check_pending()
    return manager


def _copy_message(message: Email | Sms) -> Email | Sms:
    """Copy a message, so that no later try of it has what a plugin changes in it."""
    recipient, attributes = Secret(message.recipient.reveal()), dict(message.attributes)
    if isinstance(message, Email):
        return msgspec.structs.replace(
            message, recipient=recipient, attributes=attributes, headers=dict(message.headers)
        )
    return msgspec.structs.replace(message, recipient=recipient, attributes=attributes)
