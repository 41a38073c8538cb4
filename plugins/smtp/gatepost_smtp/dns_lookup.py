"""Questions to the DNS. A name or a record that does not exist is an empty answer."""

import ipaddress
from typing import Any

from dns.asyncresolver import Resolver
from dns.exception import DNSException
from dns.resolver import NXDOMAIN, LifetimeTimeout, NoAnswer
from dns.reversename import from_address

_SECONDS = 3.0
"""Time for one question, with its repeats."""
_MAX_RECORDS = 500
"""Records of an answer that are looked at."""


class LookupFailed(Exception):
    """The DNS gave no usable answer; the text says why."""


class Dns:
    """Asks a resolver, and remembers its answers."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._answers: dict[tuple[str, str], list[Any] | LookupFailed] = {}

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
            return [*await self.addresses_of_version(host, 4), *await self.addresses_of_version(host, 6)]

    async def addresses_of_version(self, name: str, version: int) -> list[str]:
        """Return the IPv4 or the IPv6 addresses of a name, sorted: servers shuffle them."""
        return sorted(record.address for record in await self._records(name, "A" if version == 4 else "AAAA"))

    async def names(self, address: str) -> list[str]:
        """Return the names of an address."""
        records = await self._records(from_address(address).to_text(), "PTR")
        return [_text(record.target) for record in records]

    async def _records(self, name: str, kind: str) -> list[Any]:
        key = name.rstrip(".").lower(), kind
        if key not in self._answers:
            self._answers[key] = await self._ask(*key)
        answer = self._answers[key]
        if isinstance(answer, LookupFailed):
            raise answer
        return answer

    async def _ask(self, name: str, kind: str) -> list[Any] | LookupFailed:
        try:
            answer = await self._resolver.resolve(f"{name}.", kind, lifetime=_SECONDS)
        except (NXDOMAIN, NoAnswer):
            return []
        except LifetimeTimeout:
            return LookupFailed("the DNS gave no answer in time")
        except (DNSException, OSError) as error:
            return LookupFailed(f"the DNS gave no answer ({type(error).__name__})")
        return list(answer)[:_MAX_RECORDS]


def _text(name: Any) -> str:
    return str(name.to_text()).rstrip(".")
