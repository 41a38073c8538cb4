"""IP addresses and networks as the allowlist, the proxies and the callback targets mean them."""

import ipaddress
from functools import lru_cache
from typing import final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """An address, or None for anything else. IPv4 in IPv6 clothes (``::ffff:1.2.3.4``) is IPv4.

    Zone ids (``fe80::1%eth0``) are refused: they mean something on one machine only. What was parsed is
    remembered: the same few peers ask again and again, and the library takes 15 µs each time.
    """
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@final
class Network:
    """One entry of an allowlist: an address or a network, v4 or v6."""

    __slots__ = ("_net",)

    def __init__(self, text: str) -> None:
        """Raises ValueError, whose text says what to write instead."""
        try:
            self._net = ipaddress.ip_network(text)
        except ValueError as error:
            if "host bits" in str(error):
                raise ValueError(
                    f"has host bits set; write {ipaddress.ip_network(text, strict=False)}"
                ) from None
            raise ValueError("is not an address or network, such as 203.0.113.7 or 2001:db8::/32") from None
        if isinstance(self._net, ipaddress.IPv6Network) and self._net.network_address.ipv4_mapped is not None:
            mapped = self._net.network_address.ipv4_mapped
            self._net = ipaddress.ip_network((int(mapped), self._net.prefixlen - 96))

    def __contains__(self, address: Address) -> bool:
        return address in self._net

    def overlaps(self, other: "Network") -> bool:
        """Whether some address is in both."""
        mine, theirs = self._net, other._net  # noqa: SLF001  the other is of this class
        if isinstance(mine, ipaddress.IPv4Network) and isinstance(theirs, ipaddress.IPv4Network):
            return mine.overlaps(theirs)
        if isinstance(mine, ipaddress.IPv6Network) and isinstance(theirs, ipaddress.IPv6Network):
            return mine.overlaps(theirs)
        return False

    def __eq__(self, other: object) -> bool:
        return self._net == other._net if isinstance(other, Network) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._net)

    def __repr__(self) -> str:
        return str(self._net)
