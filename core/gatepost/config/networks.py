"""IP addresses and networks, for the allowlist, the trusted proxies and the callback hosts."""

import ipaddress
from functools import lru_cache
from typing import final

MAX_PORT = 65_535

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """Parse an address; None for any other text. A mapped IPv4 address (``::ffff:1.2.3.4``) becomes IPv4.

    Zone ids (``fe80::1%eth0``) are refused, because they mean something on one machine only. Results are
    cached: the same few peers connect again and again, and the library takes 15 µs each time.
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


def parse_listen(text: str) -> tuple[str, int]:
    """Return the host and the port of ``127.0.0.1:8090``, ``[::1]:8090`` or ``localhost:8090``; raises ValueError."""
    host, colon, port = text.rpartition(":")
    name = host.removeprefix("[").removesuffix("]")
    if not (colon and name and port.isascii() and port.isdigit() and int(port) <= MAX_PORT):
        raise ValueError("must be an address and a port, such as 127.0.0.1:8090 or [::1]:8090")
    if (":" in name) != host.startswith("["):
        raise ValueError("an IPv6 address stands in brackets, as in [::1]:8090")
    return name, int(port)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone."""
    address = parse_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


@final
class Network:
    """An entry of an allowlist: an address or a network, IPv4 or IPv6."""

    __slots__ = ("_net",)

    def __init__(self, text: str) -> None:
        """Parse ``text``; raises ValueError, whose text says what to write instead."""
        try:
            self._net = ipaddress.ip_network(text)
        except ValueError as error:
            if "host bits" in str(error):
                raise ValueError(
                    f"has host bits set; write {ipaddress.ip_network(text, strict=False)}"
                ) from None
            raise ValueError("is not an address or a network, such as 203.0.113.7 or 2001:db8::/32") from None
        if isinstance(self._net, ipaddress.IPv6Network) and self._net.network_address.ipv4_mapped is not None:
            mapped = self._net.network_address.ipv4_mapped
            self._net = ipaddress.ip_network((int(mapped), self._net.prefixlen - 96))

    def __contains__(self, address: Address) -> bool:
        return address in self._net

    def overlaps(self, other: "Network") -> bool:
        """Return whether some address is in both networks."""
        first, second = self._net, other._net  # noqa: SLF001  the other is of this class
        if isinstance(first, ipaddress.IPv4Network) and isinstance(second, ipaddress.IPv4Network):
            return first.overlaps(second)
        if isinstance(first, ipaddress.IPv6Network) and isinstance(second, ipaddress.IPv6Network):
            return first.overlaps(second)
        return False

    def __eq__(self, other: object) -> bool:
        return self._net == other._net if isinstance(other, Network) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._net)

    def __repr__(self) -> str:
        return str(self._net)
