"""The settings of an SMTP relay."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret
from gatepost_smtp.addresses import is_address, is_domain

_PORTS = {"none": 25, "starttls": 587, "tls": 465}
_HELO = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")
_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})")


class DkimKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that signs the mails of a sender domain and of its subdomains."""

    selector: str
    """The name of the key: the public key is the DNS record ``selector._domainkey.domain``."""
    key: Secret
    """The private key in PEM: RSA or Ed25519."""


DkimKeys = dict[str, DkimKey | list[DkimKey]]
"""The keys by domain."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "smtp"``."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            description="the relay's host name, which its certificate must name",
            examples=["relay.example"],
        ),
    ]
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(description="left out: 587 with starttls, 465 with tls, 25 with none", examples=[587]),
    ] = None
    security: Annotated[
        Literal["none", "starttls", "tls"],
        Meta(description="the encryption; starttls and tls never fall back to clear text"),
    ] = "starttls"
    username: Annotated[str, Meta(description="the user name for the sign-in; empty: no sign-in")] = ""
    password: Annotated[Secret | None, Meta(description="the password of username")] = None
    ca_file: Annotated[
        Path | None,
        Meta(description="certificates (PEM) to trust instead of the system's", examples=["ca.pem"]),
    ] = None
    connections: Annotated[
        int, Meta(ge=1, le=1000, description="the maximum number of connections open at once")
    ] = 8
    helo: Annotated[
        str,
        Meta(
            description="the name that greets the relay; empty: the machine's full name, or else its address"
        ),
    ] = ""
    return_path: Annotated[
        str, Meta(description="the envelope sender, which gets the bounces; empty: the message's own sender")
    ] = ""
    bounce_domain: Annotated[
        str,
        Meta(description="a domain for signed return paths, one per message; needs webhook_secret"),
    ] = ""
    bounce_listen: Annotated[
        str,
        Meta(
            description="the address and port where bounces arrive by SMTP; empty: none; needs bounce_domain",
            examples=["0.0.0.0:2525"],
        ),
    ] = ""
    bounce_certificate: Annotated[
        Path | None,
        Meta(description="the certificate of bounce_listen for STARTTLS (PEM, with the chain)"),
    ] = None
    bounce_key: Annotated[Path | None, Meta(description="the key of bounce_certificate (PEM)")] = None
    complaint_address: Annotated[
        str,
        Meta(
            description="the address in bounce_domain where mailbox providers send complaints",
            examples=["complaints@bounces.amazing.example"],
        ),
    ] = ""
    webhook_secret: Annotated[
        Secret | None,
        Meta(
            description="signs the return paths, and is the bearer token with which a mail server posts reports "
            "to /webhooks/NAME"
        ),
    ] = None
    previous_webhook_secret: Annotated[
        Secret | None,
        Meta(description="another secret that is accepted, while webhook_secret is replaced"),
    ] = None
    success_reports: Annotated[
        bool,
        Meta(description="ask the relay for a report of each delivery too: one more mail for each mail"),
    ] = False
    relayed: Annotated[
        Literal["accepted", "delivered"],
        Meta(
            description="what it means that the next server took the mail and will not report; "
            "delivered includes success_reports"
        ),
    ] = "accepted"
    dkim: Annotated[
        DkimKeys,
        Meta(
            description="the keys that sign, by domain of the sender; several of a domain all sign",
            examples=[{"amazing.example": {"selector": "s1", "key": "file:dkim.pem"}}],
        ),
    ] = {}

    @property
    def wants_success(self) -> bool:
        """Whether the relay is asked to report a delivery."""
        return self.success_reports or self.relayed == "delivered"

    @property
    def accepted_secrets(self) -> Sequence[str]:
        """What may have signed a return path or a request; the first signs new return paths."""
        return [one.reveal() for one in (self.webhook_secret, self.previous_webhook_secret) if one]

    def effective_port(self) -> int:
        """Return the port to connect to."""
        return self.port if self.port is not None else _PORTS[self.security]


def listen_address(text: str) -> tuple[str, int] | None:
    """Return the host and the port of ``0.0.0.0:2525`` or ``[::]:2525``; None for another text."""
    match = _LISTEN.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 65536:
        return None
    try:
        address = ipaddress.IPv6Address(match[1]) if match[1] else ipaddress.IPv4Address(match[2])
    except ValueError:
        return None
    return str(address), int(match[3])


def check(settings: Settings, key_faults: Sequence[Fault] = ()) -> None:
    """Raise ConfigError with every fault that the types can't express, and those of the DKIM keys."""
    faults = [*_faults(settings), *key_faults]
    if faults:
        raise ConfigError(faults)


def _faults(settings: Settings) -> Iterator[Fault]:
    host = settings.host
    if not host.isascii() or not host.isprintable() or " " in host:
        yield Fault("host", "must be a host name (in ASCII: xn--…) or an address")
    if settings.username and not settings.password:
        yield Fault("password", "missing, but username is set")
    if settings.password and not settings.username:
        yield Fault("username", "missing, but password is set")
    if settings.ca_file is not None and settings.security == "none":
        yield Fault("ca_file", 'has no effect with security = "none": choose starttls or tls')
    if settings.helo and not _HELO.fullmatch(settings.helo):
        yield Fault("helo", "must be a host name, or an address in brackets")
    if settings.return_path and not is_address(settings.return_path):
        yield Fault("return_path", "must be one plain address")
    if settings.bounce_domain:
        yield from _bounce_faults(settings)
    elif settings.wants_success and not settings.webhook_secret:
        yield Fault(
            "webhook_secret", "missing: without it nobody can forward reports of deliveries to Gatepost"
        )
    if settings.previous_webhook_secret and not settings.webhook_secret:
        yield Fault("webhook_secret", "missing, but previous_webhook_secret is set")
    yield from _listener_faults(settings)


def _bounce_faults(settings: Settings) -> Iterator[Fault]:
    if not is_domain(settings.bounce_domain):
        yield Fault("bounce_domain", "must be a domain (in ASCII: xn--…)")
    if settings.return_path:
        yield Fault("bounce_domain", "set either this or return_path: both say where bounces go")
    if not settings.webhook_secret:
        yield Fault("webhook_secret", "missing: it signs the return paths at bounce_domain")


def _listener_faults(settings: Settings) -> Iterator[Fault]:
    certificate, key = settings.bounce_certificate, settings.bounce_key
    if not settings.bounce_listen:
        for name in ("bounce_certificate", "bounce_key", "complaint_address"):
            if getattr(settings, name):
                yield Fault(name, "has no effect without bounce_listen")
        return
    if listen_address(settings.bounce_listen) is None:
        yield Fault("bounce_listen", "must be an address and a port, such as 0.0.0.0:2525 or [::]:2525")
    if not settings.bounce_domain:
        yield Fault(
            "bounce_domain", "missing, but bounce_listen is set: it accepts only mails to this domain"
        )
    if (certificate is None) != (key is None):
        yield Fault("bounce_key" if certificate else "bounce_certificate", "set both of them or neither")
    domain = settings.complaint_address.rpartition("@")[2].lower()
    if settings.complaint_address and (
        not is_address(settings.complaint_address) or domain != settings.bounce_domain.lower()
    ):
        yield Fault("complaint_address", "must be one plain address in bounce_domain")
