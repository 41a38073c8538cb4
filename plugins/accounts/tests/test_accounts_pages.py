"""Several users with one request: a page finds users, and only the lookup of one says that there is no such user."""

import asyncio
import json

import pytest
from aiohttp import web

from gatepost.errors import Unavailable
from gatepost.model import Contact, Secret
from gatepost.testing import emulator


def contact(name):
    return Contact(email=Secret(f"{name}@people.example"))


@pytest.fixture
def names(provider):
    names = [f"user-{number}" for number in range(100)]
    provider.load_contacts({name: contact(name) for name in names})
    return names


def singles(provider):
    return [path for _, path in provider.requests if path.startswith("/v1/players/")]


def pages(provider):
    return sum(path == "/v1/players" for _, path in provider.requests)


def emails(found):
    return {name: one.email.reveal() for name, one in found.items()}


async def test_one_request_finds_many(running, provider, names):
    async with running() as plugin:
        found = await plugin.find_contacts(names[:50])
    assert emails(found) == {name: f"{name}@people.example" for name in names[:50]}
    assert (pages(provider), singles(provider)) == (1, [])


async def test_a_page_that_is_cut_off_loses_nobody(running, provider, names):
    """The emulated service leaves out without a word what goes beyond 50."""
    async with running() as plugin:
        found = await plugin.find_contacts(names)
    assert set(found) == set(names)
    assert (pages(provider), len(singles(provider))) == (1, 50)


async def test_the_operator_says_how_many_fit(running, provider, names):
    page = {**provider.table["page"], "size": 50}
    async with running(page=page) as plugin:
        assert set(await plugin.find_contacts(names)) == set(names)
    assert (pages(provider), singles(provider)) == (2, [])


async def test_who_is_not_on_the_page_is_asked_for_alone(running, provider, names):
    async with running() as plugin:
        found = await plugin.find_contacts([names[0], "nobody", "a,b", "..", names[1]])
    assert set(found) == set(names[:2])
    assert singles(provider) == ["/v1/players/nobody", "/v1/players/a,b"]


async def test_an_id_with_a_comma_is_never_two(running, provider, names):
    provider.load_contacts({"user-1,user-2": contact("both")})
    async with running() as plugin:
        found = await plugin.find_contacts(["user-1,user-2", "user-1"])
    assert emails(found) == {
        "user-1,user-2": "both@people.example",
        "user-1": "user-1@people.example",
    }


@pytest.mark.parametrize(
    "records",
    [
        # Twice, differently: neither is taken.
        [{"id": "anna", "email": "one@x.example"}, {"id": "anna", "email": "two@x.example"}],
        # Somebody else, in whatever spelling.
        [{"id": "ANNA", "email": "one@x.example"}, {"id": "anna ", "email": "one@x.example"}],
        [{"email": "one@x.example"}, None, 7, "anna", [], {"id": None}],
        [{"id": "anna", "email": ["one@x.example"]}],
        [],
    ],
)
async def test_what_a_page_leaves_open_the_lookup_of_one_user_says(asking, fixed, records):
    page = {"url": f"{fixed.url}/users?ids={{ext_user_ids}}"}
    async with asking(id="/id", page=page) as plugin:
        fixed.answer(records)
        found = await plugin.find_contacts(["anna", "bob"])
    # This service answers the lookup of one user with a list too.
    assert {name: type(one) for name, one in found.items()} == {"anna": Unavailable, "bob": Unavailable}
    assert [request.path for request in fixed.requests] == ["/users", "/users/anna", "/users/bob"]
    assert "one@x" not in str(found["anna"])


@pytest.mark.parametrize("status", [400, 404, 413, 414, 422])
async def test_a_page_that_is_refused_costs_nobody_the_answer(running, provider, names, core, status):
    async with running() as plugin:
        for _ in range(2):
            await plugin.find_contact(names[0])
            provider.plan(emulator.answer(status))
            assert set(await plugin.find_contacts([*names[:3], "nobody"])) == set(names[:3])
        assert set(await plugin.find_contacts(names[:3])) == set(names[:3])
        provider.plan(emulator.answer(status))
        await plugin.find_contacts(names[:3])
    # Once for each time that it begins.
    refused = [entry for entry in core.logged if entry["event"] == "account_page_refused"]
    assert [(entry["code"], entry["users"]) for entry in refused] == [(str(status), 4), (str(status), 3)]


@pytest.mark.parametrize("status", [301, 401, 403, 429, 500, 503])
async def test_a_service_that_is_away_is_unavailable_for_all(running, provider, names, status):
    async with running() as plugin:
        await plugin.find_contact(names[0])
        provider.failure = emulator.answer(status)
        with pytest.raises(Unavailable):
            await plugin.find_contacts(names[1:4])
    assert len(singles(provider)) == 1


