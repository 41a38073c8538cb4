"""The console's pages of messages, of a real process: the list, the search, one message, and changes of many."""

import asyncio
import html
import re
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from console_browser import Console
from gatepost.cli import main
from gateway.conftest import until

HTML_USER = "<script>alert(1)</script>"


@pytest.fixture
async def console(deployment, sendgrid, begin, wait_until):
    """Return a console with the operator maria, the viewer vera and the operator otto of another client.

    Messages wait, because email is paused.
    """
    crm = deployment.crm
    other = {**deployment.tables["clients.brand"], "authorization": ["another-secret"]}
    deployment.tables["contacts"]["shared"] = True
    deployment.tables |= {"clients.other": other, "console": {"listen": "127.0.0.1:0"}}
    process, gateway = await begin(email=["sendgrid-main"])
    await wait_until(lambda: "console_listening" in process.log.read_text())
    console = Console(process)
    pause = ["pause", "--channel", "email", "--config", str(process.config)]
    assert (await asyncio.to_thread(CliRunner().invoke, main, pause)).exit_code == 0
    for name, role, client in (
        ("maria", "operator", ""),
        ("vera", "viewer", ""),
        ("otto", "operator", "other"),
    ):
        await console.run("add-user", name, "--role", role, *(["--client", client] if client else []))
    console.gateway, console.crm = gateway, crm
    return console


