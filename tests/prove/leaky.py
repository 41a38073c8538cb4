"""A sending plugin that leaks the recipient in ways that no redaction can know, and its emulator."""

import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import msgspec

from gatepost.errors import Unavailable
from gatepost.hookspecs import Context, EmailSender, HasLifespan, hookimpl
from gatepost.model import Channel, Email, Receipt
from gatepost.testing.features import FailureMode
from gatepost.testing.kit_emulator import KitEmulator
from gatepost.testing.received import ReceivedMessage

OUTSIDE = ("192.0.2.1", 80)
"""An address for documentation, which no machine has."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    mailbox: Path


class Leaky(HasLifespan, EmailSender):
    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[msgspec.Struct]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self.settings = settings
        self.context = context

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        (self.context.folder / "connected").write_text(connect_outside())
        yield

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        recipient = message.recipient.reveal()
        hashed = hashlib.sha256(recipient.encode()).hexdigest()
        self.context.log.info("sending", recipient_hash=hashed)
        old = await self.context.state.read("last")
        await self.context.state.replace("last", old, hashlib.md5(recipient.encode()).hexdigest())
        (self.context.folder / "sent.txt").write_text(recipient)
        if self.settings.mailbox.with_name("down").exists():
            raise Unavailable("down")
        with self.settings.mailbox.open("a") as mailbox:
            mailbox.write(f"{message.id} {recipient}\n")
        return Receipt(hashlib.sha1(recipient.encode()).hexdigest())


def connect_outside() -> str:
    """Return what came of connecting to another machine."""
    try:
        socket.create_connection(OUTSIDE, timeout=0.5).close()
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return error.strerror or "error"
    return "connected"


class LeakyEmulator(KitEmulator):
    channels = frozenset({Channel.EMAIL})
    failure_modes = frozenset({FailureMode.OUTAGE})

    def __init__(self) -> None:
        self.webhook_url = ""
        self.attempts = 0

    @property
    def table(self):
        return {"mailbox": str(self.mailbox)}

    def simulate(self, failure):
        down = self.mailbox.with_name("down")
        if failure:
            down.touch()
        else:
            down.unlink(missing_ok=True)

    def received(self):
        lines = self.mailbox.read_text().splitlines() if self.mailbox.exists() else []
        return [ReceivedMessage(id=line.split()[0], recipients=[line.split()[1]]) for line in lines]

    async def __aenter__(self):
        self.folder = TemporaryDirectory()
        self.mailbox = Path(self.folder.name, "mailbox")
        return self

    async def __aexit__(self, *_):
        self.folder.cleanup()
