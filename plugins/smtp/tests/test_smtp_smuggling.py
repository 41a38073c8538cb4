"""No content becomes a second message, recipient or header."""

import email
import email.policy
import itertools
import re

import pytest

from gatepost.errors import Rejected
from gatepost.model import Mailbox
from gatepost_smtp.deadline import Deadline
from gatepost_smtp.mime import Mail
from gatepost_smtp.transaction import Envelope, send

# The sequences that some servers took for the end of a mail, and the text of an attacker after it.
LINE_ENDS = ["\r\n", "\n", "\r", "\r\r\n", "\n\r", "\x00\r\n", "\r\n\x00", "\u2028", "\x85", "\x0b", "\x0c"]
ENDS = [f"{before}.{after}" for before, after in itertools.product(LINE_ENDS, repeat=2)]
SECOND = (
    "MAIL FROM:<eve@evil.example>\r\nRCPT TO:<eve@evil.example>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n.\r\n"
)
EXPECTED = ["Date", "From", "To", "Subject", "Message-ID", "MIME-Version", "Content-Type"]


def assert_only_our_mails(sink, mails):
    assert len(sink.mails) == mails
    for received in sink.mails:
        assert len(received.recipients) == 1
        assert received.recipients[0].startswith(b"RCPT TO:<ann.example+tag@post.example>")
        # Even the most tolerant server finds no earlier end, and no line that begins with a dot.
        assert not re.search(rb"[\r\n\x00]\.", received.raw.removesuffix(b"\r\n.\r\n"))
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\x00", received.raw)
        mail = email.message_from_bytes(received.content, policy=email.policy.default)
        assert [name for name in mail.keys() if name != "Reply-To"] == EXPECTED  # noqa: SIM118  repeats count
        assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    verbs = {line.split()[0].partition(b":")[0] for line in sink.commands}
    assert verbs <= {b"EHLO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"QUIT"}
    assert b"evil" not in b"".join(sink.commands)


async def test_no_end_of_mail_in_a_body_ends_the_mail(sink, relay, an_email):
    sent = 0
    for end in ENDS:
        for body in (f"hello{end}{SECOND}", f"{end.lstrip()}{SECOND}", f"hello{end}"):
            try:
                await relay.send_email(an_email(text=body, html=body))
                sent += 1
            except Rejected:
                assert "\x00" in body

    assert sent > 200
    assert_only_our_mails(sink, sent)


@pytest.mark.parametrize("field", ["subject", "sender", "reply_to"])
async def test_no_end_of_mail_in_a_header_ends_the_mail(sink, relay, an_email, field):
    for end in [*ENDS, *LINE_ENDS, *(f"{line_end} " for line_end in LINE_ENDS)]:
        value = f"a{end}Bcc: eve@evil.example{end}{SECOND}"
        with pytest.raises(Rejected):
            await relay.send_email(
                an_email(**{field: value if field == "subject" else Mailbox("n@a.example", value)})
            )

    assert sink.mails == []
    assert sink.sessions == 0


@pytest.mark.parametrize(
    "quote", ['"', '\\"', '" <eve@evil.example>, "', "<eve@evil.example>, ", "\\", ",", ";:"]
)
async def test_no_name_becomes_a_second_sender(sink, relay, an_email, quote):
    names = [f"Ann{quote}", f"{quote}Ann", f"A{quote}{quote}n" + "ß" * 80, quote]
    for name in names:
        await relay.send_email(
            an_email(
                sender=Mailbox("news@amazing.example", name), reply_to=Mailbox("help@amazing.example", name)
            )
        )

    assert_only_our_mails(sink, len(names))
    for received in sink.mails:
        mail = email.message_from_bytes(received.content, policy=email.policy.default)
        assert [each.addr_spec for each in mail["From"].addresses] == ["news@amazing.example"]
        assert [each.addr_spec for each in mail["Reply-To"].addresses] == ["help@amazing.example"]


@pytest.mark.parametrize(
    "injected",
    [
        "ann@post.example\r\nRCPT TO:<eve@evil.example>",
        "ann@post.example>\r\nRCPT TO:<eve@evil.example",
        "ann@post.example> NOTIFY=NEVER",
        "ann@post.example,eve@evil.example",
        "ann@post.example\neve@evil.example",
    ],
)
async def test_no_address_becomes_two(sink, relay, an_email, injected):
    for changes in ({"recipient": injected}, {"sender": Mailbox(injected)}, {"reply_to": Mailbox(injected)}):
        with pytest.raises(Rejected):
            await relay.send_email(an_email(**changes))

    assert sink.sessions == 0


async def test_lines_that_begin_with_a_dot_are_stuffed(sink, connected):
    # A mail of ours has no such line, because base64 has no dots; the transaction does not rely on that.
    content = b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\na.\r\n"
    envelope = Envelope("an-id", "news@amazing.example", "ann@post.example", configured_sender=False)
    async with connected(sink.port) as relay:
        deadline = Deadline(20)
        await relay._pool.run(
            lambda connection: send(connection, envelope, Mail(content, utf8=False), deadline), deadline
        )

    [received] = sink.mails
    assert received.raw == b"Subject: dots\r\n\r\n..\r\n...\r\n..a\r\na.\r\n.\r\n"
    assert received.content == content
