"""What `gatepost check` prints for good and bad configurations."""

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing

import pytest
import trustme
from click.testing import CliRunner

from gatepost.cli import check
from gatepost.model import Secret
from gatepost.outbox import Policy, migrate, open_outbox

GOOD = """\
[server]
host = "127.0.0.1"
trusted_proxies = ["127.0.0.1"]
public_url = "https://gate.example"

[clients.brand]
authorization = ["env:BRAND_SECRET"]
allow_ips = ["203.0.113.0/24"]
callback_api_key = "env:BRAND_KEY"
callback_hosts = ["crm.example"]
email_senders = ["@brand.example"]

[contacts]
sources = ["players"]

[routes]
email = ["relay"]

[plugins.players]
use = "csv"
path = "contacts.csv"

[plugins.relay]
use = "smtp"
host = "127.0.0.1"
port = 1
security = "none"
bounce_domain = "bounces.example"
webhook_secret = "env:RELAY_SECRET"
"""


@pytest.fixture
def run_check(tmp_path, monkeypatch):
    for name in ("BRAND_SECRET", "BRAND_KEY", "RELAY_SECRET"):
        monkeypatch.setenv(name, f"very-secret-{name}")
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "contacts.csv").write_text("ext_user_id,email,phone\nanna,anna@players.example,\n")
    (tmp_path / "contacts.csv").chmod(0o640)
    file = tmp_path / "gatepost.toml"

    def run(*changes, code=0, live=False, text=GOOD, options=()):
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)
        file.chmod(0o640)
        arguments = ["--config", str(file), *(["--live"] if live else []), *options]
        result = CliRunner().invoke(check.command, arguments)
        assert result.exit_code == code, result.output
        assert "very-secret" not in result.output
        return result.output

    return run


def test_a_good_configuration_gets_a_good_line_for_each_table(run_check):
    output = run_check()

    lines = [line.strip() for line in output.splitlines()]
    good = [line.partition(":")[0] for line in lines if line.startswith("✓")]
    assert good == [
        "✓ server",
        "✓ store",
        "✓ clients.brand",
        "✓ contacts",
        "✓ routes",
        "✓ plugins.players",
        "✓ plugins.relay",
    ]
    assert lines[-1] == "0 faults, 0 warnings"


def test_every_fault_is_named_at_once(run_check):
    output = run_check(
        ("[server]", "[sevrer]\n[server]"),
        ("env:BRAND_KEY", "env:NOT_THERE"),
        ("contacts.csv", "missing.csv"),
        ('email = ["relay"]', 'email = ["relay", "nobody"]'),
        ('security = "none"', 'security = "maybe"'),
        code=1,
    )

    faults = [line.strip() for line in output.splitlines() if "✗" in line]
    for where in ("sevrer", "clients.brand.callback_api_key", "routes.email", "plugins.players.path"):
        assert [line for line in faults if line.startswith(f"✗ {where}:")], output
    assert [line for line in faults if line.startswith("✗ plugins.relay.security:")]
    assert "5 faults" in output
    assert "✓ plugins.players" not in output


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('trusted_proxies = ["127.0.0.1"]', "", "server.trusted_proxies"),
        ('public_url = "https://gate.example"', "", "server.public_url"),
        ('allow_ips = ["203.0.113.0/24"]', "", "clients.brand.allow_ips"),
        ('callback_hosts = ["crm.example"]', "", "clients.brand.callback_hosts"),
        ('callback_api_key = "env:BRAND_KEY"', "", "clients.brand.callback_api_key"),
        ('["crm.example"]', '["crm.example"]\nallow_private_callbacks = true', "clients.brand.allow_private"),
        ('sources = ["players"]', "", "contacts.sources"),
        ('sources = ["players"]', "", "plugins.players"),
        ('email_senders = ["@brand.example"]', "", "clients.brand.email_senders"),
        ('email = ["relay"]', "", "routes"),
        ('webhook_secret = "env:RELAY_SECRET"', "", "plugins.relay"),
        ('use = "smtp"', 'use = "sandbox"', "routes.email"),
    ],
)
def test_a_setting_that_is_probably_a_mistake_is_a_warning(run_check, old, new, where):
    changes = [(old, new)]
    if "RELAY_SECRET" in old:
        changes.append(('bounce_domain = "bounces.example"', ""))
    if "sandbox" in new:
        relay = GOOD.partition('use = "smtp"\n')[2]
        changes.append((relay, 'folder = "box"\nwebhook_secret = "env:RELAY_SECRET"\n'))

    output = run_check(*changes)

    assert [line for line in output.splitlines() if line.strip().startswith(f"! {where}")], output


