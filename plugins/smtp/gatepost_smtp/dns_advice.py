"""What the DNS says of the mails of a relay: DKIM, SPF, DMARC, MX and PTR, each with what to publish where.

Only the operator can publish a record, so each problem says its name and its text.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from gatepost_smtp.deadline import Deadline
from gatepost_smtp.dkim import Signer, signers_for
from gatepost_smtp.dkim_keys import dns_record, key_type, public_keys
from gatepost_smtp.dmarc_advice import check_dmarc
from gatepost_smtp.dns_findings import DnsFinding, Grade
from gatepost_smtp.dns_lookup import Dns, LookupFailed
from gatepost_smtp.record_tags import tags_of
from gatepost_smtp.settings import Settings
from gatepost_smtp.spf_advice import check_spf, public_addresses

_MAX_PARALLEL = 20
"""Checks that run at one time."""
_CANCEL_INTERVAL = 0.05
"""Seconds after which a check that goes on is cancelled again."""
_MAX_PER_ANSWER = 10
"""Addresses of a relay, and names of an address, that are looked up; SPF has the same limit."""


class _Check(NamedTuple):
    topic: str
    subject: str
    findings: AsyncIterator[DnsFinding]


async def check_records(
    settings: Settings,
    signers: Mapping[str, Sequence[Signer]],
    sender_domains: Sequence[str],
    dns: Dns,
    deadline: Deadline,
) -> list[DnsFinding]:
    """Look up the records of the sender domains and of the DKIM keys, until the deadline; return what was found.

    A key's domain counts as one of senders, unless it is there for subdomains that are. What can't be looked up, also
    for lack of time, is a finding too.
    """
    checks = [*_checks(settings, signers, sender_domains, dns)]
    found: list[list[DnsFinding]] = [[] for _ in checks]
    slots = asyncio.Semaphore(_MAX_PARALLEL)
    tasks = [asyncio.create_task(_collect(*one, slots)) for one in zip(checks, found, strict=True)]
    try:
        async with deadline.until_end():
            await asyncio.wait(tasks)
    except TimeoutError:
        pass
    finally:
        await _end(tasks)
    for check, own, task in zip(checks, found, tasks, strict=True):
        if task.cancelled():
            what = "not looked up in full" if own else "not looked up"
            own.append(DnsFinding(check.topic, check.subject, f"{what}: the time of the check was over"))
        else:
            task.result()
    return [*chain.from_iterable(found)]


async def _collect(check: _Check, found: list[DnsFinding], slots: asyncio.Semaphore) -> None:
    """Add to ``found`` what a check finds, one by one: it stays there if the check can't go on."""
    async with slots:
        try:
            async for finding in check.findings:
                found.append(finding)  # noqa: PERF401  a comprehension would lose them with an error
        except LookupFailed as error:
            found.append(DnsFinding(check.topic, check.subject, f"can't be looked up: {error}"))


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel the tasks that run, and wait for them."""
    # More than once: the resolver uses wait_for, which in Python 3.11 loses a cancellation that arrives with an answer.
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_INTERVAL)


def _checks(
    settings: Settings, signers: Mapping[str, Sequence[Signer]], sender_domains: Sequence[str], dns: Dns
) -> Sequence[_Check]:
    for_subdomains = [signers_for(domain, signers) for domain in sender_domains]
    own_domains = [domain for domain, own in signers.items() if own not in for_subdomains]
    domains = dict.fromkeys([*sender_domains, *own_domains])
    own = (settings.return_path.rpartition("@")[2] or settings.bounce_domain).lower()
    bounce_domains = dict.fromkeys([own] if own else domains)
    every_signer = [signer for some in signers.values() for signer in some]
    unsigned = [domain for domain in domains if not signers_for(domain, signers)]
    return [
        *(_Check("DKIM", _key_name(one), _dkim(one, dns)) for one in every_signer),
        *(_Check("DKIM", domain, _unsigned(domain)) for domain in unsigned),
        *(_Check("SPF", domain, check_spf(domain, settings.host, dns)) for domain in bounce_domains),
        *(_Check("DMARC", domain, check_dmarc(domain, own or domain, signers, dns)) for domain in domains),
        *(_Check("MX", domain, _mx(domain, dns)) for domain in domains | bounce_domains),
        _Check("PTR", settings.host, _reverse(settings.host, dns)),
    ]


def _key_name(signer: Signer) -> str:
    return f"{signer.domain} ({signer.selector})"


async def _unsigned(domain: str) -> AsyncIterator[DnsFinding]:
    text = "no key in dkim. Look at a mail in a mailbox of yours: the relay must sign it with d=DOMAIN"
    yield DnsFinding("DKIM", domain, text, Grade.UNKNOWN)


async def _dkim(signer: Signer, dns: Dns) -> AsyncIterator[DnsFinding]:
    problems = [*_dkim_problems(signer, await dns.texts(signer.place))]
    for problem in problems:
        yield DnsFinding("DKIM", _key_name(signer), problem)
    if not problems:
        yield DnsFinding("DKIM", _key_name(signer), "the public key is published", Grade.GOOD)


def _dkim_problems(signer: Signer, texts: Sequence[str]) -> Sequence[str]:
    place = signer.place
    wanted = f'publish this TXT record there: "{dns_record(signer.key)}"'
    found = [tags for text in texts if "p" in (tags := tags_of(text))]
    if not found:
        return [f"there is no record at {place}: {wanted}"]
    if len(found) > 1:
        return [f"there are {len(found)} records at {place}, and receivers may take any: leave one of them"]
    problems = []
    [tags] = found
    if not tags["p"]:
        problems.append(f"the key at {place} is revoked (its p= is empty): {wanted}")
    elif tags["p"] not in public_keys(signer.key):
        problems.append(f"{place} holds another key, so that every signature is invalid: {wanted}")
    elif tags.get("k", "rsa") != key_type(signer.key) or "sha256" not in tags.get("h", "sha256").split(":"):
        kind = f"{key_type(signer.key)}-sha256"
        problems.append(f"the record at {place} is not for signatures with {kind} (k=, h=): {wanted}")
    if "y" in tags.get("t", "").split(":"):
        problems.append(f"{place} is for tests (t=y), so that receivers ignore its signatures: remove t=y")
    return problems


async def _mx(domain: str, dns: Dns) -> AsyncIterator[DnsFinding]:
    servers = await dns.mail_servers(domain)
    # RFC 5321 §5.1: without an MX record the domain's own address is its mail server.
    if any(servers or await dns.addresses(domain)):
        yield DnsFinding("MX", domain, "there is a mail server", Grade.GOOD)
    else:
        yield DnsFinding(
            "MX",
            domain,
            "no mail server, so that answers and bounces are lost, and some receivers refuse such senders: publish an MX "
            "record at DOMAIN with the name of its mail server",
        )


async def _reverse(host: str, dns: Dns) -> AsyncIterator[DnsFinding]:
    """Yield what is found about each public address of the relay; of problems the first of each kind."""
    addresses = (await public_addresses(host, dns))[:_MAX_PER_ANSWER]
    problems: dict[str, DnsFinding] = {}
    for address in addresses:
        names = (await dns.names(address))[:_MAX_PER_ANSWER]
        forward = [name for name in names if address in await dns.addresses(name)]
        if forward:
            yield DnsFinding("PTR", address, f"the name {forward[0]}, which leads back to it", Grade.GOOD)
        elif names:
            text = (
                f"the name {names[0]} does not lead back to it: if the relay delivers mails itself, publish an address record "
                f"of {names[0]}, or change the PTR record"
            )
            problems.setdefault("astray", DnsFinding("PTR", address, text))
        else:
            text = (
                "no name: if the relay delivers mails itself, the owner of the address (your hosting provider) must publish a "
                f"PTR record with {host}"
            )
            problems.setdefault("nameless", DnsFinding("PTR", address, text))
    for problem in problems.values():
        yield problem
    if not addresses:
        text = (
            "no public address. If other machines deliver its mails, each of their addresses must have a name"
        )
        yield DnsFinding("PTR", host, text, Grade.UNKNOWN)
