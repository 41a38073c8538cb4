"""What an answer means: exactly what the settings describe, and Unavailable for everything else, with nothing of it."""

import asyncio
import threading

import pytest

from gatepost.errors import Unavailable
from gatepost.model import Contact, Secret
from gatepost.testing import emulator
from gatepost_accounts import users

CANARY = "canary.4711@mail.example"
FULL = {"id": "/id", "phone": "/phone", "blocked": "/blocked", "attributes": {"name": "/name"}}


def user(**fields):
    return {"id": "anna", "email": CANARY, "phone": "+447700900123", "blocked": None, "name": "A", **fields}


async def fails(plugin, words, *, code=None, misconfigured=True, one="anna"):
    with pytest.raises(Unavailable) as raised:
        await plugin.find_contact(one)
    error = raised.value
    assert words in error.reason
    assert CANARY not in error.reason + error.code
    assert error.misconfigured is misconfigured
    assert code in {None, error.code}
    # The core logs causes too.
    assert error.__context__ is None
    assert error.__cause__ is None


async def test_a_user_is_found_with_everything_that_is_known(asking, fixed):
    fixed.answer(user(name="Ann", blocked="self-excluded"))
    async with asking(**FULL) as plugin:
        assert await plugin.find_contact("anna") == Contact(
            email=Secret(CANARY),
            phone=Secret("+447700900123"),
            blocked="self-excluded",
            attributes={"name": "Ann"},
        )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><body>" + CANARY.encode(), "is not JSON"),
        (b"", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"id": "anna", "email": "' + CANARY.encode(), "is not JSON"),
        (b'{"email": "\\ud800"}', "is not JSON"),
        (b"null", "no object"),
        (b"[]", "no object"),
        (b'"anna"', "no object"),
        (user(id="Anna"), "about another user"),
        (user(id=["anna"]), "no text and no whole number at `id`"),
        (user(id=True), "no text and no whole number at `id`"),
        ({"error": CANARY}, "at `id`"),
        ({"id": "anna", "error": CANARY}, "has nothing at `email`"),
        ({"id": "anna", "email": CANARY}, "has nothing at `phone`"),
        ({"id": "anna", "email": CANARY, "phone": None}, "has nothing at `blocked`"),
        (user(email=[CANARY]), "a list at `email` in place of a text"),
        (user(email={"address": CANARY}), "an object at `email` in place of a text"),
        (user(phone=447700900123), "a number at `phone` in place of a text"),
        (user(phone=False), "true or false at `phone` in place of a text"),
        (user(blocked=[]), "a list at `blocked`"),
        (user(blocked={"reason": "x"}), "an object at `blocked`"),
        (user(name=["A"]), "a list at `attributes.name`"),
    ],
)
async def test_an_answer_of_another_form_is_unavailable_and_names_the_setting(asking, fixed, body, words):
    fixed.answer(body)
    async with asking(**FULL) as plugin:
        await fails(plugin, words)


@pytest.mark.parametrize(
    ("wanted", "answered", "same"),
    [
        ("17", 17, True),
        ("17", "17", True),
        ("0017", 17, False),
        ("0017", "17", False),
        ("anna", "ANNA", False),
        ("anna", "anna ", False),
        ("1", True, False),
        ("17", 17.0, False),
        ("1" * 60, int("1" * 60), False),
    ],
)
async def test_the_id_must_match_exactly(asking, fixed, wanted, answered, same):
    fixed.answer({"id": answered, "email": CANARY})
    async with asking(id="/id") as plugin:
        if same:
            assert (await plugin.find_contact(wanted)).email == Secret(CANARY)
        else:
            await fails(plugin, "`id`", one=wanted)


async def test_what_may_be_left_out_must_be_named(asking, fixed):
    fixed.answer({"id": "anna"})
    async with asking(**FULL, optional=["email", "phone", "blocked"]) as plugin:
        assert await plugin.find_contact("anna") == Contact()
    fixed.answer({"id": "anna", "email": "", "phone": None, "blocked": None, "name": None})
    async with asking(**FULL) as plugin:
        assert await plugin.find_contact("anna") == Contact()


