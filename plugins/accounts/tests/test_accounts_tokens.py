"""Access tokens by client credentials: RFC 6749, sections 2.3.1, 4.4 and 5."""

import asyncio
from urllib.parse import parse_qsl

import pytest

from gatepost.errors import Unavailable
from gatepost.testing import emulator

SECRET = "an emulated secret: 4711/+"


def fetches(provider):
    return sum(path == "/oauth/token" for _, path in provider.requests)


async def test_one_fetch_serves_all_who_wait(running, provider):
    async with running() as plugin:
        found = await asyncio.gather(*(plugin.find_contact("anna") for _ in range(40)))
    assert None not in found
    assert fetches(provider) == 1


async def test_a_token_is_renewed_before_its_end(running, provider, set_ahead):
    provider.lifetime = 1000
    async with running() as plugin:
        await plugin.find_contact("anna")
        set_ahead(790.0)
        await plugin.find_contact("anna")
        assert fetches(provider) == 1
        set_ahead(20.0)
        await plugin.find_contact("anna")
        # The lookup had the old token, and did not wait for the new one.
        async with asyncio.timeout(60.0):
            while fetches(provider) == 1:  # noqa: ASYNC110  the service has no event for it
                await asyncio.sleep(0.01)
        await plugin.find_contact("anna")
        assert fetches(provider) == 2
    assert provider.refused == []


async def test_a_token_that_is_refused_is_fetched_anew_once(running, provider):
    async with running() as plugin:
        await plugin.find_contact("anna")
        provider.tokens.clear()
        assert await plugin.find_contact("anna") is not None
        assert fetches(provider) == 2
        provider.plan(emulator.answer(401), emulator.NO_FAILURE, emulator.answer(401))
        with pytest.raises(Unavailable, match="401") as raised:
            await plugin.find_contact("anna")
        assert raised.value.misconfigured
        assert fetches(provider) == 3


@pytest.mark.parametrize("lifetime", [3600, "3600", 3600.0, None, "soon", -1])
async def test_how_long_a_token_is_valid_may_be_said_in_many_ways(running, provider, lifetime, set_ahead):
    provider.lifetime = lifetime
    async with running() as plugin:
        assert await plugin.find_contact("anna") is not None
        set_ahead(301.0)
        assert await plugin.find_contact("anna") is not None
    assert fetches(provider) == (1 if lifetime in {3600, "3600"} else 2)


@pytest.mark.parametrize(
    ("oauth", "words", "code"),
    [
        ({"client_secret": "wrong"}, "answered 401: check oauth", "invalid_client"),
        ({"scope": "everything"}, "answered 400: check oauth", "invalid_scope"),
        ({"credentials": "body"}, "answered 401: check oauth", "invalid_client"),
    ],
)
async def test_a_refusal_has_the_servers_word(running, provider, oauth, words, code):
    async with running(oauth={**provider.table["oauth"], **oauth}) as plugin:
        with pytest.raises(Unavailable) as raised:
            await plugin.ping()
    error = raised.value
    assert words in error.reason
    assert (error.code, error.misconfigured) == (code, True)
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    ("failure", "misconfigured"),
    [
        (emulator.answer(503), False),
        (emulator.answer(429), False),
        (emulator.answer(307, {"Location": "/elsewhere"}), True),
        (emulator.answer(200), False),
        (emulator.close_after_body(taken=True), False),
    ],
)
async def test_a_server_without_a_token_makes_lookups_unavailable(running, provider, failure, misconfigured):
    async with running() as plugin:
        provider.failure = failure
        with pytest.raises(Unavailable) as raised:
            await plugin.find_contact("anna")
        assert raised.value.misconfigured is misconfigured
        provider.failure = emulator.NO_FAILURE
        assert await plugin.find_contact("anna") is not None


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": "t", "token_type": "mac"},
        {"access_token": "t"},
        {"access_token": 7, "token_type": "bearer"},
        {"access_token": "two words", "token_type": "bearer"},
        {"access_token": "", "token_type": "bearer"},
        b"<html>",
    ],
)
async def test_an_answer_of_another_form_is_no_token(running, provider, fixed, answer):
    fixed.answer(answer)
    oauth = {**provider.table["oauth"], "token_url": f"{fixed.url}/token"}
    async with running(oauth=oauth) as plugin:
        with pytest.raises(Unavailable, match="no access token"):
            await plugin.find_contact("anna")
    assert provider.requests == []


async def test_id_and_secret_may_stand_in_the_form(running, provider, fixed):
    provider.tokens.append("the-token")
    fixed.answer({"access_token": "the-token", "token_type": "Bearer", "expires_in": 60})
    oauth = {
        **provider.table["oauth"],
        "token_url": f"{fixed.url}/token?tenant=a",
        "credentials": "body",
        "audience": "players",
    }
    async with running(oauth=oauth) as plugin:
        assert await plugin.find_contact("anna") is not None
    (request,) = fixed.requests
    assert request.raw_path == "/token?tenant=a"
    assert "Authorization" not in request.headers
    # What is for the service is not for the authorization server.
    assert "X-Brand" not in request.headers
    assert dict(parse_qsl(fixed.bodies[0].decode(), strict_parsing=True)) == {
        "grant_type": "client_credentials",
        "scope": "players.read",
        "audience": "players",
        "client_id": "gatepost",
        "client_secret": SECRET,
    }
