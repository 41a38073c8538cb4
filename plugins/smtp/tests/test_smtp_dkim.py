"""Signatures: a second implementation (dkimpy) verifies each of them, and refuses each mail that was changed."""

import email
import re

import dkim as verifier
import pytest
from dkim.canonicalization import Relaxed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatepost.cli.config_checks import check_config
from gatepost.errors import ConfigError
from gatepost.hookspecs import Context
from gatepost.model import Email, Mailbox, Secret
from gatepost.observe import logs
from gatepost_smtp import Settings, SmtpRelay
from gatepost_smtp.dkim import relaxed_body, sign
from gatepost_smtp.dkim_keys import dns_record, load_keys
from gatepost_smtp.mime import build_mail
from gatepost_smtp.settings import DkimKey

DOMAIN = "amazing.example"


def a_key(name, kind, private_keys):
    return DkimKey(selector=name, key=Secret(private_keys[kind]))


def records(keys):
    """Return the DNS of these keys, as dkimpy asks for it."""
    loaded = load_keys(keys)
    assert not loaded.faults
    texts = {
        f"{signer.place}.".encode(): dns_record(signer.key).encode()
        for signers in loaded.signers.values()
        for signer in signers
    }
    return lambda name, timeout=5: texts.get(name)


def is_valid(content, dns, number):
    try:
        return verifier.DKIM(content).verify(idx=number, dnsfunc=dns)
    except verifier.ValidationError:
        return False


def verified(content, dns):
    """Return for each signature whether it is valid."""
    return [is_valid(content, dns, number) for number in range(content.count(b"DKIM-Signature:"))]


@pytest.mark.parametrize("kinds", [["rsa2048"], ["ed25519"], ["rsa2048", "ed25519"]], ids="+".join)
async def test_each_signature_is_verified(sink, connected, an_email, private_keys, kinds):
    keys = {DOMAIN: [a_key(f"gp{number}", kind, private_keys) for number, kind in enumerate(kinds)]}
    async with connected(sink.port, dkim=keys) as relay:
        await relay.send_email(an_email(reply_to=Mailbox("help@amazing.example")))

    [received] = sink.mails
    assert verified(received.content, records(keys)) == [True] * len(kinds)


async def test_a_key_signs_the_mails_of_its_domain_and_its_subdomains(
    sink, connected, an_email, private_keys
):
    keys = {
        "Amazing.example": a_key("gp1", "rsa2048", private_keys),
        "vip.amazing.example": a_key("gp2", "ed25519", private_keys),
        "zing.example": a_key("gp3", "ed25519", private_keys),
    }
    async with connected(sink.port, dkim=keys) as relay:
        for domain in (
            "News.amazing.example",
            "a.vip.amazing.example",
            "VIP.amazing.example",
            "example",
            "amazing.example",
        ):
            await relay.send_email(an_email(sender=Mailbox(f"news@{domain}")))

    selectors = [re.findall(rb"s=(gp.);", received.content) for received in sink.mails]
    assert selectors == [[b"gp1"], [b"gp2"], [b"gp2"], [], [b"gp1"]]
    assert all(all(verified(received.content, records(keys))) for received in sink.mails)


