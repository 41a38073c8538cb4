"""User lookups: the path of a request, and the translation of its answer. Pure functions."""

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
    blocked: str = ""


def lookup_path(ext_user_id: str) -> str:
    """Return the path of a lookup; empty if no user can have this id.

    The id goes into the query, because in the path an id such as ``..`` would lead to another resource.
    """
    try:
        return f"/v1/users?id={quote(ext_user_id, safe='')}"
    except UnicodeEncodeError:
        return ""


def contact(reply: wire.Reply, ext_user_id: str) -> Contact | None:
    """Return the contact in an answer; None for 404.

    Raises Unavailable if the answer is not about this user.
    """
    if reply.status == 404:
        return None
    user = None
    with suppress(msgspec.ValidationError):
        user = msgspec.convert(reply.json(), _User)
    # An answer about another user would send the message to the wrong person.
    if user is None or user.id != ext_user_id:
        raise Unavailable("the answer is not about this user: check base_url", code=str(reply.status))
    return Contact(
        email=None if user.email is None else Secret(user.email),
        phone=None if user.phone is None else Secret(user.phone),
        blocked=user.blocked,
    )
