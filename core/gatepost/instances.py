"""Configured plugins, called by name; every call is guarded, so that a bad plugin hurts itself only.

Nobody else calls a hook. What comes out of here keeps the core's side of the contract whatever the
plugin did: it is in time, of its type, one of the errors that the hook may raise, and scrubbed.
"""

import asyncio
import difflib
import inspect
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
import pluggy
import structlog

from gatepost import hookspecs, logs
from gatepost.errors import (
    BadSignature,
    BadWebhook,
    ConfigError,
    Fault,
    NoVerificationKey,
    PluginError,
    Rejected,
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
    Status,
    StatusEvent,
    WebhookRequest,
)
from gatepost.settings import CORE_KEYS, Settings
from gatepost.settings import Instance as InstanceSettings

T = TypeVar("T")

GROUP = "gatepost"
OPENING, CLOSING = 30.0, 5.0
"""Seconds that a lifespan may take in and out."""
MARGIN = 1.0
"""Seconds that a send may overrun its `timeout`."""
GRACE = 0.5
"""Seconds that a cancelled hook has to let go; then it is left alone."""

_SENDS = {"send_email": Channel.EMAIL, "send_sms": Channel.SMS}
_HOOKS = ("lifespan", "ping", "find_contact", *_SENDS, "parse_webhook")

_SEND_ERRORS = (Rejected, Unavailable, Uncertain)
_WEBHOOK_ERRORS = (NoVerificationKey, BadSignature, BadWebhook, WebhookRetry)

_REASON, _CODE, _ID = 200, 64, 255
"""Characters that are kept of a plugin's texts."""
_SCRUBBED = 8_000
_ATTRIBUTES = 1_000
"""Attributes that a contact may have."""
_KINDS = 32
"""Kinds of ignored events that are counted apart."""
_KIND = re.compile(r"[a-z][a-z0-9_ -]{0,31}")
_FOREVER = 1e9
# Full of digits and no phone number: 550 5.7.26.
_SMTP_CODE = re.compile(r"[245][0-9]{2}[ -][245]\.[0-9]{1,3}\.[0-9]{1,3}")

_log = logs.get(__name__)


def installed() -> dict[str, EntryPoint]:
    """The plugin kinds of this environment, by the name that `use` gives them."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def settings_type(use: str) -> type[msgspec.Struct]:
    """The settings of one plugin kind; imports that kind and no other.

    Raises ConfigError, with a Fault that has no key, when it is not installed or can't be used.
    """
    kind: type[msgspec.Struct] = _load(use).settings_type
    return kind


def _load(use: str) -> type[Any]:
    entries = list(entry_points(group=GROUP, name=use))
    if not entries:
        raise _unusable(_not_installed(use))
    names = [entry.dist.name if entry.dist else "?" for entry in entries]
    if len(entries) > 1:
        raise _unusable(f"is offered by {' and by '.join(sorted(names))}: uninstall one of them")
    try:
        plugin = entries[0].load()
    except (Exception, SystemExit) as error:  # noqa: BLE001  a stranger's module may raise anything
        _log.debug("plugin_not_importable", distribution=names[0], exc_info=True)
        missing = f" {error.name}" if isinstance(error, ModuleNotFoundError) else ""
        raise _unusable(
            f"the distribution {names[0]} can't be imported ({type(error).__name__}{missing})"
        ) from None
    problem = _unfit(plugin)
    if problem:
        raise _unusable(f"the distribution {names[0]} can't be used: {problem}")
    return cast("type[Any]", plugin)


def _unusable(problem: str) -> ConfigError:
    return ConfigError([Fault("", problem)])


def _not_installed(use: str) -> str:
    names = sorted(installed())
    text = "no such plugin is installed; there are: " + (", ".join(names) or "none")
    # Nothing else is quoted: it may be a secret that stands in the wrong place.
    if not re.fullmatch(r"[a-z]{1,16}(-[a-z]{1,16})?", use):
        return text
    near = difflib.get_close_matches(use, names, 1)
    return f"{text}; is it {near[0]}?" if near else f"{text}; pip install gatepost-{use} may bring it"


def _unfit(plugin: object) -> str:
    """Why this class can't be a plugin; empty when it can."""
    if not isinstance(plugin, type):
        return "its entry point names no class"
    version = getattr(plugin, "api_version", None)
    if version != hookspecs.API_VERSION:
        written = f"number {version}" if isinstance(version, int) else "no number"
        return f"its api_version is {written}, this Gatepost's is {hookspecs.API_VERSION}; upgrade the older"
    kind = getattr(plugin, "settings_type", None)
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return "its settings_type is no msgspec.Struct"
    if not kind.__struct_config__.frozen:
        return "its settings_type is not frozen"
    taken = sorted({field.encode_name for field in msgspec.structs.fields(kind)} & set(CORE_KEYS))
    return f"its settings_type has keys that are the core's: {', '.join(taken)}" if taken else ""


