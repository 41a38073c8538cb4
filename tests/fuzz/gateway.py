"""The gateway under test: its configuration, and what can be measured from outside its process."""

import json
import os
from pathlib import Path

from fuzz.requests import GOOD
from gatepost.testing.process import GatewayProcess

CONFIG = """\
[server]
port = 0
max_body = 65536

[clients.brand]
authorization = ["the-secret"]
allow_ips = ["127.0.0.1"]
callback_hosts = ["crm.example"]
callback_api_key = "the-api-key"
email_senders = ["@brand.example"]

[contacts]
sources = ["players"]

[routes]
email = ["box"]
sms = ["box"]

[logs]
format = "json"

[plugins.players]
use = "csv"
path = "contacts.csv"

[plugins.box]
use = "sandbox"
folder = "box"
"""
CONTACTS = "ext_user_id,email,phone\nanna,anna@players.example,+447700900100\n"


def write(folder: Path, config: str = CONFIG) -> Path:
    """Write the gateway's files, and return the path of its configuration."""
    (folder / "contacts.csv").write_text(CONTACTS)
    path = folder / "gatepost.toml"
    path.write_text(config)
    return path


def address(process: GatewayProcess) -> tuple[str, int]:
    host, _, port = process.url.removeprefix("http://").partition(":")
    return host, int(port)


def memory(pid: int) -> int:
    """Return the resident memory of the process in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that the process has used, including the kernel's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def log_errors(log: Path) -> list[str]:
    """Return the lines that no request may cause: errors, tracebacks, and lines that are not a log event."""
    found = []
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                level = json.loads(line)["level"]
            except (ValueError, KeyError, TypeError):
                level = "none"
            if level not in {"debug", "info", "warning"} or "Traceback" in line:
                found.append(line.strip())
    return found


def request(
    path: str = "/email",
    *headers: bytes,
    body: bytes = b"{}",
    secret: bytes = b"the-secret",
    method: str = "POST",
) -> bytes:
    """Return a valid request, with ``headers`` in addition to the required ones."""
    lines = [b"%s %s HTTP/1.1" % (method.encode(), path.encode()), *headers]
    if not any(header.startswith(b"Host:") for header in headers):
        lines.append(b"Host: gateway.example")
    if secret:
        lines.append(b"Authorization: " + secret)
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


def message(path: str = "/email", **fields: object) -> bytes:
    """Return the body of a valid message to a user that does not exist."""
    return json.dumps({**GOOD[path], **fields}).encode()
