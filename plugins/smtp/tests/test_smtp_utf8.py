"""Addresses with letters outside ASCII (SMTPUTF8, RFC 6531), with an independent mail server and with a strict one."""

import asyncio
import contextlib

import aiosmtpd.smtp
import pytest

from gatepost.errors import Rejected
from gatepost.model import Mailbox
from gatepost.testing.serving import stop
from gatepost_smtp.testing.extensions import refusal_of_command, refusal_of_content

ADDRESS = "jürgen@post.example"


class Handler:
    """A handler of aiosmtpd that records the mails."""

    def __init__(self):
        self.envelopes = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  aiosmtpd's name
        self.envelopes.append(envelope)
        return "250 2.0.0 ok"


@contextlib.asynccontextmanager
async def serving(handler, *, utf8):
    sessions = []

    def protocol():
        sessions.append(aiosmtpd.smtp.SMTP(handler, enable_SMTPUTF8=utf8, loop=asyncio.get_running_loop()))
        return sessions[-1]

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await stop(server)
    for session in sessions:
        if session.transport:
            session.transport.abort()
    await asyncio.sleep(0)


async def test_a_mail_server_takes_addresses_in_utf8(connected, an_email):
    handler = Handler()
    async with serving(handler, utf8=True) as port, connected(port) as relay:
        await relay.send_email(
            an_email(recipient=ADDRESS, reply_to=Mailbox("grüße@amazing.example", "Grüße"))
        )
        await relay.send_email(an_email())

    utf8, plain = handler.envelopes
    assert (utf8.smtp_utf8, plain.smtp_utf8) == (True, False)
    assert utf8.rcpt_tos == [ADDRESS]
    headers, _, body = utf8.content.partition(b"\r\n\r\n")
    assert f"\r\nTo: {ADDRESS}\r\n".encode() in headers
    assert "<grüße@amazing.example>\r\n".encode() in headers
    # Only the addresses need it: the rest of the mail can be sent on by any server.
    assert body.isascii()
    assert plain.content.isascii()


async def test_a_mail_server_without_smtputf8_never_gets_them(connected, an_email):
    handler = Handler()
    async with serving(handler, utf8=False) as port, connected(port) as relay:
        with pytest.raises(Rejected, match="SMTPUTF8"):
            await relay.send_email(an_email(recipient=ADDRESS))
        await relay.send_email(an_email())

    assert len(handler.envelopes) == 1


@pytest.mark.parametrize("text", ["Grüße", "Привет, Анна", "今週のボーナス", "a" * 5000, "ß" * 5000])
async def test_no_text_needs_an_extension(sink, relay, an_email, text):
    sink.extensions = []

    await relay.send_email(
        an_email(subject=text[:200], text=text, html=text, sender=Mailbox("news@amazing.example", text[:60]))
    )

    assert sink.mails[0].raw.isascii()


@pytest.mark.parametrize(
    ("line", "mail", "extensions", "refused"),
    [
        (b"MAIL FROM:<a@b.example> SIZE=5\r\n", b"", ["SIZE 99"], False),
        (b"MAIL FROM:<a@b.example> SIZE=5\r\n", b"", [], True),
        (b"MAIL FROM:<a@b.example> BODY=8BITMIME SMTPUTF8\r\n", b"", ["SMTPUTF8"], True),
        (b"MAIL FROM:<a@b.example> RET=HDRS ENVID=1\r\n", b"", ["SIZE"], True),
        (b"RCPT TO:<a@b.example> NOTIFY=FAILURE\r\n", b"", ["DSN"], False),
        ("RCPT TO:<ä@b.example>\r\n".encode(), b"MAIL FROM:<a@b.example> SMTPUTF8\r\n", ["SMTPUTF8"], False),
        ("RCPT TO:<ä@b.example>\r\n".encode(), b"MAIL FROM:<a@b.example>\r\n", ["SMTPUTF8"], True),
    ],
)
def test_the_strict_server_refuses_what_it_does_not_offer(line, mail, extensions, refused):
    assert bool(refusal_of_command(line, mail, extensions)) is refused


@pytest.mark.parametrize(
    ("content", "parameters", "refused"),
    [
        ("Subject: a\r\n\r\nb\r\n", "", False),
        ("Subject: ä\r\n\r\nb\r\n", "", True),
        ("Subject: ä\r\n\r\nb\r\n", " SMTPUTF8", False),
        ("Subject: a\r\n\r\nä\r\n", "", True),
        ("Subject: a\r\n\r\nä\r\n", " BODY=8BITMIME", False),
        (f"Subject: a\r\n\r\n{'b' * 999}\r\n", "", True),
    ],
)
def test_the_strict_server_refuses_a_content_that_was_not_announced(content, parameters, refused):
    mail = f"MAIL FROM:<a@b.example>{parameters}\r\n".encode()
    assert bool(refusal_of_content(content.encode(), mail)) is refused
