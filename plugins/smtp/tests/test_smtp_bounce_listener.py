"""Bounces and complaints that other mail servers bring to the listener, on real sockets."""

import asyncio
import contextlib
import smtplib

import aiosmtplib
import pytest

from gatepost.errors import ConfigError
from gatepost.model import Secret
from gatepost_smtp import reports
from gatepost_smtp.addresses import return_path
from gatepost_smtp.testing.bounces import BounceClient

ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"
OTHER = "ffffffff-5b6c-7d8e-9f00-112233445566"
KEY = "a shared secret"
DOMAIN = "bounces.example"
ADDRESS = return_path(ID, DOMAIN, KEY)
COMPLAINTS = f"complaints@{DOMAIN}"


def report(kind, fields, text="Content-Type: text/plain\r\n\r\nSorry", returned=""):
    return (
        "From: MAILER-DAEMON@mx.example\r\nTo: ann@post.example\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: multipart/report; report-type={kind}; boundary=limit\r\n\r\n"
        f"--limit\r\n{text}\r\n--limit\r\nContent-Type: message/{kind}\r\n\r\n{fields}\r\n"
        f"--limit\r\nContent-Type: message/rfc822\r\n\r\n{returned}\r\n--limit--"
    )


def bounce(action="failed", **rest):
    fields = "Reporting-MTA: dns; mx.example\r\n\r\nFinal-Recipient: rfc822; ann@post.example\r\n"
    return report("delivery-status", f"{fields}Action: {action}\r\nStatus: 5.1.1\r\n", **rest)


def complaint(**rest):
    return report("feedback-report", "Feedback-Type: abuse\r\nVersion: 1\r\n", **rest)


async def deliver(port, mail, *recipients, sender=""):
    """Deliver a mail, and return the code of the last reply."""
    async with BounceClient.connected(port) as client:
        assert await client.begin(*recipients, sender=sender) == [*(250 for _ in recipients), 354]
        return await client.end(mail)


async def test_a_bounce_is_recorded_before_it_is_accepted(recorder, listener):
    async with BounceClient.connected(listener) as client:
        recorder.gate.clear()
        await client.begin(ADDRESS)
        reply = asyncio.create_task(client.end(bounce()))
        await recorder.reporting.wait()
        await asyncio.sleep(0.05)
        assert not reply.done()
        recorder.gate.set()
        assert await reply == 250

    assert recorder.events == [("failed", ID, "5.1.1")]


async def test_what_can_not_be_recorded_now_is_refused_for_now(recorder, listener):
    async with BounceClient.connected(listener) as client:
        await client.begin(ADDRESS)
        recorder.running = False
        assert await client.end(bounce()) == 451
        assert recorder.reports == []
        recorder.running = True
        await client.command("MAIL FROM:<>")
        await client.command(f"RCPT TO:<{ADDRESS}>")
        await client.command("DATA")
        assert await client.end(bounce()) == 250

    assert recorder.events == [("failed", ID, "5.1.1")]


@pytest.mark.parametrize(
    ("action", "events", "ignored"),
    [
        ("failed", ["failed"], []),
        ("delivered", ["delivered"], []),
        ("relayed", [], ["relayed"]),
        ("delayed", [], ["delayed"]),
        ("expanded", [], ["expanded"]),
        ("odd", [], ["malformed"]),
    ],
)
async def test_each_kind_of_bounce_means_what_it_means_by_webhook(
    recorder, listener, action, events, ignored
):
    assert await deliver(listener, bounce(action), ADDRESS) == 250

    assert [status for status, *_ in recorder.events] == events
    assert recorder.ignored == ignored


async def test_a_relayed_mail_is_delivered_where_the_setting_says_so(recorder, listening):
    async with listening(relayed="delivered") as port:
        assert await deliver(port, bounce("relayed"), ADDRESS) == 250

    assert recorder.events == [("delivered", ID, "5.1.1")]


async def test_a_bounce_in_words_is_a_failure(recorder, listener):
    words = "From: MAILER-DAEMON@mx.example\r\nX-Failed-Recipients: ann@post.example\r\n\r\nno such user"
    assert await deliver(listener, words, ADDRESS) == 250

    assert recorder.events == [("failed", ID, "")]


