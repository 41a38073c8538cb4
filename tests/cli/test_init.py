"""`gatepost init` writes a first configuration that is what was meant, with every secret in a file of its own."""

import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gatepost.cli import init
from gatepost.cli.first_config import files, toml_text
from gatepost.cli.first_config.answer_text import key_path, toml_value
from gatepost.cli.first_config.draft import Draft
from gatepost.config.networks import Network
from gatepost.config.toml_file import read_settings
from gatepost.model import Secret
from gatepost.plugin_host import discovery

GOOD = (
    *("--no-input", "--allow-ips", "192.0.2.7, 2001:db8::/32", "--callback-api-key", "env:SMARTICO_API_KEY"),
    *("--contacts", "csv", "--set", "plugins.csv.path=users.csv"),
)
RELAY = ("--email", "smtp", "--set", "plugins.smtp.host=relay.example")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the working folder of an operator who has a file of contacts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATEPOST_CONFIG", raising=False)
    monkeypatch.setenv("SMARTICO_API_KEY", "the key of Smartico")
    users = tmp_path / "users.csv"
    users.write_text("ext_user_id,email,phone\n42,anna@mail.example,+447700900123\n")
    users.chmod(0o600)
    return tmp_path


def run(*options: str):
    return CliRunner().invoke(init.command, options)


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_options_alone_write_a_configuration_that_has_no_fault(folder):
    result = run(*GOOD, *RELAY, "--public-url", "https://gateway.example", "--listen", "[::1]:8081")

    assert result.exit_code == 0, result.output
    settings, faults = read_settings(folder / "gatepost.toml", discovery.settings_type)
    assert faults == []
    client = settings.clients["smartico"]
    assert client.allow_ips == (Network("192.0.2.7"), Network("2001:db8::/32"))
    assert client.callback_hosts == ("*.smartico.ai",)
    assert client.callback_api_key == Secret("the key of Smartico")
    assert (settings.server.host, settings.server.port) == ("::1", 8081)
    assert settings.contacts.sources == ("csv",)
    assert "https://gateway.example/email" in result.output
    assert "https://gateway.example/webhooks/smtp" in result.output
    assert "0 faults" in result.output


def test_without_a_plugin_that_sends_the_steps_name_both_urls(folder):
    result = run(*GOOD, "--email", "", "--public-url", "https://gateway.example")

    assert "enter the URL https://gateway.example/email and https://gateway.example/sms and" in result.output


def test_the_file_has_only_what_differs_from_the_defaults(folder):
    run(*GOOD, *RELAY, "--listen", "127.0.0.1:8080", "--store", "sqlite:///gatepost.db")

    assert tomllib.loads((folder / "gatepost.toml").read_text()) == {
        "clients": {
            "smartico": {
                "authorization": ["file:secrets/smartico-authorization"],
                "callback_api_key": "env:SMARTICO_API_KEY",
                "allow_ips": ["192.0.2.7", "2001:db8::/32"],
                "callback_hosts": ["*.smartico.ai"],
            }
        },
        "contacts": {"sources": ["csv"]},
        "routes": {"email": ["smtp"]},
        "plugins": {
            "csv": {"use": "csv", "path": "users.csv"},
            "smtp": {"use": "smtp", "host": "relay.example"},
        },
    }


def test_the_new_secret_is_in_a_file_for_this_user_alone_and_not_in_the_output_of_a_script(folder):
    old = os.umask(0)
    try:
        result = run(*GOOD, *RELAY)
    finally:
        os.umask(old)

    file = folder / "secrets" / "smartico-authorization"
    kind, _, secret = file.read_text().strip().partition(" ")
    assert (kind, len(bytes.fromhex(secret))) == ("Bearer", 32)
    assert secret not in result.output
    assert "the content of secrets/smartico-authorization" in result.output
    assert [mode(path) for path in (folder / "secrets", file, folder / "gatepost.toml")] == [
        0o700,
        0o600,
        0o600,
    ]


def test_everything_that_is_missing_is_listed_at_once_with_its_option(folder):
    result = run("--no-input", "--sms", "vonage")

    assert result.exit_code == 1
    for option in (
        *("--allow-ips", "--callback-api-key", "--contacts"),
        *("--set plugins.vonage.application_id=VALUE", "--set plugins.vonage.private_key=VALUE"),
    ):
        assert f"gatepost: {option}: is missing" in result.output
    assert files_in(folder) == {"users.csv"}