class _Raised(NamedTuple):
    """What a hook ended with instead of a result."""

    error: BaseException


class Instance:
    """One configured plugin."""

    def __init__(self, settings: InstanceSettings, plugin: object) -> None:
        """Raises ConfigError, keys from the file's root, when the plugin's hooks can't be used."""
        self.settings = settings
        self.name = settings.name
        self.use = settings.use
        self.package = type(plugin).__module__.partition(".")[0]
        """Where the plugin's code is."""
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
        # asyncio keeps no task alive; one that ignored its cancellation must not vanish half-way.
        self._strays: set[asyncio.Task[Any]] = set()
        self._kinds: set[str] = set()

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

    async def send(self, message: Email | Sms) -> Receipt:
        """Make one try to send; the plugin has `timeout` seconds and one more.

        Raises Rejected, Unavailable or Uncertain, and nothing else. Whatever the plugin did wrong is
        Uncertain: nobody knows whether the message is out.
        """
        hook = "send_email" if isinstance(message, Email) else "send_sms"

        async def sent() -> Receipt:
            receipt = await getattr(self.hook, hook)(message=own)
            if not isinstance(receipt, Receipt):
                raise PluginError(self.name, hook, f"returned {_kind(receipt)} instead of a Receipt")
            return self._receipt(hook, receipt, message.recipient)

        with logs.private(Contact(email=message.recipient, attributes=message.attributes)):
            # What a plugin does to its message, the next one asked must not see.
            own = msgspec.structs.replace(
                message, recipient=Secret(message.recipient.reveal()), attributes=dict(message.attributes)
            )
            got = await self._outcome(
                hook, sent, self.settings.timeout + MARGIN, _SEND_ERRORS, clean=_send_error
            )
            if isinstance(got, Receipt):
                return got
            if isinstance(got.error, SendError):
                raise got.error
            raise Uncertain(cast("PluginError", got.error).problem)

    async def find_contact(self, ext_user_id: str, timeout: float) -> Contact | None:  # noqa: ASYNC109  the core's
        """Look a user up; the source has ``timeout`` seconds. Raises Unavailable, and nothing else."""

        async def found() -> Contact | None:
            contact = await self.hook.find_contact(ext_user_id=ext_user_id)
            return None if contact is None else self._contact(contact)

        got = await self._outcome("find_contact", found, timeout, (Unavailable,), clean=_send_error)
        if isinstance(got, _Raised):
            raise _unavailable(got)
        logs.remember(got)
        return got

    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Let the plugin verify and translate a provider's request, within `timeout` seconds.

        Raises NoVerificationKey, BadSignature, BadWebhook or WebhookRetry, and nothing else; whatever the
        plugin did wrong is WebhookRetry, so that the provider keeps the report. Events of the Report are
        sound; what was none of a StatusEvent is counted as ``invalid``.
        """

        async def parsed() -> Report:
            return self._report(await self.hook.parse_webhook(request=request))

        got = await self._outcome(
            "parse_webhook", parsed, self.settings.timeout, _WEBHOOK_ERRORS, clean=_webhook_error
        )
        if isinstance(got, Report):
            return got
        raise got.error if isinstance(got.error, WebhookError) else WebhookRetry("the plugin failed")

    async def ping(self) -> None:
        """Ask whether a send would succeed; only where ``ping`` is in ``can``. Raises Unavailable alone."""
        got = await self._outcome(
            "ping", self.hook.ping, self.settings.timeout, (Unavailable,), clean=_send_error
        )
        if isinstance(got, _Raised):
            raise _unavailable(got)

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """The plugin's lifespan. Raises ConfigError when it can't be entered; leaving it never raises.

        It has a task of its own: entered and left by the same one, and a task group in it that falls
        cancels nobody else.
        """
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        leaving = asyncio.Event()

        async def live() -> None:
            async with self.hook.lifespan():
                ready.set_result(None)
                await leaving.wait()

        task = self._task("lifespan", live)
        parts: set[asyncio.Future[Any]] = {task, ready}
        try:
            await asyncio.wait(parts, timeout=OPENING, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not ready.done():
                await self._let_go("lifespan", task)
        if not ready.done():
            raise ConfigError(self._opening_faults(task))
        task.add_done_callback(lambda task: self._ended(task, expected=leaving.is_set()))
        try:
            yield
        finally:
            leaving.set()
            await asyncio.wait({task}, timeout=CLOSING)
            if not task.done():
                self._fault("lifespan", f"took longer than {CLOSING:g} s to leave")
                await self._let_go("lifespan", task)

    def _opening_faults(self, task: asyncio.Task[_Raised | None]) -> list[Fault]:
        path = f"plugins.{self.name}"
        if not task.done() or task.cancelled():
            return [Fault(path, f"did not open within {OPENING:g} s")]
        ended = task.result()
        if isinstance(ended, _Raised) and isinstance(ended.error, ConfigError):
            return _placed(ended.error, path)
        fault = self._fault("lifespan", "ended before it had begun", ended)
        return [Fault(path, f"could not be opened: {fault.error}")]

    def _ended(self, task: asyncio.Task[_Raised | None], *, expected: bool) -> None:
        ended = None if task.cancelled() else task.result()
        if ended is not None or not expected:
            self._fault("lifespan", "ended by itself", ended)

    async def _outcome(
        self,
        hook: str,
        make: Callable[[], Awaitable[T]],
        seconds: float,
        may_raise: tuple[type[Exception], ...],
        *,
        clean: Callable[[BaseException], Exception],
    ) -> T | _Raised:
        """Run a hook in a task of its own; returns what it returned or raised, at the latest when due.

        Of an error that is one of ``may_raise`` ``clean`` makes one that is fit to be passed on; any other
        comes back as a PluginError, and is logged.
        """
        task = self._task(hook, make)
        try:
            await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            await self._let_go(hook, task)
            raise
        if not task.done():
            await self._let_go(hook, task)
            return self._fault(hook, f"took longer than {seconds:g} s")
        if task.cancelled():
            return self._fault(hook, "cancelled itself")
        ended = task.result()
        if not isinstance(ended, _Raised):
            return ended
        if not isinstance(ended.error, may_raise):
            return self._fault(hook, "", ended)
        try:
            return _Raised(clean(ended.error))
        except BaseException as error:  # noqa: BLE001  an error's own properties are the plugin's code too
            return self._fault(hook, "", _Raised(error))

    def _task(self, hook: str, make: Callable[[], Awaitable[T]]) -> asyncio.Task[T | _Raised]:
        async def run() -> T | _Raised:
            # In everything that is logged from here on, by whomever, also in tasks that are started here.
            structlog.contextvars.bind_contextvars(instance=self.name, hook=hook)
            return await _contained(make)

        return asyncio.create_task(run(), name=f"{self.name}.{hook}")

    async def _let_go(self, hook: str, task: asyncio.Task[Any]) -> None:
        """Cancel a hook's task and leave it alone where it does not end."""
        if task.done():
            return
        task.cancel()
        self._strays.add(task)
        task.add_done_callback(self._strays.discard)
        await asyncio.wait({task}, timeout=GRACE)
        if not task.done():
            self._fault(hook, "ignores its cancellation")

    def _fault(self, hook: str, problem: str, ended: _Raised | None = None) -> _Raised:
        """Log that the plugin broke its contract."""
        error = ended.error if ended else None
        if isinstance(error, PluginError):
            problem = error.problem
        elif error is not None:
            raised = f"raised {_clean(type(error).__name__, 64)}"
            problem = f"{problem}: {raised}" if problem else raised
        trace = {"exception": logs.trace(error)} if error else {}
        _log.error("plugin_fault", instance=self.name, hook=hook, problem=problem, **trace)
        return _Raised(PluginError(self.name, hook, problem))

    def _receipt(self, hook: str, receipt: Receipt, recipient: Secret) -> Receipt:
        given: object = receipt.provider_id
        provider_id = _id(given)
        if not provider_id and not (isinstance(given, str) and not len(given)):
            self._fault(hook, f"returned a provider_id that is no printable text of at most {_ID} characters")
        elif logs.holds(provider_id, recipient):
            self._fault(hook, "returned a provider_id that holds the recipient")
            return Receipt()
        return Receipt(provider_id)

    def _contact(self, contact: object) -> Contact:
        """A copy of a source's Contact; raises PluginError for anything that is none."""
        if not isinstance(contact, Contact):
            raise PluginError(self.name, "find_contact", f"returned {_kind(contact)} instead of a Contact")
        addresses: tuple[object, ...] = (contact.email, contact.phone)
        given: object = contact.attributes
        if not isinstance(given, Mapping) or len(given) > _ATTRIBUTES:
            raise PluginError(
                self.name, "find_contact", f"returned more than {_ATTRIBUTES} attributes, or none"
            )
        attributes: dict[Any, Any] = dict(given)
        texts: list[object] = [item for pair in attributes.items() for item in pair]
        texts += [value.reveal() for value in addresses if isinstance(value, Secret)]
        if not all(value is None or isinstance(value, Secret) for value in addresses) or not all(
            isinstance(text, str) for text in texts
        ):
            raise PluginError(self.name, "find_contact", "returned a Contact with values of other types")
        return Contact(email=contact.email, phone=contact.phone, attributes=attributes)

    def _report(self, report: object) -> Report:
        """A copy of a plugin's Report with what is sound of it; raises PluginError for anything else."""
        if not isinstance(report, Report):
            raise PluginError(self.name, "parse_webhook", f"returned {_kind(report)} instead of a Report")
        # A list, because anything else may have no end.
        listed: object = report.events
        if not isinstance(listed, list | tuple) or not isinstance(report.ignored, Mapping):
            raise PluginError(self.name, "parse_webhook", "returned a Report without a list of events")
        given = list(listed)
        events = [event for event in map(_event, given) if event is not None]
        ignored = self._ignored(report.ignored)
        invalid = len(given) - len(events)
        if invalid:
            self._fault("parse_webhook", f"returned {invalid} of {len(given)} events that are none")
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
    if name != "lifespan" and not inspect.iscoroutinefunction(function):
        yield f"must write {name} as an async def"
    if name == "lifespan" and (inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function)):
        yield "must write lifespan with @asynccontextmanager"