async def test_null_on_the_way_is_null(asking, fixed):
    places = {"email": "/contact/email", "blocked": "/exclusion/reason/text"}
    async with asking(**places) as plugin:
        for exclusion in (None, {"reason": None}, {"reason": {"text": None}}):
            fixed.answer({"contact": {"email": CANARY}, "exclusion": exclusion})
            assert await plugin.find_contact("anna") == Contact(email=Secret(CANARY))
        for exclusion in ({}, {"reason": {}}, {"reason": "x"}, False):
            fixed.answer({"contact": {"email": CANARY}, "exclusion": exclusion})
            await fails(plugin, "has nothing at `blocked`")


@pytest.mark.parametrize(
    ("value", "not_blocked", "reason"),
    [
        (None, None, ""),
        (False, None, ""),
        (0, None, ""),
        (" No ", None, ""),
        ("", None, ""),
        (True, None, "blocked"),
        (1, None, "blocked"),
        (2.5, None, "blocked"),
        ("Yes", None, "blocked"),
        ("self-excluded", None, "self-excluded"),
        ("ACTIVE", ["ACTIVE"], ""),
        ("active", ["ACTIVE"], "active"),
        ("CLOSED", ["ACTIVE"], "CLOSED"),
        (None, ["ACTIVE"], "blocked"),
        (True, [True], ""),
        (False, [True], "blocked"),
        (1, [1, 2], ""),
        (3, [1, 2], "3"),
    ],
)
async def test_who_is_blocked(asking, fixed, value, not_blocked, reason):
    fixed.answer({"email": None, "state": value})
    async with asking(blocked="/state", not_blocked=not_blocked) as plugin:
        assert (await plugin.find_contact("anna")).blocked == reason


async def test_what_is_left_out_blocks_nobody_where_that_is_said(asking, fixed):
    fixed.answer({"email": None})
    async with asking(blocked="/state", not_blocked=["ACTIVE"], optional=["blocked"]) as plugin:
        assert (await plugin.find_contact("anna")).blocked == ""


async def test_attributes_are_texts(asking, fixed):
    fixed.answer({"email": None, "a": 3, "b": 2.5, "c": True, "d": None, "f": ""})
    pointers = {name: f"/{name}" for name in "abcdef"}
    async with asking(attributes=pointers) as plugin:
        found = await plugin.find_contact("anna")
    assert found.attributes == {"a": "3", "b": "2.5", "c": "true", "f": ""}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"users": [{"email": CANARY}]}, True),
        ({"users": {"email": CANARY}}, True),
        ({"users": []}, False),
        ({"users": None}, False),
        ({"users": [{"email": CANARY}, {"email": CANARY}]}, "several users"),
        ({"users": [[]]}, "no user at `user`"),
        ({"users": 0}, "no user at `user`"),
        ({"error": "down"}, "has `/error` in it"),
        ({"other": []}, "no user at `user`"),
    ],
)
async def test_null_and_an_empty_list_mean_nobody_where_the_user_has_a_place(asking, fixed, body, found):
    fixed.answer(body)
    async with asking(user="/users") as plugin:
        if isinstance(found, str):
            await fails(plugin, found)
        else:
            assert (await plugin.find_contact("anna") is not None) is found


async def test_the_whole_answer_may_be_that_place(asking, fixed):
    async with asking(user="") as plugin:
        fixed.answer([])
        assert await plugin.find_contact("anna") is None
        fixed.answer([{"email": CANARY}])
        assert (await plugin.find_contact("anna")).email == Secret(CANARY)


NO_SUCH = {"statuses": [404, 200], "at": "/error", "values": ["NO_SUCH_USER", 17]}


