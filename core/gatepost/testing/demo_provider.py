"""What an emulator offers so that ``gatepost demo --provider`` can show its plugin without an account.

A plugin registers its emulator as ``gatepost.testing.emulators`` says.
"""

from collections.abc import Mapping
from typing import Any, Protocol, Self

import msgspec

from gatepost.model import Status


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One message in a recipient's mailbox or on a handset."""

    id: str
    """The message's ext_message_id, as it came with the message."""
    recipient: str
    """The address, or the number in E.164 with its plus sign."""
    text: str
    """The subject of an email, the text of a text message."""


class DemoProvider(Protocol):
    """A provider on this machine, as an async context manager that starts it and ends it with all that it started."""

    webhook_url: str
    """Where reports go; the demo sets it before the first message."""

    @property
    def table(self) -> Mapping[str, Any]:
        """The keys of the plugin's ``[plugins.NAME]`` table that lead to this provider; valid while it runs."""
        ...

    def arrivals(self) -> list[Arrival]:
        """Return every message so far, in any order."""
        ...

    async def report_status(self, message_id: str, status: Status) -> None:
        """Report this status of a message; do nothing where the provider itself decides what it reports."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...
