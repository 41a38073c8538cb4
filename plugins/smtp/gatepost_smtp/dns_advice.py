"""What the DNS lacks for the mails of a relay: SPF, DKIM, DMARC, MX and PTR, each with what to publish where.

Only the operator can publish a record, so each finding says its name and its text.
"""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping, Sequence

from gatepost_smtp.dkim import Signer, signers_for
from gatepost_smtp.dkim_keys import dns_record, public_key
from gatepost_smtp.dns_lookup import Dns, LookupFailed
from gatepost_smtp.settings import Settings

_MAX_PARALLEL = 20
"""Domains whose records are looked up at one time."""


async def find_problems(
    settings: Settings, signers: Mapping[str, Sequence[Signer]], domains: Sequence[str], dns: Dns
) -> list[str]:
    """Look the records of the sender domains and of the DKIM keys up; return what is wrong, in their order."""
    own = settings.return_path.rpartition("@")[2] or settings.bounce_domain
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
        for name in ([own] if own else domains)
    ]
    for name in domains:
        checks.append(collect(f"the DMARC record of {name}", _dmarc_problems(name, signers, dns)))
        checks.append(collect(f"the MX record of {name}", _mx_problems(name, dns)))
    checks += [
        collect(f"the DKIM record {signer.place}", _dkim_problems(signer, dns)) for signer in every_signer
    ]
    return [problem for problems in await asyncio.gather(*checks) for problem in problems]


async def _spf_problems(domain: str, host: str, dns: Dns) -> AsyncIterator[str]:
    found = [text for text in await dns.texts(domain) if text.lower().split(" ")[0] == "v=spf1"]
    if not found:
        yield (
            f'{domain} has no SPF record: publish a TXT record at {domain}, such as "v=spf1 {_mechanism(host)} ~all", '
            "or with the include that your relay's provider names"
        )
    elif len(found) > 1:
        yield f"{domain} has {len(found)} SPF records, and receivers ignore all of them: make one of them"
    elif found[0].lower().split()[-1] in {"+all", "all"}:
        yield f'the SPF record of {domain} lets everybody send in its name: end it with "~all" instead of "+all"'


def _mechanism(host: str) -> str:
    """Return the part of an SPF record that lets the relay send."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"a:{host}"
    return f"ip{address.version}:{address}"


async def _dkim_problems(signer: Signer, dns: Dns) -> AsyncIterator[str]:
    wanted = f'publish this TXT record there: "{dns_record(signer.key)}"'
    found = [text for text in await dns.texts(signer.place) if "p=" in text]
    if not found:
        yield f"there is no DKIM record at {signer.place}: {wanted}"
        return
    if len(found) > 1:
        yield f"there are {len(found)} DKIM records at {signer.place}, and receivers may take any: leave one of them"
        return
    tags = _tags(found[0])
    if not tags.get("p"):
        yield f"the DKIM key at {signer.place} is revoked (its p= is empty): {wanted}"
    elif tags["p"] != public_key(signer.key):
        yield f"the DKIM record at {signer.place} holds another key, so that every signature is invalid: {wanted}"
    if "y" in tags.get("t", "").split(":"):
        yield f"the DKIM record at {signer.place} is for tests (t=y), so that receivers ignore its signatures: remove t=y"


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
    if not any(servers):
        yield (
            f"{domain} takes no mail, and some receivers refuse senders that can't be answered: publish an MX record "
            f"at {domain} with the name of its mail server"
        )


async def _reverse_problems(host: str, dns: Dns) -> AsyncIterator[str]:
    """Yield the public addresses of the relay whose name in the DNS does not lead back to them."""
    for address in await dns.addresses(host):
        if not ipaddress.ip_address(address).is_global:
            continue
        names = await dns.names(address)
        if not names:
            yield (
                f"the relay's address {address} has no PTR record: if it delivers mails itself, the owner of the address "
                f"(your hosting provider) must publish one with {host}"
            )
        elif not any([address in await dns.addresses(name) for name in names]):
            yield (
                f"the relay's address {address} has the name {names[0]} (PTR), which does not lead back to it: publish an "
                f"address record of {names[0]}, or change the PTR record"
            )


def _tags(record: str) -> dict[str, str]:
    """Return the tags of a DKIM or DMARC record."""
    pairs = (part.partition("=") for part in record.split(";"))
    return {name.strip(): "".join(value.split()) for name, _, value in pairs}