@pytest.mark.parametrize(
    ("unknown", "status", "body", "unavailable"),
    [
        (None, 404, b"", ""),
        (None, 404, {"error": "x"}, ""),
        (None, 410, b"", "answered 410"),
        ({"statuses": [204, 410]}, 410, b"", ""),
        ({"statuses": [204, 410]}, 204, b"", ""),
        ({"statuses": [204, 410]}, 404, b"", "answered 404: check url"),
        (NO_SUCH, 404, {"error": "NO_SUCH_USER"}, ""),
        (NO_SUCH, 200, {"error": "NO_SUCH_USER"}, ""),
        (NO_SUCH, 200, {"error": 17}, ""),
        (NO_SUCH, 200, {"error": "17"}, "has nothing at `email`"),
        (NO_SUCH, 404, {"error": "NO_SUCH_ROUTE"}, "answered 404: check url"),
        (NO_SUCH, 404, b"404 page not found", "answered 404: check url"),
        (NO_SUCH, 200, {"error": "DATABASE_DOWN"}, "has nothing at `email`"),
    ],
)
async def test_which_answers_mean_no_such_user(asking, fixed, unknown, status, body, unavailable):
    fixed.answer(body, status)
    async with asking(unknown=unknown) as plugin:
        if unavailable:
            await fails(plugin, unavailable, misconfigured=status != 410)
        else:
            assert await plugin.find_contact("anna") is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<h1>Not found</h1>", "text/html; charset=utf-8"),
        (b"<h1>Not found</h1>", "application/xhtml+xml"),
        (b"404 page not found\n", "text/plain; charset=utf-8"),
        (b"default backend - 404", "Text/Plain"),
    ],
)
async def test_a_web_page_or_a_text_with_404_may_be_a_proxys(asking, fixed, body, kind):
    fixed.answer(body, 404, Content_Type=kind)
    async with asking() as plugin:
        await fails(plugin, "a 404 that is a web page or a text", code="404")
    async with asking(unknown={"statuses": [404]}) as plugin:
        assert await plugin.find_contact("anna") is None


async def test_an_empty_text_with_404_is_no_such_user(asking, fixed):
    fixed.answer(b"", 404, Content_Type="text/plain")
    async with asking() as plugin:
        assert await plugin.find_contact("anna") is None


NO_USER = {"data": {"user": None}}


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({**NO_USER, "errors": [{"message": CANARY}]}, "/errors"),
        ({"data": {"user": []}, "error": CANARY}, "/error"),
        ({**NO_USER, "errors": [], "error": {"code": 7}}, "/error"),
        # Whether this user is excluded could not be looked up.
        (
            {
                "data": {"user": {"id": "anna", "email": "a@people.example", "phone": None, "blocked": None}},
                "errors": [{"message": CANARY}],
            },
            "/errors",
        ),
    ],
)
async def test_an_error_in_an_answer_is_unavailable(asking, fixed, body, name):
    fixed.answer(body)
    async with asking(user="/data/user") as plugin:
        await fails(plugin, f"has `{name}` in it")


async def test_an_error_beside_the_members_of_a_user_is_unavailable(asking, fixed):
    fixed.answer({"id": "anna", "email": "anna@people.example", "blocked": None, "error": CANARY})
    async with asking(id="/id", blocked="/blocked") as plugin:
        await fails(plugin, "has `/error` in it")


async def test_a_large_answer_that_may_say_that_there_is_no_user_is_decoded_in_a_thread(
    asking, fixed, monkeypatch
):
    threads = []
    decode = users._decode_or_none
    monkeypatch.setattr(
        users, "_decode_or_none", lambda body: (threads.append(threading.current_thread()), decode(body))[1]
    )
    unknown = {"statuses": [404], "at": "/error", "values": ["NO_SUCH_USER"]}
    async with asking(unknown=unknown) as plugin:
        for filling in ("", "x" * 40_000):
            fixed.answer({"error": "NO_SUCH_USER", "filling": filling}, 404)
            assert await plugin.find_contact("anna") is None
    assert [thread is threading.main_thread() for thread in threads] == [True, False]