def test_a_plugin_that_hears_reports_itself_needs_no_public_url(run_check):
    output = run_check(
        ('public_url = "https://gate.example"', ""),
        ('use = "smtp"', 'use = "smtp"\nbounce_listen = "127.0.0.1:2525"'),
    )

    assert "server.public_url" not in output


def test_with_a_certificate_no_proxy_is_asked_for(run_check, tmp_path):
    (tmp_path / "cert.pem").write_text("no certificate")
    (tmp_path / "key.pem").write_text("no key")

    output = run_check(
        ('trusted_proxies = ["127.0.0.1"]', 'certificate = "cert.pem"\nkey = "key.pem"'), code=1
    )

    assert "✗ server.certificate: certificate and key are not a matching pair of PEM files" in output
    assert "server.trusted_proxies" not in output


def test_literal_secrets_in_a_file_that_every_user_can_read_are_a_warning(run_check, tmp_path):
    run_check(("env:BRAND_KEY", "very-secret-literal"))
    file = tmp_path / "gatepost.toml"
    file.chmod(0o644)

    output = CliRunner().invoke(check.command, ["--config", str(file)]).output

    assert "holds clients.brand.callback_api_key: chmod o-r" in output
    assert "authorization" not in output
    assert "very-secret" not in output


def test_a_store_that_cannot_be_written_is_a_fault(run_check):
    output = run_check(("[clients", '[store]\nurl = "sqlite:///contacts.csv/gatepost.db"\n[clients'), code=1)

    assert "✗ store.url" in output
    assert "can't be written" in output


def test_a_missing_store_is_not_created(run_check, tmp_path):
    assert "will be created" in run_check()
    assert "is a folder" in run_check(("[clients", '[store]\nurl = "sqlite:///."\n[clients'), code=1)
    assert not list(tmp_path.glob("*.db*"))


@pytest.fixture
async def in_thread(run_check):
    """Return a function that runs the command in a thread, beside a gateway on this test's event loop."""
    return lambda *arguments, **options: asyncio.to_thread(run_check, *arguments, **options)


def snapshot(folder):
    """Every file of the folder except the configuration, with what changes when it is written."""
    files = sorted(one for one in folder.iterdir() if one.name != "gatepost.toml")
    return [(one.name, one.read_bytes(), one.stat().st_ino, one.stat().st_mtime_ns) for one in files]


def open_store(folder):
    return open_outbox(Secret("sqlite:///gatepost.db"), folder, Policy())


async def test_a_store_that_a_gateway_has_open_is_good(in_thread, tmp_path):
    async with open_store(tmp_path):
        assert f"✓ store: SQLite, {tmp_path}/gatepost.db, in use by a running gateway\n" in await in_thread()
    assert f"✓ store: SQLite, {tmp_path}/gatepost.db\n" in await in_thread()


