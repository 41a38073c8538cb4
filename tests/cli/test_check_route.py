"""`gatepost check --route` says which rule takes a message, and why not the rules before; never the recipient."""

import base64
import re
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gatepost.cli import check
from gatepost.observe import redaction
from gatepost.plugin_host import discovery
from gatepost.plugin_host.instances import Instance

CONFIG = """\
[clients.amazing]
authorization = ["one"]
contacts = ["players"]
sms_default_sender = "Amazing"
[clients.splendid]
authorization = ["two"]
contacts = ["members"]
[plugins.players]
use = "csv"
path = "players.csv"
[plugins.members]
use = "csv"
path = "members.csv"
[plugins.box]
use = "sandbox"
folder = "box"
[plugins.bag]
use = "sandbox"
folder = "bag"
[routes]
email = ["box", "bag"]
[[routes.sms]]
name = "codes"
senders = ["AmazingCode"]
use = ["box", "bag"]
urgent = true
next_after = 120
[[routes.sms]]
name = "no-us"
countries = ["US"]
refuse = "no texts to the US"
[[routes.sms]]
name = "islands"
clients = ["amazing"]
countries = ["GB", "IE"]
split = { box = 70, bag = 30 }
balance = "receipts"
per_day = 20000
[[routes.sms]]
name = "default"
senders = ["Amazing"]
use = ["bag"]
"""


entry_points = cache(discovery.entry_points)


@pytest.fixture
def route(tmp_path, monkeypatch):
    """Return a function that runs the command; returns its exit code and what it printed, line by line."""
    monkeypatch.setenv("COLUMNS", "200")
    # The search for installed distributions takes longer than everything else here.
    monkeypatch.setattr(discovery, "entry_points", entry_points)
    file = tmp_path / "gatepost.toml"
    for name in ("players", "members"):
        (tmp_path / f"{name}.csv").write_text("ext_user_id,email,phone\n")

    def run(*arguments, text=CONFIG):
        file.write_text(text)
        result = CliRunner().invoke(check.command, ["--config", str(file), *arguments])
        for digits in ("7400123456", "15123456789", "2015550123", "bella@"):
            assert digits not in result.output
        return result.exit_code, [line.strip() for line in result.output.splitlines()]

    yield run
    redaction.redact_settings(None)


UK, GERMAN, US = "+44 7400 123456", "+4915123456789", "+12015550123"


def test_the_rule_that_takes_a_message_is_named_and_why_not_the_ones_before(route):
    arguments = ("--route", "sms", "--client", "amazing", "--to", UK, "--from", "News")

    assert route(*arguments) == (
        0,
        [
            "· 1 codes: the sender is none of its senders (AmazingCode)",
            "· 2 no-us: the country of the number, GB, is not US",
            "✓ 3 islands: sent by box (70%), bag (30%); the shares follow what is delivered; at most 20,000 a day",
        ],
    )


def test_the_options_of_a_rule_are_shown(route):
    code, lines = route("--route", "sms", "--client", "splendid", "--to", UK, "--from", "AmazingCode")

    assert code == 0
    assert lines == ["✓ 1 codes: sent by box, then bag; by the next after 120 s without a delivery; urgent"]


def test_a_rule_that_refuses_is_shown_with_its_text(route):
    code, lines = route("--route", "sms", "--client", "amazing", "--to", US)

    assert code == 1
    assert lines[-1] == "✗ 2 no-us: refused with code 14: no texts to the US"


def test_a_message_that_fits_no_rule_is_refused(route):
    code, lines = route("--route", "sms", "--client", "splendid", "--to", GERMAN)

    assert code == 1
    assert lines[-1] == "✗ no rule fits: refused with code 8"
    assert lines[2] == (
        "· 3 islands: the client is none of its clients (amazing); the country of the number, DE, is not GB or IE"
    )


def test_a_message_without_a_sender_has_the_default_of_its_client(route):
    code, lines = route("--route", "sms", "--client", "amazing", "--to", GERMAN)

    assert (code, lines[-1]) == (0, "✓ 4 default: sent by bag")