async def test_an_international_report_is_understood(recorder, listener):
    fields = (
        "Reporting-MTA: dns; mx.example\r\n\r\nFinal-Recipient: utf-8; änn@post.example\r\nAction: failed\r\n"
    )
    assert await deliver(listener, report("global-delivery-status", fields), ADDRESS) == 250

    assert recorder.events == [("failed", ID, "")]


async def test_a_charset_in_the_form_of_rfc_2231_spoils_no_bounce(recorder, listener):
    words = b"From: MAILER-DAEMON@mx.example\r\nX-Failed-Recipients: ann@post.example\r\n"
    charset = b"Content-Type: text/plain; charset*=utf-8''klingon\r\n\r\nunbekannter Empf\xe4nger"
    assert await deliver(listener, words + charset, ADDRESS) == 250

    assert recorder.events == [("failed", ID, "")]


async def test_an_error_of_the_parser_costs_one_mail(recorder, listener, monkeypatch):
    def fail(_message):
        raise TypeError

    with monkeypatch.context() as patch:
        patch.setattr(reports, "incoming_mail", fail)
        assert await deliver(listener, bounce(), ADDRESS) == 250
    assert await deliver(listener, bounce(), ADDRESS) == 250

    assert recorder.ignored == ["malformed"]
    assert recorder.events == [("failed", ID, "5.1.1")]


async def test_a_bounce_of_many_recipients_is_one_event(recorder, listener):
    assert await deliver(listener, bounce("failed\r\n\r\n" + 900 * "Action: failed\r\n\r\n"), ADDRESS) == 250

    assert recorder.events == [("failed", ID, "")]


async def test_of_a_mail_of_many_lines_the_beginning_is_read(recorder, listener):
    """The time to parse grows with them: one that needed 6 seconds had 128 KiB."""
    assert await deliver(listener, bounce("failed\r\n\r\n" + 20_000 * "a\r\n\r\n"), ADDRESS) == 250
    assert await deliver(listener, bounce("odd\r\n\r\n" + 20_000 * "Action: odd\r\n\r\n"), ADDRESS) == 250

    assert recorder.events == [("failed", ID, "")]
    assert recorder.reports[1].ignored["malformed"] <= 1000


async def test_return_paths_stay_valid_while_the_secret_is_replaced(recorder, listening):
    secrets = {"webhook_secret": Secret("a new secret"), "previous_webhook_secret": Secret(KEY)}
    async with listening(**secrets) as port:
        assert await deliver(port, bounce(), ADDRESS) == 250
        assert await deliver(port, complaint(returned=SIGNED), COMPLAINTS) == 250
        assert await deliver(port, bounce(), return_path(OTHER, DOMAIN, "a new secret")) == 250

    assert [message for _, message, _ in recorder.events] == [ID, ID, OTHER]


@pytest.mark.parametrize(
    ("header", "kind"), [("Auto-Submitted: auto-replied", "auto_reply"), ("Subject: Re: Hi", "no_report")]
)
async def test_an_answer_to_a_mail_is_counted(recorder, listener, header, kind):
    mail = f"From: ann@post.example\r\n{header}\r\n\r\nI am away until Monday."
    assert await deliver(listener, mail, ADDRESS, sender="ann@post.example") == 250

    assert (recorder.events, recorder.ignored) == ([], [kind])


async def test_the_recipient_decides_over_what_the_mail_says(recorder, listener):
    claims = (
        f"Message-ID: <{OTHER}@amazing.example>\r\nReturn-Path: <{return_path(OTHER, DOMAIN, KEY)}>\r\n\r\n"
    )
    assert await deliver(listener, bounce(returned=claims), ADDRESS.upper()) == 250

    assert [message for _, message, _ in recorder.events] == [ID]


@pytest.mark.parametrize(
    "address",
    [
        return_path(ID, DOMAIN, "another secret"),
        return_path(ID, "other.example", KEY),
        ADDRESS.replace("0192d3a4", "ffffffff"),
        f"x{ADDRESS}",
        f"{ADDRESS}.evil.example",
        f"{ADDRESS},{ADDRESS}",
        f"@relay.example:{ADDRESS}",
        f"news@{DOMAIN}",
        "postmaster@other.example",
        "complaints@other.example",
        "",
        " ",
        "ä@post.example",
        "<>",
    ],
)
async def test_any_other_recipient_is_refused(recorder, listener, address):
    async with BounceClient.connected(listener) as client:
        assert await client.begin(address) == [550, 503]

    assert recorder.reports == []