MAIL = Email(
    id="0192d3a4-5b6c-7d8e-9f00-112233445566",
    recipient=Secret("ann@post.example"),
    sender=Mailbox("news@amazing.example", "Amazing, Inc"),
    subject="Your weekly letter",
    html="<p>Hello</p>",
    text="Hello",
    lifetime=3600.0,
    headers={
        "List-Unsubscribe": f"<https://amazing.example/u/{'x' * 90}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    },
)


@pytest.fixture
def signed(private_keys):
    """A signed mail, and the DNS that verifies it."""
    keys = {DOMAIN: a_key("gp1", "rsa2048", private_keys)}
    content = sign(build_mail(MAIL).content, load_keys(keys).signers[DOMAIN], time=1_700_000_000)
    return content, records(keys)


def test_every_header_is_signed_and_each_line_is_short(signed):
    content, dns = signed
    assert verified(content, dns) == [True]
    fields = email.message_from_bytes(content)
    tags = "".join(fields["DKIM-Signature"].split())
    names = dict(tag.split("=", 1) for tag in tags.split(";"))["h"].split(":")
    present = [name.lower() for name in fields if name != "DKIM-Signature"]
    assert set(present) <= set(names)
    assert "t=1700000000" in tags
    assert not re.search(r";[lxi]=", tags)
    for name in {*present} & {"from", "subject", "date", "to", "list-unsubscribe", "list-unsubscribe-post"}:
        assert names.count(name) == 2
    assert max(map(len, content.partition(b"\r\nDate:")[0].split(b"\r\n"))) <= 78


ADDED = [
    *(
        "From: eve@evil.example",
        "To: eve@evil.example",
        "Subject: buy",
        "Reply-To: eve@evil.example",
        "Cc: eve@evil.example",
    ),
    *("Date: Thu, 1 Jan 1970 00:00:00 +0000", "Content-Type: text/plain", "Content-Transfer-Encoding: 7bit"),
    *("MIME-Version: 2.0", "Message-ID: <1@evil.example>", "List-Unsubscribe: <https://evil.example>"),
    "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
]


@pytest.mark.parametrize("added", ADDED, ids=lambda line: line.partition(":")[0])
def test_a_header_that_is_added_makes_the_signature_invalid(signed, added):
    content, dns = signed
    line = f"{added}\r\n".encode()

    assert verified(line + content, dns) == [False]
    assert verified(content.replace(b"\r\nDate:", b"\r\n" + line + b"Date:"), dns) == [False]


def test_a_relay_may_add_its_own_headers_and_change_blanks(signed):
    content, dns = signed
    changed = b"Received: from gateway\r\n\tby relay.example\r\nX-Relay: 1\r\n" + content.replace(
        b"Subject: Your weekly", b"SUBJECT:  Your\t\r\n  weekly"
    )

    assert verified(changed + b"\r\n\r\n", dns) == [True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Your weekly", b"My weekly"),
        (b"<p>Hello", b"<p>Hallo"),
        (b"amazing.example/u/", b"evil.example/u/"),
        (b"t=1700000000", b"t=1700000001"),
    ],
)
def test_a_change_makes_the_signature_invalid(signed, old, new):
    content, dns = signed
    assert old in content

    assert verified(content.replace(old, new), dns) == [False]


def test_text_that_is_added_makes_the_signature_invalid(signed):
    content, dns = signed

    assert verified(content + b"more\r\n", dns) == [False]


without_deadline = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
octets = st.lists(
    st.sampled_from([b" ", b"\t", b"  ", b"a", b"B", b".", b"=", b"\xe4", b"\xf0\x9f", b":", b";"]),
    max_size=12,
).map(b"".join)
body_lines = st.lists(octets, max_size=8).map(lambda lines: b"".join(line + b"\r\n" for line in lines))
header_names = st.sampled_from(
    [b"From", b"Subject", b"SUBJECT", b"X-A", b"x-b", b"To", b"List-Unsubscribe", b"Received"]
)
header_values = st.lists(octets.map(lambda value: b"v" + value), min_size=1, max_size=3).map(b"\r\n ".join)
header_fields = st.lists(st.tuples(header_names, header_values), max_size=10)


@without_deadline
@given(header_fields, body_lines)
def test_any_mail_is_signed_so_that_another_implementation_verifies_it(private_keys, fields, body):
    keys = {DOMAIN: a_key("gp1", "ed25519", private_keys)}
    block = b"From: news@amazing.example\r\n" + b"".join(b"%s: %s\r\n" % field for field in fields)
    content = sign(block + b"\r\n" + body, load_keys(keys).signers[DOMAIN], time=1_700_000_000)

    assert verified(content, records(keys)) == [True]


@without_deadline
@given(body_lines)
def test_a_body_is_canonical_as_in_another_implementation(body):
    assert relaxed_body(body) == Relaxed.canonicalize_body(body)


def test_an_unfinished_line_is_finished():
    assert relaxed_body(b"a \r\n\r\nb\t ") == b"a\r\n\r\nb\r\n"
    assert relaxed_body(b"") == b""


