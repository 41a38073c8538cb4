"""What ``gatepost check --live`` says of the DNS, with a server that answers from a table."""

import asyncio
import base64
import contextlib

import dns.asyncresolver
import dns.rcode
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gatepost.model import Secret
from gatepost.plugin_host.sanitize import clean_warning
from gatepost.testing.fakes import FakeCore
from gatepost_smtp import Settings, SmtpRelay, dns_lookup
from gatepost_smtp.connection import ProbeResult
from gatepost_smtp.deadline import Deadline
from gatepost_smtp.dkim_keys import dns_record, load_keys
from gatepost_smtp.dns_advice import check_records
from gatepost_smtp.dns_findings import Grade, lines
from gatepost_smtp.dns_lookup import Dns
from gatepost_smtp.relay_advice import describe_probe
from gatepost_smtp.settings import DkimKey
from gatepost_smtp.testing.dns_server import DnsServer

DOMAIN = "amazing.example"
PLACE = f"gp1._domainkey.{DOMAIN}"
PUBLIC, OTHER = "9.9.9.9", "1.1.1.1"
LONG = 1_000.0
"""Seconds that no test takes."""


@pytest.fixture(autouse=True)
def time_to_answer(monkeypatch):
    monkeypatch.setattr(dns_lookup, "_SECONDS", LONG)


@pytest.fixture
async def server():
    async with DnsServer().serving() as serving:
        yield serving


@pytest.fixture
def key(private_keys):
    return DkimKey(selector="gp1", key=Secret(private_keys["rsa2048"]))


@pytest.fixture
def complete(server, key):
    """A server with every record that a domain needs."""
    [signer] = load_keys({DOMAIN: key}).signers[DOMAIN]
    server.publish(DOMAIN, "TXT", "some-verification=1", "v=spf1 a:relay.example ~all")
    server.publish(DOMAIN, "MX", "10 mail.amazing.example.")
    server.publish(f"_dmarc.{DOMAIN}", "TXT", "v=DMARC1; p=none")
    server.publish(PLACE, "TXT", dns_record(signer.key))
    server.publish("relay.example", "A", PUBLIC)
    server.publish("9.9.9.9.in-addr.arpa", "PTR", "relay.example.")
    return server


@pytest.fixture
def found(server, key):
    """Return a function that looks the records up and returns the lines about them."""

    async def find(domains=(DOMAIN,), **settings):
        settings = Settings(**{"host": "relay.example", "dkim": {DOMAIN: key}} | settings)
        signers = load_keys(settings.dkim).signers
        return lines(await check_records(settings, signers, domains, Dns(server.resolver), Deadline(LONG)))

    return find


@pytest.fixture
def problems(found):
    async def find(*arguments, **settings):
        return [line.text for line in await found(*arguments, **settings) if line.grade is Grade.PROBLEM]

    return find


@pytest.fixture
def advice(found):
    async def find(*arguments, **settings):
        return [line.text for line in await found(*arguments, **settings) if line.grade is Grade.UNKNOWN]

    return find


async def test_complete_records_are_ticked_off(complete, found):
    assert await found() == [
        (Grade.GOOD, f"DKIM of {DOMAIN} (gp1): the public key is published"),
        (Grade.GOOD, f"SPF of {DOMAIN}: permits {PUBLIC} of relay.example"),
        (Grade.GOOD, f"DMARC of {DOMAIN}: the policy is none"),
        (Grade.GOOD, f"alignment of {DOMAIN}: the domains of DKIM and of SPF match From"),
        (Grade.GOOD, f"MX of {DOMAIN}: there is a mail server"),
        (Grade.GOOD, f"PTR of {PUBLIC}: the name relay.example, which leads back to it"),
    ]