async def test_a_page_that_fails_costs_only_its_own_users(running, provider, names):
    page = {**provider.table["page"], "size": 2}
    async with running(page=page) as plugin:
        await plugin.find_contact(names[0])
        provider.plan(emulator.NO_FAILURE, emulator.answer(503), emulator.NO_FAILURE)
        found = await plugin.find_contacts(names[1:6])
    lost = {name for name, one in found.items() if isinstance(one, Unavailable)}
    assert set(found) == set(names[1:6])
    assert lost in ({*names[1:3]}, {*names[3:5]}, {names[5]})
    assert {found[name].code for name in lost} == {"503"}
    # Nobody of the page that failed is asked for alone: the service is away.
    assert len(singles(provider)) == 1


async def test_pages_that_all_fail_cost_nobody_the_answer_that_is_kept(running, provider, names):
    provider.cache_control = "max-age=60"
    async with running() as plugin:
        await plugin.find_contact(names[0])
        provider.failure = emulator.answer(503)
        found = await plugin.find_contacts(names[:3])
    assert {name for name, one in found.items() if isinstance(one, Contact)} == {names[0]}
    assert {found[name].code for name in names[1:3]} == {"503"}


async def test_a_page_that_never_comes_is_unavailable_in_time(running, provider, names, past_deadline):
    async with running() as plugin:
        await plugin.find_contact(names[0])
        provider.failure = emulator.hang(taken=True)
        with pytest.raises(Unavailable, match="no answer in time"):
            await past_deadline(provider, plugin.find_contacts(names[1:4]))


async def test_users_who_are_not_answered_in_time_cost_the_others_nothing(
    running, provider, names, past_deadline
):
    async with running() as plugin:
        await plugin.find_contact(names[0])
        provider.plan(emulator.NO_FAILURE, emulator.hang(taken=True))
        found = await past_deadline(provider, plugin.find_contacts([*names[:3], "nobody"]))
    assert {name for name, one in found.items() if isinstance(one, Contact)} == set(names[:3])
    assert found["nobody"].reason.startswith("no answer")


async def test_who_may_be_answered_from_memory_is_not_on_the_page(running, provider, names):
    provider.cache_control = "max-age=60"
    async with running() as plugin:
        await plugin.find_contact(names[0])
        assert set(await plugin.find_contacts(names[:2])) == set(names[:2])
        await asyncio.gather(*(plugin.find_contact(name) for name in names[:3]))
        before = pages(provider)
        assert set(await plugin.find_contacts(names[:3])) == set(names[:3])
    assert pages(provider) == before == 1


async def test_a_large_page_is_read(running, provider, names):
    for name in names:
        provider.players[name] = {**provider.players[name], "filler": "x" * 5_000}
    page = {**provider.table["page"], "size": 50}
    async with running(page=page) as plugin:
        assert set(await plugin.find_contacts(names)) == set(names)


async def test_a_page_may_be_a_post(asking, fixed):
    page = {
        "url": f"{fixed.url}/search",
        "method": "POST",
        "body": {"filter": {"ids": "{ext_user_ids}"}},
        "users": "/hits",
    }
    fixed.answer({"hits": [{"id": 7, "email": None}, {"id": "a,b", "email": "x@x.example"}]})
    async with asking(id="/id", page=page) as plugin:
        assert set(await plugin.find_contacts(["7", "a,b"])) == {"7", "a,b"}
    assert fixed.bodies == [b'{"filter":{"ids":["7","a,b"]}}']


async def test_a_ping_takes_a_page_that_answers_404_for_nobody(asking, fixed):
    page = {"url": f"{fixed.url}/users?ids={{ext_user_ids}}"}
    async with asking(id="/id", page=page) as plugin:
        fixed.answer({"error": "nobody"}, 404)
        await plugin.ping()
        assert [request.path for request in fixed.requests] == ["/users/0", "/users"]
        fixed.answer(b"404 page not found", 404, Content_Type="text/plain")
        with pytest.raises(Unavailable, match="perhaps of a proxy"):
            await plugin.ping()


async def test_a_ping_with_an_id_that_no_page_can_hold_finds_nobody(asking, fixed):
    keys = {
        "url": f"{fixed.url}/users?id={{ext_user_id}}",
        "page": {"url": f"{fixed.url}/users/{{ext_user_ids}}"},
    }
    fixed.answer({"id": "a/b", "email": None})
    async with asking(id="/id", ping_user="a/b", **keys) as plugin:
        with pytest.raises(Unavailable, match="the page does not have ping_user"):
            await plugin.ping()


async def test_without_a_page_there_is_no_such_hook(make_plugin):
    assert make_plugin(page=None).find_contacts is None


async def test_an_error_beside_the_users_of_a_page_lets_each_be_asked_for_alone(running, provider, names):
    """What is missing on the page may be why a user is blocked."""
    page = provider._page

    def with_error(query):
        answer = page(query)
        return web.json_response({**json.loads(answer.body), "errors": [{"path": "players.0.exclusion"}]})

    provider._page = with_error
    async with running() as plugin:
        found = await plugin.find_contacts(names[:3])
    assert emails(found) == {name: f"{name}@people.example" for name in names[:3]}
    assert (pages(provider), len(singles(provider))) == (1, 3)