@pytest.mark.parametrize("end", ["closed", "killed"])
async def test_a_store_is_read_without_changing_it(in_thread, tmp_path, end, monkeypatch):
    """Also when the last gateway was killed and its tables are only in the write-ahead log."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with open_store(elsewhere):
        if end == "killed":
            shutil.copytree(elsewhere, tmp_path, dirs_exist_ok=True)
    if end == "closed":
        shutil.copytree(elsewhere, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(elsewhere)
    assert (tmp_path / "gatepost.db-wal").exists() == (end == "killed")
    (tmp_path / "gatepost.db.lock").unlink(missing_ok=True)
    before = snapshot(tmp_path)

    assert "/gatepost.db\n" in await in_thread()
    monkeypatch.setattr(migrate, "HEAD", "9999")
    assert "/gatepost.db (its tables will be upgraded at the next start)\n" in await in_thread()

    assert [one for one in snapshot(tmp_path) if not one[0].endswith("-shm")] == [
        one for one in before if not one[0].endswith("-shm")
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            "CREATE TABLE alembic_version AS SELECT '9999' AS version_num",
            "a newer Gatepost has upgraded this store",
        ),
        (b"some other file" * 1000, "the file is not a database"),
    ],
)
def test_a_store_that_serve_would_refuse_is_a_fault(run_check, tmp_path, content, problem):
    file = tmp_path / "gatepost.db"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        with closing(sqlite3.connect(file)) as database:
            database.execute(content)
            database.commit()
    before = snapshot(tmp_path)

    (line,) = [line for line in run_check(code=1).splitlines() if "✗ store.url: " in line]

    assert problem in line
    assert snapshot(tmp_path) == before


def test_json_has_each_finding(run_check):
    def run(*changes, code):
        # Before it stands what the plugins log, which the program itself keeps quiet.
        return json.loads("{\n" + run_check(*changes, code=code, options=["--json"]).partition("{\n")[2])

    found = run(code=0)["findings"]
    assert {"grade": "good", "key": "routes", "text": "email: relay; sms: no plugin"} in found
    found = run(('email = ["relay"]', 'email = ["nobody"]'), code=1)
    assert [one["key"] for one in found["findings"] if one["grade"] == "fault"] == ["routes.email"]


@pytest.mark.parametrize("options", [("--plugin", "relay"), ("--route", "email")])
def test_json_is_not_for_the_other_checks(run_check, options):
    assert "--json goes with neither --plugin nor --route" in run_check(code=2, options=["--json", *options])


def test_live_signs_in_to_the_providers(run_check):
    assert "✗ plugins.relay: smtp: no connection" in run_check(code=1, live=True)


def test_a_missing_file_or_one_that_is_not_toml_is_one_fault(run_check, tmp_path):
    assert "1 fault," in run_check(text="[server", code=1)

    missing = CliRunner().invoke(check.command, ["--config", str(tmp_path / "other.toml")])

    assert missing.exit_code == 1
    assert "name another with --config" in missing.output


def test_the_help_says_that_only_live_signs_in_to_providers(run_check):
    run_check(code=0)
    run_check(code=1, live=True)

    assert "It tries the providers' keys only with --live" in " ".join((check.command.help or "").split())


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("store", "url = 5"),
        ("store", 'url = ["sqlite:///box.db"]'),
        ("clients.brand", 'authorization = "no list"'),
        ("clients.brand", "authorization = [5]"),
        ("clients.brand", 'authorization = ["a"]\npreview_recipients = 5'),
    ],
)
def test_a_value_of_the_wrong_type_is_a_fault_also_when_the_file_is_searched_for_secrets(
    tmp_path, table, line
):
    file = tmp_path / "gatepost.toml"
    file.write_text(f"[{table}]\n{line}\n")
    # A file that every user can read is searched for secrets.
    file.chmod(0o644)

    ended = CliRunner().invoke(check.command, ["--config", str(file)])

    assert (ended.exit_code, type(ended.exception)) == (1, SystemExit)
    assert f" ✗ {table}." in ended.output


def test_a_key_with_a_fault_gets_no_warning(run_check):
    output = run_check(('trusted_proxies = ["127.0.0.1"]', 'trusted_proxies = ["proxy"]'), code=1)

    assert "✗ server.trusted_proxies: entry 1 is not an address" in output
    assert "trusted_proxies: is empty" not in output


def test_the_contact_sources_of_each_client_are_shown(run_check, tmp_path):
    (tmp_path / "others.csv").write_text("ext_user_id,email,phone\n")
    (tmp_path / "others.csv").chmod(0o600)
    second = GOOD[GOOD.index("[clients.brand]") : GOOD.index("[contacts]")]
    second = second.replace("brand]", "other]").replace("BRAND_SECRET", "RELAY_SECRET")
    plugins = '[plugins.others]\nuse = "csv"\npath = "others.csv"\n[plugins.relay]'

    output = run_check(
        ("[contacts]", f'contacts = ["players"]\n{second}contacts = ["others"]\n[contacts]'),
        ('[contacts]\nsources = ["players"]', "[contacts]"),
        ("[plugins.relay]", plugins),
    )

    assert "✓ contacts: users of brand come from players" in output
    assert "✓ contacts: users of other come from others" in output
    assert "0 faults, 0 warnings" in output


def test_missing_senders_are_a_warning_only_for_a_channel_with_a_route(run_check):
    assert "sms_senders" not in run_check()

    output = run_check(('email = ["relay"]', 'email = ["relay"]\nsms = ["box"]'), ("[plugins.players]", BOX))

    assert "! clients.brand.sms_senders: is empty: this client may send under any sender id" in output


BOX = """\
[plugins.box]
use = "sandbox"
folder = "box"
webhook_secret = "env:RELAY_SECRET"
[plugins.players]
"""


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("[routes]", "[route]"), "route: is not a key here; is it routes?"),
        (('email = ["relay"]', 'email = "relay"'), "routes.email: expected a list"),
        (
            ('email = ["relay"]', 'email = ["rely"]'),
            "routes.email: rely is not a [plugins.NAME] table; is it relay?",
        ),
        (
            ('sources = ["players"]', 'source = ["players"]'),
            "contacts.source: is not a key here; is it sources?",
        ),
        (('sources = ["players"]', 'sources = ["x"]'), "contacts.sources: x is not a [plugins.NAME] table"),
        (("[contacts]", 'contacts = "x"\n[contacts]'), "clients.brand.contacts: expected a list"),
        (('use = "smtp"', 'use = "smpt"'), "plugins.relay.use: no such plugin is installed"),
        (('host = "127.0.0.1"\nport', "host = 5\nport"), "plugins.relay.host: expected a text"),
        (('path = "contacts.csv"', ""), "plugins.players.path: is missing"),
        (("[clients", "[store]\nurl = 5\n[clients"), "store.url: must be a text"),
        (('trusted_proxies = ["127.0.0.1"]', "port = 70000"), "server.port: expected a whole number"),
        (("[plugins.", "[plugin."), "plugin: is not a key here; is it plugins?"),
        (("[clients.", "[client."), "client: is not a key here; is it clients?"),
    ],
)
def test_a_fault_is_shown_once_and_without_its_consequences(run_check, change, fault):
    output = run_check(change, code=1)

    assert f"✗ {fault}" in output
    assert "1 fault, 0 warnings" in output


def test_files_that_every_user_can_read_are_named_with_their_mode(run_check, tmp_path):
    modes = {"contacts.csv": 0o644, "gatepost.db": 0o604, "secret.txt": 0o444, "password.txt": 0o640}
    for name, mode in modes.items():
        if name.endswith(".txt"):
            (tmp_path / name).write_text("very-secret")
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)

    output = run_check(
        ('"env:BRAND_KEY"', '"file:secret.txt"'), ('"env:RELAY_SECRET"', '"file:password.txt"')
    )

    everybody = "every user of this machine can read"
    assert (
        f"! clients.brand.callback_api_key: {everybody} {tmp_path}/secret.txt (mode 0444): chmod o-r"
        in output
    )
    assert f"! plugins.players.path: {everybody} {tmp_path}/contacts.csv (mode 0644): chmod o-r" in output
    assert f"! store.url: {everybody} {tmp_path}/gatepost.db (mode 0604): chmod o-r" in output
    assert output.count(everybody) == 3


@pytest.mark.parametrize(("readable", "warned"), [("key.pem", True), ("cert.pem", False)])
def test_a_readable_key_is_a_warning_and_a_readable_certificate_is_not(run_check, tmp_path, readable, warned):
    issued = trustme.CA().issue_cert("gate.example")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).chmod(0o644 if name == readable else 0o600)

    output = run_check(('trusted_proxies = ["127.0.0.1"]', 'certificate = "cert.pem"\nkey = "key.pem"'))

    assert (f"! server.key: every user of this machine can read {tmp_path}/key.pem" in output) is warned
    assert "server.certificate" not in output


DESCRIBED = """\
[server]
public_url = "https://gate.example"

