"""What the DNS lacks for the mails of a relay: SPF, DKIM, DMARC, MX and PTR, each with what to publish where.

Only the operator can publish a record, so each finding says its name and its text.
"""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping, Sequence

from gatepost_smtp.dkim import Signer, signers_for
from gatepost_smtp.dkim_keys import dns_record, key_type, public_keys
from gatepost_smtp.dns_lookup import Dns, LookupFailed
from gatepost_smtp.settings import Settings

_MAX_PARALLEL = 20
"""Records that are looked up at one time."""
_MAX_PER_ANSWER = 10
"""Addresses of a relay, and names of an address, that are looked up; SPF has the same limit."""


async def find_problems(
    settings: Settings, signers: Mapping[str, Sequence[Signer]], sender_domains: Sequence[str], dns: Dns
) -> list[str]:
    """Look the records of the sender domains and of the DKIM keys up; return what is wrong, in their order.

    A key's domain counts as one of senders, unless it is there for subdomains that are.
    """
    for_subdomains = [signers_for(domain, signers) for domain in sender_domains]
    domains = dict.fromkeys(
        [*sender_domains, *(domain for domain, own in signers.items() if own not in for_subdomains)]
    )
    own = (settings.return_path.rpartition("@")[2] or settings.bounce_domain).lower()
    bounce_domains = dict.fromkeys([own] if own else domains)
    every_signer = [signer for some in signers.values() for signer in some]
    slots = asyncio.Semaphore(_MAX_PARALLEL)

    async def collect(what: str, found: AsyncIterator[str]) -> list[str]:
        async with slots:
            try:
                return [problem async for problem in found]
            except LookupFailed as error:
                return [f"{what} can't be looked up: {error}"]

    checks = [collect(f"the names of {settings.host}", _reverse_problems(settings.host, dns))]
    checks += [
        collect(f"the SPF record of {name}", _spf_problems(name, settings.host, dns))
        for name in bounce_domains
    ]
    checks += [
        collect(f"the DMARC record of {name}", _dmarc_problems(name, signers, dns)) for name in domains
    ]
    checks += [
        collect(f"the MX record of {name}", _mx_problems(name, dns)) for name in domains | bounce_domains
    ]
    checks += [
        collect(f"the DKIM record {signer.place}", _dkim_problems(signer, dns)) for signer in every_signer
    ]
    return [problem for problems in await asyncio.gather(*checks) for problem in problems]


async def _spf_problems(domain: str, host: str, dns: Dns) -> AsyncIterator[str]:
    found = [text for text in await dns.texts(domain) if text.lower().split(" ")[0] == "v=spf1"]
    if not found:
        yield (
            f"{domain} has no SPF record: publish a TXT record at {domain}, such as {await _example(host, dns)}, or with the "
            "include that your relay's provider names; you need none if the relay sets a return path of its own"
        )
    elif len(found) > 1:
        yield f"{domain} has {len(found)} SPF records, and receivers ignore all of them: make one of them"
    elif found[0].lower().split()[-1] in {"+all", "all"}:
        yield f'the SPF record of {domain} lets everybody send in its name: end it with "~all" instead of "+all"'


async def _example(host: str, dns: Dns) -> str:
    """Return an SPF record that lets the relay send."""
    if not await _public_addresses(host, dns):
        return '"v=spf1 ip4:ADDRESS ~all" with the address from which your relay delivers'
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f'"v=spf1 a:{host} ~all"'
    return f'"v=spf1 ip{address.version}:{address} ~all"'


