"""The SPF record of the domain that gets the bounces: whether it is valid, and lets the relay send."""

import ipaddress
from collections.abc import AsyncIterator, Mapping, Sequence

from gatepost_smtp.dns_findings import DnsFinding, Grade
from gatepost_smtp.dns_lookup import Dns
from gatepost_smtp.spf import Verdict, check_host, spf_records

_MAX_ADDRESSES = 10
"""Addresses of a relay for which a record is evaluated."""
_NOBODY, _ANYBODY = "192.0.2.1", "198.51.100.1"
"""Addresses that no machine has (RFC 5737): a record that lets both send lets everybody."""


async def check_spf(domain: str, host: str, dns: Dns) -> AsyncIterator[DnsFinding]:
    """Evaluate the record of a domain for the public addresses of the relay; yield what is found."""
    found = await spf_records(domain, dns)
    addresses = (await public_addresses(host, dns))[:_MAX_ADDRESSES]
    if not found:
        yield DnsFinding(
            "SPF",
            domain,
            f"no record: publish a TXT record at DOMAIN, such as {_example(host, addresses)}, or with the include that your "
            "relay's provider names; you need none if the relay sets a return path of its own",
        )
        return
    if len(found) > 1:
        text = f"there are {len(found)} records, and receivers ignore all of them: make one of them"
        yield DnsFinding("SPF", domain, text)
        return
    strangers = [await check_host(address, domain, dns) for address in (_NOBODY, _ANYBODY)]
    verdicts = {address: await check_host(address, domain, dns) for address in addresses}
    failed = [one for one in [*verdicts.values(), *strangers] if one.result in {"permerror", "temperror"}]
    if failed:
        yield _failed(domain, failed[0])
    elif all(verdict.result == "pass" for verdict in strangers):
        text = f'the term "{strangers[0].reason}" lets everybody send in its name: end the record with "~all"'
        yield DnsFinding("SPF", domain, text)
    else:
        yield _relay_finding(domain, host, verdicts)


def _failed(domain: str, verdict: Verdict) -> DnsFinding:
    if verdict.result == "temperror":
        return DnsFinding("SPF", domain, f"the record can't be evaluated: {verdict.reason}")
    return DnsFinding("SPF", domain, f"receivers can't use the record: {verdict.reason}")


def _relay_finding(domain: str, host: str, verdicts: Mapping[str, Verdict]) -> DnsFinding:
    refused = [address for address, verdict in verdicts.items() if verdict.result not in {"pass", "unknown"}]
    unknown = [verdict.reason for verdict in verdicts.values() if verdict.result == "unknown"]
    if refused:
        # A relay under the same domain is the operator's own, and most of them deliver.
        is_own = f".{host}".lower().endswith(f".{domain}")
        text = (
            f"the record is valid, and does not permit {', '.join(refused)} of {host}. If this machine delivers, add "
            f"{_term(host)}; if others do, see that the record has the include that your relay's provider names"
        )
        return DnsFinding("SPF", domain, text, Grade.PROBLEM if is_own else Grade.UNKNOWN)
    if unknown:
        text = f"the record is valid; whether it permits {host} can't be known here: {unknown[0]}"
        return DnsFinding("SPF", domain, text, Grade.UNKNOWN)
    if not verdicts:
        text = f"the record is valid; see that it permits the machines that deliver, because {host} has no public address"
        return DnsFinding("SPF", domain, text, Grade.UNKNOWN)
    return DnsFinding("SPF", domain, f"permits {', '.join(verdicts)} of {host}", Grade.GOOD)


def _example(host: str, addresses: Sequence[str]) -> str:
    """Return an SPF record that lets the relay send."""
    if not addresses:
        return '"v=spf1 ip4:ADDRESS ~all" with the address from which your relay delivers'
    return f'"v=spf1 {_term(host)} ~all"'


def _term(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"a:{host}"
    return f"ip{address.version}:{address}"


async def public_addresses(host: str, dns: Dns) -> list[str]:
    """Return the relay's addresses in the internet; a host without a dot is a name of this network."""
    if "." not in host and ":" not in host:
        return []
    return [address for address in await dns.addresses(host) if ipaddress.ip_address(address).is_global]
