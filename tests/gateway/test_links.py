"""The links in mails through a whole gateway: one-click unsubscribe and the pixel, from the mail to Smartico."""

import asyncio
import base64
import re
import sqlite3

import aiohttp
import pytest
from litestar._asgi.routing_trie.traversal import parse_path_params
from yarl import URL

from gatepost.links.tokens import LinkKind, LinkTokens
from gatepost.model import Secret
from gatepost.outbox import Outbox, new_id, sqlite
from gatepost.testing import emulator

KEY, NEW_KEY = (base64.b64encode(bytes([n]) * 32).decode() for n in range(2))
PERSON = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Thunderbird/140.0"}
TOKENS = LinkTokens([Secret(KEY)])


@pytest.fixture
async def linked(deployment, mailboxes):
    """Return a deployment whose mails go to a mail server, with links of both kinds."""
    deployment.tables["server"] |= {"token_keys": [KEY], "public_url": "http://links.example/gate"}
    deployment.tables["clients.brand"] |= {"unsubscribe": True, "open_pixel": True}
    return deployment


def links(mail):
    """Return the paths of the two links in a mail."""
    unsubscribe = re.fullmatch(r"<http://links\.example/gate(/u/[\w-]{43})>", mail["List-Unsubscribe"])[1]
    html = mail.get_body(("html",)).get_content()
    pixel = re.search(r'<img src="http://links\.example/gate(/o/[\w-]{43}\.gif)"', html)[1]
    return unsubscribe, pixel


@pytest.fixture
async def sent(linked, mailboxes, wait_until):
    """Run a gateway that has sent a mail; yield the gateway, the message's id and the paths of its links."""
    async with linked.running(email=["relay"]) as gateway:
        message = await linked.email()
        await linked.hears(message, "accepted")
        yield gateway, message, *links(mailboxes.mails[0])


async def ask(gateway, method, path, **options):
    """Return the status, the headers and the body of an answer."""
    async with gateway.http.request(method, gateway.url + path, allow_redirects=False, **options) as answer:
        return answer.status, answer.headers, await answer.text("latin-1")


def multipart():
    form = aiohttp.FormData({"List-Unsubscribe": "One-Click"})
    form.add_field("x", b"y", filename="z")
    return form


@pytest.mark.parametrize(
    "body",
    [
        "List-Unsubscribe=One-Click",
        {"List-Unsubscribe": "One-Click"},
        multipart,
        {},
        b"",
        b"\x00\xff" * 500_000,
    ],
    ids=["plain", "form", "multipart", "button", "empty", "bytes"],
)
async def test_a_post_unsubscribes_once_whatever_its_body(linked, sent, body):
    """Sections 8.2 and 8.3 of RFC 8058: a POST with a form in either encoding, which gets no redirect."""
    gateway, message, unsubscribe, _ = sent

    for _ in range(2):
        status, headers, text = await ask(
            gateway, "POST", unsubscribe, data=body() if callable(body) else body
        )
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "You are unsubscribed." in text
    await linked.hears(message, "accepted", "unsubscribed")
    figures = await gateway.metrics()
    assert figures["gatepost_statuses_total", "email", "relay", "unsubscribed"] == 1
    assert figures["gatepost_link_requests_total", "unsubscribe", "recorded"] == 1
    assert figures["gatepost_link_requests_total", "unsubscribe", "repeated"] == 1


async def test_a_post_is_answered_before_its_body_has_come(linked, sent):
    """Who sends a body slowly, or a part of it, keeps nothing waiting: what it says is not read."""
    gateway, message, unsubscribe, _ = sent
    address = URL(gateway.url)
    reader, writer = await asyncio.open_connection(address.host, address.port)

    writer.write(f"POST {unsubscribe} HTTP/1.1\r\nHost: links.example\r\nContent-Length: 9\r\n\r\n".encode())
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"

    writer.close()
    await linked.hears(message, "accepted", "unsubscribed")


async def test_who_only_follows_the_link_changes_nothing(linked, sent):
    gateway, message, unsubscribe, pixel = sent
    for method, path in [("GET", unsubscribe), ("HEAD", unsubscribe), ("HEAD", pixel)]:
        status, headers, text = await ask(gateway, method, path, headers=PERSON)
        assert status == 200
        assert ("<button>Unsubscribe</button>" in text) is (method == "GET")
        assert {headers[name] for name in ("Cache-Control", "Referrer-Policy", "X-Robots-Tag")} == {
            "no-store",
            "no-referrer",
            "noindex",
        }
        assert "Set-Cookie" not in headers
    for method, path in [("PUT", unsubscribe), ("DELETE", unsubscribe), ("POST", pixel)]:
        assert (await ask(gateway, method, path))[0] == 405
    await gateway.settled()
    assert linked.crm.statuses_of(message) == ["accepted"]


