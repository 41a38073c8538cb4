"""Where the demo's messages end: the sandbox's folder, or an emulated provider."""

import asyncio
import email
import email.policy
from pathlib import Path
from typing import Protocol

import msgspec

from gatepost.testing.emulator import Automatic, Emulator, Taken


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """One message in somebody's mailbox or on their handset."""

    id: str
    """Our ext_message_id, as it travelled along."""
    to: str
    says: str


class Mailbox(Protocol):
    """Shows what has arrived."""

    def arrived(self) -> list[Arrived]:
        """Everything so far, in no particular order."""
        ...


class Folder:
    """What the sandbox has written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def arrived(self) -> list[Arrived]:
        """As the Protocol says."""
        return [
            _mail(file) if file.suffix == ".eml" else _text(file)
            for file in sorted(self._folder.glob("[!.]*.*"))
        ]


def _mail(file: Path) -> Arrived:
    mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    return Arrived(id=file.name.partition(".")[0], to=mail["To"], says=mail["Subject"])


def _text(file: Path) -> Arrived:
    text = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    return Arrived(id=text["id"], to=text["to"], says=text["text"])


class Provider:
    """What an emulated provider has taken."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def arrived(self) -> list[Arrived]:
        """As the Protocol says."""
        return [
            Arrived(id=taken.id, to=_recipient(taken), says=taken.message.get("subject") or _said(taken))
            for taken in self._emulator.taken
        ]


def _recipient(taken: Taken) -> str:
    """SendGrid has it in a personalization, Vonage as digits without their plus."""
    if "personalizations" in taken.message:
        return str(taken.message["personalizations"][0]["to"][0]["email"])
    return f"+{taken.message['to']}"


def _said(taken: Taken) -> str:
    return str(taken.message.get("text", ""))


# What an emulated SendGrid reports, by what the address begins with.
_EMAIL_REPORTS = {
    "bounce": ("processed", "bounce"),
    "complain": ("processed", "delivered", "spamreport"),
    "open": ("processed", "delivered", "open"),
}
_USUAL_EMAIL = ("processed", "delivered")

TEXT_REPORTS = Automatic(kinds=("submitted", "delivered"), delay=0.2)
"""What an emulated Vonage reports of every message."""


async def report_like_the_sandbox(emulator: Emulator) -> None:
    """Report on each mail that an emulated SendGrid takes, until cancelled."""
    done = 0
    while True:
        for taken in emulator.taken[done:]:
            done += 1
            kind = _recipient(taken).partition(".")[0]
            for event in _EMAIL_REPORTS.get(kind, _USUAL_EMAIL):
                await emulator.report([emulator.event(event, taken)], tries=5)
        await asyncio.sleep(0.05)