[plugins.acme]
use = "http"
channel = "sms"
base_url = "https://api.acme.example"
bearer = "env:BRAND_KEY"
webhook_token = { query = "token", value = "env:RELAY_SECRET" }
webhook = { status = "/status", statuses = { OK = "delivered" }, id = "/ref" }

[plugins.acme.request]
path = "/messages"
json = { to = "{recipient}", text = "{text}", ref = "{id}", report = "{callback_url}" }

[plugins.relay]
use = "smtp"
host = "127.0.0.1"
port = 1
security = "none"
"""


@pytest.fixture
def try_request(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAND_KEY", "very-secret-key")
    monkeypatch.setenv("RELAY_SECRET", "very-secret-token")
    file = tmp_path / "gatepost.toml"

    def run(*arguments, text=DESCRIBED, code=0):
        file.write_text(text)
        result = CliRunner().invoke(check.command, ["--config", str(file), "--try", *arguments])
        assert result.exit_code == code, result.output
        assert "very-secret" not in result.output
        return result.output

    return run


def test_a_request_is_shown_without_secrets_and_to_nobody(try_request):
    assert try_request("--plugin", "acme").splitlines()[:3] == [
        "POST https://api.acme.example/messages",
        "Authorization: Bearer •••••",
        "Content-Type: application/json",
    ]
    output = try_request("--plugin", "acme")
    assert '"to": "+447700900123"' in output
    assert '"report": "https://gate.example/webhooks/acme?token=•••••"' in output


def test_a_secret_that_a_plugin_shows_is_covered(try_request, monkeypatch):
    shown = "Authorization: very-secret-key\x1b[2J\n\nbody"
    monkeypatch.setattr("gatepost_http.plugin.Http.preview_request", lambda _plugin, _message: shown)
    assert try_request("--plugin", "acme") == "Authorization: •••••\\x1b[2J\n\nbody\n"


def test_a_plugin_that_can_show_no_request_says_so(try_request):
    assert "relay (smtp) can't show its requests" in try_request("--plugin", "relay", code=1)


def test_a_message_that_would_not_be_sent_says_why(try_request):
    output = try_request("--plugin", "acme", text=DESCRIBED.replace("{text}", "{subject}"), code=1)
    assert "plugins.acme.request.json.text: {subject} is no placeholder here" in output
    assert "has no [plugins.other]" in try_request("--plugin", "other", code=1)


@pytest.mark.parametrize(
    "options", [(), ("--plugin", "acme", "--live"), ("--plugin", "acme", "--route", "sms")]
)
def test_try_goes_with_a_plugin_alone(try_request, options):
    assert "--try goes with --plugin" in try_request(*options, code=2)


@pytest.mark.parametrize(
    ("exporter", "line"),
    [
        ("otlp", "traces of messages go to a collector of OpenTelemetry"),
        ("zipkin", "there will be no traces: OTEL_TRACES_EXPORTER names an exporter"),
    ],
)
def test_it_says_whether_the_environment_turns_traces_on(run_check, monkeypatch, exporter, line):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", exporter)
    assert line in run_check()
