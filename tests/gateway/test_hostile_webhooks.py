"""Hostile requests to the webhooks of a real gateway change nothing."""

import asyncio
import gzip
import io
import json
import random
import re
import socket
import sqlite3
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.model import Secret
from gatepost.testing.process import GatewayProcess
from gatepost.testing.webhook_requests import webhook_request, without_header
from gatepost_sandbox import reports
from gatepost_sendgrid.testing import SendGridEmulator
from gatepost_vonage.testing import VonageEmulator

PERMITTED = {200, 400, 401, 404, 405, 408, 413, 415, 503}
ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"
SMTP_SECRET, SANDBOX_SECRET, OTHER_SECRET = "gimble-wabe", "callooh-callay", "tulgey-wood"

BOMB = gzip.compress(bytes(100_000_000), 9)

NAMES = ("sendgrid", "vonage", "relay", "box")


def _event(emulator, kind="delivered"):
    """Return a report about the message in the store."""
    mail = {"personalizations": [{"to": [{"email": "anna@players.example"}]}], "custom_args": {"gp_id": ID}}
    text = {"channel": "sms", "to": "447700900100", "from": "Brand"}
    message = mail if isinstance(emulator, SendGridEmulator) else text
    taken = type("Taken", (), {"id": ID, "provider_id": "an-id", "message": message})
    return emulator.event(kind, taken)


class Signer:
    """A signer of reports as one of the providers, with the right secret or another one."""

    def __init__(self, name, sendgrid, vonage):
        self.name = name
        self.emulator = {"sendgrid": sendgrid, "vonage": vonage}.get(name)

    def body(self):
        match self.name:
            case "sendgrid" | "vonage":
                return self.emulator.bodies([_event(self.emulator)], batch=0)[0]
            case "relay":
                return BOUNCE.encode()
            case _:
                return json.dumps({"reports": [{"message": ID, "status": "delivered"}]}).encode()

    def headers(self, body, *, at=None, other=False):
        at = time.time() if at is None else at
        match self.name:
            case "sendgrid" | "vonage":
                request = self.emulator.sign(webhook_request(body=body, at=at), forged=other)
                return dict(without_header(request, "content-type").headers) | {
                    "Content-Type": "application/json"
                }
            case "relay":
                secret = OTHER_SECRET if other else SMTP_SECRET
                return {"Content-Type": "message/rfc822", "Authorization": f"Bearer {secret}"}
            case _:
                secret = Secret(OTHER_SECRET if other else SANDBOX_SECRET)
                return {"Content-Type": "application/json", **reports.signed_headers(secret, body, at)}


BOUNCE = f"""\
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

gone
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example
Original-Envelope-Id: {ID}

Final-Recipient: rfc822; anna@players.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b
Content-Type: message/rfc822

Message-ID: <{ID}@gatepost.invalid>

--b--
"""


class RunningGateway:
    """A gateway process, and what it recorded about the message."""

    def __init__(self, process, http, folder, signers):
        self.process = process
        self.http = http
        self.folder = folder
        self.signers = signers

    async def post(self, name, body, headers=None, method="POST", query="") -> int:
        url = f"{self.process.url}/webhooks/{name}{query}"
        async with self.http.request(method, url, data=io.BytesIO(body), headers=headers) as response:
            assert not await response.read() or response.status in {400, 404, 405}, response.status
            return response.status

    def recorded(self) -> set[str]:
        """Return the statuses of the message."""
        with sqlite3.connect(f"file:{self.folder}/gatepost.db?mode=ro", uri=True) as database:
            rows = database.execute("SELECT status FROM statuses WHERE message_id = ?", [ID]).fetchall()
        database.close()
        return {status for (status,) in rows}

    def reset_peak_memory(self) -> int:
        """Return the bytes that the process has in memory, and begin a new ``peak_memory``."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.peak_memory()

    def peak_memory(self) -> int:
        """Return the most bytes that the process had in memory, including those it has freed."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024

    def check_log(self) -> None:
        """Check that the gateway runs and that its log has no error of its own."""
        assert self.process.running
        log = self.process.log.read_text()
        assert "Traceback" not in log
        assert '"exception"' not in log
        assert "internal_error" not in log
        # How long a call takes depends on the machine.
        violations = [line for line in log.splitlines() if "plugin_violation" in line]
        assert [line for line in violations if "blocked the event loop" not in line] == []


@pytest.fixture(scope="module")
def emulators():
    return SendGridEmulator(), VonageEmulator()