async def test_domains_with_the_same_records_share_a_line(complete, found):
    domains = [f"brand{number}.example" for number in range(30)]
    for domain in domains:
        for kind in ("TXT", "MX"):
            complete.records[domain, kind] = complete.records[DOMAIN, kind]
    listed, with_problem = f"{', '.join(domains[:3])} and 27 more", f"{', '.join(domains[:20])} and 10 more"

    lines = await found(domains, dkim={})
    assert [text for _, text in lines if not text.startswith("PTR")] == [
        f"DKIM of {listed}: no key in dkim. Look at a mail in a mailbox of yours: the relay must sign it with d=DOMAIN",
        f"SPF of {listed}: permits {PUBLIC} of relay.example",
        (
            f"DMARC of {with_problem}: no record, which Gmail and Yahoo ask for: publish a TXT record at _dmarc.DOMAIN, such as "
            '"v=DMARC1; p=none"'
        ),
        f"MX of {listed}: there is a mail server",
    ]


async def test_everything_that_is_missing_is_said_with_what_to_publish(server, key, problems):
    server.publish("relay.example", "A", PUBLIC)
    found = "\n".join(await problems())

    assert f'publish a TXT record at {DOMAIN}, such as "v=spf1 a:relay.example ~all"' in found
    assert f'publish a TXT record at _dmarc.{DOMAIN}, such as "v=DMARC1; p=none"' in found
    assert f"publish an MX record at {DOMAIN}" in found
    [signer] = load_keys({DOMAIN: key}).signers[DOMAIN]
    assert f'no record at {PLACE}: publish this TXT record there: "{dns_record(signer.key)}"' in found


@pytest.mark.parametrize(
    ("name", "texts", "expected"),
    [
        (DOMAIN, ["v=spf1 a ~all", "v=spf1 mx ~all"], "there are 2 records"),
        (DOMAIN, ["v=spf1 +all"], "lets everybody send"),
        (DOMAIN, ["v=spf10 a ~all"], "SPF of amazing.example: no record"),
        (PLACE, ["v=DKIM1; k=rsa; p="], "is revoked"),
        (PLACE, ["v=DKIM1; k=rsa; p=MIIBIjAN"], "holds another key"),
        (PLACE, ["v=DKIM1; k=rsa; p=?"], "holds another key"),
        (PLACE, ["v=DKIM1; p=a", "v=DKIM1; p=b"], "there are 2 records"),
        (PLACE, ["v=spf1 exp=who.example ~all"], "there is no record"),
        (f"_dmarc.{DOMAIN}", ["v=DMARC1; p=none", "v=DMARC1; p=reject"], "has 2 records"),
        (f"_dmarc.{DOMAIN}", ["v=DMARC2; p=none"], "DMARC of amazing.example: no record"),
        (f"_dmarc.{DOMAIN}", ["p=none; v=DMARC1"], "DMARC of amazing.example: no record"),
    ],
)
async def test_a_wrong_record_is_explained(complete, problems, name, texts, expected):
    complete.publish(name, "TXT", *texts)

    [problem] = await problems()
    assert expected in problem


async def test_other_records_and_forms_of_a_key_are_no_problem(complete, key, problems):
    [signer] = load_keys({DOMAIN: key}).signers[DOMAIN]
    public = signer.key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    text = f"v=DKIM1; k=rsa; t=s; p={base64.b64encode(public).decode()}"
    complete.publish(PLACE, "TXT", "v=spf1 exp=who.example ~all", text)

    assert await problems() == []


@pytest.mark.parametrize(("old", "new"), [("k=ed25519; ", ""), ("k=ed25519; ", "h=sha1; k=ed25519; ")])
async def test_a_record_for_other_algorithms_is_explained(complete, private_keys, problems, old, new):
    keys = {DOMAIN: DkimKey(selector="gp1", key=Secret(private_keys["ed25519"]))}
    [signer] = load_keys(keys).signers[DOMAIN]
    complete.publish(PLACE, "TXT", dns_record(signer.key))
    assert await problems(dkim=keys) == []
    complete.publish(PLACE, "TXT", dns_record(signer.key).replace(old, new))

    [problem] = await problems(dkim=keys)
    assert "is not for signatures with ed25519-sha256" in problem
    assert dns_record(signer.key) in problem


async def test_the_record_of_the_longest_key_is_shown_whole(server, problems):
    private = rsa.generate_private_key(65537, 4096)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    domain = f"{'a' * 60}.{'b' * 60}.example"

    found = await problems([domain], dkim={domain: DkimKey(selector="gp1", key=Secret(pem))})
    [problem] = [problem for problem in found if "there is no record" in problem]
    assert clean_warning(problem).endswith(f'"{dns_record(private)}"')


