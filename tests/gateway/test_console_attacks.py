"""What a stranger can send to the console of a real process: nothing of it is an internal error."""

import asyncio

import aiohttp
import pytest

from console_browser import PASSWORD, Console
from gatepost.console.login_throttle import FREE_FAILURES
from gateway.conftest import until

BAD_PART = '--x\r\nContent-Disposition: form-data; name="name"\r\nContent-Type: text/plain; charset=no-such\r\n\r\nz\r\n--x--\r\n'

HOSTILE = (
    ("GET", "/static/%00", {}, ""),
    ("GET", "/static/console.css%00.js", {}, ""),
    ("GET", "/static/console.css/..", {}, ""),
    ("GET", "/static/..%2f..%2fapp.py", {}, ""),
    ("GET", "/static//etc/passwd", {}, ""),
    ("GET", "/static/" + "a" * 5000, {}, ""),
    ("GET", "//static/%00", {}, ""),
    ("GET", "/login?next=%00", {}, ""),
    ("GET", "/login", {"Host": "localhost:99999"}, ""),
    ("GET", "/login", {"Cookie": "gatepost_session=%00; =; ;;="}, ""),
    ("OPTIONS", "*", {}, ""),
    ("HEAD", "/login", {}, ""),
    ("POST", "/login", {"Content-Type": "multipart/form-data; boundary=x"}, BAD_PART),
    ("POST", "/login", {"Content-Type": "application/x-www-form-urlencoded; charset=no-such"}, "name=a"),
    ("POST", "/login", {}, "name=%00&password=%ed%a0%80"),
    ("POST", "/login", {}, "name=%ff&next=%0d%0aset-cookie:+a=b&password=%00"),
    ("POST", "/login", {}, "a&" * 20_000),
    ("POST", "/login", {}, "a" * 70_000),
    ("POST", "/nope", {}, "a=b"),
)


@pytest.fixture
async def console(deployment, sendgrid, begin, wait_until):
    deployment.tables["console"] = {"listen": "127.0.0.1:0"}
    process, _ = await begin(email=["sendgrid-main"])
    await wait_until(lambda: "console_listening" in process.log.read_text())
    return Console(process)


async def answer(console, method, path, headers, body):
    """Send a request as it stands, and return the answer's status and head."""
    usual = {"Host": "localhost", "Connection": "close", "Content-Length": len(body)}
    if method == "POST":
        usual["Content-Type"] = "application/x-www-form-urlencoded"
    lines = [f"{name}: {value}\r\n" for name, value in (usual | headers).items()]
    host, port = console.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{method} {path} HTTP/1.1\r\n{''.join(lines)}\r\n{body}".encode("latin-1"))
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.close()
    return int(head.split()[1]), head.lower()


async def test_no_request_of_a_stranger_is_an_internal_error(console):
    for request in HOSTILE:
        status, head = await answer(console, *request)
        assert status < 500, request
        assert "\r\nset-cookie" not in head, request
        assert "content-security-policy: default-src 'none'" in head, request
    log = console.process.log.read_text()
    assert '"level": "error"' not in log, log


@pytest.fixture
async def maria(console):
    await console.run("add-user", "maria", "--role", "operator")


async def guess(browser, name, password="a guess", **headers):
    async with browser.http.post(
        "/login", data={"name": name, "password": password}, headers=headers
    ) as response:
        return response.status


async def test_failures_of_others_behind_the_same_proxy_keep_nobody_out(console, maria):
    async with console.browser() as browser:
        for number in range(FREE_FAILURES + 1):
            assert await guess(browser, f"nobody-{number}") == 401
        assert (await browser.sign_in("maria"))[0] == 200