async def test_the_page_has_the_texts_of_the_client_in_the_language_of_the_browser(linked, mailboxes):
    linked.tables["clients.brand.unsubscribe_page"] = {"title": "Brand & Co", "background": "#102030"}
    linked.tables["clients.brand.unsubscribe_page.languages.de"] = {
        "title": "Abmelden",
        "text": "Keine Mails mehr?",
        "button": "Ja, abmelden",
        "done": "Du bist abgemeldet.",
    }
    async with linked.running(email=["relay"]) as gateway:
        await linked.hears(await linked.email(), "accepted")
        unsubscribe, _ = links(mailboxes.mails[0])
        _, headers, text = await ask(gateway, "GET", unsubscribe)
        assert "<h1>Brand &amp; Co</h1>" in text
        assert "background:#102030;color:#ffffff" in text
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        german = {"Accept-Language": "fr;q=0.2, de-AT;q=0.9"}
        assert "<button>Ja, abmelden</button>" in (await ask(gateway, "GET", unsubscribe, headers=german))[2]
        assert "Du bist abgemeldet." in (await ask(gateway, "POST", unsubscribe, headers=german))[2]


@pytest.fixture
def calls(monkeypatch):
    """Count the calls of the store that links make."""
    counted = []
    for name in ("record", "change"):
        method = getattr(Outbox, name)

        def count(self, *arguments, _method=method):
            counted.append(arguments)
            return _method(self, *arguments)

        monkeypatch.setattr(Outbox, name, count)
    return counted


async def test_what_is_no_token_and_a_forgotten_message_get_the_same_answer(linked, sent, calls):
    gateway, _, unsubscribe, pixel = sent
    token = unsubscribe.removeprefix("/u/")
    other = LinkTokens([Secret(NEW_KEY)]).make(LinkKind.UNSUBSCRIBE, new_id())
    changed = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    calls.clear()
    wrong = [token[:-1], changed, other, pixel[3:-4], "x", "%00", "x" * 500, "é" * 43]
    answers = {
        (status, text)
        for method in ("GET", "POST")
        for one in wrong
        for status, _, text in [await ask(gateway, method, f"/u/{one}")]
    }
    assert calls == []

    forgotten = TOKENS.make(LinkKind.UNSUBSCRIBE, new_id())
    for method in ("GET", "POST"):
        status, _, text = await ask(gateway, method, f"/u/{forgotten}")
        answers.add((status, text))
    ((status, text),) = answers
    assert status == 404
    assert "This link does not work any more" in text
    figures = await gateway.metrics()
    assert figures["gatepost_link_requests_total", "unsubscribe", "invalid"] == len(wrong)
    assert figures["gatepost_link_requests_total", "unsubscribe", "unknown"] == 1


async def test_a_loaded_pixel_is_opened_once(linked, sent):
    gateway, message, _, pixel = sent
    for _ in range(3):
        status, headers, text = await ask(gateway, "GET", pixel, headers=PERSON)
        assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "image/gif", "no-store")
        assert (len(text), text[:6]) == (43, "GIF89a")
        assert "Set-Cookie" not in headers
    await linked.hears(message, "accepted", "opened")
    figures = await gateway.metrics()
    assert figures["gatepost_pixel_loads_total", "program"] == 1
    assert figures["gatepost_link_requests_total", "open", "repeated"] == 2


async def test_a_pixel_of_no_message_is_404(sent):
    gateway, _, unsubscribe, pixel = sent
    for path in (
        pixel[:-5] + ".gif",
        f"/o/{unsubscribe[3:]}.gif",
        f"/o/{TOKENS.make(LinkKind.OPEN, new_id())}.gif",
    ):
        status, _, text = await ask(gateway, "GET", path, headers=PERSON)
        assert (status, text) == (404, "")


async def test_while_the_store_is_down_links_are_503(linked, mailboxes, monkeypatch):
    """Another process has locked the file; when it unlocks it, everything continues."""
    patient = tuple(text for text in sqlite._PRAGMAS if not text.startswith("busy_timeout"))
    monkeypatch.setattr(sqlite, "_PRAGMAS", (*patient, "busy_timeout=20"))
    async with linked.running(email=["relay"]) as gateway:
        message = await linked.email()
        await linked.hears(message, "accepted")
        await gateway.settled()
        unsubscribe, pixel = links(mailboxes.mails[0])
        requests = [("GET", unsubscribe), ("POST", unsubscribe), ("GET", pixel)]
        other = sqlite3.connect(linked.folder / "gatepost.db")
        other.execute("BEGIN IMMEDIATE")
        assert [(await ask(gateway, *one, headers=PERSON))[0] for one in requests] == [503] * 3
        other.rollback()
        other.close()
        assert [(await ask(gateway, *one, headers=PERSON))[0] for one in requests] == [200] * 3
        await linked.hears(message, "accepted", "unsubscribed", "opened")


async def test_who_unsubscribed_is_suppressed_if_that_is_configured(linked, mailboxes):
    linked.tables["delivery"]["suppress"] = ["unsubscribed"]
    async with linked.running(email=["relay"]) as gateway:
        await linked.hears(await linked.email(), "accepted")
        await ask(gateway, "POST", links(mailboxes.mails[0])[0])
        answer = await linked.crm.send_email(ext_user_id="anna", email_uid="another")
        assert answer["error_code"] == 13


