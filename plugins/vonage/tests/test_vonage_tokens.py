"""The cache of the application's token."""

import asyncio

import jwt
import pytest

from gatepost.errors import Unavailable
from gatepost.model import Secret
from gatepost.testing import emulator
from gatepost_vonage.tokens import LIFETIME, RENEWAL_MARGIN, TokenCache


def tokens_of(vonage):
    """Return the different tokens of the messages, in order."""
    return list(dict.fromkeys(taken.headers["Authorization"] for taken in vonage.taken))


async def test_one_token_serves_many_messages(vonage, plugin, sms):
    await asyncio.gather(*(plugin.send_sms(sms()) for _ in range(8)))
    await plugin.ping()
    await plugin.send_sms(sms())

    assert len(vonage.taken) == 9
    assert len(tokens_of(vonage)) == 1


async def test_a_token_has_the_claims_that_vonage_needs(vonage, plugin, sms, clock):
    await plugin.send_sms(sms())

    token = vonage.taken[0].headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT"}
    assert claims.pop("jti")
    assert claims == {
        "application_id": vonage.application_id,
        "iat": int(clock.now),
        "exp": int(clock.now) + LIFETIME,
    }


async def test_a_token_is_renewed_before_it_expires(vonage, plugin, sms, clock):
    await plugin.send_sms(sms())
    clock.now += LIFETIME - RENEWAL_MARGIN - 1
    await plugin.send_sms(sms())
    assert len(tokens_of(vonage)) == 1

    clock.now += 1
    await plugin.send_sms(sms())
    assert len(tokens_of(vonage)) == 2
    assert vonage.refused == []


async def test_a_clock_that_is_set_back_leads_to_a_new_token(vonage, plugin, sms, clock):
    await plugin.send_sms(sms())
    clock.now -= 7200
    await plugin.send_sms(sms())

    assert len(tokens_of(vonage)) == 2
    assert vonage.refused == []


async def test_a_refused_token_is_not_used_again(vonage, plugin, sms):
    await plugin.send_sms(sms())
    vonage.plan(emulator.answer(401))
    with pytest.raises(Unavailable, match="check the key"):
        await plugin.send_sms(sms())
    await plugin.send_sms(sms())

    assert len(tokens_of(vonage)) == 2


async def test_a_late_refusal_does_not_discard_the_next_token(vonage, clock):
    tokens = TokenCache(vonage.application_id, Secret(vonage.private_key), clock)
    first = await tokens.current()
    tokens.discard(first)
    second = await tokens.current()
    tokens.discard(first)

    assert second != first
    assert await tokens.current() == second


async def test_a_cancelled_wait_does_not_affect_the_next(vonage, clock):
    tokens = TokenCache(vonage.application_id, Secret(vonage.private_key), clock)
    cancelled = asyncio.create_task(tokens.current())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(tokens.current())
    await asyncio.sleep(0)
    cancelled.cancel()

    assert (await waiting).count(".") == 2
    with pytest.raises(asyncio.CancelledError):
        await cancelled