def test_a_channel_is_needed(folder):
    result = run(*GOOD)

    assert result.exit_code == 1
    assert "--email: is missing, and so is --sms" in result.output


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--allow-ips", "192.0.2.7/8"], "--allow-ips: entry 1 has host bits set; write 192.0.0.0/8"),
        (["--contacts", "cvs"], "--contacts: no installed plugin cvs is a contact source; is it csv?"),
        (["--email", "csv"], "--email: no installed plugin csv sends email; there are: "),
        (["--public-url", "gateway"], "--public-url: must be a URL"),
        (["--store", "mysql://db/gatepost"], "--store: must be sqlite:///PATH or postgresql://"),
        (["--listen", "8080"], "--listen: must be an address and a port"),
        (["--trusted-proxies", "proxy"], "--trusted-proxies: entry 1 is not an address"),
        (["--callback-hosts", "https://x/"], "--callback-hosts: entry 1 is not a name"),
        (["--set", "plugins.smtp.port=many"], "--set plugins.smtp.port=VALUE: expected a whole number"),
        (["--set", "plugins.smtp.hots=x"], "--set plugins.smtp.hots=VALUE: is not a key here"),
        (["--set", "plugins.smtp.username=me"], "--set plugins.smtp.password=VALUE: missing"),
        (["--set", "logs.level=\udce9"], "--set logs.level=VALUE: is not UTF-8"),
    ],
)
def test_a_bad_option_is_refused_in_the_words_of_the_gateway(folder, options, problem):
    result = run(*GOOD, *RELAY, *options)

    assert result.exit_code == 1
    assert f"gatepost: {problem}" in result.output
    assert files_in(folder) == {"users.csv"}


@pytest.mark.parametrize(
    "options",
    [
        ["--callback-api-key", "hunter2"],
        ["--authorization", "hunter2"],
        ["--store", "postgresql://gatepost:hunter2@db/gatepost"],
        ["--set", "plugins.smtp.password=hunter2", "--set", "plugins.smtp.username=me"],
        ["--set", "plugins.http.basic.password=hunter2"],
        ["--set", 'plugins.http.basic={ username = "me", password = "hunter2" }'],
        ["--set", "plugins.main.api_key=hunter2", "--set", "plugins.main.use=sendgrid"],
        ["--set", "alerts.notify=hunter2"],
    ],
)
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(folder, options):
    result = run(*GOOD, *RELAY, *options)

    assert result.exit_code == 1
    assert "a secret on the command line can be seen" in result.output
    assert "hunter2" not in result.output
    assert files_in(folder) == {"users.csv"}


@pytest.mark.parametrize("option", ["plugins", "plugins.smtp.host", "= x", "a b.c=1", "=1"])
def test_set_needs_a_table_a_key_and_a_value(folder, option):
    result = run(*GOOD, *RELAY, "--set", option)

    assert result.exit_code == 2
    assert "TABLE.KEY=VALUE" in result.output


def test_a_reference_that_leads_nowhere_yet_is_written_and_shown_by_the_check(folder, monkeypatch):
    monkeypatch.delenv("SMARTICO_API_KEY")

    result = run(*GOOD, *RELAY)

    assert result.exit_code == 1
    assert "the environment variable SMARTICO_API_KEY is not set" in " ".join(result.output.split())
    assert "Mend the faults above" in result.output
    assert 'callback_api_key = "env:SMARTICO_API_KEY"' in (folder / "gatepost.toml").read_text()


def test_an_existing_configuration_is_never_changed(folder):
    (folder / "gatepost.toml").write_text("# mine")

    refused, other = run(*GOOD, *RELAY), run(*GOOD, *RELAY, "--config", "other.toml")

    assert refused.exit_code == 1
    assert "gatepost.toml exists already, and is not changed" in refused.output
    assert (folder / "gatepost.toml").read_text() == "# mine"
    assert other.exit_code == 0, other.output


def test_a_link_that_leads_nowhere_is_not_followed(folder):
    (folder / "gatepost.toml").symlink_to("elsewhere.toml")

    assert "exists already" in run(*GOOD, *RELAY).output
    assert not (folder / "elsewhere.toml").exists()


