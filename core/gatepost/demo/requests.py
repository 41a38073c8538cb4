"""The requests that the demo sends, and the result that each must have."""

from collections.abc import Mapping, Sequence

import msgspec

from gatepost.errors import Code
from gatepost.model import Channel, Status

_SUCCESS = (Status.ACCEPTED, Status.DELIVERED)


class User(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the sample CSV. The default provider decides by the address what becomes of a message."""

    ext_user_id: str
    email: str
    phone: str

    def address(self, channel: Channel) -> str:
        """Return where a message of this channel goes."""
        return self.email if channel is Channel.EMAIL else self.phone


class DemoRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the gateway, with the result that it must have."""

    title: str
    channel: Channel
    fields: Mapping[str, str]
    code: Code = Code.ACCEPTED
    """The error_code of the answer."""
    statuses: Sequence[Status] = _SUCCESS
    """The statuses that the callbacks bring, in order."""
    copies: int = 1
    """How often the message is in the mailbox at the end."""

    @property
    def uid(self) -> str:
        """The uid, by which the gateway recognises a repeated message."""
        return self.fields["email_uid" if self.channel is Channel.EMAIL else "im_uid"]

    @property
    def recipient(self) -> str:
        """The address or number that the message goes to; empty where the user is unknown."""
        users = [user for user in USERS if user.ext_user_id == self.fields["ext_user_id"]]
        return users[0].address(self.channel) if users else ""


USERS = (
    User(ext_user_id="hhu1001", email="anna@players.example", phone="+447700900101"),
    User(ext_user_id="hhu1002", email="ben@players.example", phone="+447700900102"),
    User(ext_user_id="hhu1003", email="bounce.cleo@players.example", phone="+447700900103"),
    User(ext_user_id="hhu1004", email="complain.dan@players.example", phone="+447700900104"),
    User(ext_user_id="hhu1005", email="open.eve@players.example", phone="+447700900105"),
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


REQUESTS = (
    DemoRequest(title="An email", channel=Channel.EMAIL, fields=_email("hhu1001", "Welcome", "demo-1")),
    DemoRequest(
        title="A text message",
        channel=Channel.SMS,
        fields={"ext_user_id": "hhu1002", "body": "Your bonus", "from_number": "Amazing", "im_uid": "demo-2"},
    ),
    DemoRequest(
        title="The mailbox does not exist",
        channel=Channel.EMAIL,
        fields=_email("hhu1003", "News", "demo-3"),
        statuses=(Status.ACCEPTED, Status.FAILED),
    ),
    DemoRequest(
        title="The recipient complains",
        channel=Channel.EMAIL,
        fields=_email("hhu1004", "Offer", "demo-4"),
        statuses=(*_SUCCESS, Status.COMPLAINED),
    ),
    DemoRequest(
        title="The recipient opens it",
        channel=Channel.EMAIL,
        fields=_email("hhu1005", "Gift", "demo-5"),
        statuses=(*_SUCCESS, Status.OPENED),
    ),
    DemoRequest(
        title="The user is unknown",
        channel=Channel.EMAIL,
        fields=_email("hhu9999", "Hello?", "demo-6"),
        code=Code.USER_NOT_FOUND,
        statuses=(),
        copies=0,
    ),
)

REPEATED_REQUEST = DemoRequest(
    title="The first email again", channel=Channel.EMAIL, fields=_email("hhu1001", "Welcome", "demo-1")
)
"""Sent after everything else has arrived: the same uid is the same message, so there is no second email."""


def statuses_of(recipient: str) -> Sequence[Status]:
    """Return the statuses that a message to this address or number must get."""
    expected = {request.recipient: request.statuses for request in REQUESTS}
    return expected.get(recipient, _SUCCESS)
