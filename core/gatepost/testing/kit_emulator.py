"""What the conformance kit needs of an emulator, whatever the plugin talks to: an HTTP API, a relay, a database, a file."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

from gatepost.model import Channel, Contact, Status
from gatepost.testing.features import ContactFeature, FailureMode, MessageFeature, ReportFeature

PROSE = "Sorry, Quincy Featherstone has moved to Timbuktu"
"""Free text of the emulated provider, which must turn up in no reason, code or log."""

_DEFAULT_RECIPIENT = {Channel.EMAIL: "canary.{}+tag@people.example", Channel.SMS: "+4477009000{:02}"}


def default_recipient(channel: Channel, number: int, failure: FailureMode | None) -> str:  # noqa: ARG001  an emulator that fails by recipient replaces this
    """Return the recipient of the message with this number: an address or number that is in no use."""
    return _DEFAULT_RECIPIENT[channel].format(10 + number % 80)


def no_port_table(port: int) -> Mapping[str, Any]:
    """Raise NotImplementedError: the default of an emulator without ``table_for_port``."""
    raise NotImplementedError(
        f"table_for_port({port}) is missing: it returns the keys of the table that lead to a port"
    )


def with_https(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a table with https in place of http."""
    return {
        key: value.replace("http://", "https://") if isinstance(value, str) else value
        for key, value in table.items()
    }


class KitEmulator(Protocol):
    """What a plugin talks to, as an async context manager that starts it and ends it.

    An ``Emulator`` is one. Another class inherits these defaults, or has members of its own with these names. Where the
    plugin sends, it also has the methods of ``conformance.provider.Provider``, for webhooks those of ``Reporter``.
    """

    failure_modes: ClassVar[Collection[FailureMode]] = frozenset()
    """How it can fail."""
    message_features: ClassVar[Collection[MessageFeature]] = frozenset()
    """The parts of a message that it can carry."""
    report_features: ClassVar[Collection[ReportFeature]] = frozenset()
    """The properties of its reports."""
    contact_features: ClassVar[Collection[ContactFeature]] = frozenset()
    """The properties of its users, where the plugin is a contact source."""
    meanings: ClassVar[Mapping[str, Sequence[Status]]] = {}
    """The statuses that each kind of report means; empty for a kind that means no status."""
    verification_keys: ClassVar[Collection[str]] = frozenset()
    """The keys of the plugin's table without which reports can't be verified."""
    channels: ClassVar[Collection[Channel]] = frozenset(Channel)
    """The channels that its ``table`` is about, of a plugin that has hooks for more."""

    @property
    def table(self) -> Mapping[str, Any]:
        """The keys of the plugin's ``[plugins.NAME]`` table that lead to this emulator; valid while it runs."""
        raise NotImplementedError(f"{type(self).__name__} has no `table`")

    @classmethod
    def table_for_port(cls, port: int) -> Mapping[str, Any]:
        """Return the keys of the table that lead to another port of this machine, without TLS."""
        return no_port_table(port)

    @classmethod
    def table_for_tls_port(cls, port: int) -> Mapping[str, Any]:
        """Return the keys of the table that lead to a TLS server on this machine."""
        return with_https(cls.table_for_port(port))

    @classmethod
    def recipient(cls, channel: Channel, number: int, failure: FailureMode | None) -> str:
        """Return an address or number, another for each ``number`` from 0 on; for one that fails by recipient."""
        return default_recipient(channel, number, failure)

    def load_contacts(self, contacts: Mapping[str, Contact]) -> None:
        """Hold these users, by ext_user_id; for the emulator of a contact source."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...
