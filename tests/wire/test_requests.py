"""What leaves in a request, and what its answer means."""

from urllib.parse import parse_qsl

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import wire
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Secret
from wire.raw_server import Connection, RawServer, answer, answering


@pytest.fixture
async def server():
    async with RawServer(answering) as running:
        yield running


@pytest.fixture
async def http(server):
    async with wire.connect(
        server.url, timeout=30.0, connections=4, headers=wire.bearer(Secret("k"))
    ) as client:
        yield client


async def test_each_method_leaves_as_it_is(server, http):
    await http.get("/a?b=c")
    await http.post("/a", b"1")
    await http.put("/a", b"2")
    await http.patch("/a", b"3")
    await http.delete("/a")
    await http.request("HEAD", "/a")

    sent = [(request.method, request.target, request.body) for request in server.requests]
    assert sent == [
        ("GET", "/a?b=c", b""),
        ("POST", "/a", b"1"),
        ("PUT", "/a", b"2"),
        ("PATCH", "/a", b"3"),
        ("DELETE", "/a", b""),
        ("HEAD", "/a", b""),
    ]
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer k"}
    assert server.requests[1].headers["content-type"] == "application/json"


@pytest.mark.parametrize("name", ["content-type", "USER-AGENT", "Accept"])
async def test_a_header_of_the_plugin_replaces_the_usual_one(name):
    heads = []

    async def record(connection: Connection) -> None:
        heads.append((await connection.reader.readuntil(b"\r\n\r\n")).decode().lower())
        await connection.write(answer())

    async with (
        RawServer(record) as server,
        wire.connect(server.url, timeout=30.0, connections=4, headers={name: "text/xml"}) as http,
    ):
        await http.post("/")

    [head] = heads
    assert head.count(f"\r\n{name.lower()}:") == 1
    assert f"\r\n{name.lower()}: text/xml\r\n" in head


@pytest.mark.parametrize(
    "path",
    [
        # To decode one of these would change which user, message or resource is meant.
        "/users/a%3Bb/..%2Fc%2E%2E%5C",
        "/%2E%2E/%2e/a%2Cb%3Ac%40",
        "/users?ids=a%2Cb,c%3B%26%2B%25&x=%00",
    ],
)
async def test_a_path_leaves_as_it_is(server, http, path):
    await http.get(path)

    assert [request.target for request in server.requests] == [path]


async def test_what_no_path_may_hold_is_encoded(server, http):
    await http.get("/a b/é")

    assert [request.target for request in server.requests] == ["/a%20b/%C3%A9"]


async def test_pairs_are_a_form(server, http):
    pairs = [
        ("To", "+447700900123"),
        ("Body", "a b&c=d é 🎲\r\n~*"),
        ("MediaUrl", "1"),
        ("MediaUrl", "2"),
        ("X", ""),
    ]
    await http.post("/", pairs)

    [request] = server.requests
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.body.startswith(b"To=%2B447700900123&Body=a+b%26c%3Dd+%C3%A9+%F0%9F%8E%B2%0D%0A")
    assert parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True) == pairs


async def test_half_a_character_in_a_form_is_refused_before_anything_is_sent(server, http):
    with pytest.raises(Rejected):
        await http.post("/", [("Body", "\ud83d")])

    assert server.requests == []


@pytest.mark.parametrize("method", ["GET", "get"])
async def test_a_request_that_only_reads_is_never_rejected(server, http, method):
    with pytest.raises(Unavailable):
        await http.request(method, "/", body=[("q", "\ud83d")])

    assert server.requests == []


def test_basic_auth_is_utf8():
    assert wire.basic_auth("anna", Secret("pässwörd:x")) == {
        "Authorization": "Basic YW5uYTpww6Rzc3fDtnJkOng="
    }


def reply(status: int, *, sends: bool = True, body: bytes = b"", **headers: str) -> wire.Reply:
    return wire.Reply(status=status, headers=headers, body=body, sends=sends)


@pytest.mark.parametrize(
    ("status", "sends", "outcome", "misconfigured"),
    [
        (204, True, None, False),
        (302, True, Unavailable, True),
        (400, True, Rejected, False),
        (401, True, Unavailable, True),
        (404, True, Unavailable, True),
        (407, True, Unavailable, True),
        (422, True, Rejected, False),
        (429, True, Unavailable, False),
        (503, True, Unavailable, False),
        (400, False, Unavailable, False),
        (422, False, Unavailable, False),
        (401, False, Unavailable, True),
    ],
)
def test_what_an_answer_means(status, sends, outcome, misconfigured):
    if outcome is None:
        wire.expect_success(reply(status, sends=sends))
        return
    with pytest.raises(outcome) as raised:
        wire.expect_success(reply(status, sends=sends))
    assert getattr(raised.value, "misconfigured", False) is misconfigured
    assert raised.value.code == str(status)


@given(status=st.integers(100, 999))
def test_an_answer_to_a_query_never_decides_about_a_message(status):
    for accepted in (range(200, 300), {202}):
        try:
            wire.expect_success(reply(status, sends=False), accepted=accepted)
        except Unavailable:
            continue
        assert status in accepted


def test_a_success_of_another_kind_is_uncertain():
    with pytest.raises(Uncertain):
        wire.expect_success(reply(200), accepted={202})


def test_a_ping_is_about_no_message_so_any_refusal_is_misconfigured():
    with pytest.raises(Unavailable) as raised:
        wire.expect_success(reply(422, sends=False), misconfigured=wire.ANY_REFUSAL)
    assert raised.value.misconfigured
    with pytest.raises(Unavailable) as raised:
        wire.expect_success(reply(429, sends=False), misconfigured=wire.ANY_REFUSAL)
    assert not raised.value.misconfigured


@pytest.mark.parametrize(("sends", "has_credit"), [(True, True), (False, False)])
def test_only_who_sends_is_told_to_check_the_credit(sends, has_credit):
    with pytest.raises(Unavailable) as raised:
        wire.expect_success(reply(401, sends=sends))
    assert ("credit" in raised.value.reason) is has_credit


class Answer(msgspec.Struct):
    sid: str


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"sid": 7}', b"\xff", b"[" * 100_000, b"<html>"])
def test_a_body_of_another_form_decodes_to_nothing(body):
    assert reply(200, body=body).decode(Answer) is None


def test_a_body_decodes_to_the_wanted_type():
    assert reply(200, body=b'{"sid": "SM1", "more": 1}').decode(Answer) == Answer("SM1")


async def test_a_huge_answer_is_cut(server, http):
    async def huge(connection):
        await connection.read()
        await connection.write(answer(400, b"x" * 1_000_000))

    server.script = huge

    assert len((await http.post("/", b"{}")).body) == wire.MAX_REPLY_BYTES
