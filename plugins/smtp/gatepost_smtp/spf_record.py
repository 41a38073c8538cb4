"""The text of an SPF record (RFC 7208): its terms, and the macros in them. Pure functions."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAX_LENGTH = 10_000
"""Characters of a record. Those of large providers have fewer than 2,000."""
_MAX_QUOTED = 60
"""Characters of a term in the text of an error."""
_MAX_NAME_LENGTH = 253

_MACRO = re.compile(r"%\{([A-Za-z])([0-9]{0,3})([Rr]?)([-.+,/_=]*)\}|%%|%_|%-")
_MACRO_STRING = re.compile(r"(?:%\{[A-Za-z][0-9]{0,3}[Rr]?[-.+,/_=]*\}|%%|%_|%-|[!-$&-~])*")
_ENDS_IN_MACRO = re.compile(r"(?:\}|%%|%_|%-)\Z")
_LAST_LABEL = re.compile(r"(?![0-9]+\Z)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_TERM = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9_.-]*)(.*)", re.DOTALL)
_DOMAIN_AND_PREFIXES = re.compile(r"(?::(.+?))?(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?")
_IP = re.compile(r":([0-9A-Fa-f:.]+)(?:/(0|[1-9][0-9]{0,2}))?")
_LITERALS = {"%%": "%", "%_": " ", "%-": "%20"}
_LETTERS = "slodiphv"

_NEEDS_DOMAIN, _HAS_PREFIXES = {"include", "exists"}, {"a", "mx"}


class InvalidRecord(Exception):
    """The record breaks the rules of RFC 7208, so that receivers ignore it; the text says where."""


class UnknownMacro(Exception):
    """What a macro stands for is known to the receiver of a mail alone."""


class Directive(NamedTuple):
    """A term that may match, such as ``-all`` or ``~a:relay.example/24``."""

    text: str
    qualifier: str
    mechanism: str
    domain: str = ""
    """With macros; empty where the mechanism names none."""
    network: Network | None = None
    prefixes: Mapping[int, int] = {4: 32, 6: 128}
    """The length of the network around an address, by IP version."""


class Record(NamedTuple):
    """A record that follows the rules."""

    directives: Sequence[Directive]
    redirect: str = ""
    """With macros; empty where there is none."""


@lru_cache(maxsize=64)
def parse_record(text: str) -> Record:
    """Return the terms of a record, which begins with ``v=spf1``; raises InvalidRecord."""
    if len(text) > _MAX_LENGTH:
        raise InvalidRecord(f"it is longer than {_MAX_LENGTH:,} characters")
    directives, modifiers = [], {}
    for term in filter(None, text.split(" ")[1:]):
        match = _TERM.fullmatch(term)
        if not match:
            raise _invalid(term)
        qualifier, name, rest = match.groups()
        if rest.startswith("="):
            if qualifier or (name.lower() in modifiers and name.lower() in {"redirect", "exp"}):
                raise _invalid(term)
            modifiers[name.lower()] = _modifier(term, name.lower(), rest[1:])
        else:
            directives.append(_directive(term, qualifier or "+", name.lower(), rest))
    return Record(directives, modifiers.get("redirect", ""))


def expand(text: str, values: Mapping[str, str]) -> str:
    """Return a domain with its macros replaced by ``values``, which are by letter; raises UnknownMacro.

    Labels on the left are left out until it is short enough for a name (RFC 7208 §7.3).
    """

    def value(match: re.Match[str]) -> str:
        letter, digits, reverse, delimiters = match.groups()
        if letter is None:
            return _LITERALS[match[0]]
        if letter.lower() not in values:
            raise UnknownMacro(match[0])
        parts = re.split(f"[{re.escape(delimiters or '.')}]", values[letter.lower()])
        parts = (parts[::-1] if reverse else parts)[-int(digits or 0) :]
        return quote(".".join(parts), safe="") if letter.isupper() else ".".join(parts)

    name = _MACRO.sub(value, text).removesuffix(".")
    return name if len(name) <= _MAX_NAME_LENGTH else name[-_MAX_NAME_LENGTH - 1 :].partition(".")[2]


def _directive(term: str, qualifier: str, name: str, rest: str) -> Directive:
    if name in {"ip4", "ip6"}:
        return Directive(term, qualifier, name, network=_network(term, int(name[2]), rest))
    match = _DOMAIN_AND_PREFIXES.fullmatch(rest)
    if not match or (name == "all" and rest):
        raise _invalid(term)
    domain, prefix4, prefix6 = match.groups()
    if (prefix4 or prefix6) and name not in _HAS_PREFIXES:
        raise _invalid(term)
    if not (_is_domain_spec(domain) if domain else name in {"a", "mx", "ptr", "all"}):
        raise _invalid(term)
    if name not in {"all", "include", "exists", "a", "mx", "ptr"}:
        raise _invalid(term)
    prefixes = {4: int(prefix4 or 32), 6: int(prefix6 or 128)}
    if prefixes[4] > 32 or prefixes[6] > 128:
        raise _invalid(term)
    return Directive(term, qualifier, name, domain or "", prefixes=prefixes)


def _network(term: str, version: int, rest: str) -> Network:
    match = _IP.fullmatch(rest)
    try:
        network = ipaddress.ip_network(rest[1:], strict=False) if match else None
    except ValueError:
        network = None
    if network is None or network.version != version:
        raise _invalid(term)
    return network


def _modifier(term: str, name: str, value: str) -> str:
    is_valid = _is_domain_spec(value) if name in {"redirect", "exp"} else _is_macro_string(value)
    if not is_valid:
        raise _invalid(term)
    return value


def _is_macro_string(text: str) -> bool:
    if not _MACRO_STRING.fullmatch(text):
        return False
    letters = [match for match in _MACRO.finditer(text) if match[1]]
    return all(match[1].lower() in _LETTERS and (not match[2] or int(match[2])) for match in letters)


def _is_domain_spec(text: str) -> bool:
    _, dot, last = text.removesuffix(".").rpartition(".")
    ends_well = _ENDS_IN_MACRO.search(text) or (dot and _LAST_LABEL.fullmatch(last))
    return bool(ends_well) and _is_macro_string(text)


def _invalid(term: str) -> InvalidRecord:
    shown = term if len(term) <= _MAX_QUOTED else f"{term[:_MAX_QUOTED]}…"
    return InvalidRecord(f'the term "{shown}" is not valid')
