"""The policy for callback URLs: which of them may be called.

The URL comes from outside and the call carries the client's api_key. So one strict parser takes the URL apart, when
the message is accepted and again before each call, and the host must be one of the client's ``callback_hosts``.
``callbacks.client`` then refuses a name that stands for an address of the internal network.
"""

import ipaddress
import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote, unquote_plus

import msgspec

from gatepost.config.networks import Address, Network, parse_address
from gatepost.errors import ConfigError, Fault, GatepostError

MAX_URL_LENGTH = 2048
"""Characters of a callback URL."""

MAX_URLS = 1_000
"""Callback URLs that are remembered: few are called again and again."""

_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]*")
"""A value that is not changed by quoting (RFC 3986 §2.3)."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# Some resolvers read a name that ends in a number as an address: 0x7f.1, 127.1, 2130706433, 1.2.3.4.5.
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_URL = re.compile(
    r"(?P<scheme>[A-Za-z]+)://"
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    # The characters of RFC 3986, and the brackets that are common in queries.
    r"(?P<rest>(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?"
    r"(?:\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-Fa-f]{2})*)?)"
)

_NOT_PUBLIC = tuple(
    Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16",  # Azure's internal endpoint in each of its machines
        "2001::/23",  # Teredo, ORCHID, benchmarking and the other IETF protocol assignments
        *("2001:db8::/32", "3fff::/20"),
    )
)
_GLOBAL_UNICAST = Network("2000::/3")
_NAT64 = Network("64:ff9b::/96")


class CallbackUrlRefused(GatepostError):
    """This URL may not be called; the text says why and contains nothing of the URL but its host."""


class CallbackUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A URL that may be called, as ``CallbackUrlPolicy.check`` returns it."""

    scheme: str
    host: str
    """Lower case; an IPv6 address has no brackets."""
    port: int
    path: str
    """The bytes of the URL unchanged, with the leading slash."""
    query: str
    """The bytes of the URL unchanged, without the question mark."""
    private: bool
    """Whether the host may be or have an address that is not public."""

    def __repr__(self) -> str:
        return f"<CallbackUrl {self.host}:{self.port}>"

    def target_with(self, parameters: Mapping[str, str]) -> str:
        """Return path and query with these parameters at the end; they replace those of the same names."""
        begin = _without(self.path, self.query, tuple(parameters))
        return begin + "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in parameters.items()])


@lru_cache(MAX_URLS)
def _without(path: str, query: str, names: Collection[str]) -> str:
    """Return path and query without the parameters of these names, up to where others may follow."""
    parts = query.split("&") if query else ()
    others = [part for part in parts if unquote_plus(part.partition("=")[0]) not in names]
    return f"{path}?{''.join(f'{part}&' for part in others)}"


def _quoted(text: str) -> str:
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="")


class CallbackUrlPolicy:
    """The hosts to which the callbacks of one client may go."""

    def __init__(self, hosts: Sequence[str], allow_private: bool) -> None:
        """Take the client's ``callback_hosts``.

        Raises ConfigError for entries that can't be used, with keys relative to the client's table.
        """
        faults = self.faults(hosts)
        if faults:
            raise ConfigError(Fault("callback_hosts", fault) for fault in faults)
        entries = [entry.lower() for entry in hosts]
        self._addresses = {address for entry in entries if (address := _literal(entry)) is not None}
        self._names = {entry for entry in entries if not entry.startswith("*.")}
        self._parents = tuple(entry[1:] for entry in entries if entry.startswith("*."))
        self._private = allow_private

    @staticmethod
    def faults(hosts: Sequence[str]) -> list[str]:
        """Return what is wrong with these entries, one text for each unusable one."""
        return [
            f"entry {position} is not a name, *.name or an address; names are written in ASCII (xn--…), "
            "without scheme, port and path"
            for position, entry in enumerate(hosts, 1)
            if _literal(entry) is None and not _is_name(entry.lower().removeprefix("*."))
        ]

    def check(self, url: str) -> CallbackUrl:
        """Parse ``url``; raise CallbackUrlRefused unless the policy permits its scheme, host and port.

        The addresses behind a name are checked when it is called.
        """
        if len(url) > MAX_URL_LENGTH:
            raise CallbackUrlRefused(f"the callback_url is longer than {MAX_URL_LENGTH} characters")
        match = _URL.fullmatch(url)
        if match is None:
            raise CallbackUrlRefused(_syntax_problem(url))
        scheme = match["scheme"].lower()
        if scheme != "https" and not (scheme == "http" and self._private):
            raise CallbackUrlRefused("the callback_url must begin with https://")
        host = (match["v6"] or match["host"]).lower()
        address = self._listed_address(host, is_v6=match["v6"] is not None)
        if address is not None and not (self._private or is_public(address)):
            raise CallbackUrlRefused(f"the callback_url's host {host} is not a public address")
        port = int(match["port"]) if match["port"] else {"https": 443, "http": 80}[scheme]
        if not 1 <= port <= 65535:
            raise CallbackUrlRefused("the callback_url's port must be between 1 and 65535")
        path, _, query = match["rest"].partition("?")
        return CallbackUrl(
            scheme=scheme, host=host, port=port, path=path or "/", query=query, private=self._private
        )

    def _listed_address(self, host: str, *, is_v6: bool) -> Address | None:
        """Return the address of a listed host, None for a listed name; raise CallbackUrlRefused for other hosts."""
        address = parse_address(host)
        if (is_v6 and ":" not in host) or (address is None and (is_v6 or not _is_name(host))):
            raise CallbackUrlRefused("the callback_url's host is neither a name nor a dotted address")
        if address in self._addresses if address is not None else self._is_listed_name(host):
            return address
        raise CallbackUrlRefused(f"the callback_url's host {host} is not one of the client's callback_hosts")

    def _is_listed_name(self, host: str) -> bool:
        return host in self._names or host.endswith(self._parents)


def _is_name(host: str) -> bool:
    """Return whether this is a host name in lower case that no resolver reads as an address."""
    return len(host) <= 253 and bool(_NAME.fullmatch(host)) and not _NUMERIC_END.fullmatch(host)


def _literal(entry: str) -> Address | None:
    bracketed = entry.startswith("[") and entry.endswith("]") and ":" in entry
    return parse_address(entry[1:-1] if bracketed else entry)


def _syntax_problem(url: str) -> str:
    """Return why the parser refused the URL, for the most common reasons."""
    authority = url.partition("://")[2].partition("/")[0]
    if "@" in authority:
        return "the callback_url must not contain a user name or a password"
    if "#" in url:
        return "the callback_url must not have a fragment (#…)"
    if not url.isascii():
        return "the callback_url must be ASCII: xn-- in its host, %XX elsewhere"
    return "the callback_url is not a URL such as https://host/path?query"


def is_public(address: Address) -> bool:
    """Return whether the address is a public one of the internet; False in every case of doubt.

    An IPv6 address that contains an IPv4 address (mapped, 6to4, NAT64) is judged by that IPv4 address.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None:
            return is_public(address.sixtofour)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if address not in _GLOBAL_UNICAST:
            return False
    return not any(address in network for network in _NOT_PUBLIC)
