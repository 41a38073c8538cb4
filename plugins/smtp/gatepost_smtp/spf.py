"""What a receiver decides by SPF (RFC 7208): whether an address may send mail in the name of a domain."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from gatepost_smtp.dns_lookup import Dns, LookupFailed
from gatepost_smtp.spf_record import Directive, InvalidRecord, UnknownMacro, expand, parse_record

Result = Literal["pass", "fail", "softfail", "neutral", "none", "permerror", "temperror", "unknown"]
"""The results of RFC 7208 §2.6, and ``unknown`` where only the receiver of a mail can evaluate a term."""

MAX_LOOKUPS, MAX_VOID_LOOKUPS, MAX_NAMES = 10, 2, 10
"""Terms that ask the DNS, those of them without an answer, and names of a mail server or of an address (§4.6.4)."""

_RESULTS: Mapping[str, Result] = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}


class Verdict(NamedTuple):
    """What a receiver decides."""

    result: Result
    reason: str = ""
    """The term of the domain's own record that decided, or why there is no decision."""


class _Undecided(Exception):
    def __init__(self, result: Result, reason: str) -> None:
        self.verdict = Verdict(result, reason)


async def check_host(address: str, domain: str, dns: Dns) -> Verdict:
    """Evaluate the record of a domain for an address. The work is bounded, whatever the DNS answers."""
    try:
        return await _Evaluation(address, domain, dns).decide(domain)
    except _Undecided as error:
        return error.verdict
    except LookupFailed as error:
        return Verdict("temperror", str(error))


async def spf_records(domain: str, dns: Dns) -> Sequence[str]:
    """Return the SPF records of a domain, which should be one."""
    return [text for text in await dns.texts(domain) if text.lower().split(" ")[0] == "v=spf1"]


class _Evaluation:
    """One call of ``check_host``, with what it has used of its limits."""

    def __init__(self, address: str, domain: str, dns: Dns) -> None:
        self._address = _unmapped(address)
        self._domain = domain
        self._dns = dns
        self._lookups = self._voids = 0
        self._path: list[str] = []
        """The domains whose records are being evaluated, each included by the one before it."""

    async def decide(self, domain: str) -> Verdict:
        """Evaluate the record of a domain; raises _Undecided and LookupFailed."""
        records = await spf_records(domain, self._dns) if _is_name(domain) else []
        if not records:
            return Verdict("none", f"{domain} has no SPF record")
        if len(records) > 1:
            raise _Undecided("permerror", f"{domain} has {len(records)} SPF records")
        if domain.lower() in self._path:
            raise _Undecided("permerror", f"it includes itself: {' → '.join([*self._path, domain.lower()])}")
        self._path.append(domain.lower())
        verdict = await self._decide_by(records[0], domain)
        self._path.pop()
        return verdict

    async def _decide_by(self, text: str, domain: str) -> Verdict:
        try:
            record = parse_record(text)
        except InvalidRecord as error:
            raise _Undecided("permerror", f"{error} (in the record of {domain})") from None
        for directive in record.directives:
            if await self._matches(directive, domain):
                return Verdict(_RESULTS[directive.qualifier], directive.text)
        if not record.redirect:
            return Verdict("neutral", "no term matches")
        self._count_lookup()
        verdict = await self.decide(self._expand(record.redirect, domain))
        if verdict.result == "none":
            raise _Undecided("permerror", f"{verdict.reason}, and redirect= leads there")
        return verdict._replace(reason=f"redirect={record.redirect}")

    async def _matches(self, directive: Directive, domain: str) -> bool:
        if directive.network or directive.mechanism == "all":
            return not directive.network or self._address in directive.network
        self._count_lookup()
        target = self._expand(directive.domain, domain) if directive.domain else domain
        if directive.mechanism == "include":
            return await self._includes(target)
        if not _is_name(target):
            return False
        if directive.mechanism == "exists":
            return self._answered(await self._dns.addresses_of_version(target, 4))
        if directive.mechanism == "ptr":
            return await self._has_name_under(target)
        found = await self._hosts_addresses(directive, target)
        length = directive.prefixes[self._address.version]
        return any(self._address in ipaddress.ip_network((one, length), strict=False) for one in found)

    async def _includes(self, domain: str) -> bool:
        verdict = await self.decide(domain)
        if verdict.result == "none":
            raise _Undecided("permerror", f"{verdict.reason}, and include: leads there")
        return verdict.result == "pass"

    async def _hosts_addresses(self, directive: Directive, target: str) -> Sequence[str]:
        """Return the addresses that ``a`` or ``mx`` stands for, of the version that is asked about."""
        if directive.mechanism == "a":
            found = await self._addresses(target)
            self._answered(found)
            return found
        hosts = [host for host in await self._dns.mail_servers(target) if host]
        if self._answered(hosts) and len(hosts) > MAX_NAMES:
            raise _Undecided("permerror", f"{target} has more than {MAX_NAMES} mail servers")
        return [address for host in hosts for address in await self._addresses(host)]

    async def _addresses(self, host: str) -> Sequence[str]:
        return await self._dns.addresses_of_version(host, self._address.version) if _is_name(host) else []

    async def _has_name_under(self, domain: str) -> bool:
        """Evaluate ``ptr``: whether a name of the address is of the domain, and leads back to the address."""
        try:
            names = await self._dns.names(str(self._address))
        except LookupFailed:
            return False
        self._answered(names)
        for name in names[:MAX_NAMES]:
            if f".{name}".lower().endswith(f".{domain}".lower()):
                try:
                    found = await self._addresses(name)
                except LookupFailed:
                    continue
                if self._address in map(ipaddress.ip_address, found):
                    return True
        return False

    def _expand(self, text: str, domain: str) -> str:
        reverse = self._address.reverse_pointer.split(".")
        values = {
            "d": domain,
            "o": self._domain,
            "i": str(self._address) if self._address.version == 4 else ".".join(reverse[-3::-1]),
            "v": reverse[-2],
        }
        try:
            return expand(text, values)
        except UnknownMacro as error:
            raise _Undecided("unknown", f"{error} depends on the mail") from None

    def _count_lookup(self) -> None:
        self._lookups += 1
        if self._lookups > MAX_LOOKUPS:
            raise _Undecided("permerror", f"its terms ask the DNS more than {MAX_LOOKUPS} times")

    def _answered(self, found: Sequence[str]) -> bool:
        """Return whether the DNS answered with something, and count it if not."""
        self._voids += not found
        if self._voids > MAX_VOID_LOOKUPS:
            raise _Undecided("permerror", f"more than {MAX_VOID_LOOKUPS} of its terms lead to nothing")
        return bool(found)


def _unmapped(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address that a receiver sees: of an IPv4 address written as IPv6 the IPv4 address (§5)."""
    parsed = ipaddress.ip_address(address)
    return (parsed.version == 6 and parsed.ipv4_mapped) or parsed


def _is_name(domain: str) -> bool:
    """Tell whether the DNS can be asked for a domain."""
    labels = domain.split(".")
    return len(domain) <= 253 and len(labels) > 1 and all(0 < len(label) <= 63 for label in labels)
