"""The contract between Gatepost and its plugins: the hooks that a plugin may implement.

A plugin is a class, named by an entry point of the group ``gatepost``::

    [project.entry-points.gatepost]
    acme-sms = "acme_sms:AcmeSms"

For every ``[plugins.NAME]`` table whose ``use`` is the entry point's name, the core creates one instance of the
class: ``AcmeSms(settings, context)``. The class has two attributes that it must have:

- ``api_version``: the number of this contract that the class was written for (``API_VERSION``). With another
  number the gateway does not start.
- ``settings_type``: a ``msgspec.Struct`` with ``frozen=True, forbid_unknown_fields=True``. The keys of the table
  are converted to it, except ``use``, ``concurrency``, ``per_second``, ``warmup``, ``timeout``, ``blocks``, ``merge``,
  ``webhook_networks`` and ``own_unsubscribe``, which belong to the core. ``Secret`` fields are converted to Secrets, and
  ``Path`` fields to absolute paths. ``gatepost config`` shows what a field's ``msgspec.Meta(description=…)`` says.

The class may also have the attributes of OptionalAttributes.

The constructor does no input or output. It raises ConfigError for faults that the types can't express.

Each hook is a method with the marker ``@hookimpl`` and the signature given here. A plugin implements the hooks that
it supports, and inherits from the Protocols that name them, so that a type checker compares the signatures. All
hooks are written as ``async def``, except ``lifespan``, and ``find_contact`` where its answers are in memory
(MemorySource). An instance whose settings leave no use for a hook sets the attribute of the hook's name to None in
its constructor, and does not have that hook then. The gateway does not start with a marked method that is not a
hook, nor with a hook's name that is not marked, nor with a hook that can't take its parameters by their names.

All hooks of an instance run on one event loop, and any number of calls run at the same time. A hook never blocks the
loop: a blocking call, and work that needs more than one or two milliseconds of CPU, runs in a thread. A hook that is
cancelled releases everything that it holds and re-raises. An exception that is not listed for a hook counts as
Uncertain in a send, as WebhookRetry in ``parse_webhook``, and as Unavailable in the hooks of contact sources and in
``ping``; from a ``lifespan`` it refuses the start. Logs, exceptions and returned texts hold nothing about a recipient.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Protocol

import msgspec
import pluggy

from gatepost.context import ContactsState as ContactsState  # noqa: PLC0414  plugins import it from here
from gatepost.context import Context as Context  # noqa: PLC0414  plugins import it from here
from gatepost.context import PluginState as PluginState  # noqa: PLC0414  plugins import it from here
from gatepost.errors import Unavailable
from gatepost.model import Channel, Contact, Email, Receipt, Report, Secret, Sms, WebhookRequest

API_VERSION = 2
"""The number of this contract; it is raised when plugins written for the previous number would no longer work."""

PROJECT = "gatepost"

hookimpl = pluggy.HookimplMarker(PROJECT)
"""The marker of a method that implements the hook of the same name."""

_hookspec = pluggy.HookspecMarker(PROJECT)


class Plugin(Protocol):
    """The attributes and the constructor of every plugin."""

    api_version: ClassVar[int]
    settings_type: ClassVar[type[msgspec.Struct]]

    def __init__(self, settings: Any, context: Context) -> None: ...


class OptionalAttributes(Protocol):
    """The attributes that a plugin's class or, set in the constructor, an instance may have."""

    delivers: ClassVar[bool] = True
    """False: no message that it takes reaches its recipient. ``gatepost check`` warns about each route that it is on."""
    reports_itself: ClassVar[bool] = False
    """True: it hears its provider's reports without webhooks, and passes them to ``Context.report``. ``gatepost check``
    does not warn then that no delivery is ever reported."""
    replay_safe: ClassVar[float] = 0.0
    """Seconds for which the provider drops repeats with the same ``idempotency_key``, 0 to 86,400. A send whose outcome is
    uncertain is then repeated at once: a few times, in the same instance, with the same message and the same key. Each
    repeat is over before so many seconds have passed since the first try began. Where the provider answers a repeat with
    an error that says that it has accepted the message already, return a Receipt, without an id if the answer has none.
    Where the error only says that the key is known, such as 409 while the first try goes on, raise Uncertain: its outcome
    is still open, and Rejected would be final."""
    retry_status: ClassVar[int] = 503
    """The HTTP status after which this provider repeats a webhook: 429 or 500 to 599."""

    def preview_request(self, message: Email | Sms) -> str:
        """Return the request that a send of this message would make, as text and without secrets; send nothing.

        ``gatepost check --plugin NAME --try`` prints it for a sample message. Raises Rejected where the hook would.
        """
        ...


