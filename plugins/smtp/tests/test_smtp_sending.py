"""The mails and commands that the relay gets, and the reuse of connections."""

import asyncio
import email
import email.policy

import pytest

from gatepost.errors import Rejected, Unavailable
from gatepost.hookspecs import Context
from gatepost.model import Mailbox, Receipt, Secret
from gatepost.observe import logs
from gatepost_smtp import Settings, SmtpRelay, connection, mail_limit

ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"


def parse(received):
    return email.message_from_bytes(received.content, policy=email.policy.default)


async def test_the_envelope_and_the_headers_name_exactly_one_recipient(sink, relay, an_email):
    receipt = await relay.send_email(an_email(reply_to=Mailbox("help@amazing.example", "Help")))

    assert receipt == Receipt()
    [received] = sink.mails
    assert received.mail.startswith(b"MAIL FROM:<news@amazing.example> SIZE=")
    assert received.recipients == [b"RCPT TO:<ann.example+tag@post.example> NOTIFY=FAILURE,DELAY\r\n"]
    mail = parse(received)
    assert mail["From"] == '"Amazing, Inc" <news@amazing.example>'
    assert mail["To"] == "ann.example+tag@post.example"
    assert mail["Reply-To"] == "Help <help@amazing.example>"
    assert mail["Subject"] == "Your weekly letter"
    assert mail["Message-ID"] == f"<{ID}@amazing.example>"
    assert mail["Date"].datetime.tzinfo is not None
    assert mail["MIME-Version"] == "1.0"
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert [part.get_content() for part in mail.iter_parts()] == ["Hello", "<p>Hello</p>"]


async def test_our_id_is_the_envelope_id_if_the_server_supports_dsn(sink, relay, an_email):
    await relay.send_email(an_email())

    options = sink.mails[0].mail.split(b"> ")[1].split()
    assert options[1:] == [b"RET=HDRS", f"ENVID={ID}".encode()]
    assert options[0] == b"SIZE=%d" % len(sink.mails[0].content)


async def test_a_server_without_extensions_gets_plain_commands_and_ascii(sink, relay, an_email):
    sink.extensions = ["HELP"]

    await relay.send_email(an_email(subject="Grüße", text="Grüße", html="<p>Grüße ✓</p>"))

    [received] = sink.mails
    assert received.mail == b"MAIL FROM:<news@amazing.example>\r\n"
    assert received.recipients == [b"RCPT TO:<ann.example+tag@post.example>\r\n"]
    assert received.raw.isascii()
    assert parse(received)["Subject"] == "Grüße"


async def test_a_non_ascii_local_part_needs_smtputf8(sink, relay, an_email):
    await relay.send_email(an_email(recipient="jürgen@post.example"))

    [received] = sink.mails
    assert received.mail.split(b"> ")[1].split()[1:3] == [b"BODY=8BITMIME", b"SMTPUTF8"]
    assert received.recipients[0].startswith("RCPT TO:<jürgen@post.example>".encode())
    assert parse(received)["To"] == "jürgen@post.example"


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": "jürgen@post.example"},
        {"sender": Mailbox("grüße@amazing.example")},
        {"reply_to": Mailbox("grüße@amazing.example")},
    ],
    ids=["recipient", "sender", "reply-to"],
)
async def test_without_smtputf8_only_a_non_ascii_local_part_is_rejected(sink, relay, an_email, changes):
    sink.extensions.remove("SMTPUTF8")

    with pytest.raises(Rejected, match="SMTPUTF8"):
        await relay.send_email(an_email(**changes))
    await relay.send_email(an_email())

    assert len(sink.mails) == 1
    assert sink.sessions == 1


@pytest.mark.parametrize(
    ("parts", "kind"),
    [({"text": ""}, "text/html"), ({"text": " \n"}, "text/html"), ({"html": ""}, "text/plain")],
)
async def test_no_part_is_empty(sink, relay, an_email, parts, kind):
    await relay.send_email(an_email(**parts))

    assert parse(sink.mails[0]).get_content_type() == kind


async def test_a_configured_return_path_is_only_the_envelope_sender(sink, connected, an_email):
    async with connected(sink.port, return_path="bounces@amazing.example") as relay:
        await relay.send_email(an_email())

    assert sink.mails[0].mail.startswith(b"MAIL FROM:<bounces@amazing.example> ")
    assert parse(sink.mails[0])["From"].addresses[0].addr_spec == "news@amazing.example"


@pytest.mark.parametrize("wanted", [{"success_reports": True}, {"relayed": "delivered"}], ids=str)
async def test_a_report_of_each_delivery_is_asked_for_where_it_is_wanted(sink, connected, an_email, wanted):
    async with connected(sink.port, webhook_secret=Secret("a key"), **wanted) as relay:
        await relay.send_email(an_email())

    assert sink.mails[0].recipients == [
        b"RCPT TO:<ann.example+tag@post.example> NOTIFY=SUCCESS,FAILURE,DELAY\r\n"
    ]


