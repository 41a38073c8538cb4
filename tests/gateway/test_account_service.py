"""Users in an account service, over a whole gateway: found with a token, blocked from one moment to the next, and away."""

import asyncio

import pytest

from gatepost.model import Contact, Secret
from gatepost.testing import emulator
from gatepost_accounts.testing import AccountService

CLEO = Contact(email=Secret("cleo@players.example"), phone=Secret("+447700900188"))


def flat(name, table):
    """Yield a table and the tables inside it, by their names."""
    yield name, {key: value for key, value in table.items() if not isinstance(value, dict)}
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(f"{name}.{key}", value)


@pytest.fixture
async def accounts(deployment):
    """Return an emulated account service, which is the only contact source."""
    async with AccountService() as service:
        service.load_contacts({"cleo": CLEO})
        del deployment.tables["plugins.players"]
        deployment.tables["contacts"]["sources"] = ["accounts"]
        deployment.tables |= flat("plugins.accounts", {"use": "accounts", **service.table})
        yield service


async def test_a_user_of_the_service_gets_her_mail(deployment, sendgrid, accounts, capfd):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email("cleo")
        await deployment.hears(message, "accepted")
        assert (await deployment.crm.send_email(ext_user_id="nobody"))["error_code"] == 1
        assert (await deployment.crm.send_email(ext_user_id="../cleo"))["error_code"] == 1
        await gateway.settled()
        metrics = str(await gateway.metrics())
    (taken,) = sendgrid.taken
    assert sendgrid.received(taken).recipients == ["cleo@players.example"]
    written = "".join(capfd.readouterr()) + metrics
    for private in ("cleo@players", "7700900188", accounts.tokens[0], "emulated secret"):
        assert private not in written


async def test_who_is_excluded_a_moment_later_is_refused(deployment, sendgrid, accounts):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        accounts.players["cleo"] = {**accounts.players["cleo"], "exclusion": "self-excluded"}
        answer = await deployment.crm.send_email(ext_user_id="cleo")
        assert (answer["error_code"], "self-excluded" in answer["error_message"]) == (13, True)
        await gateway.settled()
    assert sendgrid.taken == []


async def test_while_the_service_is_away_messages_wait(deployment, sendgrid, accounts, wait_until):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        accounts.failure = emulator.answer(503)
        message = await deployment.email("cleo")
        seen = len(accounts.requests)
        await wait_until(lambda: len(accounts.requests) > seen + 2)
        assert sendgrid.taken == []
        accounts.failure = emulator.NO_FAILURE
        await deployment.hears(message, "accepted")
        await gateway.settled()
    assert [taken.id for taken in sendgrid.taken] == [message]


async def test_a_campaign_is_looked_up_in_pages(deployment, sendgrid, accounts):
    names = [f"player-{number}" for number in range(60)]
    accounts.load_contacts({name: Contact(email=Secret(f"{name}@players.example")) for name in names})
    accounts.failure = emulator.delay(0.05)
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        await deployment.crm.send_email(ext_user_id="cleo")
        accounts.requests.clear()
        answers = await asyncio.gather(*(deployment.crm.send_email(ext_user_id=name) for name in names))
        assert {answer["error_code"] for answer in answers} == {0}
        await gateway.settled()
    assert len(sendgrid.taken) == 61
    assert len({taken.message["personalizations"][0]["to"][0]["email"] for taken in sendgrid.taken}) == 61
    assert len(accounts.requests) < 100


async def test_check_signs_in(deployment, sendgrid, accounts, run):
    deployment.tables["routes"]["email"] = ["sendgrid-main"]
    deployment.tables["plugins.accounts"]["ping_user"] = "cleo"
    deployment.write()
    assert "plugins.accounts: accounts, opened, answers" in await run("check", "--live")
    assert [path for _, path in accounts.requests] == ["/oauth/token", "/v1/players/cleo", "/v1/players"]
    accounts.failure = emulator.answer(401)
    shown = " ".join((await run("check", "--live", code=1)).split())
    assert "no access token: the authorization server answered 401: check oauth" in shown