async def test_several_recipients_are_one_report_and_many_are_refused_for_now(recorder, listener):
    ids = [f"{number:08x}{ID[8:]}" for number in range(6)]
    async with BounceClient.connected(listener) as client:
        addresses = [return_path(one, DOMAIN, KEY) for one in ids]
        assert await client.begin(*addresses) == [*(5 * [250]), 452, 354]
        assert await client.end(bounce()) == 250

    assert {message for _, message, _ in recorder.events} == set(ids[:5])
    assert len(recorder.reports) == 1


SIGNED = f"Return-Path: <{ADDRESS}>\r\nMessage-ID: <{ID}@amazing.example>\r\n\r\nHello"
FORGED = (
    f"Return-Path: <{ADDRESS.replace('0192d3a4', 'ffffffff')}>\r\nMessage-ID: <{ID}@a.example>\r\n\r\nHello"
)


def jmrp(returned):
    return (
        "From: staff@hotmail.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=limit\r\n\r\n"
        f"--limit\r\nContent-Type: message/rfc822\r\n\r\nX-HmXmrOriginalRecipient: ann@hotmail.example\r\n{returned}"
        "\r\n--limit--"
    )


@pytest.mark.parametrize(
    "address", [COMPLAINTS, "Complaints@BOUNCES.example", "Postmaster", f"postMaster@{DOMAIN}"]
)
@pytest.mark.parametrize("form", [lambda returned: complaint(returned=returned), jmrp])
async def test_a_complaint_counts_if_the_returned_mail_has_our_return_path(recorder, listener, address, form):
    assert await deliver(listener, form(SIGNED), address, sender="staff@hotmail.example") == 250
    assert await deliver(listener, form(FORGED), address) == 250

    assert recorder.events == [("complained", ID, "abuse")]
    assert recorder.ignored == ["no_id"]


async def test_a_forged_bounce_at_a_shared_address_counts_for_nothing(recorder, listener):
    mail = f"In-Reply-To: <{ID}@amazing.example>\r\n" + bounce(returned=FORGED)
    assert await deliver(listener, mail, COMPLAINTS) == 250

    assert (recorder.events, recorder.ignored) == ([], ["no_id"])


async def test_a_complaint_at_a_return_path_is_of_its_message(recorder, listener):
    assert await deliver(listener, complaint(), ADDRESS) == 250

    assert recorder.events == [("complained", ID, "abuse")]


@pytest.mark.parametrize("sender", [ADDRESS, return_path(OTHER, DOMAIN, KEY), COMPLAINTS])
async def test_a_mail_of_our_own_is_a_loop(recorder, listener, sender):
    assert await deliver(listener, bounce(), ADDRESS, sender=sender) == 250

    assert (recorder.events, recorder.ignored) == ([], ["loop"])


TEXTS = {
    "base64": "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nU29ycnk=",
    "broken base64": "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nU29y=cn\xff!",
    "quoted-printable": "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4=ZZ=",
    "8bit": "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nä€\xfe",
    "UTF-16": "Content-Type: text/plain; charset=utf-16\r\n\r\nS\0o\0r\0r\0y\0",
    "an unknown charset": "Content-Type: text/plain; charset=klingon\r\n\r\nSorry",
    "a broken charset": 'Content-Type: text/plain; charset="\xff\0\r\n\r\nSorry',
    "an unknown encoding": "Content-Type: text/plain\r\nContent-Transfer-Encoding: klingon\r\n\r\nSorry",
    "NUL": "Content-Type: text/plain\r\n\r\n\0\0\0\0",
    "no type": "\r\nSorry",
    "bare line ends": "Content-Type: text/plain\r\n\r\na\nb\rc",
    "dots": "Content-Type: text/plain\r\n\r\n..\r\n..a\r\n...",
}


@pytest.mark.parametrize("text", TEXTS)
async def test_a_bounce_is_understood_whatever_the_encoding_of_its_text(recorder, listener, text):
    assert await deliver(listener, bounce(text=TEXTS[text]).encode("latin-1", "replace"), ADDRESS) == 250

    assert recorder.events == [("failed", ID, "5.1.1")]


