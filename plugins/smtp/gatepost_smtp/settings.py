"""What an operator writes into ``[plugins.NAME]`` with ``use = "smtp"``."""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret
from gatepost_smtp.addresses import is_address, is_domain

_PORTS = {"none": 25, "starttls": 587, "tls": 465}
_HELO = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The relay, how to sign in to it, and where bounces go."""

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    """The relay's name; its certificate must bear it."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    """None: 587 with STARTTLS, 465 with TLS, 25 with neither."""
    security: Literal["none", "starttls", "tls"] = "starttls"
    """``starttls`` and ``tls`` never fall back to clear text."""
    username: str = ""
    password: Secret | None = None
    ca_file: Path | None = None
    """Certificates (PEM) to trust instead of the system's."""
    connections: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8
    """How many connections are open at once, at the most."""
    helo: str = ""
    """What to greet the relay with; empty: the machine's full name, or else its address."""
    return_path: str = ""
    """The envelope sender, where bounces go; empty: the message's own sender."""
    bounce_domain: str = ""
    """A domain for signed return paths, one a message; needs ``webhook_secret``."""
    webhook_secret: Secret | None = None
    """The bearer token with which a mail server hands reports to ``/webhooks/NAME``."""

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