@pytest.fixture(scope="module")
def served(tmp_path_factory, emulators):
    """Run one gateway for all tests, with a message that was sent; no test may change its state."""
    folder = tmp_path_factory.mktemp("webhooks")
    sendgrid, vonage = emulators
    tables = {
        "server": {"port": 0},
        "clients.brand": {"authorization": ["the-secret"], "allow_ips": ["127.0.0.1"]},
        "routes": {"email": ["sendgrid", "relay", "box"]},
        "logs": {"level": "debug", "format": "json"},
        "plugins.sendgrid": {"use": "sendgrid", "api_key": "x", "webhook_public_key": sendgrid.public_key},
        "plugins.vonage": {
            "use": "vonage",
            "application_id": vonage.application_id,
            "private_key": vonage.private_key,
            "signature_secret": vonage.signature_secret,
        },
        "plugins.relay": {"use": "smtp", "host": "127.0.0.1", "webhook_secret": SMTP_SECRET},
        "plugins.box": {"use": "sandbox", "folder": "box", "webhook_secret": SANDBOX_SECRET},
    }
    lines = [
        f"[{name}]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in t.items())
        for name, t in tables.items()
    ]
    (folder / "gatepost.toml").write_text("\n".join(lines))
    with GatewayProcess(folder / "gatepost.toml") as process:
        with sqlite3.connect(folder / "gatepost.db") as database:
            columns = [row[1] for row in database.execute("PRAGMA table_info(messages)")]
            given = {"id": ID, "channel": "email", "state": "sent", "client": "brand", "due_at": None}
            # Each instance may report on it: three are on its route, and this one sent it.
            given["instance"] = "vonage"
            given["queue"] = 1
            given |= {
                "created_at": 0,
                "expires_at": 2**41,
                "ended_at": 2**41,
                "attempt": 1,
                "lost_answers": 0,
                "deaths": 0,
                "fingerprint": b"",
            }
            row = [given.get(name, "") for name in columns]
            database.execute(f"INSERT INTO messages VALUES ({','.join('?' * len(row))})", row)
        database.close()
        yield process, folder


@pytest.fixture
async def gate(served, emulators):
    process, folder = served
    before = await asyncio.to_thread(_statuses, folder)
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        running = RunningGateway(process, http, folder, {name: Signer(name, *emulators) for name in NAMES})
        yield running
        running.check_log()
        with sqlite3.connect(folder / "gatepost.db") as database:
            database.execute("DELETE FROM statuses")
        database.close()
    assert before == 0


def _statuses(folder):
    with sqlite3.connect(folder / "gatepost.db") as database:
        [(count,)] = database.execute("SELECT count(*) FROM statuses").fetchall()
    database.close()
    return count


@pytest.mark.parametrize("name", NAMES)
async def test_a_signed_report_counts_once_however_often_it_comes(gate, name):
    body = gate.signers[name].body()
    headers = gate.signers[name].headers(body)
    assert gate.recorded() == set()
    assert [await gate.post(name, body, headers) for _ in range(5)] == [200] * 5
    assert gate.recorded() == {"accepted", "failed" if name == "relay" else "delivered"}


