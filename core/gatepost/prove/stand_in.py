"""A provider and a contact source that never leave this machine, and that quote the recipient wherever they can.

It is a plugin: the gateway of a proof has it in the place of contact sources, and of providers that have no emulator. A
message's text, or the ``kind`` of a report, says what it does.
"""

import asyncio
import base64
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from gatepost.errors import BadSignature, BadWebhook, Rejected, Unavailable, Uncertain, WebhookRetry
from gatepost.hookspecs import (
    ContactSource,
    Context,
    EmailSender,
    HasPing,
    SmsSender,
    WebhookParser,
    hookimpl,
)
from gatepost.model import Contact, Email, Receipt, Report, Secret, Sms, Status, StatusEvent, WebhookRequest
from gatepost.prove.canaries import Person

USE = "prove-stand-in"
"""The plugin's name in a configuration."""

PEOPLE = "people"
"""The folder beside the configuration with a file for each person."""

UNREACHABLE = "unreachable"
"""The ext_user_id of somebody about whom the contact source can't answer."""

TASKS: Mapping[str, str] = {
    "accept": "taken",
    "accept-id": "taken, with the address in the provider's id",
    "reject": "rejected, with the address in the error",
    "reject-encoded": "rejected, with the address in the error in base64",
    "unavailable": "not taken now, with the address in the error; the next plugin of the route takes it",
    "uncertain": "the answer is lost, with the address in the error",
    "crash": "the plugin crashes, with the address in the exception",
    "log": "the plugin logs and prints the address, and the message is taken",
}
"""What a message's text lets the provider do, and what that is in words."""

REPORTS = ("delivered", "opened", "complained", "unsubscribed", "failed")
"""The statuses that are reported."""


def install(folder: Path) -> dict[str, str]:
    """Write what Python takes for an installed distribution; return the environment in which it finds it."""
    metadata = folder / "gatepost_prove_stand_in-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: gatepost-prove-stand-in\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[gatepost]\n{USE} = {__name__}:StandIn\n")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}


def write_person(folder: Path, person: Person) -> None:
    """Let the contact source know a person. A file for each, so that a lookup reads nobody else's."""
    people = folder / PEOPLE
    people.mkdir(exist_ok=True)
    (people / _file_name(person.user)).write_bytes(msgspec.json.encode(person))


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of a sending instance nothing, of a contact source the folder with the people."""

    people: Path | None = None


class StandIn(HasPing, ContactSource, EmailSender, SmsSender, WebhookParser):
    """Both sides of a gateway that are not the gateway."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[msgspec.Struct]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        unused = ["send_email", "send_sms", "parse_webhook"] if settings.people else ["find_contact"]
        for hook in unused:
            setattr(self, hook, None)

    @hookimpl
    async def ping(self) -> None:
        pass

    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact | None:
        assert self._settings.people is not None
        if ext_user_id == UNREACHABLE:
            raise Unavailable(f"nobody answers about {ext_user_id}")
        file = self._settings.people / _file_name(ext_user_id)
        if not await asyncio.to_thread(file.exists):
            return None
        person = msgspec.json.decode(await asyncio.to_thread(file.read_bytes), type=Person)
        return Contact(
            email=Secret(person.email) if person.email else None,
            phone=Secret(person.phone) if person.phone else None,
            attributes={"first_name": person.first_name, "last_name": person.last_name},
            blocked=person.blocked,
        )

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        return await self._send(message, message.recipient.reveal())

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        return await self._send(message, message.recipient.reveal())

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        body: Any = request.json()
        who, kind = body["who"], body["kind"]
        match kind:
            case "bad":
                raise BadWebhook(f"not about {who}")
            case "forged":
                raise BadSignature(f"not signed by {who}")
            case "retry":
                raise WebhookRetry(f"{who} is busy")
            case "crash":
                raise ValueError(who, {"to": who})
        event = StatusEvent(status=Status(kind), message_id=body["id"], provider_id=who, code=f"250 {who}")
        return Report(events=[event], ignored={who: 1})

    async def _send(self, message: Email | Sms, recipient: str) -> Receipt:
        task, _, instance = message.text.split(maxsplit=1)[0].partition(":")
        if instance and instance != self._context.name:
            task = "accept"
        private = " ".join([recipient, *message.attributes.values()])
        match task:
            case "accept-id":
                return Receipt(f"{recipient}/{message.id}")
            case "reject":
                raise Rejected(f"no such mailbox: {private}", code=f"550 <{recipient}>")
            case "reject-encoded":
                raise Rejected(base64.b64encode(private.encode()).decode(), code=recipient[::-1])
            case "unavailable":
                raise Unavailable(f"try {private} later", code=recipient, message_only=True)
            case "uncertain":
                raise Uncertain(f"lost {private}", code=recipient)
            case "crash":
                raise ValueError(private, {"to": recipient}) from RuntimeError(private.encode().hex())
            case "log":
                self._context.log.warning("sending", to=recipient, raw=private.encode())
                print(f"sending to {private}")  # noqa: T201  the trick
        return Receipt(f"stand-in-{message.id}")


def _file_name(user: str) -> str:
    # An ext_user_id may be an address or hold a slash.
    return f"{hashlib.sha256(user.encode()).hexdigest()}.json"
