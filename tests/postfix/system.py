"""A gateway, its relay and the mail server of its recipients, for tests.

Mails to players.example go to a server without DSN, as most servers are, and reports on them come by the listener. Mails
to modern.example go to the same server with DSN, and reports on them come by the script of deploy/postfix.
"""

import asyncio
import re
import secrets
import shutil
import smtplib
import textwrap
from pathlib import Path

import aiohttp
from click.testing import CliRunner

from gatepost.cli import main
from gatepost.testing.process import GatewayProcess
from gatepost.testing.smartico import Smartico
from gateway.conftest import WAIT_TIMEOUT, Deployment, Gateway, until
from postfix.servers import USER, Mailboxes, Ports, PostfixServer, smtpd, write_certificate

ROOT = Path(__file__).parents[2]

USERS = ("anna@players.example", "anna@modern.example", "full@players.example", "anna@refused.example")
STRANGERS = tuple(
    f"{name}@{domain}" for name in ("nobody", "held") for domain in ("players.example", "modern.example")
)
"""Addresses that their server does not know; the relay holds mails to ``held``."""

LISTENER_DOMAIN = "bounces.amazing.example"
PIPE_DOMAIN = "mail.amazing.example"
"""As in the guide."""
COMPLAINT_ADDRESS = f"complaints@{LISTENER_DOMAIN}"
PUBLIC_URL = "https://links.brand.example"


class System:
    """Smartico's stand-in, the gateway in a process of its own, and the two mail servers."""

    def __init__(self, folder: Path, crm: Smartico, ports: Ports) -> None:
        self.crm = crm
        self._folder = folder
        self._relay_port, self._exchanger_port, self._modern_port = ports.new(), ports.new(), ports.new()
        self.listener_port = ports.new()
        self._port = ports.new()
        self._authority = write_certificate(folder)
        self._dkim, self.dns = _dkim_keys(folder)
        self._secret = secrets.token_urlsafe()
        self._deployment = self._configured()
        self.gateway = GatewayProcess(self._deployment.write())
        self.mailboxes = Mailboxes(folder / "mailboxes", USERS[:2], full=USERS[2])
        self.relay = self._relay()
        self.exchanger = self._exchanger()

    def _configured(self) -> Deployment:
        deployment = Deployment(self._folder, self.crm)
        deployment.contacts = "ext_user_id,email,phone\n" + "".join(
            f"{one},{one},\n" for one in USERS + STRANGERS
        )
        tables = deployment.tables
        tables["server"] |= {
            "port": self._port,
            "public_url": PUBLIC_URL,
            "token_keys": [secrets.token_hex(32)],
        }
        tables["clients.brand"] |= {"unsubscribe": True, "open_pixel": True}
        tables["routes.email"] = [
            {"name": "modern", "domains": ["modern.example"], "use": ["piped"]},
            {"name": "others", "use": ["relay"]},
        ]
        relay = {
            "use": "smtp",
            "host": "localhost",
            "port": self._relay_port,
            "ca_file": str(self._authority),
            "webhook_secret": self._secret,
            "dkim": self._dkim,
        }
        tables["plugins.relay"] = relay | {
            "relayed": "delivered",
            "bounce_domain": LISTENER_DOMAIN,
            "bounce_listen": f"127.0.0.1:{self.listener_port}",
            "bounce_certificate": f"{self._folder}/certificate.pem",
            "bounce_key": f"{self._folder}/key.pem",
            "complaint_address": COMPLAINT_ADDRESS,
        }
        tables["plugins.piped"] = relay | {"success_reports": True, "bounce_domain": PIPE_DOMAIN}
        return deployment

    def _relay(self) -> PostfixServer:
        """Return Gatepost's relay, which passes bounces on as the guide says."""
        service, for_script, for_listener = _guide()
        transports = [
            for_script["transport_maps"],
            for_listener["transport_maps"].replace("2525", str(self.listener_port)),
            f"inline:{{players.example=smtp:[127.0.0.1]:{self._exchanger_port}}}",
            f"inline:{{modern.example=smtp:[127.0.0.1]:{self._modern_port}}}",
        ]
        refusals = "refused.example=REJECT, held@players.example=HOLD, held@modern.example=HOLD"
        settings = for_script | {
            "relay_domains": f"{for_script['relay_domains']} {for_listener['relay_domains']}",
            "transport_maps": " ".join(transports),
            "smtpd_recipient_restrictions": f"check_recipient_access inline:{{{refusals}}}, permit_mynetworks",
            "smtpd_tls_security_level": "encrypt",
            "smtpd_tls_cert_file": f"{self._folder}/certificate.pem",
            "smtpd_tls_key_file": f"{self._folder}/key.pem",
        }
        services = smtpd(self._relay_port) + self._with_own_paths(service)
        return PostfixServer(self._folder / "relay", "relay.brand.example", settings, services)

    def _with_own_paths(self, service: str) -> str:
        """Return the guide's service with the script, the secret, the user and the URL of this test."""
        script, secret = self._folder / "gatepost-bounce", self._folder / "secret"
        shutil.copy(ROOT / "deploy/postfix/gatepost-bounce", script)
        secret.write_text(self._secret)
        secret.chmod(0o400)
        shutil.chown(secret, USER)
        values = {
            "user=gatepost-bounce": f"user={USER}",
            "/usr/local/bin/gatepost-bounce": str(script),
            "https://gateway.example.com/webhooks/relay": f"http://127.0.0.1:{self._port}/webhooks/piped",
            "/etc/gatepost-webhook-secret": str(secret),
        }
        for old, new in values.items():
            assert old in service
            service = service.replace(old, new)
        return service

    def _exchanger(self) -> PostfixServer:
        """Return the mail server of the recipients, with a port that offers DSN and one that does not."""
        transports = [
            f"inline:{{{LISTENER_DOMAIN}=smtp:[127.0.0.1]:{self.listener_port}}}",
            f"inline:{{{PIPE_DOMAIN}=smtp:[127.0.0.1]:{self._relay_port}}}",
        ]
        settings = self.mailboxes.settings | {"transport_maps": " ".join(transports)}
        without_dsn = smtpd(self._exchanger_port, "smtpd_discard_ehlo_keywords=dsn,silent-discard")
        services = without_dsn + smtpd(self._modern_port)
        return PostfixServer(self._folder / "exchanger", "mx.players.example", settings, services)

    async def send(self, user: str, **fields: str) -> str:
        """Let Smartico send an email, which must be accepted; return its id."""
        self._deployment.set_url(self.gateway.url)
        return await self._deployment.email(user, from_email_address="Brand <news@brand.example>", **fields)

    async def hears(self, message: str, *statuses: str) -> None:
        """Wait until Smartico has got exactly these statuses of a message, in this order."""
        await self._deployment.hears(message, *statuses)

    async def hears_in_any_order(self, message: str, *statuses: str) -> None:
        """Wait until Smartico has got exactly these statuses of a message."""
        await until(lambda: len(self.crm.statuses_of(message)) >= len(statuses))
        assert sorted(self.crm.statuses_of(message)) == sorted(statuses)

    async def mail(self, message: str, user: str) -> bytes:
        """Wait until a message is in the mailbox of a user, and return the mail as it is there."""
        found = []

        def arrived() -> bool:
            found[:] = [mail for mail in self.mailboxes.mails(user) if message.encode() in mail]
            return bool(found)

        await until(arrived)
        [mail] = found
        return mail

    def send_through_exchanger(self, recipient: str, mail: bytes) -> None:
        """Send a mail by SMTP through the mail server of the recipients."""
        with smtplib.SMTP("127.0.0.1", self._exchanger_port, timeout=WAIT_TIMEOUT) as client:
            client.sendmail("reports@mailbox.example", [recipient], mail)

    async def kill_gateway(self) -> None:
        """Kill the gateway as soon as it has told Smartico all that it knows: otherwise it tells that once more."""
        async with aiohttp.ClientSession() as http:
            await Gateway(self.gateway.url, self._folder, http).settled()
        await asyncio.to_thread(self.gateway.kill)

    async def release_held(self) -> None:
        """Let the relay go on with the mails that it holds."""
        await asyncio.to_thread(self.relay.run, "postsuper", "-H", "ALL")

    async def is_deferred(self, message: str) -> None:
        """Wait until the relay has tried to return the bounce of a message, and will try again."""
        await self.has_logged(self.relay, rf"to=<b\+{message.replace('-', '')}-.*status=deferred")

    async def has_logged(self, server: PostfixServer, pattern: str) -> None:
        """Wait until the log of a server has a line with this pattern."""
        await until(lambda: re.search(pattern, server.log.read_text()))

    def look_up(self, name: bytes, timeout: int = 5) -> bytes | None:
        """Return the record of a name, as the DNS would."""
        return self.dns.get(name)


