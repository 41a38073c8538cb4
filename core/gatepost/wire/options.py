"""How a plugin's connections are made: the settings that every HTTP plugin can have, and their checks."""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import yarl
from msgspec import Meta

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret

_WORD = re.compile("[!-~]+")


class ConnectionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an HTTP plugin's settings can have as ``connection``.

    In the file: ``connection = { proxy = "env:PROXY", ca = "ca.pem" }``.
    """

    ca: Annotated[Path | None, Meta(description="certificates (PEM) to trust instead of the system's")] = None
    certificate: Annotated[Path | None, Meta(description="the client certificate (PEM); needs key")] = None
    key: Annotated[Path | None, Meta(description="the private key of certificate (PEM)")] = None
    proxy: Annotated[
        Secret | None,
        Meta(description="the URL of an HTTP proxy, with user and password where it needs them"),
    ] = None

    def faults(self, base_url: str, key: str = "base_url") -> Iterator[Fault]:
        """Yield what is wrong with the options of connections to ``base_url``, the setting ``key``; reads no file."""
        if (self.certificate is None) != (self.key is None):
            missing = "key" if self.key is None else "certificate"
            yield Fault(f"connection.{missing}", "is missing: certificate and key belong together")
        if not base_url.startswith("https:"):
            for name in ("ca", "certificate", "key"):
                if getattr(self, name) is not None:
                    yield Fault(f"connection.{name}", f"has no effect: {key} does not begin with https")
        if self.proxy is not None and not _is_proxy_url(self.proxy.reveal()):
            yield Fault("connection.proxy", "must be a URL such as http://user:password@proxy.example:3128")

    def tls_context(self) -> ssl.SSLContext | None:
        """Return a TLS context with the files' certificates, or None where there are none; reads the files.

        Raises ConfigError for files that can't be used.
        """
        if self.ca is None and self.certificate is None:
            return None
        for name in ("ca", "certificate", "key"):
            _expect_readable(name, getattr(self, name))
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError:
            raise ConfigError([Fault("connection.ca", "has no certificate in PEM form")]) from None
        if self.certificate is not None:
            try:
                # With no password at all OpenSSL would ask for that of an encrypted key on the terminal.
                context.load_cert_chain(self.certificate, self.key, "")
            except ssl.SSLError:
                problem = (
                    "and key are not a matching pair of PEM files, or the key is encrypted with a password"
                )
                raise ConfigError([Fault("connection.certificate", problem)]) from None
        return context


def _expect_readable(name: str, path: Path | None) -> None:
    try:
        if path is not None:
            path.open("rb").close()
    except OSError as error:
        raise ConfigError([Fault(f"connection.{name}", f"can't be read ({error.strerror})")]) from None


ConnectionSetting = Annotated[
    ConnectionOptions | None,
    Meta(
        description="proxy: the URL of an HTTP proxy; ca: certificates (PEM) to trust instead of the system's; certificate "
        "and key: a client certificate (PEM)",
        examples=[{"proxy": "env:PROXY", "ca": "ca.pem"}],
    ),
]
"""The type of the setting ``connection``, whose default is None."""


def check_base_url(base_url: str, key: str = "base_url") -> None:
    """Raise ConfigError unless this is an http or https URL without query, fragment or credentials."""
    if "@" in base_url.partition("://")[2].partition("/")[0] or not _is_url(base_url, {"http", "https"}):
        raise ConfigError([Fault(key, "must be a URL such as https://api.example.com")])


def key_faults(**secrets: Secret | None) -> Iterator[Fault]:
    """Yield a fault for each secret, by its setting's name, that can't be sent in a header; None is no fault.

    An empty one is a fault too: with it anyone could sign.
    """
    for name, secret in secrets.items():
        if secret is not None and not _WORD.fullmatch(secret.reveal()):
            yield Fault(name, "must be one word as the provider shows it, without spaces, and not empty")


def _is_proxy_url(url: str) -> bool:
    if not _is_url(url, {"http"}) or urlsplit(url).path not in {"", "/"}:
        return False
    parts = yarl.URL(url)
    user, password = parts.user or "", parts.password or ""
    # Basic authentication (RFC 7617) ends the user at the first colon, and many proxies know no other characters.
    return ":" not in user and all(ord(char) < 256 and char.isprintable() for char in user + password)


def _is_url(text: str, schemes: set[str]) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in schemes
            # In the text, not in its parts: an empty query counts too, and urlsplit drops line breaks.
            and not any(char in "?# " or not char.isprintable() for char in text)
            and (parts.port is None or parts.port > 0)
            # Both raise ValueError for a host that fails with each request otherwise, such as api..example.com.
            and bool(yarl.URL(text).host)
            and bool((parts.hostname or "").encode("idna"))
        )
    except ValueError:
        return False
