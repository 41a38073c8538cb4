"""What the demo sends, and what has to come of it."""

from collections.abc import Mapping, Sequence

import msgspec

from gatepost.errors import Code
from gatepost.model import Channel, Status

_TOLD = (Status.ACCEPTED, Status.DELIVERED)


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the sample CSV. What an address begins with is what the sandbox makes of its messages."""

    ext_user_id: str
    email: str
    phone: str


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One request of Smartico's."""

    title: str
    channel: Channel
    fields: Mapping[str, str]
    code: Code = Code.ACCEPTED
    statuses: Sequence[Status] = _TOLD
    arrives: int = 1
    """How often the message lies in the mailbox at the end."""

    @property
    def uid(self) -> str:
        """What makes the message the same message."""
        return self.fields["email_uid" if self.channel is Channel.EMAIL else "im_uid"]

    @property
    def says(self) -> str:
        """What tells a reader which message it is."""
        return self.fields["subject" if self.channel is Channel.EMAIL else "body"]


PEOPLE = (
    Person(ext_user_id="hhu1001", email="anna@players.example", phone="+447700900101"),
    Person(ext_user_id="hhu1002", email="ben@players.example", phone="+447700900102"),
    Person(ext_user_id="hhu1003", email="bounce.cleo@players.example", phone="+447700900103"),
    Person(ext_user_id="hhu1004", email="complain.dan@players.example", phone="+447700900104"),
    Person(ext_user_id="hhu1005", email="open.eve@players.example", phone="+447700900105"),
)

SENDER = "Amazing <noreply@amazing.example>"


def _email(user: str, subject: str, uid: str) -> Mapping[str, str]:
    return {
        "ext_user_id": user,
        "from_email_address": SENDER,
        "subject": subject,
        "body": f"<p>{subject}</p>",
        "email_uid": uid,
    }


SCENES = (
    Scene(title="An email", channel=Channel.EMAIL, fields=_email("hhu1001", "Welcome", "demo-1")),
    Scene(
        title="A text message",
        channel=Channel.SMS,
        fields={"ext_user_id": "hhu1002", "body": "Your bonus", "from_number": "Amazing", "im_uid": "demo-2"},
    ),
    Scene(
        title="A mailbox that is gone",
        channel=Channel.EMAIL,
        fields=_email("hhu1003", "News", "demo-3"),
        statuses=(Status.ACCEPTED, Status.FAILED),
    ),
    Scene(
        title="Somebody complains",
        channel=Channel.EMAIL,
        fields=_email("hhu1004", "Offer", "demo-4"),
        statuses=(*_TOLD, Status.COMPLAINED),
    ),
    Scene(
        title="Somebody reads it",
        channel=Channel.EMAIL,
        fields=_email("hhu1005", "Gift", "demo-5"),
        statuses=(*_TOLD, Status.OPENED),
    ),
    Scene(
        title="Nobody knows this user",
        channel=Channel.EMAIL,
        fields=_email("hhu9999", "Hello?", "demo-6"),
        code=Code.USER_NOT_FOUND,
        statuses=(),
        arrives=0,
    ),
)

REPEATED = Scene(
    title="The first one once more", channel=Channel.EMAIL, fields=_email("hhu1001", "Welcome", "demo-1")
)
"""Sent when everything else has arrived: the same uid, so the same message, and no second mail."""