def test_without_the_recipient_it_may_depend_on_it(route):
    assert route("--route", "sms", "--client", "amazing", "--from", "AmazingCode")[0] == 0

    code, lines = route("--route", "sms", "--client", "amazing")

    assert code == 1
    assert lines[-1] == "✗ it depends on the recipient: name one with --to"


def test_a_list_of_plugins_is_one_rule(route):
    assert route("--route", "email", "--client", "amazing", "--to", "bella@players.example") == (
        0,
        ["✓ 1 email: sent by box, then bag"],
    )
    without = CONFIG.replace('email = ["box", "bag"]', "")
    assert route("--route", "email", "--client", "amazing", text=without) == (
        1,
        ["✗ no route for email: refused with code 8"],
    )


def test_the_domain_of_an_address_is_shown_and_not_the_address(route):
    rules = """
[[routes.email]]
name = "large"
domains = ["gmail.com"]
senders = ["@amazing.co"]
use = ["box"]
[[routes.email]]
name = "rest"
use = ["bag"]
"""
    text = CONFIG.replace('email = ["box", "bag"]', "") + rules
    arguments = ("--route", "email", "--client", "amazing", "--to", "bella@players.example")

    code, lines = route(*arguments, "--from", "news@amazing.co", text=text)

    assert code == 0
    assert lines[0] == "· 1 large: the domain of the address, players.example, is not gmail.com"
    code, lines = route(*arguments, text=text)
    assert (code, lines) == (1, ["gatepost: some rules have senders: say with --from who sends the email"])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ("--route", "sms", "--to", UK),
            "name the client with --client; there are: amazing, splendid",
        ),
        (("--route", "sms", "--client", "amazng"), "--client is not a [clients.NAME] table; is it amazing?"),
        (
            ("--route", "sms", "--client", "amazing", "--to", "07400123456"),
            "--to is not a phone number such as",
        ),
        (("--route", "email", "--client", "amazing", "--to", "bella@"), "--to is not an address such as"),
        (
            ("--route", "email", "--client", "amazing", "--from", "News <news@amazing.co"),
            "--from is not an address such as",
        ),
    ],
)
def test_arguments_that_make_no_message_are_an_error(route, arguments, problem):
    code, lines = route(*arguments)

    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"gatepost: {problem}")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--to", UK), "--client, --to and --from go with --route"),
        (("--from", "x"), "--client, --to and --from go with --route"),
        (("--route", "sms", "--live"), "--route goes with neither --plugin nor --live"),
        (("--route", "sms", "--plugin", "box"), "--route goes with neither --plugin nor --live"),
    ],
)
def test_options_that_do_not_go_together_are_refused(route, arguments, problem):
    code, lines = route(*arguments)

    assert code == 2
    assert problem in " ".join(lines)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("--route", "sms", "--from", "AmazingCod"), "sms_senders"),
        (("--route", "email", "--from", "codes@amazing.example"), "email_senders"),
    ],
)
def test_a_sender_that_the_gateway_refuses_gets_no_route(route, arguments, key):
    senders = 'sms_senders = ["AmazingCode"]\nemail_senders = ["news@amazing.example"]'
    text = CONFIG.replace('sms_default_sender = "Amazing"', senders)

    code, lines = route(
        *arguments, "--client", "amazing", "--to", UK if "sms" in arguments else "a@b.example", text=text
    )

    assert code == 1
    problem = f"the gateway refuses this message with code 10: --from is not one of the client's {key}"
    assert lines == [f"gatepost: {problem}"]


def test_the_faults_of_the_configuration_come_first(route):
    code, lines = route("--route", "sms", text=CONFIG.replace('"US"', '"USA"'))

    assert code == 1
    assert len(lines) == 1
    assert "routes.sms[2 no-us].countries: entry 1 is not a country in two capital letters" in lines[0]


