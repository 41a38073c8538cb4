"""What the service allows to be used again: RFC 9111, in memory, and nothing that is guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gatepost.errors import Unavailable
from gatepost.model import Contact, Secret
from gatepost.testing import emulator
from gatepost_accounts.cache import AnswerCache, validity_of


@pytest.mark.parametrize(
    ("headers", "store", "seconds"),
    [
        ([], True, 0),
        ([("Cache-Control", "max-age=60")], True, 60),
        ([("cache-control", "Private, MAX-AGE=60, must-revalidate")], True, 60),
        ([("Cache-Control", 'max-age="60"')], True, 60),
        ([("Cache-Control", "max-age=60"), ("Age", "20")], True, 40),
        ([("Cache-Control", "max-age=60"), ("Age", "80")], True, 0),
        ([("Cache-Control", "max-age=60"), ("Age", "soon")], True, 0),
        ([("Cache-Control", "s-maxage=60")], True, 0),
        ([("Cache-Control", "max-age=0")], True, 0),
        ([("Cache-Control", "max-age=-5")], True, 0),
        ([("Cache-Control", "max-age")], True, 0),
        ([("Cache-Control", "max-age=1e9")], True, 0),
        ([("Cache-Control", "max-age=60, max-age=600")], True, 0),
        ([("Cache-Control", "max-age=60"), ("Cache-Control", "no-cache")], True, 0),
        ([("Cache-Control", "max-age=60"), ("Cache-Control", "no-store")], False, 0),
        ([("Cache-Control", 'no-cache="Set-Cookie, X", max-age=60')], True, 0),
        ([("Cache-Control", 'x="no-store", max-age=60')], True, 60),
        ([("Cache-Control", "max-age=60"), ("Vary", "*")], False, 0),
        ([("Cache-Control", "max-age=60"), ("Vary", "Authorization, Accept")], True, 60),
        # Not explicit enough for the question whether a user may be contacted.
        ([("Expires", "Thu, 01 Jan 2099 00:00:00 GMT")], True, 0),
        ([("Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT")], True, 0),
    ],
)
def test_how_long_an_answer_may_be_used(headers, store, seconds):
    validity = validity_of(CIMultiDict(headers))
    assert (validity.store, validity.seconds) == (store, seconds)


@pytest.mark.parametrize(
    ("etag", "usable"),
    [
        ('"a"', True),
        ('W/"a b"', False),
        ('""', True),
        ("a", False),
        ('"ü"', False),
        (f'"{"x" * 300}"', False),
    ],
)
def test_only_an_etag_that_a_header_can_hold_is_sent_back(etag, usable):
    assert validity_of({"ETag": etag}).etag == (etag if usable else "")


@given(st.lists(st.tuples(st.sampled_from(["Cache-Control", "Age", "ETag", "Vary"]), st.text(max_size=40))))
def test_any_headers_can_be_read(headers):
    validity = validity_of(CIMultiDict(headers))
    assert validity.seconds >= 0
    assert not validity.seconds or "max-age" in str(headers).lower()


def test_the_cache_is_bounded_and_drops_what_was_used_longest_ago():
    cache = AnswerCache(max_entries=3)
    for name in "abc":
        cache.store(name, Contact(), {"Cache-Control": "max-age=60"}, 0.0)
    assert cache.find("a") is not None
    cache.store("d", Contact(), {"ETag": '"1"'}, 0.0)
    assert len(cache) == 3
    assert [name for name in "abcd" if cache.find(name)] == ["a", "c", "d"]
    cache.store("e", Contact(), {}, 0.0)
    assert cache.find("e") is None


def player(provider, **fields):
    provider.players["anna"] = {**provider.players["anna"], **fields}


def lookups_of(provider):
    return [path for _, path in provider.requests if path.startswith("/v1/")]


async def test_an_answer_is_used_again_while_its_max_age_lasts_and_not_a_moment_longer(
    running, provider, set_ahead
):
    provider.cache_control = "max-age=60"
    async with running() as plugin:
        first = await plugin.find_contact("anna")
        player(provider, exclusion="self-excluded")
        set_ahead(59.0)
        assert await plugin.find_contact("anna") == first
        assert len(lookups_of(provider)) == 1
        set_ahead(1.0)
        assert (await plugin.find_contact("anna")).blocked == "self-excluded"
        assert len(lookups_of(provider)) == 2


@pytest.mark.parametrize("cache_control", ["no-cache", "no-store", "max-age=60, no-cache", "max-age=0", ""])
async def test_who_is_blocked_is_asked_each_time_where_the_service_wants_it(running, provider, cache_control):
    provider.cache_control = cache_control
    async with running() as plugin:
        assert (await plugin.find_contact("anna")).blocked == ""
        player(provider, exclusion="self-excluded")
        assert (await plugin.find_contact("anna")).blocked == "self-excluded"


async def test_an_answer_that_is_confirmed_is_used_again(running, provider, set_ahead):
    provider.cache_control = "max-age=60"
    async with running() as plugin:
        first = await plugin.find_contact("anna")
        set_ahead(61.0)
        assert await plugin.find_contact("anna") == first
        set_ahead(59.0)
        assert await plugin.find_contact("anna") == first
    lookups = [headers for headers in provider.headers if "X-Brand" in headers]
    assert ["If-None-Match" in headers for headers in lookups] == [False, True]


async def test_what_must_not_be_stored_is_not_asked_for_again_with_its_etag(running, provider):
    provider.cache_control = "no-store"
    async with running() as plugin:
        await plugin.find_contact("anna")
        await plugin.find_contact("anna")
    assert not any("If-None-Match" in headers for headers in provider.headers)


async def test_an_unknown_user_may_register_at_any_moment(running, provider):
    provider.cache_control = "max-age=60"
    async with running() as plugin:
        assert await plugin.find_contact("bob") is None
        provider.load_contacts({"bob": Contact(email=Secret("bob@people.example"))})
        assert (await plugin.find_contact("bob")).email == Secret("bob@people.example")


async def test_a_user_who_is_gone_is_forgotten(running, provider, set_ahead):
    provider.cache_control = "max-age=60"
    async with running() as plugin:
        assert await plugin.find_contact("anna") is not None
        player = provider.players.pop("anna")
        set_ahead(61.0)
        assert await plugin.find_contact("anna") is None
        provider.players["anna"] = player
        assert await plugin.find_contact("anna") is not None
    assert sum("If-None-Match" in headers for headers in provider.headers) == 1


async def test_an_old_answer_is_not_used_while_the_service_is_away(running, provider, set_ahead):
    provider.cache_control = "max-age=60"
    async with running() as plugin:
        assert await plugin.find_contact("anna") is not None
        set_ahead(61.0)
        provider.tokens.clear()
        provider.players.clear()
        await provider.drop_connections()
        provider.failure = emulator.answer(503)
        with pytest.raises(Unavailable):
            await plugin.find_contact("anna")


async def test_answers_to_a_post_and_large_ones_are_not_kept(asking, fixed):
    fixed.answer({"email": None}, Cache_Control="max-age=60")
    async with asking(method="POST", body={"id": "{ext_user_id}"}) as plugin:
        await plugin.find_contact("anna")
        await plugin.find_contact("anna")
        assert len(fixed.requests) == 2
    fixed.answer({"email": None, "filler": "x" * 5_000}, Cache_Control="max-age=60")
    async with asking() as plugin:
        await plugin.find_contact("anna")
        await plugin.find_contact("anna")
    assert len(fixed.requests) == 4


async def test_a_confirmation_need_not_repeat_the_etag(asking, fixed):
    fixed.answer({"email": None}, ETag='"1"')
    async with asking() as plugin:
        assert await plugin.find_contact("anna") == Contact()
        fixed.answer(b"", 304)
        for _ in range(2):
            assert await plugin.find_contact("anna") == Contact()
    assert [request.headers.get("If-None-Match") for request in fixed.requests] == [None, '"1"', '"1"']


async def test_a_304_that_was_not_asked_for_is_no_answer(asking, fixed):
    fixed.answer(b"", 304)
    async with asking() as plugin:
        with pytest.raises(Unavailable, match="304"):
            await plugin.find_contact("anna")


async def test_nothing_is_kept_beyond_the_life_of_an_instance(make_plugin, provider):
    provider.cache_control = "max-age=60"
    plugin = make_plugin()
    for _ in range(2):
        async with plugin.lifespan():
            await plugin.find_contact("anna")
    assert len(lookups_of(provider)) == 2
