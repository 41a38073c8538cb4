"""Values that have the right type but can't work: each is a fault of its key."""

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from gatepost import app
from gatepost.observe import redaction

GOOD = """\
[server]
[clients.brand]
authorization = ["a secret"]
[contacts]
[delivery]
[plugins.box]
use = "sandbox"
folder = "box"
"""


@pytest.fixture
def faults(tmp_path):
    """Return a function that reads GOOD with one more line in a table, and returns the faults by key."""
    file = tmp_path / "gatepost.toml"

    def read_faults(table="server", line=""):
        file.write_text(GOOD.replace(f"[{table}]\n", f"[{table}]\n{line}\n"))
        found = {}
        for key, problem in app.examine(file)[2]:
            found[key] = f"{found[key]}; {problem}" if key in found else problem
        return found

    assert read_faults() == {}
    yield read_faults
    redaction.redact_settings(None)


@pytest.mark.parametrize(
    ("value", "key", "problem"),
    [
        ("{ from = 0 }", "from", "expected a whole number >= 1"),
        ("{ from = 1.5 }", "from", "expected a whole number, got a number"),
        ("{ factor = 2 }", "from", "is missing"),
        ("{ from = 5, factor = 0.9 }", "factor", "expected a number >= 1.0"),
        ("{ from = 5, factor = 10.1 }", "factor", "expected a number <= 10.0"),
        ("{ from = 5, factor = nan }", "factor", "expected a number"),
        ('{ from = 5, per = "week" }', "per", "must be one of: day, hour"),
        ("{ from = 5, until = 9 }", "until", "is not a key here; there are: factor, from, per"),
        ("500", "", "expected a table, got a whole number"),
    ],
)
def test_a_warmup_with_a_fault_names_its_key(faults, value, key, problem):
    found = faults("plugins.box", f"warmup = {value}")
    name = f"plugins.box.warmup.{key}" if key else "plugins.box.warmup"
    assert found.keys() == {name}
    assert found[name].startswith(problem)


def test_each_fault_of_a_warmup_is_named_at_once(faults):
    found = faults("plugins.box", 'warmup = { from = -1, factor = 99, per = "x" }')
    assert found.keys() == {f"plugins.box.warmup.{key}" for key in ("from", "factor", "per")}
    assert faults("plugins.box", 'warmup = { from = 1, factor = 1, per = "hour" }') == {}


def test_a_warmup_of_a_contact_source_is_a_fault(faults):
    source = '[plugins.players]\nuse = "csv"\npath = "players.csv"\nwarmup = { from = 5 }\n[plugins.box]'
    found = faults("delivery", source.removesuffix("\n[plugins.box]"))
    assert found == {"plugins.players.warmup": "is for what sends, and csv does not"}


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("delivery", "email_lifetime"),
        ("delivery", "sms_lifetime"),
        ("delivery", "uncertain_wait"),
        ("delivery", "retention"),
        ("contacts", "timeout"),
        ("plugins.box", "timeout"),
        ("plugins.box", "per_second"),
    ],
)
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e300", "315360001"])
def test_an_infinite_or_huge_number_is_a_fault(faults, table, key, value):
    found = faults(table, f"{key} = {value}")

    assert list(found) == [f"{table}.{key}"]
    assert "expected a number" in found[f"{table}.{key}"]
    assert faults(table, f"{key} = 315360000") == {}


@pytest.mark.parametrize("value", ["1e-300", "5e-324", "0.00001"])
def test_a_rate_below_one_a_day_is_a_fault(faults, value):
    assert faults("plugins.box", f"per_second = {value}") == {
        "plugins.box.per_second": "must be 0 (unlimited) or at least 0.000012 (one a day)"
    }
    assert faults("plugins.box", "per_second = 0.000012") == {}


@pytest.mark.parametrize("value", ["0", "-1", "1e-300", "0.0009"])
def test_a_timeout_of_less_than_a_millisecond_is_a_fault(faults, value):
    found = faults("plugins.box", f"timeout = {value}")

    assert found == {"plugins.box.timeout": "expected a number >= 0.001"}


@pytest.mark.parametrize(
    "url",
    [
        "gate.example",
        "ftp://gate.example",
        "https://",
        "https://gate.example:port",
        "https://gate.example/?brand=1",
        "https://gate.example?",
        "https://gate.example/#top",
        "https://operator:hunter2@gate.example",
        "https://@gate.example",
        "https://gate.example\\n",
        "https://gate. example",
    ],
)
def test_a_public_url_that_no_provider_could_call_is_a_fault(faults, url):
    found = faults("server", f'public_url = "{url}"')

    assert found == {"server.public_url": "must be a URL such as https://api.example.com"}


@pytest.mark.parametrize(
    "url", ["", "http://gate.example", "https://gate.example:8443/", "https://[::1]:1/at/home"]
)
def test_a_public_url_may_have_a_port_and_a_path(faults, url):
    assert faults("server", f'public_url = "{url}"') == {}


def test_a_preview_recipient_that_is_not_an_address_is_a_fault_that_does_not_quote_it(faults):
    entries = '["a@b.example", "Joe <joe@b.example>", "x@bücher.example", "joe.bloggs"]'

    found = faults("clients.brand", f"preview_recipients = {entries}")

    assert found == {
        "clients.brand.preview_recipients": "entry 2 is not an address such as name@example.com; "
        "entry 4 is not an address such as name@example.com"
    }


