"""The look at the DNS that a ping takes: with the resolver of this machine, and as lines for the operator."""

from collections.abc import Mapping, Sequence

from dns.asyncresolver import get_default_resolver
from dns.resolver import NoResolverConfiguration

from gatepost_smtp.deadline import Deadline
from gatepost_smtp.dkim import Signer
from gatepost_smtp.dns_advice import check_records
from gatepost_smtp.dns_findings import Grade, Line, lines
from gatepost_smtp.dns_lookup import Dns
from gatepost_smtp.settings import Settings


async def check_dns(
    settings: Settings,
    signers: Mapping[str, Sequence[Signer]],
    sender_domains: Sequence[str],
    deadline: Deadline,
) -> Sequence[Line]:
    """Look up the records of the sender domains until the deadline; return what is in order and what is missing."""
    try:
        dns = Dns(get_default_resolver())
    except NoResolverConfiguration:
        problem = "no DNS record was looked up: this machine has no resolver (/etc/resolv.conf)"
        return [Line(Grade.PROBLEM, problem)]
    return lines(await check_records(settings, signers, sender_domains, dns, deadline))
