"""The settings of gatepost.toml as frozen structs: types, limits, defaults and descriptions of all keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gatepost.config.client import Client
from gatepost.config.networks import Network
from gatepost.config.numbers import MAX_LIMIT, MAX_PER_SECOND, MAX_SECONDS, Seconds
from gatepost.config.routes import Routes
from gatepost.model import Channel, Secret


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address that Gatepost listens on, and how others reach it."""

    host: Annotated[str, Meta(description="the address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="0: any free port")] = 8080
    trusted_proxies: Annotated[
        tuple[Network, ...], Meta(description="networks of proxies whose X-Forwarded-For is trusted")
    ] = ()
    metrics_allow: Annotated[
        tuple[Network, ...],
        Meta(
            description="networks that may read /metrics and the details of /health/ready, besides loopback"
        ),
    ] = ()
    max_body: Annotated[int, Meta(ge=1024, description="the largest request in bytes")] = 1_048_576
    public_url: Annotated[
        str,
        Meta(
            description="the URL of this gateway as seen from outside; plugins tell their providers to report there"
        ),
    ] = ""
    token_keys: Annotated[
        tuple[Secret, ...],
        Meta(
            description="for the links in mails: 32 bytes, base64 or hex; the first makes them, all read them"
        ),
    ] = ()
    certificate: Annotated[
        Path | None, Meta(description="PEM, with the chain; without it run Gatepost behind a TLS proxy")
    ] = None
    key: Annotated[Path | None, Meta(description="PEM of the certificate's private key")] = None
    admin_socket: Annotated[Path | None, Meta(description="the Unix socket that commands use")] = None


class Store(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The database of the messages."""

    url: Annotated[Secret, Meta(description="sqlite:///path or postgresql://user:password@host/name")] = (
        Secret("sqlite:///gatepost.db")
    )
    content_keys: Annotated[
        tuple[Secret, ...],
        Meta(description="encrypt contents: 32 bytes, base64 or hex; the first encrypts, all decrypt"),
    ] = ()


class Contacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contact sources: the plugins that know the users' addresses and phone numbers."""

    sources: Annotated[
        tuple[str, ...],
        Meta(
            description="queried in this order until one knows the user; for clients without contacts of their own"
        ),
    ] = ()
    shared: Annotated[
        bool,
        Meta(description="true: several clients may use the same source; false: that is a fault"),
    ] = False
    timeout: Annotated[Seconds, Meta(description="seconds for each source")] = 2.0
    default_region: Annotated[
        str,
        Meta(
            pattern="^([A-Z]{2})?$", description="country of phone numbers without a country code, such as GB"
        ),
    ] = ""
    stale_after: Annotated[
        float,
        Meta(
            ge=0,
            le=MAX_SECONDS,
            description="age in seconds above which a source's data are stale, and you are told so; 0: never",
        ),
    ] = 259_200.0


class Delivery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long messages are tried and stored, in seconds."""

    uncertain_wait: Annotated[
        Seconds, Meta(description="how long a message waits for a report when the provider's answer was lost")
    ] = 120.0
    uncertain: Annotated[
        Literal["resend", "hold"],
        Meta(description="what happens then: resend it, or hold it for the operator until its lifetime ends"),
    ] = "resend"
    email_lifetime: Annotated[Seconds, Meta(description="how long an email is tried before it fails")] = (
        86_400.0
    )
    sms_lifetime: Annotated[Seconds, Meta(description="how long a text message is tried before it fails")] = (
        14_400.0
    )
    retention: Annotated[Seconds, Meta(description="how long messages are stored after they have ended")] = (
        2_592_000.0
    )
    suppress: Annotated[
        tuple[Literal["complained", "unsubscribed", "failed:permanent"], ...],
        Meta(description="statuses after which a user is no longer contacted"),
    ] = ()

    def lifetime(self, channel: Channel) -> float:
        """Return the seconds that a message of this channel is tried."""
        return self.email_lifetime if channel is Channel.EMAIL else self.sms_lifetime


class Logs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log on stderr."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="the lowest level that is logged")
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "console"], Meta(description="auto: console on a terminal, else json")
    ] = "auto"
    trail: Annotated[
        Literal["ids", "users", "off"],
        Meta(
            description="a line for each step of a message: ids: with message id, client and uid; "
            "users: with ext_user_id too, which forget can't remove from a log; off: none"
        ),
    ] = "ids"


class Console(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The console: pages for operators, on a listener of their own."""

    listen: Annotated[
        str, Meta(description="address and port, such as 127.0.0.1:8090; empty: no console")
    ] = ""
    hosts: Annotated[
        tuple[str, ...],
        Meta(description="host names by which browsers call it, besides the address itself and localhost"),
    ] = ()
    certificate: Annotated[
        Path | None, Meta(description="PEM, with the chain; needed unless it listens on loopback alone")
    ] = None
    key: Annotated[Path | None, Meta(description="PEM of the certificate's private key")] = None
    user_header: Annotated[
        str, Meta(description="the header in which a proxy names the user whom it has signed in")
    ] = ""
    user_header_networks: Annotated[
        tuple[Network, ...], Meta(description="the only addresses from which that header counts")
    ] = ()


class Alerts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Messages to the people on call about what needs a hand, for where no Prometheus watches."""

    notify: Annotated[
        tuple[Secret, ...],
        Meta(
            description="Apprise URLs of those who are told when a problem begins and when it is over; empty: nobody"
        ),
    ] = ()


class Warmup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How few sends a new domain or address begins with, and how fast they become more."""

    first: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="sends in the first period at most")] = (
        msgspec.field(name="from")
    )
    factor: Annotated[
        float, Meta(ge=1, le=10, description="how many times as many the next period may have")
    ] = 1.5
    per: Annotated[Literal["day", "hour"], Meta(description="the period, by the clock in UTC")] = "day"


class InstanceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One configured plugin: the keys of the core, and the plugin's own as its settings_type."""

    name: str
    use: str
    concurrency: Annotated[int, Meta(ge=1, description="sends in flight at the same time")] = 16
    per_second: Annotated[
        float,
        Meta(
            ge=0,
            le=MAX_PER_SECOND,
            description="sends that start each second, of all replicas together on PostgreSQL; 0: unlimited",
        ),
    ] = 0.0
    warmup: Annotated[
        Warmup | None,
        Meta(
            description="few sends a day at first, and more while few fail, for a new domain or address",
            examples=[{"from": 500, "factor": 1.5, "per": "day"}],
        ),
    ] = None
    timeout: Annotated[Seconds, Meta(description="seconds that a send may take")] = 10.0
    blocks: Annotated[
        bool,
        Meta(description="whether this contact source is always asked if a user may be contacted"),
    ] = False
    merge: Annotated[
        bool,
        Meta(description="whether this contact source completes what the sources before it don't know"),
    ] = False
    webhook_networks: Annotated[
        tuple[Network, ...],
        Meta(description="networks of the provider: webhooks from other addresses are refused; empty: any"),
    ] = ()
    own_unsubscribe: Annotated[
        bool,
        Meta(
            description="whether this provider adds List-Unsubscribe headers of its own; then ours are left out"
        ),
    ] = False
    settings: Any = None

    @property
    def is_always_asked(self) -> bool:
        """Whether this contact source is asked about every user, also about those whom an earlier one knows."""
        return self.blocks or self.merge


CORE_KEYS = (
    "use",
    "concurrency",
    "per_second",
    "warmup",
    "timeout",
    "blocks",
    "merge",
    "webhook_networks",
    "own_unsubscribe",
)
"""The keys of a plugin's table that belong to the core."""


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
    console: Console = Console()
    alerts: Alerts = Alerts()
    plugins: Mapping[str, InstanceSettings]

    def contact_sources(self, client: str) -> tuple[str, ...]:
        """Return the names of the contact sources for this client's users, in the order in which they are queried."""
        return self.clients[client].contacts or self.contacts.sources


SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "server": Server,
    "store": Store,
    "contacts": Contacts,
    "delivery": Delivery,
    "routes": Routes,
    "logs": Logs,
    "console": Console,
    "alerts": Alerts,
}
"""The tables that exist once, in the order in which `gatepost config` prints them."""
