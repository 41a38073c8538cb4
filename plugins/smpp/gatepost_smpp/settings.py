"""The settings of an SMPP account."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from gatepost.errors import Fault
from gatepost.model import Secret

_Octet = Annotated[int, Meta(ge=0, le=255)]
_Tag = Annotated[int, Meta(ge=0x1400, le=0x3FFF)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "smpp"``."""

    host: Annotated[str, Meta(description="the provider's server", examples=["smpp.example"])]
    port: Annotated[int, Meta(ge=1, le=65535, description="its port; without TLS often 2775")] = 3550
    tls: Annotated[bool, Meta(description="whether the connections are encrypted; never falls back")] = True
    ca_file: Annotated[
        Path | None, Meta(description="certificates (PEM) to trust, not the system's", examples=["ca.pem"])
    ] = None
    system_id: Annotated[str, Meta(description="the account's name")]
    password: Annotated[Secret, Meta(description="its password, at most 8 characters")]
    system_type: Annotated[str, Meta(description="only if the provider asks for one")] = ""
    connections: Annotated[int, Meta(ge=1, le=64, description="the binds of each replica")] = 1
    window: Annotated[int, Meta(ge=1, le=1000, description="unanswered messages on one bind")] = 10
    default_sender: Annotated[str, Meta(description="the sender if Smartico sends no from_number")] = ""
    short_code_type: Annotated[
        tuple[_Octet, _Octet], Meta(description="TON and NPI of a sender of at most 6 digits")
    ] = (3, 0)
    long_texts: Annotated[
        Literal["udh", "message_payload"],
        Meta(description="whether Gatepost divides a long text into parts (udh) or the provider does"),
    ] = "udh"
    validity: Annotated[bool, Meta(description="whether the provider is told a message's lifetime")] = True
    receipt_ids: Annotated[
        Literal["same", "decimal", "hex"],
        Meta(description="decimal, hex: receipts have the answers' ids as numbers of that form"),
    ] = "same"
    reference_tag: Annotated[
        _Tag | None,
        Meta(description="the tag of the provider's own parameter for a reference", examples=[0x1400]),
    ] = None
    stop_words: Annotated[
        tuple[str, ...], Meta(description="a text that is one of these words, in any case, is an opt-out")
    ] = ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT")


def check(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express."""
    if not re.fullmatch("[!-~]+", settings.host):
        yield Fault("host", "must be a host name (in ASCII: xn--…) or an address")
    if settings.ca_file is not None and not settings.tls:
        yield Fault("ca_file", "has no effect with tls = false")
    # SMPP 3.4, section 4.1.5.
    for key, least, most in (("system_id", 1, 15), ("password", 1, 8), ("system_type", 0, 12)):
        value = settings.password.reveal() if key == "password" else getattr(settings, key)
        if not re.fullmatch(f"[ -~]{{{least},{most}}}", value):
            yield Fault(key, f"SMPP 3.4 wants {least} to {most} characters of printable ASCII")
