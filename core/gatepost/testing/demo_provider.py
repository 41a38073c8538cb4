"""What a plugin offers so that ``gatepost demo --provider`` can show it without an account.

The plugin's package has a module ``testing`` whose ``DEMO_PROVIDER`` is a class (or a function without
arguments) that makes a DemoProvider: usually the plugin's emulator. The core imports that module only for
the demo, by the name of the package that the plugin's entry point is in.
"""

from collections.abc import Mapping
from typing import Protocol, Self

import msgspec

from gatepost.model import Status


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One message in a recipient's mailbox or on a handset."""

    id: str
    """The message's ext_message_id, as the plugin sent it along."""
    recipient: str
    """The address, or the number in E.164 with its plus sign."""
    text: str
    """The subject of an email, the text of a text message."""


class DemoProvider(Protocol):
    """A provider on this machine; enter it to start it, leave it to end it and all that it started."""

    webhook_url: str
    """Where reports go; the demo sets it before the first message."""

    @property
    def table(self) -> Mapping[str, str]:
        """The keys of the plugin's ``[plugins.NAME]`` table that lead to this provider; read once entered."""
        ...

    def arrivals(self) -> list[Arrival]:
        """Return every message so far, in any order."""
        ...

    async def report_status(self, message_id: str, status: Status) -> None:
        """Report this status of a message; do nothing where the provider decides by itself what it reports."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...