def _dkim_keys(folder: Path) -> tuple[dict[str, object], dict[bytes, bytes]]:
    """Make a key of each kind; return the table ``dkim``, and the DNS with the records that the command prints."""
    keys, records = [], {}
    for selector, options in (("rsa", []), ("ed", ["--ed25519"])):
        path = folder / f"{selector}.pem"
        command = ["dkim", "new-key", "brand.example", *options, "--selector", selector, "--out", str(path)]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        name = f"{selector}._domainkey.brand.example"
        record = re.search(rf"^{name}\n(.+)$", result.output, re.MULTILINE)[1]
        records[f"{name}.".encode()] = record.encode()
        keys.append({"selector": selector, "key": f"file:{path}"})
    return {"brand.example": keys}, records


def _guide() -> tuple[str, dict[str, str], dict[str, str]]:
    """Return what the guide writes into master.cf, and into main.cf for the script and for the listener."""
    guide = (ROOT / "docs/how-to/providers/smtp.md").read_text()
    blocks = re.findall(r"^ *```text\n(.*?)^ *```", guide, re.DOTALL | re.MULTILINE)
    service, for_script, for_listener = (
        next(textwrap.dedent(block) for block in blocks if word in block)
        for word in ("argv=", "=gatepost:", "=smtp:")
    )
    return service, _settings(for_script), _settings(for_listener)


def _settings(lines: str) -> dict[str, str]:
    """Return lines of main.cf as a table."""
    return dict(line.split(" = ") for line in lines.splitlines())