async def test_a_key_for_tests_is_explained(complete, key, problems):
    [signer] = load_keys({DOMAIN: key}).signers[DOMAIN]
    complete.publish(PLACE, "TXT", dns_record(signer.key).replace("k=rsa", "k=rsa; t=s:y"))

    [problem] = await problems()
    assert "t=y" in problem


async def test_a_domain_that_takes_no_mail_is_explained(complete, problems):
    complete.publish(DOMAIN, "MX", "0 .")

    [problem] = await problems()
    assert "no mail server" in problem


async def test_a_domain_without_an_mx_record_may_take_mail_at_its_address(complete, problems):
    del complete.records[DOMAIN, "MX"]
    complete.publish(DOMAIN, "A", OTHER)

    assert await problems() == []


async def test_the_domain_of_a_key_need_not_be_a_sender(server, complete, problems):
    sub = f"news.{DOMAIN}"
    for kind in ("TXT", "MX"):
        server.records[sub, kind] = server.records.pop((DOMAIN, kind))

    assert await problems([sub]) == []
    assert await problems([]) != []


async def test_the_policy_of_a_parent_counts_and_may_be_strict(complete, problems):
    sub = f"news.{DOMAIN}"
    complete.publish(sub, "TXT", "v=spf1 ~all")
    complete.publish(sub, "MX", "10 mail.amazing.example.")
    assert await problems([sub]) == []
    complete.publish(f"_dmarc.{DOMAIN}", "TXT", "v=DMARC1; p=none; adkim=s")

    [problem] = await problems([sub])
    assert f"add a key of {sub}" in problem


@pytest.mark.parametrize(
    ("bounces", "record", "expected"),
    [
        ("amazing.example", "v=DMARC1; p=none", "the domain of SPF matches From"),
        ("bounces.amazing.example", "v=DMARC1; p=none", "the domain of SPF matches From"),
        ("bounces.amazing.example", "v=DMARC1; p=none; aspf=s", "does not count as amazing.example"),
        ("bounces.example", "v=DMARC1; p=none", "does not count as amazing.example"),
    ],
)
async def test_without_a_key_the_bounce_domain_must_be_aligned(complete, found, bounces, record, expected):
    complete.publish(f"_dmarc.{DOMAIN}", "TXT", record)

    [text] = [
        text
        for _, text in await found(dkim={}, return_path=f"b@{bounces}")
        if text.startswith(f"alignment of {DOMAIN}: ")
    ]
    assert expected in text


@pytest.mark.parametrize("policy", ["", "; p=", "; p=monitor"])
async def test_a_record_without_a_policy_is_a_problem(complete, problems, policy):
    complete.publish(f"_dmarc.{DOMAIN}", "TXT", f"v=DMARC1{policy}")

    [problem] = await problems()
    assert "has no valid policy" in problem


async def test_the_parents_policy_for_subdomains_is_shown(complete, found):
    complete.publish(f"_dmarc.{DOMAIN}", "TXT", "v=DMARC1; p=none; sp=reject")

    assert f"DMARC of news.{DOMAIN}: the policy is reject, as {DOMAIN} says" in [
        text for _, text in await found([f"news.{DOMAIN}"])
    ]


async def test_the_domain_that_gets_the_bounces_needs_spf_and_takes_mail(complete, problems):
    complete.publish(DOMAIN, "TXT", "no spf")

    spf, mx = await problems(return_path="b@bounces.example")
    assert "SPF of bounces.example: no record" in spf
    assert "MX of bounces.example: no mail server" in mx


async def test_an_address_without_a_name_is_explained(complete, problems):
    del complete.records["9.9.9.9.in-addr.arpa", "PTR"]

    [problem] = await problems()
    assert f"PTR of {PUBLIC}: no name" in problem


async def test_a_name_must_lead_back_to_its_address(complete, problems):
    complete.publish("9.9.9.9.in-addr.arpa", "PTR", "other.example.")
    complete.publish("other.example", "A", OTHER)

    [problem] = await problems()
    assert "does not lead back" in problem


