"""The settings of gatepost.toml as frozen structs: their types, limits, defaults and descriptions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gatepost.config.networks import Network
from gatepost.model import Channel, Secret

MOST = 315_360_000
"""Ten years, as seconds. More is a slip, and from somewhere on (inf) no clock and no database can count it."""

Seconds = Annotated[float, Meta(ge=0.001, le=MOST)]


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where Gatepost listens."""

    host: Annotated[str, Meta(description="the address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="0: any free port")] = 8080
    trusted_proxies: Annotated[
        tuple[Network, ...], Meta(description="networks whose X-Forwarded-For is believed")
    ] = ()
    metrics_allow: Annotated[
        tuple[Network, ...],
        Meta(description="networks that may read /metrics and the details of /health/ready, beside loopback"),
    ] = ()
    max_body: Annotated[int, Meta(ge=1024, description="bytes of a request that are read")] = 1_048_576
    public_url: Annotated[
        str,
        Meta(description="how the outside reaches this gateway, for providers that are told where to report"),
    ] = ""
    certificate: Annotated[
        Path | None, Meta(description="PEM, with the chain; without it Gatepost belongs behind a proxy")
    ] = None
    key: Annotated[Path | None, Meta(description="PEM of the certificate's private key")] = None


class Store(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where messages are kept until they have ended."""

    url: Annotated[Secret, Meta(description="sqlite:///path or postgresql://user:password@host/name")] = (
        Secret("sqlite:///gatepost.db")
    )


class Client(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One caller: a brand's Smartico account."""

    authorization: Annotated[
        tuple[Secret, ...],
        Meta(
            min_length=1,
            description="the whole Authorization header; several while rotating",
            examples=[["env:GATEPOST_SECRET"]],
        ),
    ]
    callback_api_key: Annotated[
        Secret, Meta(description="goes out with every callback", examples=["env:SMARTICO_API_KEY"])
    ] = Secret("")
    sms_authorization: Annotated[
        bool, Meta(description="false: /sms is let in by address alone, as Smartico's older page has it")
    ] = True
    allow_ips: Annotated[
        tuple[Network, ...], Meta(description="addresses and networks, v4 and v6; empty refuses everyone")
    ] = ()
    callback_hosts: Annotated[
        tuple[str, ...], Meta(description="a name, *.name, or an address; any port")
    ] = ()
    callback_url: Annotated[str, Meta(description="the default, where a request brings none")] = ""
    allow_private_callbacks: Annotated[
        bool, Meta(description="http and local addresses too: for tests and demos")
    ] = False
    preview_recipients: Annotated[
        tuple[Secret, ...],
        Meta(
            description="exact addresses that a request may name itself: of previews, mails to risk and support"
        ),
    ] = ()
    email_senders: Annotated[tuple[str, ...], Meta(description="addresses or @domains; empty: any")] = ()
    sms_senders: Annotated[tuple[str, ...], Meta(description="sender ids; empty: any")] = ()
    contacts: Annotated[
        tuple[str, ...],
        Meta(description="this client's own sources, in the order they are asked; empty: contacts.sources"),
    ] = ()


class Contacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who knows the users."""

    sources: Annotated[
        tuple[str, ...],
        Meta(description="asked in this order until one knows the user, for clients without contacts"),
    ] = ()
    shared: Annotated[
        bool,
        Meta(description="true: several clients may ask the same source; false: that is a fault"),
    ] = False
    timeout: Annotated[Seconds, Meta(description="seconds a source")] = 2.0
    default_region: Annotated[
        str,
        Meta(
            pattern="^([A-Z]{2})?$", description="such as GB, for phone numbers kept without a country code"
        ),
    ] = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long messages are tried and kept; everything in seconds."""

    uncertain_wait: Annotated[
        Seconds, Meta(description="how long a message whose answer was lost waits for a webhook")
    ] = 120.0
    uncertain: Annotated[
        Literal["resend", "hold"],
        Meta(description="then: resend, or hold for the operator until its lifetime ends"),
    ] = "resend"
    email_lifetime: Annotated[
        Seconds, Meta(description="how long an email is tried before it has failed")
    ] = 86_400.0
    sms_lifetime: Annotated[Seconds, Meta(description="how long a text message is tried")] = 14_400.0
    retention: Annotated[Seconds, Meta(description="how long ended messages are remembered")] = 2_592_000.0

    def lifetime(self, channel: Channel) -> float:
        """Seconds that a message of this channel is tried."""
        return self.email_lifetime if channel is Channel.EMAIL else self.sms_lifetime


class Routes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which instances send what, in the order in which they are asked."""

    email: Annotated[
        tuple[str, ...], Meta(description="the second is used when the first cannot take a message")
    ] = ()
    sms: Annotated[tuple[str, ...], Meta(description="the same for text messages")] = ()

    def of(self, channel: Channel) -> tuple[str, ...]:
        """The names of the channel's instances, the first choice first; empty where there are none."""
        return self.email if channel is Channel.EMAIL else self.sms


class Logs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written to stderr."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="the least that is shown")
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "console"], Meta(description="auto: console on a terminal, else json")
    ] = "auto"


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One configured plugin: the core's keys, and the plugin's own as its settings_type."""

    name: str
    use: str
    concurrency: Annotated[int, Meta(ge=1, description="sends under way at once")] = 16
    per_second: Annotated[
        float, Meta(ge=0, le=MOST, description="sends begun a second by this process; 0: unlimited")
    ] = 0.0
    timeout: Annotated[Seconds, Meta(description="seconds that a send may take")] = 10.0
    settings: Any = None


CORE_KEYS = ("use", "concurrency", "per_second", "timeout")
"""The keys of a plugin's table that are the core's."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of gatepost.toml."""

    path: Path
    server: Server
    store: Store
    clients: Mapping[str, Client]
    contacts: Contacts
    delivery: Delivery
    routes: Routes
    logs: Logs
    plugins: Mapping[str, Instance]

    def sources(self, client: str) -> tuple[str, ...]:
        """Return the names of the contact sources that are asked for this client's users, in order."""
        return self.clients[client].contacts or self.contacts.sources


SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "server": Server,
    "store": Store,
    "contacts": Contacts,
    "delivery": Delivery,
    "routes": Routes,
    "logs": Logs,
}
"""The tables that stand once, in the order in which `gatepost config` prints them."""
