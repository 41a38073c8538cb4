"""The authentication of a request: its client address, behind proxies too, and the client that it belongs to."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from gatepost.config.client import Client
from gatepost.config.networks import Address, Network, parse_address
from gatepost.errors import Code, Refused
from gatepost.model import Channel

Headers = Iterable[tuple[bytes, bytes]]

_CACHED_ADDRESSES = 4096
"""Addresses whose clients are cached; the least recently used one is dropped for a new one."""

_PROXY_HEADERS = (b"x-forwarded-", b"forwarded", b"x-real-ip", b"via")
"""How the names of headers begin that only a proxy adds."""

# Some proxies add the client's port (Azure's Application Gateway does): 1.2.3.4:567, [2001:db8::1]:567.
_WITH_PORT = re.compile(r"(?:(?P<v4>[0-9.]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?")


class Authenticator:
    """The allowlists and secrets of all clients, and the networks that may read the metrics."""

    def __init__(
        self,
        clients: Mapping[str, Client],
        trusted_proxies: Sequence[Network],
        metrics_allow: Sequence[Network] = (),
    ) -> None:
        self._clients = dict(clients)
        self._trusted_proxies = tuple(trusted_proxies)
        self._metrics_allow = tuple(metrics_allow)
        self._secrets = {
            name: tuple(_digest(secret.reveal().encode()) for secret in client.authorization)
            for name, client in clients.items()
        }
        self._cached_candidates = lru_cache(maxsize=_CACHED_ADDRESSES)(self._candidates)

    def client_address(self, peer: str | None, headers: Headers) -> Address | None:
        """Return the address that the request comes from; None when it is unknown.

        This is the peer's address, unless the peer is a trusted proxy. Then it is the right-most address in
        X-Forwarded-For that is not a trusted proxy, or the left-most one if all of them are. The result is None if
        one of the elements that are read, from the right up to that address, is empty or not an address.
        """
        address = parse_address(peer) if peer is not None else None
        if address is None or not (self._trusted_proxies and self._is_trusted(address)):
            return address
        values = [value for name, value in headers if name.lower() == b"x-forwarded-for"]
        for element in reversed(b",".join(values).decode("latin-1").split(",") if values else ()):
            address = _forwarded(element.strip(" \t"))
            if address is None or not self._is_trusted(address):
                break
        return address

    def may_read_metrics(self, peer: str | None, headers: Headers) -> bool:
        """Return whether the request may read the metrics: it comes from the loopback or from ``metrics_allow``.

        A request through a proxy never counts as coming from the loopback. It counts as coming from the address
        that a trusted proxy gives in X-Forwarded-For; if there is none it is refused.
        """
        headers = list(headers)
        address = self.client_address(peer, headers)
        if address is None:
            return False
        listed = any(address in network for network in self._metrics_allow)
        names = {name.lower() for name, _ in headers}
        if not any(name.startswith(_PROXY_HEADERS) for name in names):
            return listed or address.is_loopback
        proxy = parse_address(peer) if peer else None
        trusted = proxy is not None and self._is_trusted(proxy)
        return listed and trusted and b"x-forwarded-for" in names

    def authenticate(self, address: Address | None, headers: Headers, channel: Channel) -> tuple[str, Client]:
        """Return the name and the settings of the client that the address and the Authorization header belong to.

        Raises Refused: NOT_ALLOWED when no client lists the address, before any secret is compared;
        WRONG_AUTHORIZATION when none of the clients that list it has this secret.
        """
        # The cache's key is two integers: an address object would be hashed in Python for every request.
        candidates = self._cached_candidates(address.version, int(address)) if address is not None else ()
        if not candidates:
            raise Refused(
                Code.NOT_ALLOWED,
                "the client address is not in the allow_ips of any client; "
                "behind a proxy, server.trusted_proxies must list the proxy",
            )
        values = [value for name, value in headers if len(name) == 13 and name.lower() == b"authorization"]
        if len(values) > 1:
            raise Refused(Code.WRONG_AUTHORIZATION, "the request has more than one Authorization header")
        # Spaces around a header's value do not belong to it (RFC 9110, 5.5); the parser keeps the trailing ones.
        name = self._client_with_secret(candidates, values[0].strip(b" \t")) if values else None
        if name is None and channel is Channel.SMS:
            without_secret = [one for one in candidates if not self._clients[one].sms_authorization]
            name = without_secret[0] if len(without_secret) == 1 else None
        if name is not None:
            return name, self._clients[name]
        raise Refused(
            Code.WRONG_AUTHORIZATION,
            "the Authorization header is not the secret of a client that lists the client address"
            if values
            else "the Authorization header is missing",
        )

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted_proxies)

    def _candidates(self, version: int, number: int) -> tuple[str, ...]:
        address = IPv4Address(number) if version == 4 else IPv6Address(number)
        return tuple(
            name
            for name, client in self._clients.items()
            if any(address in network for network in client.allow_ips)
        )

    def _client_with_secret(self, candidates: Iterable[str], value: bytes) -> str | None:
        digest = _digest(value)
        found = None
        # All secrets are compared, also after a match, so that the time taken tells nothing about any of them.
        for name in candidates:
            for secret in self._secrets[name]:
                if hmac.compare_digest(secret, digest):
                    found = found or name
        return found


def _digest(value: bytes) -> bytes:
    # Digests have the same length for every secret, and are bytes: compare_digest raises on non-ASCII text.
    return hashlib.sha256(value).digest()


def _forwarded(element: str) -> Address | None:
    match = _WITH_PORT.fullmatch(element)
    return parse_address((match["v4"] or match["v6"]) if match else element)