def test_a_second_configuration_in_the_same_folder_has_secrets_of_its_own(folder):
    run(*GOOD, *RELAY)
    run(*GOOD, *RELAY, "--config", "other.toml")

    first, second = (folder / "secrets" / f"smartico-authorization{end}" for end in ("", "-2"))
    assert first.read_text() != second.read_text()
    assert "file:secrets/smartico-authorization-2" in (folder / "other.toml").read_text()


@pytest.mark.parametrize(
    ("path", "problem"),
    [("none/gatepost.toml", "there is no folder"), ("users.csv/gatepost.toml", "there is no folder")],
)
def test_a_place_that_cannot_be_used_is_named_before_anything_else(folder, path, problem):
    result = run("--config", path, "--no-input")

    assert result.exit_code == 1
    assert problem in result.output


def test_a_link_in_the_place_of_the_secrets_is_not_followed(folder, tmp_path_factory):
    (folder / "secrets").symlink_to(tmp_path_factory.mktemp("elsewhere"))

    result = run(*GOOD, *RELAY)

    assert result.exit_code == 1
    assert "is not a folder, and the secrets go there" in result.output


def test_a_failure_in_the_middle_leaves_nothing(folder, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", fail)

    result = run(*GOOD, *RELAY)

    assert result.exit_code == 1
    assert "No space left on device" in result.output
    assert files_in(folder) == {"users.csv"}


def test_a_file_that_another_program_creates_meanwhile_stays(folder, monkeypatch):
    link = os.link

    def create_first(source, target):
        Path(target).write_text("# another's")
        link(source, target)

    monkeypatch.setattr(os, "link", create_first)

    result = run(*GOOD, *RELAY)

    assert result.exit_code == 1
    assert "has been created meanwhile" in result.output
    assert files_in(folder) == {"users.csv", "gatepost.toml"}
    assert (folder / "gatepost.toml").read_text() == "# another's"


@pytest.fixture
def private_key(folder):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "vonage.pem"
    file.write_bytes(pem)
    file.chmod(0o600)
    return file


HTTP_REQUEST = '{ path = "/messages", json = { to = "{recipient}", text = "{text}", ref = "{id}" } }'
SETTINGS = {
    "accounts": {"url": "https://accounts.example/users/{ext_user_id}", "email": "/email"},
    "brevo": {"api_key": "env:SENDGRID_KEY", "channel": "email"},
    "csv": {"path": "users.csv"},
    "http": {
        "channel": "sms",
        "base_url": "https://api.example.com",
        "request": HTTP_REQUEST,
        "answer.id": "/id",
    },
    "infobip": {"base_url": "https://xxxxx.api.infobip.com", "api_key": "env:SENDGRID_KEY"},
    "mailgun": {"api_key": "env:SENDGRID_KEY", "domain": "mg.brand.example"},
    "postmark": {"server_token": "env:SENDGRID_KEY"},
    "sandbox": {"folder": "mailbox"},
    "sendgrid": {"api_key": "env:SENDGRID_KEY"},
    "ses": {
        "region": "eu-west-1",
        "access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "secret_access_key": "env:SENDGRID_KEY",
    },
    "sinch": {"service_plan_id": "a-plan", "api_token": "env:SENDGRID_KEY", "region": "eu"},
    "smpp": {"host": "smpp.example", "system_id": "amazing", "password": "env:SENDGRID_KEY"},
    "smtp": {"host": "relay.example"},
    "sql": {"url": "env:PLAYERS_URL", "query": "SELECT * FROM users WHERE ext_user_id = :ext_user_id"},
    "twilio": {"account_sid": f"AC{'0' * 32}", "auth_token": "env:SENDGRID_KEY"},
    "vonage": {"application_id": "an-id", "private_key": "file:vonage.pem"},
    "example": {"base_url": "https://api.example.com", "api_key": "env:SENDGRID_KEY"},
}


def shipped() -> list[str]:
    """Return the plugins of this repository; those of the template are examples of code."""
    return sorted(use for use in discovery.installed() if not use.startswith("example"))


@pytest.mark.parametrize("use", shipped())
@pytest.mark.usefixtures("private_key")
def test_each_installed_plugin_can_be_set_up_by_options(folder, monkeypatch, use):
    monkeypatch.setenv("SENDGRID_KEY", "SG.a-key")
    monkeypatch.setenv("PLAYERS_URL", "sqlite:///users.db")
    plugin = discovery.load(use)
    hooks = {"send_email": "--email", "send_sms": "--sms", "find_contact": "--contacts"}
    channel = SETTINGS[use].get("channel")
    options = [
        word
        for hook, option in hooks.items()
        if discovery.implements(plugin, hook) and channel in {None, option.removeprefix("--")}
        for word in (option, use)
    ]
    keys = [f"--set=plugins.{use}.{key}={value}" for key, value in SETTINGS[use].items()]

    result = run(*GOOD, *([] if "--email" in options or "--sms" in options else RELAY), *options, *keys)

    assert result.exit_code == 0, result.output
    assert f"plugins.{use}: {use}, opened" in " ".join(result.output.split())


def test_a_plugin_may_have_another_name(folder, monkeypatch):
    monkeypatch.setenv("SENDGRID_KEY", "SG.a-key")

    result = run(
        *(*GOOD, "--email", "main", "--set", "plugins.main.api_key=env:SENDGRID_KEY"),
        *("--set", "plugins.main.use=sendgrid"),
    )

    assert result.exit_code == 0, result.output
    assert tomllib.loads((folder / "gatepost.toml").read_text())["routes"] == {"email": ["main"]}


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)


