"""Configured plugins, called by name; every call is guarded, so that a bad plugin hurts itself only.

Nobody else calls a hook. What comes out of here keeps the core's side of the contract whatever the
plugin did: it is in time, of its type, one of the errors that the hook may raise, and scrubbed.
"""

import inspect
import itertools
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import pluggy

from gatepost import hookspecs
from gatepost.config.settings import Instance as InstanceSettings
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
from gatepost.model import (
    Channel,
    Contact,
    Email,
    Receipt,
    Report,
    Secret,
    Sms,
    WebhookRequest,
)
from gatepost.observe import logs
from gatepost.plugin_host import sanitize
from gatepost.plugin_host.isolation import Guard, Raised, patience

MARGIN = 1.0
"""Seconds that a send may overrun its `timeout`."""

_SENDS = {"send_email": Channel.EMAIL, "send_sms": Channel.SMS}
_HOOKS = ("lifespan", "ping", "find_contact", *_SENDS, "parse_webhook")

_KINDS = 32
"""Kinds of ignored events that are counted apart."""
_KIND = re.compile(r"[a-z][a-z0-9_ -]{0,31}")

_log = logs.get(__name__)


class Instance:
    """One configured plugin."""

    def __init__(self, settings: InstanceSettings, plugin: object) -> None:
        """Raises ConfigError, keys from the file's root, when the plugin's hooks can't be used."""
        self.settings = settings
        self.name = settings.name
        self.use = settings.use
        self.package = type(plugin).__module__.partition(".")[0]
        """Where the plugin's code is."""
        self.delivers: bool = getattr(plugin, "delivers", True)
        """Whether a message that it takes reaches its recipient."""
        # A manager each: two relays of one kind can't be mixed up, and no call asks more than one plugin.
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs.Hooks)
        try:
            manager.register(plugin, self.name)
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise self._refused([str(error).replace("\n", " ")]) from None
        self.hook = cast("hookspecs.Hooks", manager.hook)
        made = {name: getattr(manager.hook, name).get_hookimpls() for name in _HOOKS}
        self.can = frozenset(name for name, found in made.items() if found)
        faults = [text for name, found in made.items() for text in _hook_faults(plugin, name, found)]
        if faults:
            raise self._refused(faults)
        self._guard = Guard(self.name, self.package)
        self._finds_at_once = not all(
            inspect.iscoroutinefunction(one.function) for one in made["find_contact"]
        )
        self._kinds: set[str] = set()
        self.failed_lookups = 0
        """Lookups that it could not answer as a contact source."""

    def __repr__(self) -> str:
        return f"<Instance {self.name} use={self.use}>"

    @property
    def channels(self) -> frozenset[Channel]:
        """What it sends."""
        return frozenset(channel for hook, channel in _SENDS.items() if hook in self.can)

    @property
    def is_source(self) -> bool:
        """Whether it knows users."""
        return "find_contact" in self.can

    @property
    def takes_webhooks(self) -> bool:
        """Whether its provider reports back."""
        return "parse_webhook" in self.can

    @property
    def faults(self) -> int:
        """How often the plugin broke its contract; each time a line in the log says how."""
        return self._guard.faults

    def held_loop(self) -> None:
        """Count, from whatever thread, that the plugin's code held the event loop."""
        self._guard.faults += 1

    async def send(self, message: Email | Sms) -> Receipt:
        """Make one try to send; the plugin has `timeout` seconds and one more.

        Raises Rejected, Unavailable or Uncertain, and nothing else. Whatever the plugin did wrong is
        Uncertain: nobody knows whether the message is out.
        """
        if self._guard.over:
            raise Unavailable("its lifespan has ended; restart", misconfigured=True)
        hook = "send_email" if isinstance(message, Email) else "send_sms"

        async def sent() -> Receipt:
            receipt = await getattr(self.hook, hook)(message=own)
            if not isinstance(receipt, Receipt):
                raise PluginError(
                    self.name, hook, f"returned {sanitize.kind_of(receipt)} instead of a Receipt"
                )
            return self._receipt(hook, receipt, message.recipient)

        with logs.private(Contact(email=message.recipient, attributes=message.attributes)):
            # What a plugin does to its message, the next one asked must not see.
            own = msgspec.structs.replace(
                message, recipient=Secret(message.recipient.reveal()), attributes=dict(message.attributes)
            )
            got = await self._guard.outcome(
                hook, sent, self.settings.timeout + MARGIN, sanitize.SEND_ERRORS, clean=sanitize.send_error
            )
            if isinstance(got, Receipt):
                return got
            if isinstance(got.error, SendError):
                raise got.error
            raise Uncertain(cast("PluginError", got.error).problem)

    async def find_contact(self, ext_user_id: str, timeout: float) -> Contact | None:  # noqa: ASYNC109  the core's
        """Look a user up; the source has ``timeout`` seconds. Raises Unavailable, and nothing else.

        A source that answers from memory is asked on the spot, and has no deadline.
        """
        got: Contact | Raised | None
        if self._finds_at_once:
            at_once = cast("hookspecs.MemorySource", self.hook)

            def found_at_once() -> Contact | None:
                return self._sound_contact(at_once.find_contact(ext_user_id=ext_user_id))

            got = self._guard.outcome_at_once(
                "find_contact", found_at_once, (Unavailable,), clean=sanitize.send_error
            )
        else:

            async def found() -> Contact | None:
                return self._sound_contact(await self.hook.find_contact(ext_user_id=ext_user_id))

            got = await self._guard.outcome(
                "find_contact", found, timeout, (Unavailable,), clean=sanitize.send_error
            )
        if isinstance(got, Raised):
            self.failed_lookups += 1
            raise _unavailable(got)
        logs.remember(got)
        return got

    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Let the plugin verify and translate a provider's request, within `timeout` seconds.

        Raises NoVerificationKey, BadSignature, BadWebhook or WebhookRetry, and nothing else; whatever the
        plugin did wrong is WebhookRetry, after which most providers send the report again. Events of the
        Report are sound; what was none of a StatusEvent is counted as ``invalid``.
        """

        async def parsed() -> Report:
            return self._report(await self.hook.parse_webhook(request=request))

        got = await self._guard.outcome(
            "parse_webhook",
            parsed,
            self.settings.timeout,
            sanitize.WEBHOOK_ERRORS,
            clean=sanitize.webhook_error,
        )
        if isinstance(got, Report):
            return got
        raise got.error if isinstance(got.error, WebhookError) else WebhookRetry("the plugin failed")

    async def ping(self) -> None:
        """Ask whether a send would succeed; only where ``ping`` is in ``can``. Raises Unavailable alone."""
        got = await self._guard.outcome(
            "ping", self.hook.ping, self.settings.timeout, (Unavailable,), clean=sanitize.send_error
        )
        if isinstance(got, Raised):
            raise _unavailable(got)

    @asynccontextmanager
    async def living(self, closing: Callable[[], float] = patience) -> AsyncIterator[None]:
        """The plugin's lifespan. Raises ConfigError when it can't be entered; leaving it never raises.

        ``closing`` is asked when it is left: the seconds that this may take.
        """
        async with self._guard.living(self.hook.lifespan, closing):
            yield

    def _receipt(self, hook: str, receipt: Receipt, recipient: Secret) -> Receipt:
        given: object = receipt.provider_id
        provider_id = sanitize.identifier(given)
        if not provider_id and not (isinstance(given, str) and not len(given)):
            self._guard.fault(
                hook,
                f"returned a provider_id that is no printable text of at most {sanitize.LONGEST_ID} characters",
            )
        elif logs.holds(provider_id, recipient):
            self._guard.fault(hook, "returned a provider_id that holds the recipient")
            return Receipt()
        return Receipt(provider_id)

    def _sound_contact(self, contact: object) -> Contact | None:
        try:
            return None if contact is None else sanitize.contact_of(contact)
        except sanitize.Unsound as error:
            raise PluginError(self.name, "find_contact", str(error)) from None

    def _report(self, report: object) -> Report:
        """A copy of a plugin's Report with what is sound of it; raises PluginError for anything else."""
        if not isinstance(report, Report):
            raise PluginError(
                self.name, "parse_webhook", f"returned {sanitize.kind_of(report)} instead of a Report"
            )
        # A list, because anything else may have no end.
        listed: object = report.events
        if not isinstance(listed, list | tuple) or not isinstance(report.ignored, Mapping):
            raise PluginError(self.name, "parse_webhook", "returned a Report without a list of events")
        given = list(listed)
        events = [event for event in map(sanitize.event_of, given) if event is not None]
        ignored = self._ignored(report.ignored)
        invalid = len(given) - len(events)
        if invalid:
            self._guard.fault("parse_webhook", f"{invalid} of {len(given)} returned events are invalid")
            ignored["invalid"] = ignored.get("invalid", 0) + invalid
        return Report(events=events, ignored=ignored)

    def _ignored(self, counts: Mapping[Any, Any]) -> dict[str, int]:
        """Counts by kind; kinds are labels of a metric, so that there must be few, and nobody's name."""
        ignored: dict[str, int] = {}
        for kind, count in itertools.islice(counts.items(), _KINDS):
            if not isinstance(count, int) or count < 0:
                continue
            known = isinstance(kind, str) and _KIND.fullmatch(kind) is not None
            if known and len(self._kinds) < _KINDS:
                self._kinds.add(kind)
            name = kind if known and kind in self._kinds else "other"
            ignored[name] = ignored.get(name, 0) + int(count)
        return ignored

    def _refused(self, problems: Iterable[str]) -> ConfigError:
        return ConfigError([Fault(f"plugins.{self.name}", f"the plugin {text}") for text in problems])


def _hook_faults(plugin: object, name: str, found: Sequence[pluggy.HookImpl]) -> Iterable[str]:
    """What is wrong with a plugin's implementation of one hook."""
    if not found:
        method = inspect.getattr_static(plugin, name, None)
        # A Protocol that the plugin inherits from brings the hook's specification, which is no method.
        if method is not None and not hasattr(method, f"{hookspecs.PROJECT}_spec"):
            yield f"has a method {name} without @hookimpl"
        return
    if len(found) > 1:
        yield f"implements {name} twice"
    function = found[0].function
    if name not in {"lifespan", "find_contact"} and not inspect.iscoroutinefunction(function):
        yield f"must write {name} as an async def"
    if name == "lifespan" and (inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function)):
        yield "must write lifespan with @asynccontextmanager"


def _unavailable(got: Raised) -> SendError:
    return (
        got.error if isinstance(got.error, SendError) else Unavailable(cast("PluginError", got.error).problem)
    )
