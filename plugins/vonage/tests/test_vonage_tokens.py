"""The application's tokens."""

import asyncio

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gatepost.testing import emulator
from gatepost_vonage.tokens import LIFETIME, parse_key


def tokens_of(vonage):
    """Return the different tokens of the messages, in order."""
    return list(dict.fromkeys(taken.headers["Authorization"] for taken in vonage.taken))


async def test_one_token_serves_many_messages(vonage, plugin, sms):
    await asyncio.gather(*(plugin.send_sms(sms()) for _ in range(8)))
    await plugin.ping()
    await plugin.send_sms(sms())

    assert len(vonage.taken) == 9
    assert len(tokens_of(vonage)) == 1


async def test_the_key_is_parsed_once_for_all_instances_and_tokens(vonage, running, sms, monkeypatch):
    parsed = []

    def count(*arguments, **options):
        parsed.append(1)
        return load_pem_private_key(*arguments, **options)

    for module in ("gatepost_vonage.tokens", "jwt.algorithms"):
        monkeypatch.setattr(f"{module}.load_pem_private_key", count)
    parse_key.cache_clear()
    for _ in range(2):
        async with running() as plugin:
            await plugin.send_sms(sms())

    assert len(tokens_of(vonage)) == 2
    assert len(parsed) == 1


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


async def test_a_refused_token_is_replaced_and_the_message_sent_again(vonage, plugin, sms):
    await plugin.send_sms(sms())
    vonage.plan(emulator.answer(401))
    await plugin.send_sms(sms())

    assert len(vonage.taken) == 2
    assert len(tokens_of(vonage)) == 2


async def test_a_clock_that_is_set_back_leads_to_a_new_token(vonage, plugin, sms, clock):
    """Vonage refuses a token from the future."""
    await plugin.send_sms(sms())
    clock.now -= 7200
    await plugin.send_sms(sms())

    assert len(tokens_of(vonage)) == 2
    assert [status for status, _ in vonage.refused] == [401]