@given(VALUES)
def test_what_is_written_reads_back_as_the_same(value):
    assert tomllib.loads(f"value = {toml_text.toml(value)}") == {"value": value}


SECRET_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(
    lambda text: not text.startswith(("env:", "file:"))
)


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    secret=SECRET_TEXTS,
    senders=st.lists(TEXTS, max_size=3),
    host=TEXTS.filter(bool),
    port=st.integers(1, 65535),
)
def test_the_file_holds_the_settings_that_were_meant(tmp_path_factory, secret, senders, host, port):
    draft = Draft(tmp_path_factory.mktemp("written") / "gatepost.toml")
    draft.put(("clients", "a-brand", "authorization"), [secret, f"{secret}2"])
    draft.put(("clients", "a-brand", "email_senders"), [f"a{text}" for text in senders])
    draft.put(("plugins", "relay"), {"use": "smtp", "host": f"a{host}", "port": port, "password": secret})

    files.write(draft)

    settings, faults = read_settings(draft.path, discovery.settings_type)
    assert faults == []
    assert settings.clients["a-brand"].authorization == (Secret(secret), Secret(f"{secret}2"))
    assert settings.clients["a-brand"].email_senders == tuple(f"a{text}" for text in senders)
    relay = settings.plugins["relay"].settings
    assert (relay.host, relay.port, relay.password) == (f"a{host}", port, Secret(secret))
    written = tomllib.loads(draft.path.read_text())
    assert written["plugins"]["relay"]["password"] == "file:secrets/relay-password"


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        (" relay.example ", str, "relay.example"),
        (" a secret ", Secret, " a secret "),
        ("one, two,", tuple[str, ...], ["one", "two"]),
        ('["one, two"]', tuple[str, ...], ["one, two"]),
        ("[::1]:80", tuple[str, ...], ["[::1]:80"]),
        ("env:LIST", tuple[Secret, ...], ["env:LIST"]),
        ("202, 2xx", tuple[int | str, ...], [202, "2xx"]),
        ("587", int | None, 587),
        ("true", bool, True),
        ("true", str, "true"),
        ("many", int, "many"),
        ("2020-01-01", int, "2020-01-01"),
        ("1\nother = 2", int, "1\nother = 2"),
    ],
)
def test_the_text_of_an_answer_becomes_what_the_file_would_have(text, hint, value):
    assert toml_value(text, hint) == value


def test_a_key_may_have_quoted_parts():
    assert key_path('plugins.x."a.b".c') == ("plugins", "x", "a.b", "c")
    assert key_path("a = 1\nb") == ()


def test_the_command_runs_as_a_program_without_a_terminal(folder):
    ended = subprocess.run(
        [sys.executable, "-m", "gatepost", "init"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert "--allow-ips: is missing" in ended.stderr
