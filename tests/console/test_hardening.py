"""What the console refuses before any page sees it, and what every answer of it carries."""

import asyncio
from unittest.mock import ANY

import pytest

from gatepost.console.hardening import HEADERS, MAX_BODY, Hardened
from gatepost.web import body

CALLED_AS = (b"host", b"gate.internal:8090")


async def answer(headers, method="GET", path="/", chunks=(b"",)):
    """Return the status, the headers and what the page has read: None where it was not reached."""
    sent, reached = [], []
    events = [{"type": "http.request", "body": one, "more_body": True} for one in chunks]
    if events:
        events[-1]["more_body"] = False

    async def receive():
        if not events:
            await asyncio.Event().wait()
        return events.pop(0)

    async def page(scope, receive, send):
        reached.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    await Hardened(page, {"gate.internal", "127.0.0.1", "::1", "[fd00::1]"})(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), next(iter(reached), None)


@pytest.mark.parametrize(
    "host", [b"gate.internal", b"GATE.internal:1", b"127.0.0.1:8090", b"[::1]:8090", b"[FD00::1]"]
)
async def test_the_listed_hosts_are_answered(host):
    assert (await answer([(b"host", host)]))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"gate.internal.evil.example",
        b"gate.internal.",
        b"",
        b"[",
        b"a@gate.internal.x",
        b"gate.internal:",
        b"gate.internal:65536",
        b"gate.internal, evil.example",
    ],
)
async def test_any_other_host_is_refused(host):
    status, headers, reached = await answer([(b"host", host)])
    assert (status, reached) == (403, None)
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
    assert (status, reached) == (403, None)


async def test_a_form_of_its_own_is_let_through():
    own = [CALLED_AS, (b"origin", b"http://gate.internal:8090"), (b"sec-fetch-site", b"same-origin")]
    assert (await answer(own, method="POST"))[0] == 200


async def test_a_form_is_read_whole_before_its_page():
    assert await answer([CALLED_AS], method="POST", chunks=(b"a=", b"b")) == (200, ANY, b"a=b")


async def test_a_form_that_is_too_large_is_refused():
    too_large = (b"a" * MAX_BODY, b"a")
    assert await answer([CALLED_AS], method="POST", chunks=too_large) == (413, ANY, None)
    stated = (b"content-length", str(MAX_BODY + 1).encode())
    assert (await answer([CALLED_AS, stated], method="POST"))[0] == 413


async def test_a_form_that_never_comes_is_given_up(monkeypatch):
    """Else a few hundred of them would be all the connections that the console has."""
    monkeypatch.setattr(body, "BODY_TIMEOUT", 0.01)
    assert await answer([CALLED_AS], method="POST", chunks=()) == (408, ANY, None)


@pytest.mark.parametrize(
    "kind", [b"multipart/form-data; boundary=x", b"application/json", b"text/plain", b""]
)
async def test_what_is_no_form_is_refused(kind):
    status, _, reached = await answer([CALLED_AS, (b"content-type", kind)], method="POST")
    assert (status, reached) == (403, None)


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
