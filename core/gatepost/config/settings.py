"""gatepost.toml as frozen structs. The only module that reads the configuration or the environment.

``read`` takes the file apart key by key and goes on after a fault, so that an operator sees every one
at once. Any string may be ``env:NAME`` or ``file:/path`` instead of the value itself. No message quotes
a value but the name of an instance: it may be a secret that stands in the wrong place.
"""

import os
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gatepost.config.networks import Network
from gatepost.config.toml_table import Table, choice, nearest
from gatepost.errors import ConfigError, Fault
from gatepost.model import Channel, Secret

MOST = 315_360_000
"""Ten years, as seconds. More is a slip, and from somewhere on (inf) no clock and no database can count it."""

LEAST_RATE = 1 / 86_400
"""Sends a second: one a day, which is as long as a message is tried at all."""

_QUOTABLE = re.compile(r"(env:)?[A-Za-z0-9_-]{1,64}", re.ASCII)
"""What stands in a list of instances and may be shown."""

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


def locate(given: Path | None) -> Path:
    """The configuration file: the one given, else ``GATEPOST_CONFIG``, else ``gatepost.toml`` here."""
    return given or Path(os.environ.get("GATEPOST_CONFIG") or "gatepost.toml")


def read(
    path: Path, settings_type: Callable[[str], type[msgspec.Struct]]
) -> tuple[Settings | None, list[Fault]]:
    """Read the file; returns what could be made of it and everything that is wrong with it.

    ``settings_type`` gives the type of a plugin kind's settings and raises ConfigError for a kind that is
    not installed. With faults the Settings hold what was usable, good enough to look for further faults
    and for nothing else; they are None when the file could not be read at all.
    """
    try:
        content = _content(path)
    except ConfigError as error:
        return None, list(error.faults)
    root = Table(content, base=path.parent.resolve(), environment=os.environ)
    misspelled = root.refuse_unknown(known=(*SECTIONS, "clients", "plugins"))
    clients = {
        name: client
        for name, table in root.tables("clients")
        if (client := table.convert(Client, f"clients.{name}", instead={"authorization": ()})) is not None
    }
    plugins = {
        name: instance
        for name, table in root.tables("plugins")
        if (instance := _instance(name, table, settings_type)) is not None
    }
    settings = Settings(
        path=path,
        server=root.struct("server", Server),
        store=root.struct("store", Store),
        clients=clients,
        contacts=root.struct("contacts", Contacts),
        delivery=root.struct("delivery", Delivery),
        routes=root.struct("routes", Routes),
        logs=root.struct("logs", Logs),
        plugins=plugins,
    )
    return settings, [*root.faults, *_names(settings, root, misspelled)]


def uses(path: Path) -> dict[str, str]:
    """What each plugin table names as its kind, by the table's name, whatever else is wrong with the file.

    Raises ConfigError when it can't be read at all.
    """
    named = _tables(path, "plugins").items()
    return {name: str(table["use"]) for name, table in named if isinstance(table, dict) and "use" in table}


def callers(path: Path) -> list[str]:
    """The names of the clients' tables, whatever else is wrong with the file; raises as ``uses`` does."""
    return list(_tables(path, "clients"))


def logging_of(path: Path) -> Logs:
    """What can be made of the table ``logs``, whatever is wrong with it or with the rest of the file."""
    try:
        content = _content(path)
    except ConfigError:
        return Logs()
    return Table(content, base=path.parent.resolve(), environment=os.environ).struct("logs", Logs)


def _tables(path: Path, group: str) -> dict[str, Any]:
    found = _content(path).get(group)
    return found if isinstance(found, dict) else {}


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        problem = f"{path}: can't be read ({error.strerror}); name another with --config"
    except UnicodeDecodeError:
        problem = f"{path}: is not UTF-8"
    except tomllib.TOMLDecodeError as error:
        problem = f"{path}: is not TOML: {error}"
    raise ConfigError([Fault("", problem)])


def _instance(
    name: str, table: Table, settings_type: Callable[[str], type[msgspec.Struct]]
) -> Instance | None:
    path = f"plugins.{name}"
    core, own = table.split(CORE_KEYS)
    # The name is a word of a URL (/webhooks/NAME) and of metrics.
    if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
        table.fault(path, "a plugin's name is made of a-z, A-Z, 0-9, - and _")
    use = core.text("use", f"{path}.use")
    if use is None:
        return None
    try:
        kind = settings_type(use)
    except ConfigError as error:
        for fault in error.faults:
            table.fault(f"{path}.use", fault.problem)
        return None
    settings = own.convert(kind, path)
    instance = core.convert(Instance, path, instead={}, name=name)
    if instance is not None and 0 < instance.per_second < LEAST_RATE:
        table.fault(f"{path}.per_second", "must be 0 (unlimited) or at least one a day, which is 0.000012")
    if settings is None or instance is None:
        return None
    return msgspec.structs.replace(instance, settings=settings)


def _names(settings: Settings, root: Table, misspelled: Collection[str]) -> list[Fault]:
    """Names that lead to no table; whatever else does not go together is for ``consistency``.

    ``misspelled``: tables that stand there under another name, so that nothing can be said of what is in them.
    """
    faults: list[Fault] = []
    unreadable = {*misspelled, *(fault.key for fault in root.faults)}
    if not root.names("clients") and "clients" not in unreadable:
        faults.append(Fault("clients", "at least one caller is needed: a table such as [clients.smartico]"))
    lists = [
        *((("clients", name, "contacts"), client.contacts) for name, client in settings.clients.items()),
        (("contacts", "sources"), settings.contacts.sources),
        (("routes", "email"), settings.routes.email),
        (("routes", "sms"), settings.routes.sms),
    ]
    plugins = root.names("plugins")
    for path, names in lists:
        key, written = ".".join(path), root.written(*path)
        for position, name in enumerate(names):
            shown = _quoted(written, position)
            if name not in plugins and "plugins" not in unreadable:
                offer = choice(nearest(name, plugins), plugins)
                faults.append(Fault(key, f"{shown} is no [plugins.NAME]; {offer}"))
            if names.index(name) < position:
                faults.append(Fault(key, f"{shown} stands here twice"))
    return faults


def _quoted(written: Any, position: int) -> str:
    """A name as the file has it, unless it can't be one: then it may be a secret in the wrong place."""
    entry = written[position] if isinstance(written, list) else None
    return entry if isinstance(entry, str) and _QUOTABLE.fullmatch(entry) else f"name {position + 1}"