async def _dkim_problems(signer: Signer, dns: Dns) -> AsyncIterator[str]:
    place = signer.place
    wanted = f'publish this TXT record there: "{dns_record(signer.key)}"'
    found = [tags for text in await dns.texts(place) if "p" in (tags := _tags(text))]
    if not found:
        yield f"there is no DKIM record at {place}: {wanted}"
        return
    if len(found) > 1:
        yield f"there are {len(found)} DKIM records at {place}, and receivers may take any: leave one of them"
        return
    [tags] = found
    if not tags["p"]:
        yield f"the DKIM key at {place} is revoked (its p= is empty): {wanted}"
    elif tags["p"] not in public_keys(signer.key):
        yield f"the DKIM record at {place} holds another key, so that every signature is invalid: {wanted}"
    elif tags.get("k", "rsa") != key_type(signer.key) or "sha256" not in tags.get("h", "sha256").split(":"):
        yield f"the DKIM record at {place} is not for signatures with {key_type(signer.key)}-sha256 (k=, h=): {wanted}"
    if "y" in tags.get("t", "").split(":"):
        yield f"the DKIM record at {place} is for tests (t=y), so that receivers ignore its signatures: remove t=y"


async def _dmarc_problems(
    domain: str, signers: Mapping[str, Sequence[Signer]], dns: Dns
) -> AsyncIterator[str]:
    place, found = domain, await _dmarc_records(domain, dns)
    # A receiver looks at the domain and then at the registered domain above it, which has at least two labels.
    while not found and place.count(".") > 1:
        place = place.partition(".")[2]
        found = await _dmarc_records(place, dns)
    if not found:
        yield (
            f"{domain} has no DMARC record, which Gmail and Yahoo ask for: publish a TXT record at _dmarc.{domain}, such as "
            '"v=DMARC1; p=none"'
        )
        return
    if len(found) > 1:
        yield f"_dmarc.{place} has {len(found)} DMARC records, and receivers ignore all of them: leave one of them"
    own = signers_for(domain, signers)
    if own and own[0].domain != domain and _tags(found[0]).get("adkim", "r").lower() == "s":
        yield (
            f"the DMARC record of {domain} wants signatures of exactly this domain (adkim=s), and the key in dkim is of "
            f"{own[0].domain}: add a key of {domain}, or remove adkim=s"
        )


async def _dmarc_records(domain: str, dns: Dns) -> list[str]:
    return [text for text in await dns.texts(f"_dmarc.{domain}") if _tags(text).get("v") == "DMARC1"]


async def _mx_problems(domain: str, dns: Dns) -> AsyncIterator[str]:
    servers = await dns.mail_servers(domain)
    # RFC 5321 §5.1: without an MX record the domain's own address is its mail server.
    if not any(servers or await dns.addresses(domain)):
        yield (
            f"{domain} takes no mail, so that answers and bounces are lost, and some receivers refuse such senders: publish "
            f"an MX record at {domain} with the name of its mail server"
        )


async def _reverse_problems(host: str, dns: Dns) -> AsyncIterator[str]:
    """Yield the first public address of the relay that has no name, and the first whose name does not lead back to it."""
    nameless, astray = "", ""
    for address in (await _public_addresses(host, dns))[:_MAX_PER_ANSWER]:
        names = (await dns.names(address))[:_MAX_PER_ANSWER]
        if not names:
            nameless = nameless or (
                f"the relay's address {address} has no PTR record: if it delivers mails itself, the owner of the address "
                f"(your hosting provider) must publish one with {host}"
            )
        elif not any([address in await dns.addresses(name) for name in names]):
            astray = astray or (
                f"the relay's address {address} has the name {names[0]} (PTR), which does not lead back to it: if it "
                f"delivers mails itself, publish an address record of {names[0]}, or change the PTR record"
            )
    for problem in filter(None, (nameless, astray)):
        yield problem


async def _public_addresses(host: str, dns: Dns) -> list[str]:
    """Return the relay's addresses in the internet; a host without a dot is a name of this network."""
    if "." not in host and ":" not in host:
        return []
    return [address for address in await dns.addresses(host) if ipaddress.ip_address(address).is_global]


def _tags(record: str) -> dict[str, str]:
    """Return the tags of a DKIM or DMARC record."""
    pairs = (part.partition("=") for part in record.split(";"))
    return {name.strip(): "".join(value.split()) for name, _, value in pairs}