async def test_the_address_that_a_trusted_proxy_names_is_slowed_down(deployment, sendgrid, begin, wait_until):
    deployment.tables["server"]["trusted_proxies"] = ["127.0.0.1"]
    deployment.tables["console"] = {"listen": "127.0.0.1:0"}
    process, _ = await begin(email=["sendgrid-main"])
    await wait_until(lambda: "console_listening" in process.log.read_text())
    async with Console(process).browser() as browser:
        guesser = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
        for number in range(FREE_FAILURES):
            assert await guess(browser, f"nobody-{number}", **guesser) == 401
        assert await guess(browser, "somebody", **guesser) == 429
        # What the browser itself has sent does not count.
        assert await guess(browser, "somebody", **{"X-Forwarded-For": "203.0.113.7, 198.51.100.1"}) == 401


async def test_behind_a_proxy_that_does_tls_no_other_host_can_set_the_cookie(console, maria):
    async with console.browser(Origin=console.url.replace("http:", "https:")) as browser:
        assert (await browser.sign_in("maria"))[0] == 200
        async with browser.http.post(
            "/login", data={"name": "maria", "password": PASSWORD}, allow_redirects=False
        ) as response:
            cookie = response.headers["Set-Cookie"]
        name, _, rest = cookie.partition("=")
        token, _, attributes = rest.partition("; ")
        assert name == "__Host-gatepost_session"
        assert attributes == "Path=/; HttpOnly; SameSite=Strict; Max-Age=43200; Secure"
        assert token not in console.process.log.read_text()
        cookie = {"Cookie": f"{name}={token}"}
        async with aiohttp.ClientSession(console.url) as other, other.get("/", headers=cookie) as response:
            assert "Overview" in await response.text()


async def test_no_get_changes_anything(console, maria):
    """Scanners and browsers follow links, also with a token in them."""
    one = "/messages/01a21e63-7b41-7d7d-947a-51704ec1aa8b"
    paths = ["/plugins/pause", "/plugins/resume", "/callbacks/tell", "/messages/batch", "/logout"]
    paths += [f"{one}/{operation}" for operation in ("cancel", "retry", "tell", "suppress")]
    async with console.browser("maria") as browser:
        csrf = await browser.csrf()
        for path in paths:
            query = f"?csrf={csrf}&client=brand&operation=cancel&until=1h&reason=x"
            assert (await browser.get(path + query))[0] == 405, path
            override = {"X-HTTP-Method-Override": "POST", "X-CSRF-Token": csrf}
            assert (await browser.get(path + query, headers=override))[0] == 405, path
        status, text = await browser.get("/audit")
        assert (status, text.count("(console)</td>")) == (200, 0)


PAGES = (
    "/",
    "/messages",
    "/messages/" + "0" * 36,
    "/plugins",
    "/callbacks",
    "/stats",
    "/stats.csv",
    "/audit",
)


async def test_without_its_database_each_page_says_so_and_comes_back(
    deployment, sendgrid, begin, wait_until, postgres_server
):
    deployment.tables["store"] = {"url": postgres_server.new_database()}
    deployment.tables["console"] = {"listen": "127.0.0.1:0"}
    process, _ = await begin(email=["sendgrid-main"])
    await wait_until(lambda: "console_listening" in process.log.read_text())
    console = Console(process)
    await console.run("add-user", "maria", "--role", "operator")
    async with console.browser("maria") as browser:
        csrf = await browser.csrf()
        before = [(await browser.get(path))[0] for path in PAGES]
        await asyncio.to_thread(postgres_server.stop)
        try:
            answers = [await browser.get(path) for path in PAGES]
            answers.append(await browser.post("/plugins/pause", csrf=csrf, client="brand", until="1h"))
            answers.append(
                await browser.post("/messages/batch", csrf=csrf, client="brand", operation="cancel")
            )
            answers.append(await browser.sign_in("maria"))
        finally:
            await asyncio.to_thread(postgres_server.start)
        for status, text in answers:
            assert (status, "Nothing was done. Try again in a moment." in text) == (503, True)

        async def is_back():
            return [(await browser.get(path))[0] for path in PAGES] == before

        await until(is_back)
    assert before == [200, 200, 404, 200, 200, 200, 200, 200]
    assert "internal_error" not in process.log.read_text()
