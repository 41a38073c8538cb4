"""The DMARC record of a sender domain, and whether its mails are aligned: the check that the From is the sender's own."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from gatepost_smtp.dkim import Signer, signers_for
from gatepost_smtp.dns_findings import DnsFinding, Grade
from gatepost_smtp.dns_lookup import Dns, LookupFailed
from gatepost_smtp.record_tags import tags_of

_POLICIES = ("none", "quarantine", "reject")


class _Policy(NamedTuple):
    """The records that count for a domain."""

    place: str
    """The domain that has them: this one, or the closest parent that has some."""
    records: Sequence[Mapping[str, str]]


async def check_dmarc(
    domain: str, bounce_domain: str, signers: Mapping[str, Sequence[Signer]], dns: Dns
) -> AsyncIterator[DnsFinding]:
    """Look up the record of a sender domain, whose bounces go to ``bounce_domain``; yield what is found."""
    policy = await _policy_of(domain, dns)
    if not policy.records:
        text = 'no record, which Gmail and Yahoo ask for: publish a TXT record at _dmarc.DOMAIN, such as "v=DMARC1; p=none"'
        yield DnsFinding("DMARC", domain, text)
        return
    if len(policy.records) > 1:
        text = (
            f"_dmarc.{policy.place} has {len(policy.records)} records, and receivers ignore all of them: "
            "leave one of them"
        )
        yield DnsFinding("DMARC", domain, text)
        return
    [tags] = policy.records
    yield _policy_finding(domain, policy.place, tags)
    try:
        yield await _alignment(domain, bounce_domain, signers_for(domain, signers), tags, dns)
    except LookupFailed as error:
        yield DnsFinding("alignment", domain, f"can't be looked up: {error}")


def _policy_finding(domain: str, place: str, tags: Mapping[str, str]) -> DnsFinding:
    wanted = tags.get("p", "")
    if place != domain:
        wanted = tags.get("sp", wanted)
    if wanted.lower() not in _POLICIES:
        text = f"_dmarc.{place} has no valid policy, so that receivers ignore it: write p=none, p=quarantine or p=reject"
        return DnsFinding("DMARC", domain, text)
    origin = "" if place == domain else f", as {place} says"
    return DnsFinding("DMARC", domain, f"the policy is {wanted.lower()}{origin}", Grade.GOOD)


async def _alignment(
    domain: str, bounce_domain: str, own: Sequence[Signer], tags: Mapping[str, str], dns: Dns
) -> DnsFinding:
    """Return whether DKIM and SPF are about the domain of From: one of them must be, and pass (RFC 7489 §3.1)."""
    signs_as = own[0].domain if own else ""
    is_strict = tags.get("adkim", "r").lower() == "s"
    if own and is_strict and signs_as != domain:
        text = (
            f"DMARC wants signatures of exactly DOMAIN (adkim=s), and the key in dkim is of {signs_as}: "
            "add a key of DOMAIN, or remove adkim=s"
        )
        return DnsFinding("alignment", domain, text)
    aligned = ["DKIM"] if own else []
    if bounce_domain == domain or (
        tags.get("aspf", "r").lower() != "s" and await _are_related(bounce_domain, domain, dns)
    ):
        aligned.append("SPF")
    if aligned:
        text = (
            "the domains of DKIM and of SPF match From"
            if len(aligned) == 2
            else f"the domain of {aligned[0]} matches From"
        )
        return DnsFinding("alignment", domain, text, Grade.GOOD)
    text = (
        f"bounces go to {bounce_domain}, which does not count as DOMAIN, and there is no key of DOMAIN in dkim: DMARC fails "
        "unless the relay signs with d=DOMAIN. Add a key, or let bounces go to a subdomain"
    )
    return DnsFinding("alignment", domain, text)


async def _are_related(one: str, other: str, dns: Dns) -> bool:
    """Tell whether two domains have the same organizational domain, which is the highest one with a record."""
    return await _organization(one, dns) == await _organization(other, dns)


async def _organization(domain: str, dns: Dns) -> str:
    found, place = domain, domain
    while place.count(".") > 1:
        place = place.partition(".")[2]
        if await _records_at(place, dns):
            found = place
    return found


async def _policy_of(domain: str, dns: Dns) -> _Policy:
    place, records = domain, await _records_at(domain, dns)
    # A receiver looks at the domain and then at the registered domain above it, which has at least two labels.
    while not records and place.count(".") > 1:
        place = place.partition(".")[2]
        records = await _records_at(place, dns)
    return _Policy(place, records)


async def _records_at(domain: str, dns: Dns) -> Sequence[Mapping[str, str]]:
    found = [tags_of(text) for text in await dns.texts(f"_dmarc.{domain}")]
    # RFC 7489 §6.3: receivers ignore a record that does not begin with its version.
    return [tags for tags in found if next(iter(tags.items())) == ("v", "DMARC1")]
