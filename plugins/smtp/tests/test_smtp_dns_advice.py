"""What ``gatepost check --live`` says of the DNS, with a server that answers from a table."""

import base64

import dns.asyncresolver
import dns.rcode
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gatepost.hookspecs import Context
from gatepost.model import Secret
from gatepost.observe import logs
from gatepost.plugin_host.sanitize import clean_warning
from gatepost_smtp import Settings, SmtpRelay, dns_lookup
from gatepost_smtp.dkim_keys import dns_record, load_keys
from gatepost_smtp.dns_advice import find_problems
from gatepost_smtp.dns_lookup import Dns
from gatepost_smtp.settings import DkimKey
from gatepost_smtp.testing.dns_server import DnsServer

DOMAIN = "amazing.example"
PLACE = f"gp1._domainkey.{DOMAIN}"
PUBLIC, OTHER = "9.9.9.9", "1.1.1.1"


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
def problems(server, key):
    async def find(domains=(DOMAIN,), **settings):
        settings = Settings(**{"host": "relay.example", "dkim": {DOMAIN: key}} | settings)
        return await find_problems(settings, load_keys(settings.dkim).signers, domains, Dns(server.resolver))

    return find


async def test_nothing_is_said_of_complete_records(complete, problems):
    assert await problems() == []


async def test_everything_that_is_missing_is_said_with_what_to_publish(server, key, problems):
    server.publish("relay.example", "A", PUBLIC)
    found = "\n".join(await problems())

    assert f'publish a TXT record at {DOMAIN}, such as "v=spf1 a:relay.example ~all"' in found
    assert f'publish a TXT record at _dmarc.{DOMAIN}, such as "v=DMARC1; p=none"' in found
    assert f"publish an MX record at {DOMAIN}" in found
    [signer] = load_keys({DOMAIN: key}).signers[DOMAIN]
    assert f'no DKIM record at {PLACE}: publish this TXT record there: "{dns_record(signer.key)}"' in found


@pytest.mark.parametrize(
    ("name", "texts", "expected"),
    [
        (DOMAIN, ["v=spf1 a ~all", "v=spf1 mx ~all"], "has 2 SPF records"),
        (DOMAIN, ["v=spf1 +all"], "lets everybody send"),
        (DOMAIN, ["v=spf10 a ~all"], "has no SPF record"),
        (PLACE, ["v=DKIM1; k=rsa; p="], "is revoked"),
        (PLACE, ["v=DKIM1; k=rsa; p=MIIBIjAN"], "holds another key"),
        (PLACE, ["v=DKIM1; k=rsa; p=?"], "holds another key"),
        (PLACE, ["v=DKIM1; p=a", "v=DKIM1; p=b"], "there are 2 DKIM records"),
        (PLACE, ["v=spf1 exp=who.example ~all"], "there is no DKIM record"),
        (f"_dmarc.{DOMAIN}", ["v=DMARC1; p=none", "v=DMARC1; p=reject"], "has 2 DMARC records"),
        (f"_dmarc.{DOMAIN}", ["v=DMARC2; p=none"], "has no DMARC record"),
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


@pytest.mark.parametrize(("old", "new"), [("k=ed25519; ", ""), ("k=", "h=sha1; k=")])
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
    [problem] = [problem for problem in found if "no DKIM record" in problem]
    assert clean_warning(problem).endswith(f'"{dns_record(private)}"')


async def test_a_key_for_tests_is_explained(complete, key, problems):
    [signer] = load_keys({DOMAIN: key}).signers[DOMAIN]
    complete.publish(PLACE, "TXT", dns_record(signer.key).replace("k=rsa", "k=rsa; t=s:y"))

    [problem] = await problems()
    assert "t=y" in problem


async def test_a_domain_that_takes_no_mail_is_explained(complete, problems):
    complete.publish(DOMAIN, "MX", "0 .")

    [problem] = await problems()
    assert "takes no mail" in problem


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


async def test_the_domain_that_gets_the_bounces_needs_spf_and_takes_mail(complete, problems):
    complete.publish(DOMAIN, "TXT", "no spf")

    spf, mx = await problems(return_path="b@bounces.example")
    assert "bounces.example has no SPF record" in spf
    assert "bounces.example takes no mail" in mx


async def test_an_address_without_a_name_is_explained(complete, problems):
    del complete.records["9.9.9.9.in-addr.arpa", "PTR"]

    [problem] = await problems()
    assert f"{PUBLIC} has no PTR record" in problem


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

    found = await problems()
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


async def test_what_fails_for_one_name_is_still_said_of_others(complete, problems):
    found = await problems([DOMAIN, f"{'a.' * 122}example"])
    assert [problem for problem in found if f" {DOMAIN} " in problem] == []
    assert any("can't be looked up" in problem for problem in found)


async def test_the_ping_warns_of_what_is_missing(sink, server, key, monkeypatch):
    monkeypatch.setattr(dns.asyncresolver, "default_resolver", server.resolver)
    warnings = []
    relay = SmtpRelay(
        Settings(host="127.0.0.1", port=sink.port, security="none", dkim={DOMAIN: key}),
        Context(
            name="relay",
            log=logs.get("relay"),
            sender_domains=["other.example"],
            warn=lambda key, problem: warnings.append((key, problem)),
        ),
    )
    assert warnings == [("dkim", "mails from other.example are not signed: add a key of this domain")]
    async with relay.lifespan():
        await relay.ping()

    for domain in ("other.example", DOMAIN):
        assert any(f"_dmarc.{domain}" in problem for _, problem in warnings)
    assert sink.mails == []
