"""``gatepost dkim``: the keys with which a plugin signs emails."""

import os
import re
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import rich_click as click

from gatepost.cli.common import fail
from gatepost.cli.first_config.toml_text import toml

_BITS = 2048
"""What every receiver verifies; the record of a longer key does not fit into some DNS consoles."""
_MAX_STRING = 255
"""Bytes of one string of a TXT record (RFC 1035 §3.3)."""
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


class NewKey(NamedTuple):
    """A private key and its DNS record."""

    pem: str
    record: str


@click.group()
def command() -> None:
    """Make a key that signs emails (DKIM), with its DNS record."""


@command.command("new-key")
@click.argument("domain")
@click.option("--selector", help="The name of the key in the DNS. Default: gp and the year and month.")
@click.option("--ed25519", is_flag=True, help="Make an Ed25519 key, as a second one beside an RSA key.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the private key to this new file, which only its owner may read. Default: print it.",
)
def new_key(domain: str, selector: str | None, ed25519: bool, out: Path | None) -> None:
    """Make a private key for the senders of DOMAIN; print its DNS record and its lines for gatepost.toml.

    An existing file is never changed. Publish the record first: until it is there, the signatures are invalid.
    """
    domain = domain.lower().rstrip(".")
    selector = selector or f"gp{datetime.now(UTC):%Y%m}{'e' if ed25519 else ''}"
    for name, value in (("DOMAIN", domain), ("--selector", selector)):
        if len(value) > 253 or not _DOMAIN.fullmatch(value):
            raise click.UsageError(f"{name} must be a name of the DNS in lower case (in ASCII: xn--…)")
    key = _make(ed25519=ed25519)
    if out is not None:
        _write(out, key.pem)
    click.echo(_instructions(domain, selector, key, out))


def _make(*, ed25519: bool) -> NewKey:
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  an extra
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    except ImportError:
        fail("keys need cryptography: from your checkout, pip install '.[encryption]'")
    private = Ed25519PrivateKey.generate() if ed25519 else rsa.generate_private_key(65537, _BITS)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # RFC 8463 §4.2: of an Ed25519 key only its 32 bytes.
    public = private.public_key().public_bytes(
        *(
            (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            if ed25519
            else (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    )
    kind = "ed25519" if ed25519 else "rsa"
    return NewKey(pem.decode(), f"v=DKIM1; k={kind}; p={b64encode(public).decode()}")


def _write(path: Path, pem: str) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(pem)
    except FileExistsError:
        fail(f"{path} exists, and a key is never overwritten: give another name with --out")
    except OSError as error:
        fail(f"{path} can't be written ({error.strerror})")


def _instructions(domain: str, selector: str, key: NewKey, out: Path | None) -> str:
    strings = [key.record[start : start + _MAX_STRING] for start in range(0, len(key.record), _MAX_STRING)]
    quoted = " ".join(f'"{string}"' for string in strings)
    where = f"file:{out.absolute()}" if out else "file:/path/of/the/key.pem"
    setting = toml({domain: {"selector": selector, "key": where}})
    private = [] if out else ["The private key, for a file that only Gatepost may read:", "", key.pem]
    return "\n".join(
        [
            *private,
            "1. Publish this TXT record. In a zone file it is:",
            "",
            f"{selector}._domainkey.{domain}. IN TXT ( {quoted} )",
            "",
            "   A DNS console wants the name and the text without quotes and in one piece:",
            "",
            f"{selector}._domainkey.{domain}",
            key.record,
            "",
            "2. In gatepost.toml, add the key to the table of the plugin that sends to your mail relay. If there is dkim",
            "   already, add what is in the outer braces; several keys of one domain are a list:",
            "",
            f"dkim = {setting}",
            "",
            "3. Run `gatepost check --live`: it looks the record up.",
        ]
    )