def text_of(page):
    """Return what a page shows."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def change(console, statement):
    """Change the store, for example as if much time had passed."""
    with closing(sqlite3.connect(console.process.config.parent / "gatepost.db", timeout=10)) as store, store:
        return store.execute(statement).rowcount


async def until_page(browser, path, text):
    async def shown():
        return text in text_of((await browser.get(path))[1])

    await until(shown)


async def prepare(browser, operation, **fields):
    """Begin a change of many messages; return the path of its page, when they are counted."""
    csrf = await browser.csrf()
    data = {"csrf": csrf, "operation": operation, **fields}
    async with browser.http.post("/messages/batch", data=data, allow_redirects=False) as response:
        assert response.status == 303, await response.text()
        path = response.headers["Location"]

    async def counted():
        return "Counting the messages" not in (await browser.get(path))[1]

    await until(counted)
    return path


async def confirm(browser, path, **fields):
    """Confirm a change of many messages with the number that its page shows."""
    number = re.search(r'name="number" value="(\d+)"', (await browser.get(path))[1])[1]
    return await browser.post(path, csrf=await browser.csrf(), number=number, **fields)


async def ended(browser, path):
    """Return what the page of a change says when it has ended or asks again."""

    async def is_idle():
        return 'hx-trigger="every 1s"' not in (await browser.get(path))[1]

    await until(is_idle)
    return text_of((await browser.get(path))[1])


async def test_the_list_is_filtered_and_counted(console, deployment):
    first = await deployment.email(ext_user_id="anna", email_uid="uid-a")
    second = await deployment.email(ext_user_id="nophone", email_uid="uid-b")
    async with console.browser("vera") as browser:
        _, page = await browser.get("/messages")
        assert "No filter is set, so every message matches." in page
        assert page.index(second) < page.index(first)
        _, page = await browser.get("/messages?user=anna&client=brand&channel=email&state=queued&since=2h")
        assert "1 message" in text_of(page)
        assert (first in page, second in page) == (True, False)
        _, page = await browser.get("/messages?state=sent")
        assert "No message matches this filter" in page
        _, page = await browser.get("/messages?client=brend")
        assert "There is no client brend; is it brand?" in text_of(page)
        # A viewer has no form that changes something.
        assert "/messages/batch" not in page


async def test_pages_follow_each_other_and_mean_the_same_messages(console, deployment):
    ids = [await deployment.email(email_uid=f"uid-{number}") for number in range(53)]
    async with console.browser("vera") as browser:
        _, first = await browser.get("/messages?user=anna&since=2h")
        assert "50 of 53 messages" in text_of(first)
        following = html.unescape(re.search(r'rel="next" href="([^"]+)"', first)[1])
        # Not two hours before the moment of the next click.
        assert "since=2h" not in following
        _, second = await browser.get(following)
        shown = re.findall(r'href="/messages/([0-9a-f-]{36})"', first + second)
        assert shown == ids[::-1]
        assert 'rel="next"' not in second


async def test_refused_requests_are_listed(console, wait_until):
    answer = await console.crm.send_email(ext_user_id="nobody-knows", email_uid="uid-refused")
    assert answer["error_code"] != 0
    async with console.browser("vera") as browser:
        await until_page(browser, "/messages?refused=1&user=nobody-knows", "uid-refused")
        _, page = await browser.get("/messages?refused=1&state=sent")
        assert "A refused request has no state" in page
        _, page = await browser.post("/messages", csrf=await browser.csrf(), id="uid-refused")
        assert "No message was accepted with this uid" in page


async def test_a_filter_that_is_none_is_refused_with_a_sentence(console):
    async with console.browser("maria") as browser:
        for query in (
            "state=nope",
            "status=nope",
            "channel=fax",
            "since=yesterday",
            "since=1h&until=2h",
            "user=a%00b",
            "user=" + "a" * 300,
            "after=%27%3B--",
            "refused=1&after=-1",
            "refused=1&after=" + "9" * 30,
        ):
            status, page = await browser.get(f"/messages?{query}")
            assert status == 400, query
            assert 'class="problem" role="alert"' in page
            assert 'id="results"' not in page


async def test_an_address_is_refused_and_not_repeated(console):
    async with console.browser("vera") as browser:
        for private in ("anna@players.example", "+447700900100"):
            for status, page in (
                await browser.get("/messages", params={"user": private}),
                await browser.post("/messages", csrf=await browser.csrf(), id=private),
            ):
                assert status == 400
                assert "the gateway stores none" in page
                assert private not in html.unescape(page)
            assert private not in console.process.log.read_text()


async def test_the_search_leads_to_the_message_by_its_ids(console, deployment):
    message = await deployment.email(email_uid="uid-a")
    async with console.browser("vera") as browser:
        csrf = await browser.csrf()
        for identity in (message, f" {message} ", "uid-a"):
            _, page = await browser.post("/messages", csrf=csrf, id=identity)
            assert f"Message {message}" in text_of(page)
        for identity in ("uid-z", "%", "' OR 1=1 --", "a" * 300, "a\x00b"):
            status, page = await browser.post("/messages", csrf=csrf, id=identity)
            assert status == 404
            assert "No message and no user has this id" in page


async def test_the_search_leads_to_what_became_of_a_user_requests(console, deployment, wait_until):
    message = await deployment.email(ext_user_id="anna")
    await console.crm.send_email(ext_user_id="nobody-knows", email_uid="uid-refused")
    async with console.browser("vera") as browser:
        csrf = await browser.csrf()
        _, page = await browser.post("/messages", csrf=csrf, id="anna")
        assert message in page
        assert "that were refused" not in page
        await until_page(browser, "/messages?refused=1&user=nobody-knows", "uid-refused")
        _, page = await browser.post("/messages", csrf=csrf, id="nobody-knows")
        assert "Requests for this user that were refused in the last day: 1" in text_of(page)
        (link,) = re.findall(r'href="(/messages\?[^"]*refused=1)"', page)
        _, page = await browser.get(html.unescape(link))
        assert "uid-refused" in page
        assert 'href="/messages?user=nobody-knows"' in page


async def test_an_id_that_is_none_gets_its_page(console):
    async with console.browser("maria") as browser:
        for path in ("nope", "0" * 36, "%00" * 36, "batch/nope", "a" * 2000, "%F0%9F%92%A3"):
            status, page = await browser.get(f"/messages/{path}")
            assert status == 404, path
            assert 'role="alert"' in page


async def test_an_id_that_is_html_is_escaped_everywhere(console, deployment):
    deployment.contacts += f"{HTML_USER},html@players.example,,\n"
    deployment.write()

    async def accepted():
        answer = await console.crm.send_email(ext_user_id=HTML_USER, email_uid='"><img src=x>')
        return answer.get("ext_message_id")

    await until(accepted)
    async with console.browser("maria") as browser:
        csrf = await browser.csrf()
        pages = [
            await browser.get("/messages"),
            await browser.get("/messages", params={"user": HTML_USER}),
            await browser.post("/messages", csrf=csrf, id='"><img src=x>'),
            await browser.get("/messages", params={"client": HTML_USER, "route": '"><img src=x>'}),
        ]
        path = await prepare(browser, "cancel", user=HTML_USER)
        for _, page in [*pages, await browser.get(path)]:
            assert "alert(1)" in page or "img src" in page
            assert "<script>alert" not in page
            assert "<img" not in page


async def test_a_message_is_cancelled_with_a_reason_and_by_its_name(console, deployment):
    message = await deployment.email()
    async with console.browser("maria") as browser:
        _, page = await browser.get(f"/messages/{message}")
        assert f'action="/messages/{message}/cancel"' in page
        assert f'action="/messages/{message}/retry"' not in page
        _, page = await browser.post(
            f"/messages/{message}/cancel", csrf=await browser.csrf(), reason="wrong text"
        )
        shown = text_of(page)
        assert "The message is cancelled." in shown
        assert "maria (console): cancel: wrong text" in shown
        status, page = await browser.post(f"/messages/{message}/cancel", csrf=await browser.csrf())
        assert status == 409
        assert "it is cancelled already" in page
    await deployment.hears(message, "rejected")


async def test_a_failed_message_is_sent_again_and_its_user_suppressed(console, deployment):
    message = await deployment.email()
    await until(lambda: change(console, "UPDATE messages SET state='held' WHERE state='queued'"))
    async with console.browser("maria") as browser:
        csrf = await browser.csrf()
        _, page = await browser.post(f"/messages/{message}/retry", csrf=csrf)
        assert "The message is queued again." in page
        status, page = await browser.post(f"/messages/{message}/suppress", csrf=csrf, reason="")
        assert status == 409
        assert "the reason must be a text" in page
        status, page = await browser.post(
            f"/messages/{message}/suppress", csrf=csrf, reason="call +447700900100"
        )
        assert status == 409
        assert "+447700900100" not in page
        _, page = await browser.post(f"/messages/{message}/suppress", csrf=csrf, reason="complained")
        assert "for good, by maria (console): complained" in text_of(page)


async def test_a_viewer_changes_nothing(console, deployment):
    message = await deployment.email()
    async with console.browser("vera") as browser:
        csrf = await browser.csrf()
        _, page = await browser.get(f"/messages/{message}")
        assert "What you can do" not in page
        for path in (f"/messages/{message}/cancel", "/messages/batch", "/messages/batch/x"):
            status, page = await browser.post(path, csrf=csrf, operation="cancel", user="anna")
            assert status == 403
            assert "that needs the role operator" in page
        assert "queued" in text_of((await browser.get(f"/messages/{message}"))[1])


async def test_a_forged_form_changes_nothing(console, deployment):
    message = await deployment.email()
    async with console.browser("maria") as browser:
        for csrf in (None, "", "0" * 64):
            for path in (f"/messages/{message}/cancel", "/messages/batch", "/messages"):
                status, page = await browser.post(
                    path, csrf=csrf, operation="cancel", user="anna", id=message
                )
                assert status == 403
                assert "nothing was done" in page
        _, page = await browser.get(f"/messages/{message}")
        assert f'action="/messages/{message}/cancel"' in page


async def test_an_unknown_operation_is_not_found(console, deployment):
    message = await deployment.email()
    async with console.browser("maria") as browser:
        csrf = await browser.csrf()
        assert (await browser.post(f"/messages/{message}/explode", csrf=csrf))[0] == 404
        status, page = await browser.post("/messages/batch", csrf=csrf, operation="explode", user="anna")
        assert status == 400
        status, page = await browser.post("/messages/batch", csrf=csrf, operation="cancel", state="queued")
        assert status == 409
        assert "Set a filter first" in page


async def test_a_user_of_one_client_sees_and_changes_only_its_messages(console, deployment):
    message = await deployment.email(email_uid="uid-a")
    async with console.browser("otto") as browser:
        csrf = await browser.csrf()
        for path in ("/messages", "/messages?client=brand", "/messages?user=anna", "/messages?refused=1"):
            _, page = await browser.get(path)
            assert message not in page
            assert "uid-a" not in page
        assert ">brand<" not in page
        for identity in (message, "uid-a"):
            assert (await browser.post("/messages", csrf=csrf, id=identity))[0] == 404
        assert (await browser.get(f"/messages/{message}"))[0] == 404
        for operation in ("cancel", "retry", "tell", "suppress"):
            status, _ = await browser.post(f"/messages/{message}/{operation}", csrf=csrf, reason="x")
            assert status == 404
        for fields in ({"client": "brand"}, {"user": "anna"}, {}):
            path = await prepare(browser, "cancel", **fields)
            assert "No message can be changed" in (await browser.get(path))[1]
    async with console.browser("maria") as browser:
        assert "queued" in text_of((await browser.get(f"/messages/{message}"))[1])


async def test_many_messages_are_cancelled_as_they_were_at_the_moment_that_was_shown(console, deployment):
    messages = [await deployment.email(email_uid=f"uid-{number}") for number in range(12)]
    async with console.browser("maria") as browser:
        path = await prepare(browser, "cancel", user="anna")
        _, page = await browser.get(path)
        assert re.search(
            r"Cancel 12 messages accepted until 20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ\?", text_of(page)
        )
        later = await deployment.email(email_uid="later")
        await confirm(browser, path, reason="wrong text")
        assert "Done: 12 messages cancelled" in await ended(browser, path)
        assert "queued" in text_of((await browser.get(f"/messages/{later}"))[1])
        for message in messages[:2]:
            _, page = await browser.get(f"/messages/{message}")
            # A change that takes several steps is recorded at its beginning too.
            assert re.search(r"maria \(console\): cancel(-begin)?: wrong text", text_of(page))


async def test_a_form_that_is_sent_again_does_nothing_more(console, deployment):
    message = await deployment.email()
    async with console.browser("maria") as browser:
        path = await prepare(browser, "cancel", client="brand")
        csrf = await browser.csrf()
        await asyncio.gather(*(browser.post(path, csrf=csrf, number="1") for _ in range(5)))
        assert "Done: 1 message cancelled" in await ended(browser, path)
        await browser.post(path, csrf=csrf, number="1")
        assert "Done: 1 message cancelled" in await ended(browser, path)
        _, page = await browser.get("/audit")
        assert page.count(">cancel</td>") == 1
        assert "rejected" in text_of((await browser.get(f"/messages/{message}"))[1])
    # The page of a change is its user's alone.
    async with console.browser("otto") as browser:
        assert (await browser.get(path))[0] == 404


async def test_a_number_that_has_changed_much_is_asked_again(console, deployment):
    for number in range(30):
        await deployment.email(email_uid=f"uid-{number}")
    async with console.browser("maria") as browser:
        path = await prepare(browser, "cancel", client="brand")
        _, page = await browser.post(path, csrf=await browser.csrf(), number="7")
        assert "You were shown 7 messages, and now there are 30, so nothing was done." in text_of(page)
        change(console, "DELETE FROM messages WHERE uid < 'uid-2'")
        await confirm(browser, path)
        shown = await ended(browser, path)
        assert "You were shown 30 messages, and now there are 18, so nothing was done. Look again." in shown
        await confirm(browser, path)
        assert "Done: 18 messages cancelled" in await ended(browser, path)


async def test_many_messages_are_sent_again(console, deployment):
    messages = [await deployment.email(email_uid=f"uid-{number}") for number in range(3)]
    change(console, "UPDATE messages SET state='held'")
    change(console, f"DELETE FROM contents WHERE message_id='{messages[0]}'")
    async with console.browser("maria") as browser:
        path = await prepare(browser, "retry", state="held")
        await confirm(browser, path)
        shown = await ended(browser, path)
        assert "Done: 2 messages queued again" in shown
        assert "1 message not changed: its content is erased" in shown


async def test_failed_callbacks_of_many_messages_are_made_now(console, deployment):
    message = await deployment.email()
    async with console.browser("maria") as browser:
        await browser.post(f"/messages/{message}/cancel", csrf=await browser.csrf())
        await deployment.hears(message, "rejected")
        await until(
            lambda: change(
                console,
                "UPDATE statuses SET callback_state='dead', attempt=8, problem='HTTP 500' WHERE callback_state='acknowledged'",
            )
        )
        _, page = await browser.get("/messages?dead=1")
        assert "telling rejected: given up (8 calls: HTTP 500)" in text_of(page)
        path = await prepare(browser, "tell", dead="1")
        await confirm(browser, path)
        assert "Done: 1 message told now" in await ended(browser, path)

        async def told_twice():
            return console.crm.statuses_of(message) == ["rejected", "rejected"]

        await until(told_twice)


async def test_a_store_that_is_away_gets_its_page_and_nothing_is_done(console, deployment):
    message = await deployment.email()
    async with console.browser("maria") as browser:
        csrf = await browser.csrf()
        path = await prepare(browser, "cancel", client="brand")
        change(console, "ALTER TABLE messages RENAME TO away")
        for page_path in ("/messages", f"/messages/{message}"):
            status, page = await browser.get(page_path)
            assert status == 503
            assert "The store can't be read or changed now" in text_of(page)
        await browser.post(path, csrf=csrf, number="1")
        assert "Stopped: 0 messages cancelled" in await ended(browser, path)
        change(console, "ALTER TABLE away RENAME TO messages")
        assert "queued" in text_of((await browser.get(f"/messages/{message}"))[1])