ODD_MAILS = {
    "empty": (b"", "no_report"),
    "only dots": (b"..\r\n..", "no_report"),
    "NUL": (bytes(5000), "no_report"),
    "every byte": (bytes(range(256)) * 20, "no_report"),
    "UTF-16": (bounce().encode("utf-16"), "no_report"),
    "base64 of a whole report": (b"Content-Transfer-Encoding: base64\r\n\r\n" + b"QUJD" * 900, "no_report"),
    "1,000 levels": (
        "".join(
            f'Content-Type: multipart/mixed; boundary="{n}"\r\n\r\n--{n}\r\n' for n in range(1000)
        ).encode(),
        "too_nested",
    ),
    "a long line": (b"x" * 300_000, "no_report"),
}


@pytest.mark.parametrize("mail", ODD_MAILS)
async def test_a_mail_that_means_nothing_is_accepted_and_counted(recorder, listener, mail):
    content, kind = ODD_MAILS[mail]
    assert await deliver(listener, content, ADDRESS) == 250

    assert (recorder.events, recorder.ignored) == ([], [kind])


async def test_the_end_of_a_mail_may_come_at_once(recorder, listener):
    async with BounceClient.connected(listener) as client:
        await client.begin(ADDRESS)
        assert await client.command(b".\r\n") == 250

    assert recorder.ignored == ["no_report"]


async def test_a_dot_before_a_line_is_not_of_the_line(recorder, listener):
    assert await deliver(listener, bounce().replace("Action:", ".Action:"), ADDRESS) == 250

    assert recorder.events == [("failed", ID, "5.1.1")]


async def test_ordinary_clients_deliver(recorder, listener):
    def by_smtplib():
        with smtplib.SMTP("127.0.0.1", listener) as client:
            client.sendmail("", [ADDRESS], bounce().encode())
            # The second mail of a connection, with a mail that was given up before it.
            client.mail("ann@post.example")
            client.rset()
            client.sendmail("", [ADDRESS], bounce("delivered").encode())

    async with BounceClient.connected(listener):
        await asyncio.to_thread(by_smtplib)
    await aiosmtplib.send(
        bounce().encode(),
        sender="mx@mx.example",
        recipients=[ADDRESS],
        hostname="127.0.0.1",
        port=listener,
        timeout=30,
    )

    assert [status for status, *_ in recorder.events] == ["failed", "delivered", "failed"]


async def test_it_listens_once_the_gateway_runs(recorder, listening):
    recorder.running = False
    async with listening() as port:
        await asyncio.sleep(0.05)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        recorder.running = True
        assert await deliver(port, bounce(), ADDRESS) == 250


async def test_two_of_the_same_instance_listen_side_by_side(recorder, listening):
    """As after a reload: the new one opens before the old one closes."""
    async with listening() as port:
        assert await deliver(port, bounce(), ADDRESS) == 250
        async with listening():
            assert await deliver(port, bounce(), ADDRESS) == 250
        assert await deliver(port, bounce(), ADDRESS) == 250

    assert len(recorder.events) == 3


async def test_two_instances_do_not_share_an_address(listening):
    async with listening():
        with pytest.raises(ConfigError, match="bounce_listen: the instance relay listens on"):
            async with listening(name="other"):
                pass


async def test_two_instances_do_not_share_an_address_after_a_reload_either(listening):
    """The old one of the two closes; the new one stays open."""
    async with contextlib.AsyncExitStack() as new:
        async with listening():
            await new.enter_async_context(listening())
        with pytest.raises(ConfigError, match="bounce_listen: the instance relay listens on"):
            async with listening(name="other"):
                pass


async def test_an_address_in_use_is_a_fault(listening, closed_port):
    with pytest.raises(ConfigError, match="bounce_listen: another program listens"):
        async with listening(bounce_listen=f"127.0.0.1:{closed_port}"):
            pass


async def test_an_address_of_another_machine_is_a_fault(listening):
    with pytest.raises(ConfigError, match="bounce_listen: this machine has no address"):
        async with listening(bounce_listen="192.0.2.1:2525"):
            pass