async def test_a_preview_has_no_links(linked, mailboxes):
    linked.tables["clients.brand"]["preview_recipients"] = ["support@brand.example"]
    async with linked.running(email=["relay"]):
        preview = {"activity_type": "preview", "to_email_address": "support@brand.example"}
        await linked.hears(await linked.email(**preview), "accepted")
    (mail,) = mailboxes.mails
    assert mail["List-Unsubscribe"] is None
    assert "links.example" not in mail.as_string()


async def test_a_provider_with_headers_of_its_own_gets_none_and_the_next_one_does(
    linked, sendgrid, mailboxes
):
    linked.tables["plugins.sendgrid-main"]["own_unsubscribe"] = True
    async with linked.running(email=["sendgrid-main", "relay"]):
        await linked.hears(await linked.email(), "accepted")
        sendgrid.failure = emulator.answer(503)
        await linked.hears(await linked.email(email_uid="another"), "accepted")
    (first,) = map(str, sendgrid.taken)
    assert "List-Unsubscribe" not in first
    assert "/o/" in first
    assert links(mailboxes.mails[0])


async def test_links_work_after_the_key_was_changed(linked, mailboxes, run):
    async with linked.running(email=["relay"]) as gateway:
        message = await linked.email()
        await linked.hears(message, "accepted")
        linked.tables["server"] |= {"token_keys": [NEW_KEY, KEY]}
        linked.write()
        await run("reload")
        await linked.hears(await linked.email(email_uid="another"), "accepted")
        old, new = (links(mail)[0] for mail in mailboxes.mails)
        assert LinkTokens([Secret(NEW_KEY)]).message_id(LinkKind.UNSUBSCRIBE, new.removeprefix("/u/"))
        assert (await ask(gateway, "POST", old))[0] == 200
        await linked.hears(message, "accepted", "unsubscribed")


async def test_a_path_longer_than_any_link_is_not_remembered(sent):
    """Litestar remembers the parameters of the last 1,024 paths, which may have 32 KiB each."""
    gateway = sent[0]
    before = parse_path_params.cache_info()

    assert [(await ask(gateway, "GET", path + "x" * 1_000))[0] for path in ("/u/", "/o/")] == [404, 404]
    assert parse_path_params.cache_info() == before


async def test_many_tokens_that_are_none_are_answered_without_the_store(linked, sent, calls):
    gateway = sent[0]
    calls.clear()

    async def guess(number):
        path = f"/o/{number:043d}.gif" if number % 2 else f"/u/{number:043d}"
        return (await ask(gateway, "GET", path, headers=PERSON))[0]

    for start in range(0, 400, 50):
        assert set(await asyncio.gather(*map(guess, range(start, start + 50)))) == {404}
    assert calls == []


async def test_replicas_on_postgresql_count_what_both_hear_once(linked, mailboxes, begin, postgres_server):
    linked.tables["store"] = {"url": postgres_server.new_database()}
    replicas = [(await begin(email=["relay"]))[1] for _ in range(2)]
    message = await linked.email()
    await linked.hears(message, "accepted")
    unsubscribe, pixel = links(mailboxes.mails[0])

    for method, path in [("POST", unsubscribe), ("GET", pixel)] * 2:
        answers = await asyncio.gather(
            *(ask(one, method, path, headers=PERSON) for one in replicas for _ in range(10))
        )
        assert {status for status, _, _ in answers} == {200}
    forgotten = TOKENS.make(LinkKind.UNSUBSCRIBE, new_id())
    assert [(await ask(one, "POST", f"/u/{forgotten}"))[0] for one in replicas] == [404, 404]

    await linked.hears(message, "accepted", "unsubscribed", "opened")
    figures = [await one.metrics() for one in replicas]
    assert sum(one["gatepost_link_requests_total", "unsubscribe", "recorded"] for one in figures) == 1
    assert sum(one["gatepost_link_requests_total", "open", "recorded"] for one in figures) == 1


async def test_what_a_provider_reports_too_is_told_once(linked, sendgrid):
    async with linked.running(email=["sendgrid-main"]) as gateway:
        message = await linked.email()
        await linked.hears(message, "accepted")
        (taken,) = sendgrid.taken
        unsubscribe = re.search(r"gate(/u/[\w-]{43})", str(taken.message))[1]
        pixel = re.search(r"gate(/o/[\w-]{43}\.gif)", str(taken.message))[1]

        assert (await ask(gateway, "POST", unsubscribe))[0] == 200
        await linked.hears(message, "accepted", "unsubscribed")
        await sendgrid.report([sendgrid.event(kind, taken) for kind in ("unsubscribe", "open")])
        await linked.hears(message, "accepted", "unsubscribed", "opened")
        assert (await ask(gateway, "GET", pixel, headers=PERSON))[0] == 200
        await gateway.settled()
        assert linked.crm.statuses_of(message) == ["accepted", "unsubscribed", "opened"]