async def _contained(make: Callable[[], Awaitable[T]]) -> T | _Raised:
    """Await what ``make`` gives; whatever it raises is a result, so that nothing ends the event loop."""
    try:
        return await make()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  a plugin's SystemExit must not end the gateway
        return _Raised(error)


def _send_error(error: BaseException) -> SendError:
    """A plugin's error anew: only what the contract knows of it, scrubbed; no cause, no traceback."""
    reason, code = _clean(getattr(error, "reason", ""), _REASON), _code(getattr(error, "code", ""))
    if isinstance(error, Unavailable):
        after: object = getattr(error, "retry_after", None)
        usable = isinstance(after, int | float) and -_FOREVER < after < _FOREVER
        return Unavailable(
            reason,
            code=code,
            retry_after=float(cast("float", after)) if usable else None,
            misconfigured=getattr(error, "misconfigured", False) is True,
            message_only=getattr(error, "message_only", False) is True,
        )
    return Rejected(reason, code=code) if isinstance(error, Rejected) else Uncertain(reason, code=code)


def _webhook_error(error: BaseException) -> WebhookError:
    """The same for webhooks."""
    kind = next(kind for kind in _WEBHOOK_ERRORS if isinstance(error, kind))
    return kind(_clean(str(error), _REASON))


def _unavailable(got: _Raised) -> SendError:
    return (
        got.error if isinstance(got.error, SendError) else Unavailable(cast("PluginError", got.error).problem)
    )


