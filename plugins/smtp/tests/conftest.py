"""Fixtures: a sink with faults, relays that send to it, and a message."""

import contextlib
import socket

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from gatepost.hookspecs import Context
from gatepost.model import Email, Mailbox, Secret
from gatepost.observe import logs
from gatepost.testing.configuration import free_port
from gatepost_smtp import Settings, SmtpRelay
from gatepost_smtp.testing.bounces import ReportRecorder
from gatepost_smtp.testing.sink import Sink

ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"


@pytest.fixture
def pipelining():
    """Whether the sink offers PIPELINING."""
    return True


@pytest.fixture
async def sink(set_ahead, pipelining):
    async with Sink(set_ahead).serving() as serving:
        if not pipelining:
            serving.extensions.remove("PIPELINING")
        yield serving


@pytest.fixture
def closed_port():
    """A port on which no process listens or can start to listen."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture
def connected():
    """``async with connected(port, timeout=…, **settings) as relay``"""

    @contextlib.asynccontextmanager
    async def open_relay(port, *, timeout=20.0, **settings):  # noqa: ASYNC109  the plugin's own
        settings = Settings(**{"host": "127.0.0.1", "port": port, "security": "none"} | settings)
        relay = SmtpRelay(settings, Context(name="relay", log=logs.get("relay"), timeout=timeout))
        async with relay.lifespan():
            yield relay

    return open_relay


@pytest.fixture
async def recorder():
    return ReportRecorder()


@pytest.fixture
def listening(recorder):
    """``async with listening(name=…, **settings) as port``"""
    port = free_port()

    @contextlib.asynccontextmanager
    async def open_listener(name="relay", **settings):
        values = {
            "host": "127.0.0.1",
            "security": "none",
            "webhook_secret": Secret("a shared secret"),
            "bounce_domain": "bounces.example",
            "bounce_listen": f"127.0.0.1:{port}",
            "complaint_address": "complaints@bounces.example",
        }
        context = Context(name=name, log=logs.get("relay"), report=recorder.report, state=recorder)
        async with SmtpRelay(Settings(**values | settings), context).lifespan():
            yield port

    return open_listener


@pytest.fixture
async def listener(listening):
    """The port of a listener."""
    async with listening() as port:
        yield port


def short_rsa_key():
    """Return an RSA key that is too short for any use; libraries no longer make such keys."""
    p, q, e = 2**255 - 19, 2**256 - 189, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    exponents = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, *exponents, rsa.RSAPublicNumbers(e, p * q)).private_key()


@pytest.fixture(scope="session")
def private_keys():
    """Private keys in PEM, by what they are."""
    keys = {
        "rsa2048": rsa.generate_private_key(65537, 2048),
        "rsa1024": rsa.generate_private_key(65537, 1024),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        "rsa511": short_rsa_key(),
        "elliptic": ec.generate_private_key(ec.SECP256R1()),
    }
    texts = {
        name: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        for name, key in keys.items()
    }
    lock = BestAvailableEncryption(b"a password")
    return texts | {
        "locked": keys["ed25519"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock).decode(),
    }


@pytest.fixture
async def relay(sink, connected):
    async with connected(sink.port) as open_relay:
        yield open_relay


@pytest.fixture
def an_email():
    """Create a message; keywords replace the defaults."""

    def create(**changes):
        changes.setdefault("recipient", "ann.example+tag@post.example")
        changes["recipient"] = Secret(changes["recipient"])
        values = {
            "id": ID,
            "sender": Mailbox("news@amazing.example", "Amazing, Inc"),
            "subject": "Your weekly letter",
            "html": "<p>Hello</p>",
            "text": "Hello",
            "lifetime": 3600.0,
        }
        return Email(**(values | changes))

    return create
