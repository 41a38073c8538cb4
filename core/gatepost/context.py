"""What the core gives to an instance of a plugin. Plugins import it from ``gatepost.hookspecs``."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
from structlog.stdlib import BoundLogger

from gatepost.errors import Unavailable
from gatepost.model import Report

MAX_TIME = 1e11
"""Seconds since the epoch. A time of today in milliseconds is larger."""


class PluginState(Protocol):
    """A few kilobytes of an instance in the store, which survive a restart and which all replicas share.

    For the position of a poll or the sequence of a bind, never for a secret, an address or a number: a token is fetched
    anew. Other instances can't see it. Every method raises Unavailable outside of a running gateway and while the store
    can't be reached; a ``replace`` may have been made all the same if the connection to the store was lost meanwhile.
    """

    async def read(self, key: str) -> str:
        """Return the value of a key; empty where it has none."""
        ...

    async def replace(self, key: str, old: str, new: str) -> bool:
        """Set the value of a key if it is still ``old``; return whether it was. An empty value removes the key.

        Of several replicas that replace the same value at the same time one gets True.

        Raises ValueError for a key that is not a printable text of 1 to 64 characters, for values of more than 4,096
        characters in all, and for a value that looks like an address or like a phone number with its plus sign.
        """
        ...


class ContactsState(msgspec.Struct, frozen=True, kw_only=True):
    """How many users a contact source knows, and how old its data are; for the operator."""

    users: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """None where the source does not know it, such as one that asks a database about each user."""
    as_of: Annotated[float, msgspec.Meta(gt=0, lt=MAX_TIME)] | None = None
    """When the data were the newest at their origin, such as the time of a file, or now without the lag of a replica; in
    seconds since the epoch. None where the source does not know it. It must not be a guess."""
    problem: str = ""
    """Why newer data, or some of the data, are not used; empty without a problem. It names no user, address or number."""


async def _no_report(_report: Report) -> int:
    raise Unavailable("the gateway is not running")


async def _no_lease(_name: str, _seconds: float) -> bool:
    raise Unavailable("the gateway is not running")


class _NoState:
    async def read(self, key: str) -> str:  # noqa: ARG002
        raise Unavailable("the gateway is not running")

    async def replace(self, key: str, old: str, new: str) -> bool:  # noqa: ARG002
        raise Unavailable("the gateway is not running")


def _ignore_warning(_key: str, _problem: str) -> None:
    pass


def _ignore_text(_text: str) -> None:
    pass


def _ignore_contacts(_state: ContactsState) -> None:
    pass


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What the core tells an instance about its configuration, and what it does for it while the gateway runs.

    ``report``, ``state`` and ``lease`` work while the gateway runs: not yet while the lifespan is being entered, and not
    any more after it was left. At other times, and in ``gatepost check``, they raise Unavailable.
    """

    name: str
    """The name of the instance: NAME in ``[plugins.NAME]``."""
    log: BoundLogger
    """A logger that is bound to the instance. Its output is redacted; even so, never log an address or a number."""
    folder: Path = Path()
    """The folder of the configuration file."""
    concurrency: int = 16
    """The largest number of sends that the core has in progress in this instance at one time."""
    timeout: float = 10.0
    """Seconds that a send, a ping or a webhook may take. The core cancels a send one second later than that."""
    lookup_timeout: float = 2.0
    """Seconds after which the core cancels a ``find_contact``, ``find_contacts`` or ``find_user``: `contacts.timeout`."""
    default_region: str = ""
    """The region of phone numbers without a country code, such as GB: `contacts.default_region`. Empty: none is usable."""
    webhook_url: str = ""
    """The URL for the provider's reports; empty where `server.public_url` is not set."""
    sender_domains: Sequence[str] = ()
    """The domains of the senders whose emails the instance may get: those that `email_senders` of the clients on its routes
    list, in ASCII and lower case. Others may come too where a client has no such list."""
    report: Callable[[Report], Awaitable[int]] = _no_report
    """Record a report that did not come by a webhook: from a poll, a bind or a mailbox. When it returns, every event is
    on disk, so acknowledge it to the provider only then. Raises Unavailable while the store can't take it, or while a
    contact source can't say whose a ``recipient`` is; report the same events again later. A repeated event needs no care.
    Returns how many events are of no known message. A report by the provider's id alone may come before the answer to the
    send is stored: report it once more a second later. Raises TypeError for anything but a Report."""
    state: PluginState = _NoState()
    """What the instance keeps over a restart."""
    lease: Callable[[str, float], Awaitable[bool]] = _no_lease
    """Take or renew the lease of this name (at most 64 characters) for so many seconds (1 to 300); return whether this
    replica has it. For what one replica alone may do, such as to poll or to bind: ask before each turn and stop when the
    answer is False. Names of different instances are different leases. Raises Unavailable while the store can't be
    reached, and ValueError for a name or a time that is not allowed, such as a name that looks like an address."""
    warn: Callable[[str, str], None] = _ignore_warning
    """Warn the operator of a setting that can be used, and probably is not what is meant: the key in the plugin's own
    table, and what to do. Called in the constructor, while the lifespan opens, or in ``ping``, which may also warn of what is
    missing outside of Gatepost, such as a DNS record. ``gatepost check`` prints the warnings, and ``serve`` logs those of the
    constructor."""
    confirm: Callable[[str], None] = _ignore_text
    """Tell the operator what ``ping`` has looked at and found in order, such as a DNS record: what it is and what was found.
    Called in ``ping`` only, and never for what was not looked at. ``gatepost check --live`` prints each text as a line with a
    tick under the instance; at most 50 texts of 1,200 characters."""
    advise: Callable[[str], None] = _ignore_text
    """Tell the operator what ``ping`` can't know, and where to look. Called and printed as ``confirm``, with a dash."""
    describe_contacts: Callable[[ContactsState], None] = _ignore_contacts
    """Say what the source knows: call it after each read of the data, and when newer data can't be used. A source that asks
    its origin about each user calls it only where the origin says how old its own data are, and then again and again: what
    was said once grows old. ``gatepost status`` shows it, and tells the operator when the data are older than
    ``contacts.stale_after`` or were refused. Raises TypeError for anything but a valid ContactsState."""
