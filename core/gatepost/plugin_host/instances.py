"""The configured plugin instances. The rest of the core calls a plugin's hooks only through them.

An Instance keeps the plugin's side of the contract, whatever the plugin does: a result comes in time, has the
right type and is redacted, and an error is one of those that the hook may raise.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import cast

import msgspec
import pluggy

from gatepost import hookspecs
from gatepost.config.settings import InstanceSettings
from gatepost.errors import (
    ConfigError,
    Fault,
    PluginError,
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
from gatepost.plugin_host.isolation import HookFailure, HookRunner, default_close_timeout

SEND_OVERRUN = 1.0
"""Seconds that a send may take beyond its `timeout` before it is cancelled."""


class Instance:
    """One configured plugin: a method for each hook, and properties that say what the plugin can do."""

    def __init__(self, settings: InstanceSettings, plugin: object) -> None:
        """Register the plugin's hooks.

        Raises ConfigError, with keys from the root of the file, when the hooks can't be used.
        """
        self.settings = settings
        self.name = settings.name
        self.use = settings.use
        self.package = type(plugin).__module__.partition(".")[0]
        """The top-level package of the plugin's code."""
        self.delivers: bool = getattr(plugin, "delivers", True)
        """Whether the messages that it takes reach their recipients."""
        self.replay_safe: float = getattr(plugin, "replay_safe", 0.0)
        """Seconds for which the provider drops repeats with the same idempotency key."""
        self.retry_status: int = getattr(plugin, "retry_status", 503)
        """The HTTP status after which its provider repeats a webhook."""
        # One manager for each instance: no call reaches a second plugin, or a second instance of this one.
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs.Hooks)
        try:
            manager.register(plugin, self.name)
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise self._refused([str(error).replace("\n", " ")]) from None
        self._calls = cast("hookspecs.Hooks", manager.hook)
        found = {name: getattr(manager.hook, name).get_hookimpls() for name in HOOKS}
        self.hooks = frozenset(name for name, methods in found.items() if methods)
        """The names of the hooks that the plugin implements."""
        if problems := [text for name in HOOKS for text in _hook_problems(plugin, name, found[name])]:
            raise self._refused(problems)
        self._runner = HookRunner(self.name, self.package)
        self.finds_in_memory = not all(
            inspect.iscoroutinefunction(method.function) for method in found["find_contact"]
        )
        """Whether the plugin is a contact source that answers at once, from memory."""
        self._ignored_kinds: set[str] = set()
        self.failed_lookups = 0
        """How often the plugin failed to answer as a contact source."""

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

    def count_blocked_loop(self) -> None:
        """Count a violation: the plugin's code blocked the event loop. May be called from any thread."""
        self._runner.violations += 1

    async def send(self, message: Email | Sms) -> Receipt:
        """Make one attempt to send; the plugin has `timeout` and SEND_OVERRUN seconds.

        Raises Rejected, Unavailable or Uncertain, and nothing else. Every violation of the contract is
        Uncertain, because the message may have been sent.
        """
        if self._runner.lifespan_ended:
            raise Unavailable("its lifespan has ended: restart the gateway", misconfigured=True)
        hook = SEND_HOOKS[Channel.EMAIL if isinstance(message, Email) else Channel.SMS]

        async def send() -> Receipt:
            receipt = await getattr(self._calls, hook)(message=copy)
            if not isinstance(receipt, Receipt):
                raise sanitize.InvalidResult(f"returned {sanitize.type_name(receipt)} instead of a Receipt")
            return self._checked_receipt(hook, receipt, message.recipient)

        with redaction.redaction_scope(Contact(email=message.recipient, attributes=message.attributes)):
            # A copy, so that the next plugin of the route does not see what this one changes in the message.
            copy = msgspec.structs.replace(
                message, recipient=Secret(message.recipient.reveal()), attributes=dict(message.attributes)
            )
            result = await self._runner.run(
                hook,
                send,
                self.settings.timeout + SEND_OVERRUN,
                sanitize.SEND_ERRORS,
                copy_error=sanitize.copy_send_error,
            )
            if isinstance(result, Receipt):
                return result
            if isinstance(result.error, SendError):
                raise result.error
            raise Uncertain(cast("PluginError", result.error).problem)

    async def find_contact(self, ext_user_id: str, timeout: float) -> Contact | None:  # noqa: ASYNC109  HookRunner keeps it
        """Look a user up within ``timeout`` seconds.

        Raises Unavailable, and nothing else. A source that answers from memory is called directly, without
        a task and without a deadline.
        """
        result: Contact | HookFailure | None
        if self.finds_in_memory:
            in_memory = cast("hookspecs.MemorySource", self._calls)

            def find_in_memory() -> Contact | None:
                return _copy_found(in_memory.find_contact(ext_user_id=ext_user_id))

            result = self._runner.run_sync(
                "find_contact", find_in_memory, (Unavailable,), copy_error=sanitize.copy_send_error
            )
        else:

            async def find() -> Contact | None:
                return _copy_found(await self._calls.find_contact(ext_user_id=ext_user_id))

            result = await self._runner.run(
                "find_contact", find, timeout, (Unavailable,), copy_error=sanitize.copy_send_error
            )
        if isinstance(result, HookFailure):
            self.failed_lookups += 1
            raise _as_unavailable(result)
        redaction.redact_recent(result)
        return result

    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Let the plugin verify and translate a provider's request, within `timeout` seconds.

        Raises NoVerificationKey, BadSignature, BadWebhook or WebhookRetry, and nothing else. Every violation
        of the contract is WebhookRetry, after which most providers send the report again. The Report has valid
        events only; the others are counted in its ``ignored`` as ``invalid``.
        """

        async def parse() -> Report:
            report = await self._calls.parse_webhook(request=request)
            checked = sanitize.copy_report(report, self._ignored_kinds)
            if checked.invalid:
                problem = f"{checked.invalid} of {checked.returned} returned events are invalid"
                self._runner.record_violation("parse_webhook", problem)
            return checked.report

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
            raise _as_unavailable(result)

    @asynccontextmanager
    async def lifespan(
        self, close_timeout: Callable[[], float] = default_close_timeout
    ) -> AsyncIterator[None]:
        """Hold the plugin's lifespan open while the block runs, where it has one.

        ``close_timeout`` is called at the end of the block and returns the seconds that closing may take.
        Raises ConfigError when the lifespan can't be opened. Closing it never raises.
        """
        if "lifespan" not in self.hooks:
            yield
            return
        async with self._runner.lifespan(self._calls.lifespan, close_timeout):
            yield

    def _checked_receipt(self, hook: str, receipt: Receipt, recipient: Secret) -> Receipt:
        """Copy a Receipt, without its id when that is invalid or holds the recipient."""
        raw_id: object = receipt.provider_id
        provider_id = sanitize.clean_id(raw_id)
        if not provider_id and not (isinstance(raw_id, str) and not len(raw_id)):
            self._runner.record_violation(
                hook,
                f"returned a provider_id that is not a printable text of at most {sanitize.MAX_ID_LENGTH} characters",
            )
        elif redaction.contains(provider_id, recipient):
            self._runner.record_violation(hook, "returned a provider_id that holds the recipient")
            return Receipt()
        return Receipt(provider_id)

    def _refused(self, problems: Iterable[str]) -> ConfigError:
        return ConfigError([Fault(f"plugins.{self.name}", f"the plugin {text}") for text in problems])


def _hook_problems(plugin: object, name: str, methods: Sequence[pluggy.HookImpl]) -> Iterable[str]:
    """Yield what is wrong with a plugin's implementation of one hook."""
    if not methods:
        method = inspect.getattr_static(plugin, name, None)
        # A plugin that inherits from the hookspecs' Protocol has the hook's specification, but does not implement it.
        if method is not None and not hasattr(method, f"{hookspecs.PROJECT}_spec"):
            yield f"has a method {name} without @hookimpl"
        return
    if len(methods) > 1:
        yield f"implements {name} twice"
    function = methods[0].function
    if name not in {"lifespan", "find_contact"} and not inspect.iscoroutinefunction(function):
        yield f"must write {name} as an async def"
    if name == "lifespan" and (inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function)):
        yield "must write lifespan with @asynccontextmanager"


def _copy_found(contact: object) -> Contact | None:
    return None if contact is None else sanitize.copy_contact(contact)


def _as_unavailable(failure: HookFailure) -> SendError:
    if isinstance(failure.error, SendError):
        return failure.error
    return Unavailable(cast("PluginError", failure.error).problem)