def test_check_warns_of_a_last_rule_with_conditions_and_of_no_other(route):
    warning = "is the last rule and has conditions: a message that fits no rule is refused with code 8"

    _, lines = route()
    assert next(line for line in lines if "last rule" in line).startswith(
        f"! routes.sms[4 default]: {warning}"
    )
    assert "✓ routes: email: box, then bag; sms: 4 rules (codes, no-us, islands, default)" in lines

    for conditions in ("", 'clients = ["amazing", "splendid"]'):
        _, lines = route(text=CONFIG.replace('senders = ["Amazing"]', conditions))
        assert not [line for line in lines if "last rule" in line]


def test_check_warns_of_a_plugin_that_never_reports_before_another_one(route, monkeypatch):
    _, lines = route()
    assert not [line for line in lines if "never reports a delivery" in line]

    monkeypatch.setattr(Instance, "takes_webhooks", False)
    _, lines = route()
    (warning,) = [line for line in lines if "never reports a delivery" in line]
    assert warning.startswith(
        "! routes.sms[1 codes].next_after: box never reports a delivery, so each message"
    )
    assert [line for line in lines if "takes no reports" in line]

    # It hears the reports without webhooks.
    load = discovery.load
    own = {"reports_itself": True}
    monkeypatch.setattr(discovery, "load", lambda use: type("Own", (load(use),), own))
    _, lines = route()
    assert not [line for line in lines if "never reports" in line or "takes no reports" in line]


GUIDE = Path(__file__).parents[2] / "docs/how-to/routing.md"


@cache
def private_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Return the configuration of the guide, with every secret and file that it names."""
    config, _, rest = GUIDE.read_text().partition("```toml\n")[2].partition("```")
    for name in re.findall(r'"env:(\w+)"', config):
        monkeypatch.setenv(name, f"value-of-{name}")
    for name in re.findall(r'"file:/run/secrets/([\w.-]+)"', config):
        (tmp_path / name).write_bytes(private_key())
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    monkeypatch.setenv("SENDGRID_WEBHOOK_KEY", base64.b64encode(der).decode())
    for name in re.findall(r'path = "(\w+)\.csv"', config):
        (tmp_path / f"{name}.csv").write_text("ext_user_id,email,phone\n")
    return config.replace("file:/run/secrets/", f"file:{tmp_path}/"), rest


def test_the_example_of_the_guide_answers_as_the_guide_says(route, example):
    config, rest = example
    command, *expected = rest.partition("$ gatepost check ")[2].partition("```")[0].strip().splitlines()

    code, lines = route(*command.split(), text=config)

    assert (code, lines) == (0, [line.strip() for line in expected])


@pytest.mark.parametrize(
    ("arguments", "taken_by"),
    [
        (
            "email amazing bella@x.example codes@amazing.example",
            "✓ 1 email-codes: sent by sendgrid-main, then relay",
        ),
        ("email lucky bella@mail.web.example news@lucky.example", "✓ 2 strict-mailboxes: sent by relay"),
        ("email lucky bella@x.example news@lucky.example", "✓ 3 lucky-email: sent by relay"),
        ("email splendid bella@x.example news@splendid.example", "✓ 4 email: sent by sendgrid-main"),
        ("sms amazing +12045678901 AmazingCode", "✗ 1 no-us: refused with code 14"),
        ("sms splendid +4915123456789 SplendidPIN", "✓ 2 sms-codes: sent by vonage-eu, then vonage-uk"),
        ("sms splendid +447400123456 Splendid", "✓ 3 islands: sent by vonage-eu (30%)"),
        ("sms lucky +447400123456 Lucky", "✓ 4 lucky-sms: sent by vonage-eu"),
        ("sms amazing +4915123456789 Amazing", "✓ 5 sms: sent by vonage-eu, then vonage-uk"),
    ],
)
def test_the_example_of_the_guide_has_a_message_for_each_rule(route, example, arguments, taken_by):
    channel, client, recipient, sender = arguments.split()

    _code, lines = route(
        "--route", channel, "--client", client, "--to", recipient, "--from", sender, text=example[0]
    )

    assert lines[-1].startswith(taken_by)
