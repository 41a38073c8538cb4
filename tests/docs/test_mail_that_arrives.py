"""``gatepost check --live`` with a relay and a DNS of the test's own: the example of the guide is what it prints."""

import asyncio
import json
import re
import socket
import ssl
from pathlib import Path

import aiosmtpd.smtp
import dns.asyncresolver
import pytest
import trustme
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gatepost.cli import check
from gatepost.model import Secret
from gatepost_smtp import dns_lookup
from gatepost_smtp.dkim_keys import dns_record, load_keys
from gatepost_smtp.settings import DkimKey
from gatepost_smtp.testing.dns_server import DnsServer

GUIDE = Path(__file__).parents[2] / "docs/how-to/mail-that-arrives.md"
HOST, ADDRESS = "mail.amazing.example", "9.9.9.9"
DOMAINS = "amazing.example", "lucky.example"


class Relay:
    """A mail server that takes every sign-in."""

    def __init__(self):
        self.authority = trustme.CA()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(HOST).configure_cert(self._context)

    def session(self):
        def accept(*_):
            return aiosmtpd.smtp.AuthResult(success=True)

        return aiosmtpd.smtp.SMTP(
            None, hostname=HOST, tls_context=self._context, authenticator=accept, auth_required=True
        )


@pytest.fixture(scope="module")
def private_key():
    """A private key in PEM."""
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
async def port(tmp_path, monkeypatch):
    """The port of a relay under the name of the guide, on this machine."""
    relay = Relay()
    relay.authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: look_up(host.replace(HOST, "127.0.0.1"), *rest, **more),
    )
    server = await asyncio.get_running_loop().create_server(relay.session, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def records(monkeypatch, private_key):
    """A DNS with everything that the guide's example needs, except the DMARC record of one domain."""
    async with DnsServer().serving() as server:
        monkeypatch.setattr(dns.asyncresolver, "default_resolver", server.resolver)
        monkeypatch.setattr(dns_lookup, "_SECONDS", 600)
        server.publish(HOST, "A", ADDRESS)
        server.publish("9.9.9.9.in-addr.arpa", "PTR", f"{HOST}.")
        server.publish("bounces.amazing.example", "TXT", f"v=spf1 a:{HOST} ~all")
        server.publish("bounces.amazing.example", "MX", f"10 {HOST}.")
        key = DkimKey(selector="gp1", key=Secret(private_key))
        keys = load_keys(dict.fromkeys(DOMAINS, key))
        for domain in DOMAINS:
            server.publish(domain, "MX", f"10 {HOST}.")
            [signer] = keys.signers[domain]
            server.publish(signer.place, "TXT", dns_record(signer.key))
        server.publish(f"_dmarc.{DOMAINS[0]}", "TXT", "v=DMARC1; p=none")
        yield server


@pytest.fixture
def run(port, records, tmp_path, monkeypatch, private_key):
    """Return a function that runs the command on the configuration of the guide, and returns its output."""
    config = GUIDE.read_text().partition("```toml\n[server]")[2].partition("```")[0]
    for name in re.findall(r'"env:(\w+)"', config):
        monkeypatch.setenv(name, f"value-of-{name}")
    for name in re.findall(r'"file:([\w-]+\.pem)"', config):
        (tmp_path / name).write_text(private_key)
    (tmp_path / "token-key-1").write_text("A" * 43 + "=")
    (tmp_path / "players.csv").write_text("ext_user_id,email,phone\n")
    added = f'port = {port}\nca_file = "ca.pem"\ntimeout = 600'
    config = "[server]" + config.replace(f'host = "{HOST}"', f'host = "{HOST}"\n{added}')
    (tmp_path / "gatepost.toml").write_text(config)
    for file in tmp_path.iterdir():
        file.chmod(0o600)

    # Wide enough for the folder's name, which the output must not break.
    monkeypatch.setenv("COLUMNS", "1000")

    async def run(*arguments, start="gatepost.toml\n"):
        monkeypatch.chdir(tmp_path)
        command = lambda: CliRunner().invoke(check.command, ["--live", *arguments])  # noqa: E731
        result = await asyncio.to_thread(command)
        assert result.exit_code == 0, result.output
        # Before it stands what the plugins log, which the program itself keeps quiet.
        text = "".join(result.stdout.partition(start)[1:]).replace(str(tmp_path), "/etc/gatepost")
        return text.replace(f"port {port}", "port 587").replace(ADDRESS, "203.0.113.25")

    return run


def words(text):
    """Return a text without its line breaks, which depend on the width."""
    return " ".join(text.split())


async def test_the_example_of_the_guide_is_what_the_command_prints(run):
    shown = GUIDE.read_text().partition("$ gatepost check --live\n")[2].partition("```")[0]

    assert words(await run()) == words(shown)


async def test_json_has_the_ticks_and_the_warnings(run):
    found = json.loads(await run("--json", start="{\n"))["findings"]

    texts = {grade: [one["text"] for one in found if one["grade"] == grade] for grade in ("good", "warning")}
    assert "DKIM of amazing.example (gp1), lucky.example (gp1): the public key is published" in texts["good"]
    assert [text.partition(":")[0] for text in texts["warning"]] == ["DMARC of lucky.example"]


async def test_the_guide_names_the_line_of_each_check(run):
    """Each line that the list of the guide names is in the output."""
    output = words(await run())
    rows = GUIDE.read_text().partition("## The list\n")[2].partition("\n\nThe lines")[0].splitlines()[3:]
    named = [re.findall(r"`([^`]+)`", row.split(" | ")[-1]) for row in rows]

    assert [name for names in named for name in names if name.replace("NAME", "smartico") not in output] == []
    assert sum(bool(names) for names in named) == 9
