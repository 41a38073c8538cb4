"""Users, as ``GET /v1/users`` knows them. Pure functions."""

from contextlib import suppress
from urllib.parse import quote

import msgspec

from gatepost import wire
from gatepost.errors import Unavailable
from gatepost.model import Contact, Secret


class _User(msgspec.Struct):
    id: str
    email: str | None = None
    phone: str | None = None


def path(ext_user_id: str) -> str:
    """Where this user is asked for; empty where no user can have such an id.

    In the query and not in the path: there an id such as ``..`` would lead elsewhere.
    """
    try:
        return f"/v1/users?id={quote(ext_user_id, safe='')}"
    except UnicodeEncodeError:
        return ""


def contact(reply: wire.Reply, ext_user_id: str) -> Contact | None:
    """What the answer says; None for 404. Raises Unavailable where it says nothing about this user."""
    if reply.status == 404:
        return None
    user = None
    with suppress(msgspec.ValidationError):
        user = msgspec.convert(reply.json(), _User)
    # Another's address would be worse than none.
    if user is None or user.id != ext_user_id:
        raise Unavailable("the answer is none about this user: check base_url", code=str(reply.status))
    return Contact(
        email=None if user.email is None else Secret(user.email),
        phone=None if user.phone is None else Secret(user.phone),
    )
