"""Questions to the DNS. A name or a record that does not exist is an empty answer."""

import ipaddress
from typing import Any

from dns.asyncresolver import Resolver
from dns.exception import DNSException
from dns.resolver import NXDOMAIN, NoAnswer
from dns.reversename import from_address

_SECONDS = 3.0
"""Time for one question, with its repeats."""


class LookupFailed(Exception):
    """The DNS gave no usable answer; the text says why."""


class Dns:
    """Asks a resolver."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def texts(self, name: str) -> list[str]:
        """Return the TXT records of a name, each as one text."""
        return [
            b"".join(record.strings).decode("utf-8", "replace") for record in await self._records(name, "TXT")
        ]

    async def mail_servers(self, name: str) -> list[str]:
        """Return the names of a domain's mail servers; an empty name says that it takes no mail (RFC 7505)."""
        return [_text(record.exchange) for record in await self._records(name, "MX")]

    async def addresses(self, host: str) -> list[str]:
        """Return the addresses of a host, which may be one itself."""
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            records = [*await self._records(host, "A"), *await self._records(host, "AAAA")]
        return [record.address for record in records]

    async def names(self, address: str) -> list[str]:
        """Return the names of an address."""
        records = await self._records(from_address(address).to_text(), "PTR")
        return [_text(record.target) for record in records]

    async def _records(self, name: str, kind: str) -> list[Any]:
        try:
            answer = await self._resolver.resolve(f"{name.rstrip('.')}.", kind, lifetime=_SECONDS)
        except (NXDOMAIN, NoAnswer):
            return []
        except (DNSException, OSError) as error:
            raise LookupFailed(f"the DNS gave no answer ({type(error).__name__})") from None
        return list(answer)


def _text(name: Any) -> str:
    return str(name.to_text()).rstrip(".")