@pytest.mark.parametrize(
    ("sender", "problem"),
    [("a" * 33, "it is longer than 32 characters"), ("Ama\\nzing", "it must not contain control characters")],
)
def test_a_default_sender_that_no_request_could_have_is_a_fault(faults, sender, problem):
    found = faults("clients.brand", f'sms_default_sender = "{sender}"')

    assert found == {"clients.brand.sms_default_sender": problem}
    assert faults("clients.brand", 'sms_default_sender = "Amazing"') == {}


@pytest.mark.parametrize(
    "key", ["max_queued", "email_per_day", "sms_per_day", "sms_max_parts", "per_user_per_day"]
)
def test_a_limit_is_a_whole_number_from_0_on(faults, key):
    for value in ("-1", "1.5", "true", "1000000001"):
        assert list(faults("clients.brand", f"{key} = {value}")) == [f"clients.brand.{key}"]
    assert faults("clients.brand", f"{key} = 20000") == {}


def test_only_statuses_that_say_so_can_suppress_a_user(faults):
    line = 'suppress = ["complained", "unsubscribed", "failed:permanent"]'
    assert faults("delivery", line) == {}

    found = faults("delivery", 'suppress = ["complained", "opened"]')

    assert found == {
        "delivery.suppress": "entry 2 must be one of: complained, unsubscribed, failed:permanent"
    }


@pytest.mark.parametrize(
    "secret", ["", " vorpal", "vorpal ", "vorpal\\t", "vor\\npal", "vorpal\\u0000", "vor\\u007fpal"]
)
def test_a_secret_that_fits_in_no_header_is_a_fault_that_does_not_quote_it(faults, secret):
    found = faults("contacts", f'shared = true\n[clients.other]\nauthorization = ["good", "{secret}"]')

    assert found == {
        "clients.other.authorization": "entry 2 must not be empty, begin or end with a space, or hold a "
        "control character such as a line break: no HTTP header can have such a value"
    }


@pytest.mark.parametrize("secret", ["Bearer vorpal blade", "Bätschi", "Basic dm9ycGFs=="])
def test_a_secret_may_have_several_words_and_any_script(faults, secret):
    assert faults("contacts", f'shared = true\n[clients.other]\nauthorization = ["{secret}"]') == {}


def test_an_unusable_certificate_is_a_fault_before_anything_is_opened(faults, tmp_path):
    lines = 'certificate = "cert.pem"\nkey = "key.pem"'
    assert faults("server", lines) == {"server.certificate": "can't be read (No such file or directory)"}
    authority = trustme.CA()
    issued, other = authority.issue_cert("gate.example"), authority.issue_cert("gate.example")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    assert faults("server", lines) == {}

    other.private_key_pem.write_to_path(tmp_path / "key.pem")
    not_a_pair = {
        "server.certificate": "certificate and key are not a matching pair of PEM files, "
        "or the key is encrypted with a password"
    }
    assert faults("server", lines) == not_a_pair
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a password"),
    )
    (tmp_path / "key.pem").write_bytes(locked)
    assert faults("server", lines) == not_a_pair


EVERYTHING_WRONG = """\
[server]
port = "http"
public_url = "gate.example"
[store]
url = "mysql://gate.example/messages"
[clients.brand]
authorization = [" padded"]
allow_ips = ["203.0.113.7/24"]
email_senders = ["anybody"]
preview_recipients = ["nobody"]
[clients.other]
authorization = "no list"
callback_hosts = ["https://crm.example/"]
contacts = ["box", "nobody"]
[delivery]
uncertain = "perhaps"
[plugins.box]
use = "sandbox"
folder = "box"
webhook_secret = ""
concurrency = 0
"""


def test_a_fault_of_a_table_hides_no_other_fault(tmp_path):
    file = tmp_path / "gatepost.toml"
    file.write_text(EVERYTHING_WRONG)

    keys = [fault.key for fault in app.examine(file)[2]]

    assert sorted(keys) == [
        "clients.brand.allow_ips",
        "clients.brand.authorization",
        "clients.brand.contacts",
        "clients.brand.email_senders",
        "clients.brand.preview_recipients",
        "clients.other.authorization",
        "clients.other.callback_hosts",
        "clients.other.contacts",
        "delivery.uncertain",
        "plugins.box.concurrency",
        "plugins.box.webhook_secret",
        "server.port",
        "server.public_url",
        "store.url",
    ]


@pytest.mark.parametrize(
    ("table", "line", "key"),
    [
        ("clients.brand", 'callback_api_key = 7\ncallback_url = "https://crm.example/"', "callback_api_key"),
        ("clients.brand", 'callback_hosts = "crm.example"', "callback_hosts"),
    ],
)
def test_the_value_in_place_of_a_key_with_a_fault_has_no_faults(faults, table, line, key):
    if key == "callback_hosts":
        line += '\ncallback_api_key = "a key"\ncallback_url = "https://crm.example/"'
    else:
        line += '\ncallback_hosts = ["crm.example"]'

    assert list(faults(table, line)) == [f"{table}.{key}"]


@pytest.mark.parametrize("url", ["mysql://db.example/x", "postgresql+asyncpg://db.example/x", "redis://x"])
def test_an_unknown_kind_of_store_is_a_fault_before_anything_is_opened(faults, url):
    found = faults("delivery", f'[store]\nurl = "{url}"')
    assert found.keys() == {"store.url"}
    assert found["store.url"].startswith("must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE")
