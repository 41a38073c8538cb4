"""Two Postfixes for tests: Gatepost's relay, and the mail server of its recipients that it sends to.

Postfix starts only as root. Each server has its own configuration, queue and ports, so that one of the machine itself
is not disturbed.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trustme

POSTFIX = shutil.which("postfix") or shutil.which("postfix", path="/usr/sbin")

USER = "nobody"
"""The owner of the mailboxes, who also runs the commands that get mails."""

MAX_MAILBOX = 1_000_000
"""The largest size of a mailbox in bytes."""

_SERVICES = """\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_SETTINGS = {
    "compatibility_level": "3.6",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8",
    "mydestination": "",
    "local_recipient_maps": "",
    "alias_maps": "",
    "alias_database": "",
    # A mail that the gateway could not take is tried again soon.
    "queue_run_delay": "1s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "2s",
    "smtp_dns_support_level": "disabled",
    "smtp_host_lookup": "native",
    "smtp_tls_security_level": "may",
    "smtp_tls_loglevel": "1",
    "smtpd_peername_lookup": "no",
    "message_size_limit": str(MAX_MAILBOX),
    "virtual_mailbox_limit": str(MAX_MAILBOX),
}


def missing() -> str:
    """Return why this process can't start Postfix; empty if it can."""
    if not POSTFIX:
        return "Postfix is not installed: `make programs` installs it"
    return "" if os.geteuid() == 0 else "Postfix starts only as root"


class PostfixServer:
    """A Postfix that is configured and not started yet."""

    def __init__(self, folder: Path, name: str, settings: Mapping[str, str], services: str) -> None:
        """``settings`` are keys of main.cf, ``services`` are lines of master.cf."""
        self.log = folder / "mail.log"
        self._config = folder / "config"
        for part in (folder, self._config, folder / "queue", folder / "data"):
            part.mkdir()
        shutil.chown(folder / "data", "postfix")
        places = {
            "myhostname": name,
            "queue_directory": folder / "queue",
            "data_directory": folder / "data",
            "maillog_file": self.log,
            "maillog_file_prefixes": folder,
        }
        lines = [f"{key} = {value}\n" for key, value in {**_SETTINGS, **places, **settings}.items()]
        (self._config / "main.cf").write_text("".join(lines))
        (self._config / "master.cf").write_text(_SERVICES + services)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it while the block runs."""
        self.run("postfix", "start")
        try:
            yield
        finally:
            self.run("postfix", "stop")

    def run(self, program: str, *arguments: str) -> None:
        """Run one of Postfix's commands on this server."""
        path = Path(POSTFIX).with_name(program)
        completed = subprocess.run(
            [path, "-c", self._config, *arguments], check=False, capture_output=True, text=True
        )
        log = self.log.read_text() if self.log.exists() else ""
        assert completed.returncode == 0, f"{path} {arguments}: {completed.stderr}{log[-4000:]}"


class Mailboxes:
    """The mailboxes of the mail server of the recipients: a folder for each address, and a full one."""

    def __init__(self, folder: Path, addresses: tuple[str, ...], full: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.addresses = addresses
        self.full = full
        with (folder / full).open("wb") as file:
            file.truncate(MAX_MAILBOX)
        for path in (folder, folder / full):
            shutil.chown(path, USER)

    @property
    def settings(self) -> dict[str, str]:
        """The keys of main.cf that deliver to these mailboxes, and refuse other addresses of their domains."""
        user = pwd.getpwnam(USER)
        domains = {address.partition("@")[2] for address in (*self.addresses, self.full)}
        paths = [*(f"{address}={address}/" for address in self.addresses), f"{self.full}={self.full}"]
        return {
            "virtual_mailbox_domains": " ".join(sorted(domains)),
            "virtual_mailbox_base": str(self.folder),
            "virtual_mailbox_maps": f"inline:{{{', '.join(paths)}}}",
            "virtual_uid_maps": f"static:{user.pw_uid}",
            "virtual_gid_maps": f"static:{user.pw_gid}",
        }

    def mails(self, address: str) -> list[bytes]:
        """Return the mails that were delivered to an address."""
        return [path.read_bytes() for path in (self.folder / address).glob("new/*")]


class Ports:
    """Ports of this machine that nothing else gets as a free one: each is bound, and nothing listens there."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def new(self) -> int:
        """Return a further port."""
        held = self._stack.enter_context(socket.socket())
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def smtpd(port: int, *options: str) -> str:
    """Return the lines of master.cf for a server on a port, with options such as ``name=value``."""
    return f"127.0.0.1:{port} inet n - n - - smtpd\n" + "".join(f"  -o {option}\n" for option in options)


def write_certificate(folder: Path) -> Path:
    """Write a certificate and its key for ``localhost`` into a folder, and return the path of its authority."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    for part in issued.cert_chain_pems:
        part.write_to_path(folder / "certificate.pem", append=True)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return folder / "ca.pem"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a folder that every user may enter, as those of Postfix must; remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="gatepost-postfix-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