def _event(event: object) -> StatusEvent | None:
    """A sound copy of an event; None where it says no status or of no message."""
    if not isinstance(event, StatusEvent) or not isinstance(event.status, Status):
        return None
    message_id, provider_id = _id(event.message_id), _id(event.provider_id)
    if not (message_id or provider_id):
        return None
    return StatusEvent(
        status=event.status, message_id=message_id, provider_id=provider_id, code=_code(event.code)
    )


def _id(text: object) -> str:
    """An id as it is, or nothing: one that was cut would never be found again."""
    if not isinstance(text, str):
        return ""
    # A text and nothing more, whatever a class of the plugin's makes of one.
    text = str.__str__(text)
    return text if len(text) <= _ID and text.isprintable() else ""


def _code(text: object) -> str:
    if isinstance(text, str) and _SMTP_CODE.fullmatch(text):
        return text
    return _clean(text, _CODE)


def _clean(text: object, most: int) -> str:
    """A plugin's text scrubbed, printable and short; empty where it is no text."""
    if not isinstance(text, str):
        return ""
    text = str.__str__(text)
    if len(text) > _SCRUBBED:
        # Cut between words: half an address would not be recognised as one.
        text = text[:_SCRUBBED].rpartition(" ")[0]
    printable = (letter if letter.isprintable() else " " for letter in logs.scrub(text))
    return "".join(printable).strip()[:most]