async def test_a_private_relay_needs_no_name(complete, problems):
    complete.publish("relay.example", "A", "10.1.2.3")

    assert await problems() == []
    assert not any(kind == "PTR" for _, kind in complete.questions)


async def test_an_address_as_the_host_is_in_the_example_for_spf(complete, problems):
    complete.publish(DOMAIN, "TXT", "no spf")

    [problem] = await problems(host=PUBLIC)
    assert f'"v=spf1 ip4:{PUBLIC} ~all"' in problem


async def test_a_record_without_the_relay_is_advice_because_other_machines_may_deliver(
    complete, advice, problems
):
    complete.publish(DOMAIN, "TXT", "v=spf1 ip4:1.2.3.4 ~all")

    [text] = await advice()
    assert text.startswith(
        f"SPF of {DOMAIN}: the record is valid, and does not permit {PUBLIC} of relay.example"
    )
    assert "add a:relay.example" in text
    assert await problems() == []


async def test_a_record_without_the_domains_own_mail_server_is_a_problem(complete, problems):
    complete.publish(DOMAIN, "TXT", "v=spf1 include:other.example ~all")
    complete.publish("other.example", "TXT", "v=spf1 ip4:1.2.3.4 -all")
    complete.publish(f"mail.{DOMAIN}", "A", PUBLIC)
    complete.publish("9.9.9.9.in-addr.arpa", "PTR", f"mail.{DOMAIN}.")

    [problem] = await problems(host=f"mail.{DOMAIN}")
    assert f"does not permit {PUBLIC} of mail.{DOMAIN}" in problem


async def test_each_address_of_the_relay_must_be_permitted(complete, advice):
    complete.publish("relay.example", "AAAA", "2606:4700::1")
    complete.publish(DOMAIN, "TXT", f"v=spf1 ip4:{PUBLIC} ~all")

    assert "does not permit 2606:4700::1 of relay.example" in (await advice())[0]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=spf1 ip4:9.9.9 ~all", 'the term "ip4:9.9.9" is not valid'),
        (
            "v=spf1 include:missing.example ~all",
            "missing.example has no SPF record, and include: leads there",
        ),
        ("v=spf1 redirect=amazing.example", "it includes itself: amazing.example → amazing.example"),
        ("v=spf1 ip4:1.2.3.4/0 ~all", 'the term "ip4:1.2.3.4/0" lets everybody send'),
        ("v=spf1 a:a.example a:b.example a:c.example ~all", "more than 2 of its terms lead to nothing"),
    ],
)
async def test_a_record_that_receivers_can_not_use_is_explained(complete, problems, record, expected):
    complete.publish(DOMAIN, "TXT", record)

    [problem] = await problems()
    assert problem.startswith(f"SPF of {DOMAIN}: ")
    assert expected in problem


async def test_a_term_about_the_mail_itself_is_not_judged(complete, advice):
    complete.publish(DOMAIN, "TXT", "v=spf1 exists:%{l}.users.example -all")

    assert "can't be known here: %{l} depends on the mail" in (await advice())[0]


@pytest.mark.parametrize("host", ["10.1.2.3", "127.0.0.1", "::1", "localhost", "postfix"])
async def test_a_host_that_only_this_network_knows_is_not_looked_up_or_published(complete, problems, host):
    complete.publish(DOMAIN, "TXT", "no spf")

    [problem] = await problems(host=host)
    assert '"v=spf1 ip4:ADDRESS ~all" with the address from which your relay delivers' in problem
    assert not any(name == f"{host}" or kind == "PTR" for name, kind in complete.questions)


async def test_many_addresses_and_names_are_one_problem_each(complete, problems):
    addresses = [f"9.9.9.{number}" for number in range(1, 60)]
    complete.publish("relay.example", "A", *addresses)
    for address in addresses[::2]:
        name = f"{address.rpartition('.')[2]}.9.9.9.in-addr.arpa"
        complete.publish(name, "PTR", *(f"other{number}.example." for number in range(60)))

    found = [problem for problem in await problems() if problem.startswith("PTR")]
    assert len(found) == 2
    assert max(map(len, found)) < 500
    assert len(complete.questions) < 300


