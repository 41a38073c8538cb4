"""TLS and sign-in with an independent mail server (aiosmtpd)."""

import asyncio
import contextlib
import email
import email.policy
import ssl
import warnings

import aiosmtpd.smtp
import pytest
import trustme

from gatepost.errors import ConfigError, Unavailable
from gatepost.hookspecs import Context
from gatepost.model import Secret
from gatepost.observe import logs
from gatepost.testing.serving import stop
from gatepost_smtp import Settings, SmtpRelay

USER, PASSWORD = "gatepost", "correct horse 🐴"


class Mailbox:
    """A handler of aiosmtpd that records the mails."""

    def __init__(self):
        self.envelopes = []
        self.signed_in = []
        self.encrypted = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  aiosmtpd's name
        self.envelopes.append(envelope)
        self.signed_in.append(session.authenticated)
        self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        return "250 2.0.0 ok"


def authenticate(server, session, envelope, mechanism, data):
    correct = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return aiosmtpd.smtp.AuthResult(success=correct, handled=False)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def mailbox():
    return Mailbox()


@contextlib.asynccontextmanager
async def serving(mailbox, authority, security, name="localhost", *, session_type=aiosmtpd.smtp.SMTP):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    starttls = security == "starttls"
    sessions = []

    def protocol():
        with warnings.catch_warnings():
            # aiosmtpd knows only STARTTLS and warns about a sign-in over implicit TLS.
            warnings.simplefilter("ignore", UserWarning)
            session = session_type(
                mailbox,
                hostname="relay.example",
                enable_SMTPUTF8=True,
                tls_context=context if starttls else None,
                require_starttls=starttls,
                authenticator=authenticate,
                auth_required=True,
                auth_require_tls=starttls,
                loop=asyncio.get_running_loop(),
            )
        sessions.append(session)
        return session

    server = await asyncio.get_running_loop().create_server(
        protocol, "127.0.0.1", 0, ssl=context if security == "tls" else None
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        await stop(server)
    # The server does not end its sessions.
    for session in sessions:
        if session.transport:
            session.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture
def signed_in(connected, ca_file):
    def open_relay(port, security, **settings):
        values = {
            "host": "localhost",
            "security": security,
            "username": USER,
            "password": Secret(PASSWORD),
            "ca_file": ca_file,
        }
        return connected(port, **(values | settings))

    return open_relay


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_mails_are_sent_encrypted_after_the_sign_in(mailbox, authority, signed_in, an_email, security):
    async with serving(mailbox, authority, security) as port, signed_in(port, security) as relay:
        await relay.ping()
        for text in ("one", ".", "..\r\n.\r\n", "grüße"):
            await relay.send_email(an_email(text=text, subject="dots"))

    assert mailbox.signed_in == mailbox.encrypted == [True] * 4
    assert [envelope.rcpt_tos for envelope in mailbox.envelopes] == [["ann.example+tag@post.example"]] * 4
    mails = [
        email.message_from_bytes(each.content, policy=email.policy.default) for each in mailbox.envelopes
    ]
    assert [next(mail.iter_parts()).get_content() for mail in mails] == ["one", ".", "..\r\n.\r\n", "grüße"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_wrong_password_is_misconfigured(mailbox, authority, signed_in, an_email, security):
    wrong = Secret("wrong")
    async with (
        serving(mailbox, authority, security) as port,
        signed_in(port, security, password=wrong) as relay,
    ):
        with pytest.raises(Unavailable) as caught:
            await relay.ping()
        assert caught.value.misconfigured
        assert caught.value.code.startswith("535")
        with pytest.raises(Unavailable) as caught:
            await relay.send_email(an_email())
        assert caught.value.misconfigured

    assert not mailbox.envelopes


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_for_another_name_is_refused(mailbox, authority, signed_in, an_email, security):
    async with (
        serving(mailbox, authority, security, name="other.example") as port,
        signed_in(port, security) as relay,
    ):
        with pytest.raises(Unavailable, match="certificate") as caught:
            await relay.send_email(an_email())

    assert caught.value.misconfigured
    assert not mailbox.envelopes


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_an_unknown_authority_is_refused(mailbox, authority, signed_in, security):
    unknown = trustme.CA()
    async with serving(mailbox, unknown, security) as port, signed_in(port, security) as relay:
        with pytest.raises(Unavailable, match="certificate"):
            await relay.ping()


async def test_a_server_without_starttls_gets_neither_password_nor_mail(sink, signed_in, an_email):
    sink.extensions.append("AUTH PLAIN LOGIN")
    async with signed_in(sink.port, "starttls") as relay:
        with pytest.raises(Unavailable, match="STARTTLS") as caught:
            await relay.send_email(an_email())

    assert caught.value.misconfigured
    assert [line.split()[0] for line in sink.commands] == [b"EHLO"]


async def test_a_server_that_refuses_starttls_gets_neither_password_nor_mail(sink, signed_in, an_email):
    sink.extensions += ["STARTTLS", "AUTH PLAIN LOGIN"]
    sink.answer("STAR", "454 4.7.0 no TLS today")
    async with signed_in(sink.port, "starttls") as relay:
        with pytest.raises(Unavailable):
            await relay.send_email(an_email())

    assert [line.split()[0] for line in sink.commands] == [b"EHLO", b"STARTTLS"]


class Injected(aiosmtpd.smtp.SMTP):
    """A session into which somebody between has put an answer to EHLO, in clear text right after that to STARTTLS."""

    async def push(self, status):
        injected = "\r\n250-relay.example\r\n250 AUTH EXTERNAL" if "start TLS" in str(status) else ""
        await super().push(f"{status}{injected}")


async def test_answers_injected_before_the_encryption_are_ignored(mailbox, authority, signed_in, an_email):
    async with (
        serving(mailbox, authority, "starttls", session_type=Injected) as port,
        signed_in(port, "starttls") as relay,
    ):
        await relay.send_email(an_email())

    assert mailbox.encrypted == [True]


async def test_a_port_without_tls_is_misconfigured(sink, signed_in, an_email):
    async with signed_in(sink.port, "tls") as relay:
        with pytest.raises(Unavailable, match="port") as caught:
            await relay.send_email(an_email())

    assert caught.value.misconfigured


async def test_a_server_without_sign_in_is_misconfigured(sink, connected):
    async with connected(sink.port, username=USER, password=Secret(PASSWORD)) as relay:
        with pytest.raises(Unavailable, match="sign in") as caught:
            await relay.ping()

    assert caught.value.misconfigured


async def test_all_connections_share_one_tls_context(mailbox, authority, signed_in, an_email, monkeypatch):
    created = []
    create = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda **kw: created.append(1) or create(**kw))
    async with (
        serving(mailbox, authority, "starttls") as port,
        signed_in(port, "starttls") as relay,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(12):
            group.create_task(relay.send_email(an_email()))

    assert len(mailbox.envelopes) == 12
    assert created == [1]


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_an_invalid_ca_file_refuses_the_start(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    settings = Settings(host="localhost", ca_file=path)
    relay = SmtpRelay(settings, Context(name="relay", log=logs.get("relay")))

    with pytest.raises(ConfigError) as caught:
        async with relay.lifespan():
            pass

    assert [fault.key for fault in caught.value.faults] == ["ca_file"]
