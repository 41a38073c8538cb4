"""What an operator writes into ``[plugins.NAME]`` with ``use = "smtp"``."""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret
from gatepost_smtp.addresses import is_address, is_domain

_PORTS = {"none": 25, "starttls": 587, "tls": 465}
_HELO = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The relay, how to sign in to it, and where bounces go."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            description="the relay's name; its certificate must bear it",
            examples=["relay.example"],
        ),
    ]
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(description="left out: 587 with starttls, 465 with tls, 25 with none", examples=[587]),
    ] = None
    security: Annotated[
        Literal["none", "starttls", "tls"],
        Meta(description="starttls and tls never fall back to clear text"),
    ] = "starttls"
    username: Annotated[str, Meta(description="to sign in with; empty: without signing in")] = ""
    password: Annotated[Secret | None, Meta(description="the username's")] = None
    ca_file: Annotated[
        Path | None,
        Meta(description="certificates (PEM) to trust instead of the system's", examples=["ca.pem"]),
    ] = None
    connections: Annotated[
        int, Meta(ge=1, le=1000, description="connections that are open at once, at the most")
    ] = 8
    helo: Annotated[
        str,
        Meta(description="what to greet the relay with; empty: the machine's full name, or else its address"),
    ] = ""
    return_path: Annotated[
        str, Meta(description="the envelope sender, where bounces go; empty: the message's own sender")
    ] = ""
    bounce_domain: Annotated[
        str, Meta(description="a domain for signed return paths, one a message; needs webhook_secret")
    ] = ""
    webhook_secret: Annotated[
        Secret | None,
        Meta(description="the bearer token with which a mail server hands reports to /webhooks/NAME"),
    ] = None

    def effective_port(self) -> int:
        """The port to connect to."""
        return self.port if self.port is not None else _PORTS[self.security]

    def check(self) -> None:
        """Raise ConfigError for what the types can't express, with every fault named."""
        faults = [Fault(key, problem) for key, wrong, problem in self._rules() if wrong]
        if faults:
            raise ConfigError(faults)

    def _rules(self) -> list[tuple[str, bool, str]]:
        return [
            (
                "host",
                not self.host.isascii() or not self.host.isprintable() or " " in self.host,
                "must be a host name (in ASCII: xn--…) or an address",
            ),
            ("password", bool(self.username) and not self.password, "missing, but a username is given"),
            ("username", bool(self.password) and not self.username, "missing, but a password is given"),
            (
                "ca_file",
                self.ca_file is not None and self.security == "none",
                'of no use with security = "none": choose starttls or tls',
            ),
            (
                "helo",
                bool(self.helo) and not _HELO.fullmatch(self.helo),
                "must be a host name, or an address in brackets",
            ),
            (
                "return_path",
                bool(self.return_path) and not is_address(self.return_path),
                "must be one plain address",
            ),
            (
                "bounce_domain",
                bool(self.bounce_domain) and not is_domain(self.bounce_domain),
                "must be a domain (in ASCII: xn--…)",
            ),
            (
                "bounce_domain",
                bool(self.bounce_domain and self.return_path),
                "give either this or return_path: both say where bounces go",
            ),
            (
                "webhook_secret",
                bool(self.bounce_domain) and not self.webhook_secret,
                "missing: return paths at bounce_domain are signed with it",
            ),
        ]