@pytest.mark.parametrize(
    ("extensions", "relayed", "expected"),
    [
        (["DSN"], "delivered", []),
        (["SIZE"], "accepted", []),
        (["SIZE"], "delivered", ["DSN: the relay offers no reports of deliveries, so none will come"]),
    ],
)
async def test_the_ping_warns_of_reports_that_the_relay_does_not_offer(sink, extensions, relayed, expected):
    sink.extensions = extensions
    host = {"host": "127.0.0.1", "port": sink.port, "security": "none"}
    warnings = []
    relay = SmtpRelay(
        Settings(**host, webhook_secret=Secret("a key"), relayed=relayed),
        Context(name="relay", log=logs.get("relay"), warn=lambda _, problem: warnings.append(problem)),
    )
    async with relay.lifespan():
        await relay.ping()

    assert warnings == expected


async def test_a_connection_is_reused(sink, relay, an_email):
    for _ in range(5):
        await relay.send_email(an_email())

    assert len(sink.mails) == 5
    assert sink.sessions == 1
    assert sink.commands.count(b"DATA\r\n") == 5


async def test_a_connection_is_closed_after_its_maximum_of_mails(sink, relay, an_email, monkeypatch):
    monkeypatch.setattr(mail_limit, "MAX_MAILS", 3)

    for _ in range(7):
        await relay.send_email(an_email())

    assert sink.sessions == 3
    assert sink.commands.count(b"QUIT\r\n") == 2
    assert sink.max_open == 1


@pytest.mark.parametrize("limit", ["MAX_AGE", "MAX_IDLE"])
async def test_an_old_or_idle_connection_is_closed(sink, relay, an_email, monkeypatch, limit):
    await relay.send_email(an_email())
    monkeypatch.setattr(connection, limit, 0.0)
    await relay.send_email(an_email())

    assert sink.sessions == 2
    assert len(sink.mails) == 2


async def test_the_lifespan_closes_every_connection_with_quit(sink, connected, an_email):
    sink.wait_at("RCPT")
    async with connected(sink.port) as relay, asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(relay.send_email(an_email()))
        await sink.reached["RCPT"].wait()
        sink.gate.set()

    assert sink.commands.count(b"QUIT\r\n") == sink.sessions
    assert len(sink.mails) == 3


async def test_no_connection_is_opened_before_the_first_mail(sink, connected):
    async with connected(sink.port):
        pass

    assert sink.sessions == 0


async def test_ping_sends_no_mail(sink, relay):
    await relay.ping()

    verbs = [line.split()[0] for line in sink.commands]
    assert verbs == [b"EHLO", b"NOOP", b"QUIT"]


async def test_ping_opens_a_new_connection_within_the_limit(sink, connected, an_email):
    async with connected(sink.port, connections=1) as relay:
        await relay.send_email(an_email())
        await relay.ping()
        await relay.send_email(an_email())

    assert sink.sessions == 3
    assert sink.max_open == 1


@pytest.mark.parametrize("stage", ["NOOP", "QUIT"])
@pytest.mark.parametrize("answer", ["421 4.3.2 closing", "500 what", "hello"])
async def test_ping_needs_an_answer_to_noop_but_not_to_quit(sink, relay, stage, answer):
    sink.answer(stage, answer)

    if stage == "QUIT":
        await relay.ping()
    else:
        with pytest.raises(Unavailable):
            await relay.ping()


async def test_an_expired_connection_without_an_answer_to_quit_loses_no_mail(
    sink, relay, an_email, monkeypatch
):
    await relay.send_email(an_email())
    monkeypatch.setattr(connection, "MAX_IDLE", 0.0)
    sink.stall("QUIT", seconds=2)

    await relay.send_email(an_email())

    assert len(sink.mails) == 2


async def test_the_greeting_is_the_configured_name(sink, connected):
    async with connected(sink.port, helo="mail.amazing.example") as relay:
        await relay.ping()

    assert sink.commands[0] == b"EHLO mail.amazing.example\r\n"


async def test_the_greeting_is_an_address_if_the_machine_has_no_full_name(sink, relay, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "box")

    await relay.ping()

    assert sink.commands[0] == b"EHLO [127.0.0.1]\r\n"


async def test_a_long_mail_is_complete(sink, relay, an_email):
    html = "<p>" + "long ✓ " * 60_000 + "</p>"

    await relay.send_email(an_email(html=html))

    assert list(parse(sink.mails[0]).iter_parts())[1].get_content() == html
