"""The links in mails through a whole gateway: one-click unsubscribe and the pixel, from the mail to Smartico."""

import base64
import re

import pytest

KEY = base64.b64encode(bytes(range(32))).decode()


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


async def test_one_click_reaches_smartico_once(linked, mailboxes, wait_until):
    async with linked.running(email=["relay"]) as gateway:
        message = await linked.email()
        await wait_until(lambda: mailboxes.mails)
        (mail,) = mailboxes.mails
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        unsubscribe, _ = links(mail)
        for _ in range(2):
            data = {"List-Unsubscribe": "One-Click"}
            async with gateway.http.post(gateway.url + unsubscribe, data=data, allow_redirects=False) as got:
                assert got.status == 200
        await linked.hears(message, "accepted", "unsubscribed")


async def test_a_loaded_pixel_is_opened_once(linked, mailboxes, wait_until):
    async with linked.running(email=["relay"]) as gateway:
        message = await linked.email()
        await wait_until(lambda: mailboxes.mails)
        _, pixel = links(mailboxes.mails[0])
        for _ in range(3):
            headers = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Thunderbird/140.0"}
            async with gateway.http.get(gateway.url + pixel, headers=headers) as got:
                assert (got.status, got.content_type) == (200, "image/gif")
                assert len(await got.read()) == 43
                assert "Set-Cookie" not in got.headers
        await linked.hears(message, "accepted", "opened")