def test_a_mail_without_a_key_is_not_changed():
    content = build_mail(MAIL).content

    assert sign(content, (), time=0) is content


PKCS1 = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n"
PUBLIC = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("elliptic", "neither an RSA nor an Ed25519 key"),
        ("rsa511", "has 511 bits"),
        ("locked", "encrypted with a password"),
        ("public", "is a public key"),
        ("garbage", "can't be read as a private key"),
        ("text", "can't be read as a private key"),
        ("empty", "can't be read as a private key"),
    ],
)
def test_an_unusable_key_refuses_the_start_and_is_not_quoted(private_keys, kind, expected):
    pem = {"public": PUBLIC, "garbage": PKCS1, "text": "a secrët key", "empty": ""}.get(
        kind
    ) or private_keys.get(kind, "")

    [fault] = load_keys({"a.example": DkimKey(selector="s", key=Secret(pem))}).faults
    assert fault.key == "dkim.a.example.key"
    assert expected in fault.problem
    assert "secr" not in fault.problem
    assert "MIIB" not in fault.problem


@pytest.mark.parametrize(
    ("kind", "expected"), [("rsa1024", "only 1024 bits"), ("ed25519", "only Ed25519 keys")]
)
def test_a_weak_choice_of_keys_is_a_warning(private_keys, kind, expected):
    loaded = load_keys({DOMAIN: a_key("gp1", kind, private_keys)})

    assert not loaded.faults
    [warning] = loaded.warnings
    assert expected in warning.problem


def test_names_are_checked_and_two_keys_need_two_selectors(private_keys):
    keys = {
        "amazing.example": [a_key("gp1", "rsa2048", private_keys), a_key("gp1", "ed25519", private_keys)],
        "Amazing.example": a_key("GP1", "ed25519", private_keys),
        "b_d; x=1": a_key("a b", "rsa2048", private_keys),
    }

    assert [fault.key for fault in load_keys(keys).faults] == [
        "dkim.amazing.example[2].selector",
        "dkim.Amazing.example.selector",
        "dkim.b_d; x=1",
        "dkim.b_d; x=1.selector",
    ]


FILE = """
[clients.brand]
authorization = ["the secret"]
email_senders = ["@brand.example", "@other.example"]
[routes]
email = ["relay"]
[plugins.relay]
use = "smtp"
host = "relay.example"
"""


@pytest.mark.parametrize(
    "line",
    [
        'dkim = { "brand.example" = { selector = "gp1", key = "file:dkim.pem" } }',
        'dkim = { "brand.example" = [{ selector = "gp1", key = "file:dkim.pem" }] }',
    ],
)
async def test_the_keys_are_read_from_files_and_a_domain_without_one_is_a_warning(
    tmp_path, private_keys, line
):
    (tmp_path / "dkim.pem").write_text(private_keys["rsa2048"].replace("\n", "\r\n"), newline="")
    (tmp_path / "dkim.pem").chmod(0o644)
    config = tmp_path / "gatepost.toml"
    config.write_text(f"{FILE}{line}\n")

    findings = await check_config(config, live=False)
    assert not [finding for finding in findings if finding.grade == "fault"]
    [warning] = [finding for finding in findings if finding.key == "plugins.relay.dkim"]
    public = "plugins.relay.dkim.brand.example.key"
    assert [finding.text for finding in findings if finding.key == public and "chmod o-r" in finding.text]
    assert warning.text == "mails from other.example are not signed: add a key of this domain"

    (tmp_path / "dkim.pem").write_text(private_keys["elliptic"])
    [fault] = [finding for finding in await check_config(config, live=False) if finding.grade == "fault"]
    assert fault.key.startswith("plugins.relay.dkim")
    assert "neither an RSA nor an Ed25519" in fault.text


def test_faults_refuse_the_start(private_keys):
    with pytest.raises(ConfigError) as caught:
        SmtpRelay(
            Settings(host="r.example", dkim={DOMAIN: a_key("gp1", "elliptic", private_keys)}),
            Context(name="relay", log=logs.get("x")),
        )

    assert [fault.key for fault in caught.value.faults] == ["dkim.amazing.example.key"]