async def test_a_server_that_fails_is_named_and_nothing_is_called_missing(complete, problems):
    complete.rcode = dns.rcode.SERVFAIL

    found = await problems()
    assert len(found) == 5
    assert all("can't be looked up" in problem for problem in found)


async def test_a_server_that_is_silent_is_named(complete, problems, monkeypatch):
    monkeypatch.setattr(dns_lookup, "_SECONDS", 0.1)
    complete.is_silent = True

    found = await problems()
    assert len(found) == 5
    assert all("can't be looked up" in problem for problem in found)


async def silent_questions_are_left(server, checks=2):
    """Wait until only so many checks go on, which have asked about a silent name: by default those of SPF and MX."""

    def unfinished():
        return [task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "_collect"]

    def has_asked():
        return server.questions and set(server.silent_names) <= {name for name, _ in server.questions}

    while not has_asked() or len(unfinished()) > checks:  # noqa: ASYNC110  the checks have no event to wait for
        await asyncio.sleep(0.01)


async def test_what_was_found_before_the_time_is_over_is_said_and_the_rest_is_named(
    complete, found, set_ahead, monkeypatch
):
    complete.silent_names = {DOMAIN}
    monkeypatch.setattr(dns_lookup, "_SECONDS", 2 * LONG)
    check = asyncio.create_task(found())
    await silent_questions_are_left(complete)
    set_ahead(LONG)

    lines = await check
    assert (Grade.GOOD, f"DKIM of {DOMAIN} (gp1): the public key is published") in lines
    assert [text for grade, text in lines if grade is Grade.PROBLEM] == [
        f"SPF of {DOMAIN}: not looked up: the time of the check was over",
        f"MX of {DOMAIN}: not looked up: the time of the check was over",
    ]


async def test_what_a_check_had_found_when_the_time_was_over_is_said(complete, found, set_ahead, monkeypatch):
    complete.publish("relay.example", "A", "99.9.9.9", PUBLIC)
    complete.silent_names = {"9.9.9.99.in-addr.arpa"}
    monkeypatch.setattr(dns_lookup, "_SECONDS", 2 * LONG)
    check = asyncio.create_task(found())
    await silent_questions_are_left(complete, checks=1)
    set_ahead(LONG)

    assert [line for line in await check if "PTR" in line.text] == [
        (Grade.GOOD, f"PTR of {PUBLIC}: the name relay.example, which leads back to it"),
        (Grade.PROBLEM, "PTR of relay.example: not looked up in full: the time of the check was over"),
    ]


async def test_a_check_that_loses_a_cancellation_ends_with_the_time(complete, key):
    class Losing(Dns):
        async def mail_servers(self, name):
            # As wait_for does in Python 3.11, if an answer comes at the same moment.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()

    settings = Settings(host="relay.example", dkim={DOMAIN: key})
    dns = Losing(complete.resolver)
    found = await check_records(settings, load_keys(settings.dkim).signers, [DOMAIN], dns, Deadline(0.01))

    assert (
        "MX",
        DOMAIN,
        "not looked up: the time of the check was over",
        Grade.PROBLEM,
    ) in found


async def test_the_policy_is_said_where_the_alignment_can_not_be_looked_up(complete, found):
    lines = await found(return_path=f"b@{'a.' * 122}example")

    assert (Grade.GOOD, f"DMARC of {DOMAIN}: the policy is none") in lines
    assert any(text.startswith(f"alignment of {DOMAIN}: can't be looked up") for _, text in lines)
    assert not any(text.startswith(f"DMARC of {DOMAIN}: can't") for _, text in lines)


async def test_the_ping_ends_before_the_core_would_end_it(complete, ping, set_ahead, monkeypatch):
    complete.silent_names = {DOMAIN}
    monkeypatch.setattr(dns_lookup, "_SECONDS", 2 * LONG)
    clock = asyncio.get_running_loop().time
    start = clock()
    check = asyncio.create_task(ping())
    await silent_questions_are_left(complete)
    set_ahead(0.95 * LONG)

    core = await check
    assert clock() - start < LONG
    assert f"DKIM of {DOMAIN} (gp1): the public key is published" in core.confirmations
    assert ("", f"MX of {DOMAIN}: not looked up: the time of the check was over") in core.warnings