def _kind(value: object) -> str:
    return _clean(type(value).__name__, 64)


def _placed(error: ConfigError, path: str) -> list[Fault]:
    """A plugin's faults with the path of its table before their keys, and no secret in them."""
    return [
        Fault(f"{path}.{fault.key}" if fault.key else path, logs.without(fault.problem))
        for fault in error.faults
    ]


def build(settings: Settings) -> tuple[dict[str, Instance], list[Fault]]:
    """Make every configured instance, and find what can't be used. Opens nothing."""
    instances: dict[str, Instance] = {}
    faults: list[Fault] = []
    for name, own in settings.plugins.items():
        try:
            instances[name] = _make(own, settings.server.public_url)
        except ConfigError as error:
            faults += error.faults
    return instances, [*faults, *_capability_faults(settings, instances)]


def _make(settings: InstanceSettings, public_url: str) -> Instance:
    path = f"plugins.{settings.name}"
    base = public_url.rstrip("/")
    context = hookspecs.Context(
        name=settings.name,
        log=structlog.stdlib.get_logger("gatepost.plugins").bind(instance=settings.name),
        concurrency=settings.concurrency,
        timeout=settings.timeout,
        webhook_url=f"{base}/webhooks/{settings.name}" if base else "",
    )
    try:
        plugin = _load(settings.use)(settings.settings, context)
    except ConfigError as error:
        raise ConfigError(_placed(error, path)) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it is, it is this plugin's fault
        _log.exception("plugin_not_made", instance=settings.name)
        problem = f"the plugin could not be made ({_kind(error)}); the log has more"
        raise ConfigError([Fault(path, problem)]) from None
    return Instance(settings, plugin)


def _capability_faults(settings: Settings, instances: Mapping[str, Instance]) -> Iterable[Fault]:
    """Names that stand where another kind of plugin is needed; unknown names are found elsewhere."""
    for channel in Channel:
        for name in settings.routes.of(channel):
            if name in instances and channel not in instances[name].channels:
                yield Fault(f"routes.{channel}", f"{name} ({instances[name].use}) can't send {channel}")
    for name in settings.contacts.sources:
        if name in instances and not instances[name].is_source:
            yield Fault("contacts.sources", f"{name} ({instances[name].use}) knows no users")


@asynccontextmanager
async def opened(instances: Iterable[Instance]) -> AsyncIterator[None]:
    """Hold the lifespans of all instances open; leave them in the reverse order.

    Raises ConfigError with everything that hindered any of them; what had opened is closed again.
    """
    async with AsyncExitStack() as stack:
        faults: list[Fault] = []
        for instance in instances:
            if "lifespan" not in instance.can:
                continue
            try:
                await stack.enter_async_context(instance.living())
            except ConfigError as error:
                faults += error.faults
        if faults:
            raise ConfigError(faults)
        yield
