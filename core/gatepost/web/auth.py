"""Who is asking: the caller's address, behind proxies too, and the client it may speak for."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from gatepost.config.networks import Address, Network, parse_address
from gatepost.config.settings import Client
from gatepost.errors import Code, Refused
from gatepost.model import Channel

Headers = Iterable[tuple[bytes, bytes]]

_KNOWN_ADDRESSES = 4096
"""Addresses whose clients are remembered; the next one pushes out the least recently seen."""

_PASSED_ON = (b"x-forwarded-", b"forwarded", b"x-real-ip", b"via")
"""How the headers begin that nobody but a proxy writes."""

# Some proxies write the caller's port too (Azure's Application Gateway does): 1.2.3.4:567, [2001:db8::1]:567.
_WITH_PORT = re.compile(r"(?:(?P<v4>[0-9.]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?")


class Access:
    """The allowlists and secrets of every client, and who may observe the gateway."""

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
        self._candidates = lru_cache(maxsize=_KNOWN_ADDRESSES)(self._listing)

    def caller(self, peer: str | None, headers: Headers) -> Address | None:
        """The address the request is from; None when nobody can tell, and then it is refused.

        That is the peer's. A trusted proxy is believed about who asked *it*: the right-most address of
        X-Forwarded-For that is no trusted proxy itself, or the left-most where all of them are. One element
        on the way that is no address, an empty one included, makes the whole untellable.
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

    def may_observe(self, peer: str | None, headers: Headers) -> bool:
        """Return whether the request may read the metrics: it is from the loopback or from ``metrics_allow``.

        What a proxy passed on never counts as from the loopback. It counts as from the caller whom a trusted
        proxy names in X-Forwarded-For; without that name it is refused.
        """
        headers = list(headers)
        address = self.caller(peer, headers)
        if address is None:
            return False
        listed = any(address in network for network in self._metrics_allow)
        names = {name.lower() for name, _ in headers}
        if not any(name.startswith(_PASSED_ON) for name in names):
            return listed or address.is_loopback
        proxy = parse_address(peer) if peer else None
        trusted = proxy is not None and self._is_trusted(proxy)
        return listed and trusted and b"x-forwarded-for" in names

    def admit(self, address: Address | None, headers: Headers, channel: Channel) -> tuple[str, Client]:
        """The client that this address and this Authorization header belong to, and its name.

        Raises Refused: NOT_ALLOWED when no client lists the address, before any secret is looked at;
        WRONG_AUTHORIZATION when none of those that list it has the secret.
        """
        # By its numbers: an address object is hashed in Python, and that for every request.
        candidates = self._candidates(address.version, int(address)) if address is not None else ()
        if not candidates:
            raise Refused(
                Code.NOT_ALLOWED,
                "the caller's address is not in the allow_ips of any client; "
                "behind a proxy, server.trusted_proxies must list the proxy",
            )
        values = [value for name, value in headers if name.lower() == b"authorization"]
        if len(values) > 1:
            raise Refused(Code.WRONG_AUTHORIZATION, "the request has more than one Authorization header")
        # Blanks around a header's value are no part of it (RFC 9110, 5.5), and the parser leaves those behind.
        owner = self._owner(candidates, values[0].strip(b" \t")) if values else None
        if owner is None and channel is Channel.SMS:
            unguarded = [name for name in candidates if not self._clients[name].sms_authorization]
            owner = unguarded[0] if len(unguarded) == 1 else None
        if owner is not None:
            return owner, self._clients[owner]
        raise Refused(
            Code.WRONG_AUTHORIZATION,
            "the Authorization header is not the secret of a client that lists the caller's address"
            if values
            else "the Authorization header is missing",
        )

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted_proxies)

    def _listing(self, version: int, number: int) -> tuple[str, ...]:
        address = IPv4Address(number) if version == 4 else IPv6Address(number)
        return tuple(
            name
            for name, client in self._clients.items()
            if any(address in network for network in client.allow_ips)
        )

    def _owner(self, candidates: Iterable[str], value: bytes) -> str | None:
        given = _digest(value)
        owner = None
        # Every secret is compared, whichever matched: the time taken says nothing about any of them.
        for name in candidates:
            for known in self._secrets[name]:
                if hmac.compare_digest(known, given):
                    owner = owner or name
        return owner


def _digest(value: bytes) -> bytes:
    # Of equal length whatever the secret's is, and bytes: compare_digest raises on a str beyond ASCII.
    return hashlib.sha256(value).digest()


def _forwarded(element: str) -> Address | None:
    match = _WITH_PORT.fullmatch(element)
    return parse_address((match["v4"] or match["v6"]) if match else element)