class HasLifespan(Protocol):
    """A plugin that keeps something open while the gateway runs."""

    @_hookspec(firstresult=True)
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Open what the instance needs while the gateway runs, and close it at the end.

        Called once: entered before any other hook of the instance, and left after the last. Open pools, read files
        and start background tasks here. Write it as an ``@asynccontextmanager``. Entering may take 30 seconds,
        leaving 5 seconds.

        Raises ConfigError for settings or files that can't be used; the gateway then does not start. Do not raise
        when the provider is only down: the gateway starts, and sends raise Unavailable.
        """
        ...


class HasPing(Protocol):
    """A plugin that can check, without sending a message, whether its provider would accept one."""

    @_hookspec(firstresult=True)
    async def ping(self) -> None:
        """Check that a send would probably succeed: the provider can be reached and accepts the credentials.

        Called by ``gatepost check --live``, inside the lifespan; never while a message is sent. It costs the
        operator nothing. What would not stop a send, such as a missing DNS record, is a ``context.warn``. What else
        was looked at and is in order is a ``context.confirm``, and what can't be known a ``context.advise``.

        Raises Unavailable, with ``misconfigured=True`` where only the operator can fix the cause.
        """
        ...


class ContactSource(Protocol):
    """A plugin that finds the contacts of users."""

    @_hookspec(firstresult=True)
    async def find_contact(self, ext_user_id: str) -> Contact | None:
        """Return the contact of a user, or None where the source has no such user.

        Called when a message arrives and again right before each attempt to send it. After None the next source is
        asked. A source with ``blocks = true`` or ``merge = true`` in its table is asked even if an earlier source knows the
        user; with ``merge`` it completes what the earlier ones lack.

        A user who must not be contacted, for example one who is self-excluded, is returned with the reason in
        ``Contact.blocked``. Such a message is refused, or rejected if it was accepted before. A user of whom the
        source knows only that may have neither an address nor a number.

        ``ext_user_id`` is a text from Smartico of 1 to 512 characters; treat it as hostile. Return addresses and
        numbers as the source has them: the core checks them. The call must return within
        ``context.lookup_timeout`` seconds; after that the core continues as if it had raised Unavailable.

        Raises Unavailable when the source can't answer now. The next source is asked; if none has the user, the
        message is accepted and the user is looked up later. With ``blocks = true`` the message is accepted, and
        waits until the source answers, even if another source has the user.
        """
        ...


class MemorySource(Protocol):
    """A ContactSource whose answers are in memory and whose hook is therefore a plain ``def``."""

    @_hookspec(firstresult=True)
    def find_contact(self, ext_user_id: str) -> Contact | None:
        """Return the contact of a user at once, otherwise as ContactSource's hook does.

        Called on the event loop itself. It must return within microseconds and wait for nothing: the call can't be
        cancelled, so it has no timeout, and the whole gateway waits for it.
        """
        ...


class BatchSource(Protocol):
    """A ContactSource that can look up several users at once; it has ``find_contact`` too."""

    @_hookspec(firstresult=True)
    async def find_contacts(self, ext_user_ids: Sequence[str]) -> Mapping[str, Contact | Unavailable]:
        """Return the contacts of these users, by ext_user_id; a user who is not in the source is left out.

        Called instead of find_contact when several lookups wait, with 2 to 100 different ids. Promises, errors and the
        deadline are those of find_contact, for all of the users together. An Unavailable in the place of a contact says
        that the source can't answer about that user alone, and a wrong contact counts as one. Contacts of other users
        are ignored. At most two calls of both hooks are in progress at one time.
        """
        ...


class UserFinder(Protocol):
    """A ContactSource that knows whose a number or an address is."""

    @_hookspec(firstresult=True)
    async def find_user(self, channel: Channel, recipient: Secret) -> Sequence[str]:
        """Return the ext_user_ids of the users with this number (E.164) or canonical address; at most 100.

        Called when a provider reports something about a recipient and names no message, such as a STOP. The source may
        have the number in another spelling (``context.default_region`` says how one without its country code is read), and
        the address in another case. No user with it is an empty list. The call takes at most
        ``context.lookup_timeout`` seconds.

        Raises Unavailable when the source can't answer now; the provider is asked to report again.
        """
        ...


class EmailSender(Protocol):
    """A plugin that sends email."""

    @_hookspec(firstresult=True)
    async def send_email(self, message: Email) -> Receipt:
        """Send one email to its recipient, and return a Receipt once the provider has confirmed that it has it.

        Called in each attempt, after the message was committed to the outbox. At most `concurrency` calls are in
        progress at one time, and `per_second` calls begin in a second. The hook never repeats a send by itself. It
        takes at most `context.timeout` seconds.

        Raises Rejected (refused permanently), Unavailable (certainly not accepted) or Uncertain (the connection was
        lost after the message had begun to leave). A call that takes too long is cancelled and counts as Uncertain.
        """
        ...


class SmsSender(Protocol):
    """A plugin that sends text messages."""

    @_hookspec(firstresult=True)
    async def send_sms(self, message: Sms) -> Receipt:
        """Send one text message; calls, promises and errors are those of send_email.

        Where ``message.sender`` is None the plugin's default sender is used. Raises Rejected where there is no
        default either.
        """
        ...


class WebhookParser(Protocol):
    """A plugin whose provider reports what became of messages."""

    @_hookspec(firstresult=True)
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Verify one request of the provider and translate it into a Report.

        Called for each request to ``/webhooks/NAME``; the core has verified nothing of it but the network that it
        comes from, where the instance has ``webhook_networks`` (``request.network_listed``). Verify the signature over
        the raw body and its age (``request.expect_fresh``), then translate. Count an invalid event in
        ``Report.ignored`` and return the valid ones beside it. A repeated request needs no care: the core stores
        each status once. The answer (``Report.answer``) is sent once every event is on disk.

        Raises NoVerificationKey (404) where the settings hold no key to verify with, BadSignature (401; also for
        a signature older than 26 hours), BadWebhook (400) or WebhookRetry (``retry_status``).
        """
        ...


class Hooks(
    HasLifespan,
    HasPing,
    ContactSource,
    BatchSource,
    UserFinder,
    EmailSender,
    SmsSender,
    WebhookParser,
    Protocol,
):
    """All hooks, as the core registers them with pluggy."""


HOOKS: Mapping[str, type] = {
    name: protocol
    for protocol in Hooks.__bases__
    for name, method in vars(protocol).items()
    if hasattr(method, f"{PROJECT}_spec")
}
"""Every hook by its name, with the Protocol that specifies it."""

SEND_HOOKS: Mapping[Channel, str] = {Channel.EMAIL: "send_email", Channel.SMS: "send_sms"}
"""The hook that sends on each channel."""
