"""The console of a real process: signing in and out, sessions, roles, and what a stranger gets."""

import aiohttp
import pytest

from console_browser import Console


@pytest.fixture
async def console(deployment, sendgrid, begin, wait_until):
    """Return a console whose gateway runs, with the operator maria and the viewer vera."""
    deployment.tables["console"] = {"listen": "127.0.0.1:0", "hosts": ["gate.internal"]}
    process, _ = await begin(email=["sendgrid-main"])
    await wait_until(lambda: "console_listening" in process.log.read_text())
    console = Console(process)
    for name, role in (("maria", "operator"), ("vera", "viewer")):
        await console.run("add-user", name, "--role", role)
    return console


async def test_a_user_signs_in_sees_the_pages_and_signs_out(console):
    async with console.browser() as browser:
        status, text = await browser.get("/audit?x=1")
        assert (status, 'name="next" value="/audit?x=1"' in text) == (200, True)
        _, text = await browser.sign_in("maria", next="/audit")
        assert "console-user-add" in text
        assert "No message waits." in (await browser.get("/"))[1]
        csrf = await browser.csrf()
        await browser.post("/logout", csrf=csrf)
        assert "Sign in to Gatepost" in (await browser.get("/"))[1]
        # The cookie of the session is worth nothing any more.
        status, text = await browser.post("/logout", csrf=csrf)
        assert status == 401
        assert "nothing was done" in text


async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(console):
    async with console.browser() as browser:
        answers = [
            await browser.sign_in("maria", "a wrong password"),
            await browser.sign_in("nobody", "a wrong password"),
            await browser.sign_in("", ""),
        ]
    assert {status for status, _ in answers} == {401}
    assert len({text for _, text in answers}) == 1
    assert "a wrong password" not in console.process.log.read_text()


async def test_guessing_is_slowed_down(console):
    async with console.browser() as browser:
        for _ in range(5):
            assert (await browser.sign_in("maria", "a guess"))[0] == 401
        status, text = await browser.sign_in("maria")
        assert status == 429
        assert "Try again in 2 s" in text


async def test_a_form_without_its_token_does_nothing(console):
    async with console.browser("maria") as browser:
        for csrf in (None, "", "0" * 64, "é"):
            status, text = await browser.post("/logout", csrf=csrf)
            assert status == 403
            assert "nothing was done" in text
        assert "Overview" in (await browser.get("/"))[1]


async def test_the_session_of_a_removed_or_changed_user_ends(console):
    async with console.browser("vera") as browser:
        await console.run("add-user", "vera", "--role", "viewer", "--client", "brand")
        assert "Sign in to Gatepost" in (await browser.get("/"))[1]
        await browser.sign_in("vera")
        await console.run("remove-user", "vera")
        assert "Sign in to Gatepost" in (await browser.get("/"))[1]
        assert (await browser.sign_in("vera"))[0] == 401


async def test_a_refresh_after_the_session_gets_no_page(console):
    async with console.browser() as browser:
        status, text = await browser.get("/", headers={"HX-Request": "true"})
        assert status == 401
        assert "Your session has ended" in text


@pytest.mark.parametrize("path", ["/nope", "/static/../../gatepost.toml", "/static/nope.js", "/%00"])
async def test_what_is_no_page_is_not_found(console, path):
    async with console.browser("maria") as browser:
        status, _ = await browser.get(path)
        assert status == 404


async def test_foreign_hosts_and_sites_are_refused(console):
    async with console.browser("maria") as browser:
        assert (await browser.get("/", headers={"Host": "evil.example"}))[0] == 403
        assert (await browser.get("/", headers={"Host": "gate.internal"}))[0] == 200
        csrf = await browser.csrf()
        async with browser.http.post(
            "/logout", data={"csrf": csrf}, headers={"Origin": "https://evil.example"}
        ) as response:
            assert response.status == 403
        assert "Overview" in (await browser.get("/"))[1]


async def test_a_proxy_that_is_listed_names_the_user(deployment, sendgrid, begin, wait_until):
    deployment.tables["console"] = {
        "listen": "127.0.0.1:0",
        "user_header": "X-User",
        "user_header_networks": ["127.0.0.1"],
    }
    process, _ = await begin(email=["sendgrid-main"])
    await wait_until(lambda: "console_listening" in process.log.read_text())
    console = Console(process)
    await console.run("add-user", "maria", "--role", "operator", "--no-password")
    async with console.browser(**{"X-User": "maria"}) as browser:
        assert "maria, operator" in (await browser.get("/"))[1]
    async with console.browser(**{"X-User": "stranger"}) as browser:
        assert "Sign in to Gatepost" in (await browser.get("/"))[1]
    async with console.browser() as browser:
        assert (await browser.sign_in("maria", ""))[0] == 401


async def test_the_public_listener_has_no_console(console, deployment):
    async with aiohttp.ClientSession() as http:
        for path in ("/login", "/audit", "/static/console.css"):
            async with http.get(deployment.crm.gateway_url + path) as response:
                assert response.status == 404
