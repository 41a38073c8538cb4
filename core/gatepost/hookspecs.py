"""What a plugin may implement. This module is the contract between Gatepost and its plugins.

A plugin is a class, named by an entry point of the group ``gatepost``::

    [project.entry-points.gatepost]
    acme-sms = "acme_sms:AcmeSms"

For every ``[plugins.NAME]`` table whose ``use`` is the entry point's name the core makes one instance
of the class: ``AcmeSms(settings, context)``. The class carries two attributes:

- ``api_version``: the number of this contract that it was written for (``API_VERSION``); another
  number refuses the start.
- ``settings_type``: a ``msgspec.Struct`` with ``frozen=True, forbid_unknown_fields=True``. The table's
  keys except ``use``, ``concurrency``, ``per_second`` and ``timeout``, which are the core's, are
  converted to it; ``Secret`` fields come out as Secrets, ``Path`` fields absolute.

The constructor does no input or output. It raises ConfigError for what the types can't express.

Each hook is a method with the marker ``@hookimpl`` and the signature given here; a plugin implements
those that it can do and inherits from the Protocols that name them, so that a type checker compares the
signatures. All are written as ``async def``, except ``lifespan``, and ``find_contact`` where its answers are in
memory (MemorySource). A marked method that is no hook, and a hook's name without the mark, refuse the start.

All hooks of an instance run on one event loop, in any number of tasks at once. A hook never blocks the
loop: what needs more than a millisecond or two of CPU, and every blocking call, goes to a thread.
A hook that is cancelled lets go of whatever it holds and re-raises. Anything that it raises and that is
not listed for it counts as Unavailable where the message surely was not out, and as Uncertain in a send.
Nothing of a recipient belongs in a log, an exception or a returned text.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Protocol

import msgspec
import pluggy
from structlog.stdlib import BoundLogger

from gatepost.model import Channel, Contact, Email, Receipt, Report, Sms, WebhookRequest

API_VERSION = 1
"""Raised when a plugin written for the last number would no longer work."""

PROJECT = "gatepost"

hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a method as the implementation of the hook of its name."""

_hookspec = pluggy.HookspecMarker(PROJECT)


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What the core tells an instance about its place."""

    name: str
    """The instance's name: the NAME of ``[plugins.NAME]``."""
    log: BoundLogger
    """Already bound to the instance; scrubbed like every log, all the same never hand it an address."""
    concurrency: int = 16
    """How many sends the core has under way here at once, at the most."""
    timeout: float = 10.0
    """Seconds that one hook call may take. A second later the core cancels it."""
    webhook_url: str = ""
    """Where the provider shall report to; empty where `server.public_url` is not set."""


class Plugin(Protocol):
    """What every plugin has, whatever it can do."""

    api_version: ClassVar[int]
    settings_type: ClassVar[type[msgspec.Struct]]

    def __init__(self, settings: Any, context: Context) -> None: ...


class HasLifespan(Protocol):
    """A plugin that holds something open while the gateway runs."""

    @_hookspec(firstresult=True)
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Called once, before any other hook of the instance, and left after the last.

        Open pools, read files, start background tasks here; end all of it on the way out. Write it as
        an ``@asynccontextmanager``. May take up to 30 seconds in, 5 seconds out.

        Raises ConfigError for what can't be used, which refuses the start. A provider that is merely
        down is no reason to raise: the gateway starts, and sends raise Unavailable.
        """
        ...


class HasPing(Protocol):
    """A plugin that can tell whether its provider would take a message, without sending one."""

    @_hookspec(firstresult=True)
    async def ping(self) -> None:
        """Called by ``gatepost check --live``, inside the lifespan; never on the way of a message.

        Returns when a send would probably succeed: connected, signed in. Costs the operator nothing.
        Raises Unavailable, ``misconfigured=True`` where only the operator can mend it.
        """
        ...


class ContactSource(Protocol):
    """A plugin that knows users."""

    @_hookspec(firstresult=True)
    async def find_contact(self, ext_user_id: str) -> Contact | None:
        """Called when a message arrives and again for every try to send it.

        ``ext_user_id`` is Smartico's text, not empty, at most 512 characters, otherwise anything at all:
        treat it as hostile. Returns the Contact, or None where there is no such user; the next source
        is asked then. Addresses are handed on as they are: the core judges them. Must answer within
        `contacts.timeout` (2 seconds by default); the core then goes on as if it had raised.

        Raises Unavailable when the source can't be asked now: it is passed over, and if nobody else
        knows the user the message is accepted and looked up later.
        """
        ...


class MemorySource(Protocol):
    """A ContactSource whose answers are in memory: it writes the hook as a plain ``def``."""

    @_hookspec(firstresult=True)
    def find_contact(self, ext_user_id: str) -> Contact | None:
        """Called as ContactSource's, and with the same promises, but on the spot.

        It answers within microseconds and waits for nothing: there is no task that could be cancelled, so
        it has no deadline, and what it waits for, everybody waits for.
        """
        ...


class EmailSender(Protocol):
    """A plugin that sends email."""

    @_hookspec(firstresult=True)
    async def send_email(self, message: Email) -> Receipt:
        """Called for each try to send an email, after it was committed to the outbox.

        At most `concurrency` calls are under way at once and `per_second` are begun. Sends exactly one
        message to exactly one recipient and never repeats by itself. Returns a Receipt once the
        provider has said that it has the message. Takes at most `context.timeout` seconds.

        Raises Rejected (refused for good), Unavailable (surely not taken) or Uncertain (the connection
        was lost after the message was out). A call that overruns is cancelled and counts as Uncertain.
        """
        ...


class SmsSender(Protocol):
    """A plugin that sends text messages."""

    @_hookspec(firstresult=True)
    async def send_sms(self, message: Sms) -> Receipt:
        """Called for each try to send a text message; promises and errors are those of send_email.

        Where ``message.sender`` is None the instance's own default is used; where there is none either,
        raises Rejected.
        """
        ...


class WebhookParser(Protocol):
    """A plugin whose provider reports back."""

    @_hookspec(firstresult=True)
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        """Called for each request to ``/webhooks/NAME``, before anything of it is believed.

        Verifies the provider's signature over the raw body and how old it is (``request.expect_fresh``),
        then translates. One bad event beside good ones is counted in ``Report.ignored`` and loses nothing
        of them. A replay needs no care: statuses are unique. The answer is 2xx once every event is on disk.

        Raises NoVerificationKey (404) where the settings hold no key to verify with, BadSignature (401;
        also when older than 26 hours), BadWebhook (400) or WebhookRetry (503).
        """
        ...


class Hooks(HasLifespan, HasPing, ContactSource, EmailSender, SmsSender, WebhookParser, Protocol):
    """All of them; what the core registers with pluggy."""


HOOKS: Mapping[str, type] = {
    name: protocol
    for protocol in Hooks.__bases__
    for name, method in vars(protocol).items()
    if hasattr(method, f"{PROJECT}_spec")
}
"""Every hook by its name, with the Protocol that specifies it."""

SEND_HOOKS: Mapping[Channel, str] = {Channel.EMAIL: "send_email", Channel.SMS: "send_sms"}
"""The hook that sends on each channel."""
