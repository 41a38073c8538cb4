"""The settings of an instance: one table that describes a provider's HTTP API."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.model import Secret

_Texts = dict[str, str]
_Statuses = Annotated[
    tuple[int | str, ...], Meta(description='HTTP statuses, such as 202, or classes of them, such as "2xx"')
]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request that sends one message. Every text in it may have placeholders."""

    path: str
    """What follows base_url, beginning with a slash."""
    method: Literal["POST", "PUT", "GET"] = "POST"
    query: _Texts = {}
    headers: _Texts = {}
    json: Any = None
    """The JSON body as TOML: tables are objects, arrays are arrays."""
    form: _Texts | None = None
    """The body as a form, instead of ``json``."""


class ErrorRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one kind of answer means."""

    means: Literal["accepted", "rejected", "unsubscribed", "unavailable", "misconfigured"]
    """``accepted``: the provider has the message already, and this answer has no id."""
    status: int | str = ""
    """An HTTP status or a class of them; empty: any."""
    at: str = ""
    """The JSON pointer to a value of the answer's body; empty: the status alone decides."""
    values: tuple[bool | int | str, ...] = ()
    """The values for which the rule holds; empty: any value but 0, false, null and what is empty."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to read the answer to that request."""

    success: _Statuses = ("2xx",)
    split: str = ""
    """What separates the parts of an answer that is a text and not JSON; the pointers then begin with a part's number."""
    id: str = ""
    """The JSON pointer to the provider's id of the message; a success without it is uncertain."""
    code: str = ""
    """The JSON pointer to the provider's code of an error."""
    parts: str = ""
    price: str = ""
    currency: str = ""
    errors: list[ErrorRule] = []
    """The first rule that holds decides, before the status does, also for a status of success."""


class Inbound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to recognize a message of a user, such as STOP. It is looked for in a report without a status."""

    recipient: str
    """Where the user's number or address stands."""
    text: str
    """Where the text stands that the user has sent."""
    words: tuple[str, ...] = ("STOP",)
    """The texts that mean ``unsubscribed``, in capitals or not."""


class Webhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to read what the provider reports. A place is a JSON pointer, ``form:NAME`` or ``query:NAME``."""

    status: str
    """Where the provider's word for the status stands."""
    statuses: dict[str, str]
    """The status that each of these words means; empty: none."""
    id: str = ""
    """Where our id stands."""
    provider_id: str = ""
    """Where the provider's id of the message stands."""
    code: str = ""
    """Where the provider's code of the reason stands."""
    reports: str = ""
    """The JSON pointer to the list of reports; empty: the body is one report, or a list of them."""
    inbound: Inbound | None = None
    answer: str = ""
    """What the answer to a report says, for a provider that repeats the report without it."""


class Hmac(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signature in a header of each report."""

    key: Secret
    header: str
    signed: tuple[str, ...] = ("body",)
    """What is signed, in order: body, timestamp, url, method, or header:NAME."""
    joined_by: str = ""
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    """What stands before the signature in its header, such as ``sha256=``."""
    timestamp_header: str = ""
    """The header with the time of the signature: in seconds or milliseconds since the epoch, or in ISO 8601."""


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret that comes with each report, in a header or in the query of its URL."""

    value: Secret
    header: str = ""
    query: str = ""
    """The parameter; {callback_url} then has it."""
    prefix: str = ""
    """What stands before the token in its header, such as ``Bearer``."""


class Ping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request that costs nothing and proves that the provider accepts the credentials."""

    path: str
    method: Literal["GET", "HEAD"] = "GET"
    query: _Texts = {}
    success: _Statuses = ("2xx",)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "http"``."""

    channel: Annotated[Literal["email", "sms"], Meta(description="what the instance sends")]
    base_url: Annotated[
        str,
        Meta(description="the URL of the API, without a path's end", examples=["https://api.example.com"]),
    ]
    request: Annotated[
        Request,
        Meta(
            description="the request that sends one message: path, method, query, headers, and json or form",
            examples=[{"path": "/messages", "json": {"to": "{recipient}", "text": "{text}", "ref": "{id}"}}],
        ),
    ]
    headers: Annotated[
        _Texts,
        Meta(description="headers of every request; secrets as {secret.NAME}"),
    ] = {}
    secrets: Annotated[
        dict[str, Secret],
        Meta(description="values for the placeholders {secret.NAME}, which are never shown"),
    ] = {}
    bearer: Annotated[Secret | None, Meta(description="the token for Authorization: Bearer")] = None
    basic: Annotated[
        wire.Login | None,
        Meta(
            description="the user name and password for Authorization: Basic",
            examples=[{"username": "…", "password": "env:API_PASSWORD"}],
        ),
    ] = None
    connection: wire.ConnectionSetting = None
    default_sender: Annotated[
        str, Meta(description="sms: the sender of a message if Smartico sends no from_number")
    ] = ""
    shortest_lifetime: Annotated[
        int, Meta(ge=1, description="seconds: a shorter lifetime of a message is sent as this")
    ] = 1
    longest_lifetime: Annotated[
        int, Meta(ge=1, description="seconds: a longer lifetime of a message is sent as this")
    ] = 604_800
    answer: Annotated[
        Answer,
        Meta(
            description="how to read the answer: success, split, id, code, parts, price, currency, errors",
            examples=[{"id": "/id"}],
        ),
    ] = Answer()
    ping: Annotated[
        Ping | None,
        Meta(
            description="the request of gatepost check --live: path, method, query, success",
            examples=[{"path": "/account"}],
        ),
    ] = None
    webhook: Annotated[
        Webhook | None,
        Meta(
            description="how to read reports: status, statuses, id, provider_id, code, reports, inbound, answer",
            examples=[{"status": "/status", "statuses": {"DELIVERED": "delivered"}, "id": "/ref"}],
        ),
    ] = None
    webhook_hmac: Annotated[
        Hmac | None,
        Meta(
            description="how reports are signed: key, header, signed, joined_by, algorithm, encoding, prefix, "
            "timestamp_header",
            examples=[{"key": "env:WEBHOOK_KEY", "header": "X-Signature"}],
        ),
    ] = None
    webhook_token: Annotated[
        Token | None,
        Meta(
            description="the secret that comes with reports, in a header or in the query",
            examples=[{"value": "env:WEBHOOK_TOKEN", "header": "X-Token"}],
        ),
    ] = None
    webhook_basic: Annotated[
        wire.Login | None,
        Meta(
            description="the user name and password that come with reports",
            examples=[{"username": "…", "password": "env:WEBHOOK_PASSWORD"}],
        ),
    ] = None
    replay_safe: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="seconds for which the provider drops repeats with the same {idempotency_key}",
        ),
    ] = 0.0
    retry_status: Annotated[
        Literal[429, 500, 502, 503, 504],
        Meta(description="the HTTP status after which the provider repeats a report"),
    ] = 503