async def test_an_error_beside_a_missing_user_may_mean_that_there_is_none(asking, fixed):
    unknown = {"statuses": [200], "at": "/errors/0/extensions/code", "values": ["NOT_FOUND"]}
    async with asking(user="/data/user", unknown=unknown) as plugin:
        fixed.answer({**NO_USER, "errors": [{"extensions": {"code": "NOT_FOUND"}}]})
        assert await plugin.find_contact("anna") is None
        fixed.answer({**NO_USER, "errors": [{"extensions": {"code": "TIMEOUT"}}]})
        await fails(plugin, "has `/errors` in it")
        for nothing in ({"errors": []}, {"errors": None, "error": ""}, {"error": False}):
            fixed.answer({**NO_USER, **nothing})
            assert await plugin.find_contact("anna") is None


@pytest.mark.parametrize(
    ("status", "words", "misconfigured"),
    [
        (201, "in place of 200", True),
        (204, "in place of 200", True),
        (301, "a redirect, which is never followed", True),
        (304, "a redirect", True),
        (307, "a redirect", True),
        (400, "answered 400", False),
        (401, "check headers, oauth and connection", True),
        (403, "check headers, oauth and connection", True),
        (405, "check url", True),
        (429, "answered 429", False),
        (500, "answered 500", False),
        (503, "answered 503", False),
    ],
)
async def test_any_other_status_is_unavailable(asking, fixed, status, words, misconfigured):
    fixed.answer({"email": CANARY}, status, Location=f"{fixed.url}/elsewhere", Retry_After="7")
    async with asking() as plugin:
        await fails(plugin, words, code=str(status), misconfigured=misconfigured)
    assert [request.path for request in fixed.requests] == ["/users/anna"]


async def test_a_post_has_its_body(asking, fixed):
    fixed.answer({"email": CANARY})
    body = {"lookup": {"user": "{ext_user_id}", "fields": ["email"], "version": 2}}
    async with asking(url=f"{fixed.url}/lookup", method="POST", body=body, headers={"X-Key": "k"}) as plugin:
        assert (await plugin.find_contact('a"b')).email == Secret(CANARY)
    (request,) = fixed.requests
    assert (request.method, request.path, request.headers["X-Key"]) == ("POST", "/lookup", "k")
    assert fixed.bodies == [b'{"lookup":{"user":"a\\"b","fields":["email"],"version":2}}']


async def test_a_large_answer_is_read_and_a_huge_one_is_not(asking, fixed):
    async with asking() as plugin:
        fixed.answer({"email": CANARY, "filler": "x" * 500_000})
        assert (await plugin.find_contact("anna")).email == Secret(CANARY)
        fixed.answer({"email": CANARY, "filler": "x" * 2_000_000})
        await fails(plugin, "more than 1,048,576 bytes", misconfigured=False)


async def test_an_endless_answer_is_left_soon(asking, fixed):
    written = 0
    ended = asyncio.Event()

    async def serve(reader, writer):
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
        try:
            while written < 104_857_600:
                writer.write(b" " * 65_536)
                await writer.drain()
                written += 65_536
        except ConnectionError:
            pass
        finally:
            writer.close()
            ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asking(url=f"http://127.0.0.1:{port}/{{ext_user_id}}") as plugin:
        await fails(plugin, "more than 1,048,576 bytes", misconfigured=False)
        await ended.wait()
    # The rest is what the buffers of two sockets hold.
    assert written < 50_000_000


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (emulator.close_before_body(), "no answer"),
        (emulator.close_after_body(taken=True), "no answer"),
        (emulator.hang(taken=True), "no answer in time"),
        (emulator.stall(), "no answer in time"),
        (emulator.drip(0.25), "no answer in time"),
    ],
)
async def test_a_connection_that_fails_is_unavailable_within_the_deadline(
    running, provider, failure, words, set_ahead
):
    async with running(context={"timeout": 36_000.0}) as plugin:
        assert await plugin.find_contact("anna") is not None
        provider.failure = failure
        failing = asyncio.ensure_future(fails(plugin, words, misconfigured=False))
        while not failing.done():
            if words == "no answer in time":
                set_ahead(1.0)
            await asyncio.sleep(0.01)
        await failing
        provider.failure = emulator.NO_FAILURE
        assert await plugin.find_contact("anna") is not None
