"""The seven statuses of mails that went through two real Postfixes, and what is in a mail that was delivered."""

import asyncio
import re
from email.parser import BytesParser
from email.policy import default

import aiohttp
import dkim
import pytest
from yarl import URL

from postfix import servers
from postfix.system import COMPLAINT_ADDRESS, PUBLIC_URL

if reason := servers.missing():
    pytest.skip(reason, allow_module_level=True)

ANNA = "anna@players.example"
PERSON = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Thunderbird/140.0"}


@pytest.fixture
async def delivered(system):
    """Send a mail; return the message's id, and the mail as it is in the mailbox."""
    message = await system.send(ANNA)
    await system.hears(message, "accepted", "delivered")
    return message, await system.mail(message, ANNA)


def parsed(mail):
    return BytesParser(policy=default).parsebytes(mail)


async def test_a_mail_relayed_to_a_server_without_reports_is_delivered_where_that_is_configured(system):
    message = await system.send(ANNA)

    await system.hears(message, "accepted", "delivered")
    assert await system.mail(message, ANNA)


async def test_a_mail_that_the_last_server_reports_is_delivered(system):
    message = await system.send("anna@modern.example")

    await system.hears(message, "accepted", "delivered")


@pytest.mark.parametrize("domain", ["players.example", "modern.example"])
async def test_a_mail_that_the_next_server_refuses_has_failed(system, domain):
    message = await system.send(f"nobody@{domain}")

    await system.hears(message, "accepted", "failed")


async def test_a_mail_that_the_last_server_bounces_later_has_failed(system):
    """That server knows nothing but the return path. The relay says at the same time that it relayed the mail."""
    message = await system.send("full@players.example")

    await system.hears_in_any_order(message, "accepted", "delivered", "failed")


async def test_a_mail_that_the_relay_refuses_is_rejected(system):
    message = await system.send("anna@refused.example")

    await system.hears(message, "rejected")


async def test_bounces_wait_in_the_relay_until_a_killed_gateway_runs_again(system):
    """One of them is for the listener, the other one for the script."""
    messages = [await system.send(f"held@{domain}") for domain in ("players.example", "modern.example")]
    for message in messages:
        await system.hears(message, "accepted")

    await system.kill_gateway()
    await system.release_held()
    for message in messages:
        await system.is_deferred(message)
    await asyncio.to_thread(system.gateway.start)

    for message in messages:
        await system.hears(message, "accepted", "failed")


async def test_bounces_come_to_the_listener_encrypted(system):
    message = await system.send("nobody@players.example")
    await system.hears(message, "accepted", "failed")

    await system.has_logged(system.relay, rf"TLS connection established to \S+:{system.listener_port}:")


FEEDBACK_REPORT = b"""\
From: feedback@mailbox.example
To: complaints@bounces.amazing.example
Subject: FW: Hello
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary=limit

--limit
Content-Type: text/plain

This is an email abuse report for a message received from 127.0.0.1.
--limit
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Mailbox/1.0
Version: 1
--limit
Content-Type: message/rfc822

%b
--limit--
"""
HOTMAILS_COMPLAINT = b"""\
From: staff@hotmail.example
To: complaints@bounces.amazing.example
Subject: complaint about message from 127.0.0.1
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=limit

--limit
Content-Type: message/rfc822

X-HmXmrOriginalRecipient: anna@players.example
%b
--limit--
"""


@pytest.mark.parametrize("form", [FEEDBACK_REPORT, HOTMAILS_COMPLAINT], ids=["report", "hotmail"])
async def test_a_complaint_about_a_delivered_mail_is_complained(system, delivered, form):
    message, mail = delivered

    await asyncio.to_thread(system.send_through_exchanger, COMPLAINT_ADDRESS, form % mail)

    await system.hears(message, "accepted", "delivered", "complained")


def link(system, url):
    """Return the URL at which the gateway answers a link of a mail, as a proxy would forward it."""
    assert URL(url).origin() == URL(PUBLIC_URL)
    return URL(system.gateway.url).join(URL(url).relative())


async def test_a_mail_whose_pixel_is_loaded_is_opened(system, delivered):
    message, mail = delivered
    html = parsed(mail).get_body(("html",)).get_content()
    [pixel] = re.findall(r'<img src="([^"]+)"', html)

    async with aiohttp.ClientSession() as http, http.get(link(system, pixel), headers=PERSON) as answer:
        assert (answer.status, answer.content_type) == (200, "image/gif")

    await system.hears(message, "accepted", "delivered", "opened")


def signatures(mail):
    """Return the tags of each signature of a mail."""
    values = parsed(mail).get_all("DKIM-Signature")
    return [dict(tag.split("=", 1) for tag in "".join(value.split()).split(";") if tag) for value in values]


async def test_a_second_implementation_verifies_each_signature_of_a_delivered_mail(system, delivered):
    _, mail = delivered

    assert [one["a"] for one in signatures(mail)] == ["rsa-sha256", "ed25519-sha256"]
    for number in (0, 1):
        assert dkim.DKIM(mail).verify(idx=number, dnsfunc=system.look_up)
        changed = mail.replace(b"One-Click", b"Two-Click")
        assert not dkim.DKIM(changed).verify(idx=number, dnsfunc=system.look_up)


# Sections 8.1 and 8.3 of RFC 8058, with the target and the host of the mail. The delimiter is "--" and the boundary, so the
# boundary is what errata 5117 and 8927 say.
SIMPLE = b"""\
Content-Type: application/x-www-form-urlencoded
Content-Length: 26

List-Unsubscribe=One-Click"""
COMPLEX = b"""\
Content-Type: multipart/form-data; boundary=-FormBoundaryjWmhtjORrn
Content-Length: 124

---FormBoundaryjWmhtjORrn
Content-Disposition: form-data; name="List-Unsubscribe"

One-Click
---FormBoundaryjWmhtjORrn--"""


@pytest.mark.parametrize("example", [SIMPLE, COMPLEX], ids=["simple", "complex"])
async def test_the_example_of_one_click_unsubscribe_made_from_a_delivered_mail(system, delivered, example):
    message, mail = delivered
    fields = parsed(mail)
    [unsubscribe] = re.findall(r"<(https:[^>]+)>", fields["List-Unsubscribe"])
    assert fields["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    for number, signature in enumerate(signatures(mail)):
        assert dkim.DKIM(mail).verify(idx=number, dnsfunc=system.look_up)
        assert {"list-unsubscribe", "list-unsubscribe-post"} <= set(signature["h"].lower().split(":"))
    url = link(system, unsubscribe)
    reader, writer = await asyncio.open_connection(url.host, url.port)

    head = f"POST {url.raw_path} HTTP/1.1\nHost: {URL(PUBLIC_URL).host}\n".encode()
    writer.write((head + example).replace(b"\n", b"\r\n"))

    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    writer.close()
    await system.hears(message, "accepted", "delivered", "unsubscribed")


async def test_the_log_of_the_gateway_has_no_address(system, delivered):
    address = re.compile(r"[\w.+-]+@[\w.-]+\.example")

    assert address.search(system.relay.log.read_text())
    assert not address.findall(system.gateway.log.read_text())
