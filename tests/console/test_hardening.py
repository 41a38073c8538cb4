"""What the console refuses before any page sees it, and what every answer of it carries."""

import pytest

from gatepost.console.hardening import HEADERS, Hardened

CALLED_AS = (b"host", b"gate.internal:8090")


async def answer(headers, method="GET", path="/"):
    """Return the status, the headers and whether the page was reached."""
    sent, reached = [], []

    async def page(scope, receive, send):
        reached.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    await Hardened(page, {"gate.internal", "127.0.0.1", "::1"})(scope, None, send)
    return sent[0]["status"], dict(sent[0]["headers"]), bool(reached)


@pytest.mark.parametrize("host", [b"gate.internal", b"GATE.internal:1", b"127.0.0.1:8090", b"[::1]:8090"])
async def test_the_listed_hosts_are_answered(host):
    assert (await answer([(b"host", host)]))[0] == 200


@pytest.mark.parametrize(
    "host", [b"evil.example", b"gate.internal.evil.example", b"", b"[", b"a@gate.internal.x"]
)
async def test_any_other_host_is_refused(host):
    status, headers, reached = await answer([(b"host", host)])
    assert (status, reached) == (403, False)
    assert headers[b"content-security-policy"].startswith(b"default-src 'none'")


async def test_without_a_host_nothing_is_answered():
    assert (await answer([]))[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        [(b"origin", b"https://evil.example")],
        [(b"origin", b"null")],
        [(b"sec-fetch-site", b"cross-site")],
        [(b"sec-fetch-site", b"same-site")],
        # Another port of the same machine is another site.
        [(b"origin", b"http://gate.internal:9999")],
    ],
)
async def test_a_form_of_another_site_is_refused(headers):
    status, _, reached = await answer([CALLED_AS, *headers], method="POST")
    assert (status, reached) == (403, False)


async def test_a_form_of_its_own_is_let_through():
    own = [CALLED_AS, (b"origin", b"http://gate.internal:8090"), (b"sec-fetch-site", b"same-origin")]
    assert (await answer(own, method="POST"))[0] == 200


async def test_every_answer_has_the_headers_and_only_files_may_be_cached():
    _, headers, _ = await answer([CALLED_AS])
    assert dict(HEADERS).items() <= headers.items()
    assert headers[b"cache-control"] == b"no-store"
    _, headers, _ = await answer([CALLED_AS], path="/static/console.css")
    assert b"cache-control" not in headers


def test_nothing_inline_is_allowed():
    policy = dict(HEADERS)[b"content-security-policy"]
    assert b"unsafe" not in policy
    assert b"http:" not in policy
