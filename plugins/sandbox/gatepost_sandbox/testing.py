"""The sandbox's folder as the provider of ``gatepost demo``."""

import email
import email.policy
import secrets
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import msgspec

from gatepost.model import Status
from gatepost.testing.demo_provider import Arrival


class SandboxFolder:
    """A folder of its own that the sandbox writes messages into. It exists while this is entered."""

    def __init__(self) -> None:
        self.webhook_url = ""
        """Not used: the sandbox reports to the gateway that it runs in."""
        self._webhook_secret = secrets.token_hex(16)

    @property
    def table(self) -> Mapping[str, str]:
        """The keys of the plugin's table that lead to this folder."""
        return {"folder": self._folder.name, "webhook_secret": self._webhook_secret}

    def arrivals(self) -> list[Arrival]:
        """Return the messages in the folder."""
        return [
            _mail(file) if file.suffix == ".eml" else _text(file)
            for file in sorted(Path(self._folder.name).glob("[!.]*.*"))
        ]

    async def report_status(self, message_id: str, status: Status) -> None:
        """Do nothing: the sandbox itself reports what the recipient's address or number says."""

    async def __aenter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="gatepost-sandbox-")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._folder.cleanup()


def _mail(file: Path) -> Arrival:
    mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    return Arrival(id=file.name.partition(".")[0], recipient=mail["To"], text=mail["Subject"])


def _text(file: Path) -> Arrival:
    text = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    return Arrival(id=text["id"], recipient=text["to"], text=text["text"])


DEMO_PROVIDER = SandboxFolder
"""The provider that ``gatepost demo`` starts for this plugin."""