async def test_what_fails_for_one_name_is_still_said_of_others(complete, problems):
    found = await problems([DOMAIN, f"{'a.' * 122}example"])
    assert [problem for problem in found if f" {DOMAIN}:" in problem] == []
    assert any("can't be looked up" in problem for problem in found)


@pytest.fixture
def ping(sink, server, key, monkeypatch):
    """Return a function that pings a relay on this machine, and returns what the operator is told."""
    monkeypatch.setattr(dns.asyncresolver, "default_resolver", server.resolver)

    async def ping(domains=(DOMAIN,), **settings):
        core = FakeCore()
        own = {"host": "127.0.0.1", "port": sink.port, "security": "none", "dkim": {DOMAIN: key}}
        relay = SmtpRelay(Settings(**own | settings), core.context(sender_domains=domains, timeout=LONG))
        async with relay.lifespan():
            await relay.ping()
        assert sink.mails == []
        return core

    return ping


async def test_the_ping_ticks_off_what_it_has_looked_at(complete, sink, ping):
    core = await ping()

    assert core.warnings == []
    assert core.confirmations[:3] == [
        f"connection: 127.0.0.1 port {sink.port} answers, without TLS",
        "DSN: the relay offers reports of deliveries",
        f"DKIM of {DOMAIN} (gp1): the public key is published",
    ]
    assert core.advice == [
        (
            f"SPF of {DOMAIN}: the record is valid; see that it permits the machines that deliver, because 127.0.0.1 has no "
            "public address"
        ),
        "PTR of 127.0.0.1: no public address. If other machines deliver its mails, each of their addresses must have a name",
    ]


@pytest.mark.parametrize(
    ("host", "tls_version", "grade", "shown"),
    [
        ("relay.example", "TLSv1.3", Grade.GOOD, "TLSv1.3 with a trusted certificate"),
        ("localhost", "", Grade.GOOD, "without TLS"),
        (
            "relay.example",
            "",
            Grade.UNKNOWN,
            "without TLS. If the way to it is not your own network alone, set security",
        ),
    ],
)
def test_a_connection_without_tls_is_ticked_off_on_this_machine_only(host, tls_version, grade, shown):
    [line] = describe_probe(ProbeResult(tls_version, offers_reports=False), Settings(host=host, port=25))

    assert line.grade is grade
    assert line.text.startswith(f"connection: {host} port 25 answers, {shown}")


async def test_the_ping_warns_of_what_is_missing(server, ping):
    core = await ping(["other.example"])

    assert core.warnings[0] == ("dkim", "mails from other.example are not signed: add a key of this domain")
    assert any(f"DMARC of other.example, {DOMAIN}: no record" in problem for _, problem in core.warnings)
    assert not any(domain in text for text in core.confirmations for domain in ("other.example", DOMAIN))


async def test_without_sender_domains_nothing_is_looked_up_and_that_is_said(server, ping):
    core = await ping([], dkim={})

    assert core.advice == ["no DNS record was looked up: list the senders in email_senders of each client"]
    assert server.questions == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"bounce_domain": "b.example"},
            "bounces: go to b.example, with a signed return path for each message",
        ),
        (
            {"bounce_domain": "b.example", "bounce_listen": "127.0.0.1:2525"},
            "bounces: go to b.example, with a signed return path for each message, and the gateway takes them at 127.0.0.1:2525",
        ),
        ({"return_path": "bounces@b.example"}, "bounces: go to a mailbox at b.example"),
        (
            {},
            "bounces: go to the sender of each mail: forward those to Gatepost, or set return_path or bounce_domain",
        ),
    ],
)
async def test_the_ping_says_where_bounces_go(complete, ping, settings, expected):
    core = await ping(webhook_secret=Secret("s3cret"), **settings)

    assert expected in [*core.confirmations, *core.advice]
    assert not any("bounces@" in text for text in [*core.confirmations, *core.advice])
