"""The settings of an instance: one table that describes an account service."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.model import Secret

Value = bool | int | str
"""A value in an answer that a setting names."""


class Unknown(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which answers mean that there is no such user."""

    statuses: tuple[int, ...] = (404,)
    at: str = ""
    """The JSON pointer to a value that such an answer has; empty: the status alone decides."""
    values: tuple[Value, ...] = ()
    """What that value may be."""


class OAuth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An access token by client credentials (RFC 6749 §4.4)."""

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str = ""
    audience: str = ""
    """A parameter that some authorization servers want, such as Auth0."""
    credentials: Literal["header", "body"] = "header"
    """Where the client's id and secret stand in the request: in the Authorization header, or in the form."""


class Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request that looks up several users, and where they stand in its answer."""

    url: str
    method: Literal["GET", "POST"] = "GET"
    body: Any = None
    users: str = ""
    """The JSON pointer to the list of users; empty: the answer is the list."""
    size: Annotated[int, Meta(ge=2, le=100)] = 100
    """Users in one request."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "accounts"``."""

    url: Annotated[
        str,
        Meta(
            description="the URL of one user, with {ext_user_id} in its path or query",
            examples=["https://accounts.internal/users/{ext_user_id}"],
        ),
    ]
    method: Annotated[Literal["GET", "POST"], Meta(description="the method of that request")] = "GET"
    body: Annotated[
        Any,
        Meta(
            description='the JSON body of a POST; a text "{ext_user_id}" in it becomes the id',
            examples=[{"user": "{ext_user_id}"}],
        ),
    ] = None
    headers: Annotated[
        dict[str, Secret],
        Meta(
            description="headers of every request; their values are never shown",
            examples=[{"Authorization": "env:ACCOUNTS_TOKEN"}],
        ),
    ] = {}
    user: Annotated[
        str | None,
        Meta(
            description="the JSON pointer to the user in the answer; null or an empty list there is no such user",
            examples=["/data"],
        ),
    ] = None
    id: Annotated[
        str,
        Meta(
            description="the JSON pointer to the user's id, which must be the one that was asked for",
            examples=["/id"],
        ),
    ] = ""
    email: Annotated[
        str, Meta(description="the JSON pointer to the address", examples=["/contact/email"])
    ] = ""
    phone: Annotated[str, Meta(description="the JSON pointer to the number", examples=["/contact/phone"])] = (
        ""
    )
    blocked: Annotated[
        str,
        Meta(
            description="the JSON pointer to why a user must not be contacted", examples=["/exclusion/reason"]
        ),
    ] = ""
    not_blocked: Annotated[
        tuple[Value, ...] | None,
        Meta(
            description="the values at blocked that block nobody; by default null, false, 0 and what is empty",
            examples=[["ACTIVE"]],
        ),
    ] = None
    attributes: Annotated[
        dict[str, str],
        Meta(
            description="further values of the user by their names",
            examples=[{"first_name": "/profile/first_name"}],
        ),
    ] = {}
    optional: Annotated[
        tuple[Literal["email", "phone", "blocked"], ...],
        Meta(description="what an answer leaves out where a user has none", examples=[["phone"]]),
    ] = ()
    unknown: Annotated[
        Unknown | None,
        Meta(
            description="which answers mean no such user: statuses, at, values; by default 404, unless it is a text",
            examples=[{"statuses": [404], "at": "/error", "values": ["no_such_user"]}],
        ),
    ] = None
    oauth: Annotated[
        OAuth | None,
        Meta(
            description="an access token by client credentials: token_url, client_id, client_secret, scope, "
            "audience, credentials",
            examples=[
                {
                    "token_url": "https://login.internal/token",
                    "client_id": "gatepost",
                    "client_secret": "env:SECRET",
                }
            ],
        ),
    ] = None
    connection: wire.ConnectionSetting = None
    page: Annotated[
        Page | None,
        Meta(
            description="the request that looks up several users: url with {ext_user_ids}, method, body, users, size",
            examples=[{"url": "https://accounts.internal/users?ids={ext_user_ids}", "users": "/users"}],
        ),
    ] = None
    ping_user: Annotated[
        str,
        Meta(description="the id of a user of your own, whom gatepost check --live must find"),
    ] = ""