@pytest.mark.parametrize("name", ["sendgrid", "vonage", "box"])
async def test_any_changed_bit_invalidates_the_signature(gate, name):
    body = gate.signers[name].body()
    headers = gate.signers[name].headers(body)
    rng = random.Random(7)
    for _ in range(60):
        at = rng.randrange(len(body) * 8)
        flipped = bytearray(body)
        flipped[at // 8] ^= 1 << at % 8
        assert await gate.post(name, bytes(flipped), headers) == 401
    for header, value in headers.items():
        if header == "Content-Type":
            continue
        for _ in range(25):
            # A letter is replaced by another one, so that the header stays valid. The last letters of a base64
            # text may contain unused bits.
            at = rng.randrange(len("Bearer ") if name == "vonage" else 0, len(value) - 4)
            other = rng.choice([letter for letter in "0aZ9bY" if letter.lower() != value[at].lower()])
            status = await gate.post(name, body, {**headers, header: value[:at] + other + value[at + 1 :]})
            assert status == 401, (header, at)
    assert gate.recorded() == set()


@pytest.mark.parametrize("name", NAMES)
async def test_without_a_signature_or_with_another_one_nothing_is_recorded(gate, name):
    signer = gate.signers[name]
    body = signer.body()
    signature = {key: value for key, value in signer.headers(body).items() if key != "Content-Type"}
    # For the signatures of a body; a bearer token does not depend on it.
    bodies = [] if name == "relay" else [signer.headers(body + b" "), signer.headers(b"")]
    given = [
        {},
        signer.headers(body, other=True),
        *bodies,
        *({header: value} for header in signature if len(signature) > 1 for value in (signature[header], "")),
        dict.fromkeys(signature, ""),
        dict.fromkeys(signature, "\xff\xfe"),
        dict.fromkeys(signature, "x" * 4000),
        {key: f"{value}x" for key, value in signature.items()},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic Z2F0ZTpwb3N0"},
        *(gate.signers[other].headers(body) for other in NAMES if other != name),
    ]
    if name != "relay":
        given += [signer.headers(body, at=time.time() + seconds) for seconds in (-26 * 3600 - 60, 3600)]
    for headers in given:
        # 503: Vonage signs a report that it sent without a signature when it repeats it.
        assert await gate.post(name, body, headers) in {401, 503 if name == "vonage" else 401}, headers
    assert gate.recorded() == set()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
async def test_a_decompression_bomb_is_not_decompressed(gate, name, encoding):
    bomb = BOMB if "gzip" in encoding else BOMB[10:-8]
    before = gate.reset_peak_memory()
    for headers in ({}, gate.signers[name].headers(bomb)):
        assert await gate.post(name, bomb, {**headers, "Content-Encoding": encoding}) in PERMITTED - {
            503
        } or (name == "vonage" and not headers)
    assert gate.peak_memory() - before < 50_000_000
    assert gate.recorded() == set()


@pytest.mark.parametrize("name", NAMES)
async def test_wrong_methods_types_and_queries_change_nothing(gate, name):
    body = gate.signers[name].body()
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT-ME"):
        assert await gate.post(name, body, {}, method=method) in PERMITTED | {204}
    for kind in (
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "message/rfc822; x=\xff",
    ):
        assert await gate.post(name, body, {"Content-Type": kind}) in PERMITTED
    for query in ("?", "?a=1&a=2", "?%00=%ff", "?" + "x=1&" * 2000, "?to=%F0%9F"):
        assert await gate.post(name, body, {}, query=query) in PERMITTED
    assert gate.recorded() == set()


@pytest.mark.parametrize("name", NAMES)
async def test_a_huge_batch_is_refused_or_recorded_with_limited_memory(gate, name):
    huge = {
        "sendgrid": b"[" + b",".join([b'{"event":"delivered","gp_id":"x"}'] * 20_000) + b"]",
        "vonage": b'{"a":' + b"[" * 1_000_000 + b"}",
        "relay": BOUNCE.encode() * 5_000,
        "box": json.dumps({"reports": [{"message": "x", "status": "delivered"}] * 20_000}).encode(),
    }[name]
    before = gate.reset_peak_memory()
    assert len(huge) < 8 * 1_048_576
    assert await gate.post(name, huge, gate.signers[name].headers(huge)) in {200, 400}
    assert await gate.post(name, bytes(9 * 1_048_576), {}) == 413
    assert gate.peak_memory() - before < 250_000_000


@pytest.mark.parametrize("name", NAMES)
async def test_bodies_without_an_end_or_with_a_wrong_length_are_cut_off(gate, name):
    parts = urlsplit(gate.process.url)
    heads = [
        b"Content-Length: 99999999999999999999\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + bytes(0x100000) + b"\r\n",
        b"Content-Length: 10\r\n\r\nabc",
    ]
    for head in heads:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"POST /webhooks/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + head)
        if b"chunked" in head:
            for _ in range(8):
                writer.write(b"100000\r\n" + bytes(0x100000) + b"\r\n")
        if b": 10" in head:
            # The rest of the body never comes, and the connection is closed.
            writer.close()
            continue
        line = await reader.readline()
        assert int(line.split()[1]) in PERMITTED, line
        writer.close()
    assert gate.recorded() == set()


FIELDS = [
    "event",
    "gp_id",
    "sg_message_id",
    "timestamp",
    "type",
    "status",
    "reason",
    "reports",
    "message",
    "error",
    "message_uuid",
    "client_ref",
    "channel",
    "to",
    "sms",
    "destination",
    "usage",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([ID, "delivered", "bounce"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(FIELDS) | st.text(max_size=5),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
BODIES = (
    st.binary(max_size=300)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.lists(JSON, max_size=4).map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: json.dumps({"reports": [value], "status": value}).encode())
    | st.tuples(st.integers(0, len(BOUNCE)), st.binary(max_size=30), st.integers(0, 200)).map(
        lambda cut: BOUNCE.encode()[: cut[0]] + cut[1] + BOUNCE.encode()[cut[0] + cut[2] :]
    )
)


def test_fuzzed_bodies_get_a_permitted_status(served, emulators):
    process, folder = served
    parts = urlsplit(process.url)
    signers = {name: Signer(name, *emulators) for name in NAMES}

    def post(name, body, headers):
        head = [f"POST /webhooks/{name} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        head += [f"{key}: {value}" for key, value in headers.items()]
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
        answer = connection.recv(65536)
        return int(answer.split()[1])

    @settings(max_examples=120, deadline=None, database=None)
    @given(body=BODIES, signed=st.booleans())
    def fuzz(body, signed):
        for name, signer in signers.items():
            status = post(name, body, signer.headers(body, other=not signed))
            assert status in PERMITTED, (name, status)
            assert signed or status in {400, 401}

    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        fuzz()
    RunningGateway(process, None, folder, signers).check_log()
    with sqlite3.connect(folder / "gatepost.db") as database:
        database.execute("DELETE FROM statuses")
    database.close()
