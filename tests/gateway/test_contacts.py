"""Who a message is for is asked when it arrives and again when it is sent, and much can change in between."""

import msgspec
import pytest

from gatepost.errors import Unavailable
from gatepost.hookspecs import API_VERSION, ContactSource, hookimpl
from gatepost.model import Contact, Secret
from gatepost.plugin_host import discovery
from gatepost.testing import emulator


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No settings."""


class Fickle(ContactSource):
    """A source that is down until the test says otherwise."""

    api_version = API_VERSION
    settings_type = Nothing
    down = True

    def __init__(self, settings, context):
        pass

    @hookimpl
    async def find_contact(self, ext_user_id):
        if type(self).down:
            raise Unavailable("the source is down")
        known = ext_user_id == "late"
        return Contact(email=Secret("late@players.example")) if known else None


@pytest.fixture
def fickle(deployment, monkeypatch):
    """Asked before the file; down at first."""
    load = discovery.load
    monkeypatch.setattr(discovery, "load", lambda use: Fickle if use == "fickle" else load(use))
    monkeypatch.setattr(Fickle, "down", True)
    deployment.tables["plugins.fickle"] = {"use": "fickle"}
    deployment.tables["contacts"]["sources"] = ["fickle", "players"]
    return Fickle


async def test_a_source_that_is_down_is_passed_over(deployment, sendgrid, fickle):
    async with deployment.running(email=["sendgrid-main"]):
        await deployment.hears(await deployment.email("anna"), "accepted")
        nobody_there = await deployment.crm.send_email(ext_user_id="nomail")
        assert nobody_there["error_code"] == 2


async def test_while_a_source_is_down_whom_nobody_knows_is_looked_up_later(deployment, sendgrid, fickle):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        late, nobody = await deployment.email("late"), await deployment.email("nobody")
        await gateway.waits("email", "queued")
        assert deployment.crm.attempts == []
        fickle.down = False
        await deployment.hears(late, "accepted")
        await deployment.hears(nobody, "rejected")
        assert (await deployment.crm.send_email(ext_user_id="nobody"))["error_code"] == 1
    (taken,) = sendgrid.taken
    assert taken.message["personalizations"][0]["to"] == [{"email": "late@players.example"}]


@pytest.mark.parametrize("now", ["", "anna,,\n"])
async def test_who_has_vanished_or_lost_the_address_is_rejected(deployment, sendgrid, wait_until, now):
    sendgrid.failure = emulator.answer(503)
    async with deployment.running(email=["sendgrid-main"]):
        message = await deployment.email("anna")
        await wait_until(lambda: sendgrid.requests)
        (deployment.folder / "contacts.csv").write_text(
            "\n".join(line for line in deployment.contacts.splitlines() if not line.startswith("anna"))
            + "\n"
            + now
        )
        # Whoever looks the user up for the next try may have asked the old file for the last time.
        await wait_until(lambda: _code(deployment, "anna"))
        sendgrid.failure = emulator.NO_FAILURE
        await deployment.hears(message, "rejected")
    assert sendgrid.taken == []


async def test_each_try_goes_where_the_user_is_now(deployment, sendgrid, wait_until):
    sendgrid.failure = emulator.answer(503)
    async with deployment.running(email=["sendgrid-main"]):
        message = await deployment.email("anna")
        await wait_until(lambda: sendgrid.requests)
        moved = deployment.contacts.replace("anna@players.example", "anna@moved.example")
        # A row more shows when the new file is in use.
        (deployment.folder / "contacts.csv").write_text(moved + "bert,bert@players.example,,Bert\n")
        await wait_until(lambda: _known(deployment, "bert"))
        sendgrid.failure = emulator.NO_FAILURE
        await deployment.hears(message, "accepted")
    (taken,) = (one for one in sendgrid.taken if one.id == message)
    assert taken.message["personalizations"][0]["to"] == [{"email": "anna@moved.example"}]


async def test_a_preview_whose_recipient_is_no_longer_listed_is_rejected(deployment, sendgrid, wait_until):
    client = deployment.tables["clients.brand"]
    client["preview_recipients"] = ["one@brand.example", "two@brand.example"]
    sendgrid.failure = emulator.answer(503)
    async with deployment.running(email=["sendgrid-main"]):
        gone, kept = [
            await deployment.email(
                "nobody", activity_type="preview", to_email_address=f"{name}@brand.example"
            )
            for name in ("one", "two")
        ]
        await wait_until(lambda: len(sendgrid.requests) >= 2)
    sendgrid.failure = emulator.NO_FAILURE
    client["preview_recipients"] = ["two@brand.example"]
    async with deployment.running():
        await deployment.hears(gone, "rejected")
        await deployment.hears(kept, "accepted")
    (taken,) = sendgrid.taken
    assert taken.message["personalizations"][0]["to"] == [{"email": "two@brand.example"}]


async def _code(deployment, user: str) -> int:
    return (await deployment.crm.send_email(ext_user_id=user, callback_url=None))["error_code"]


async def _known(deployment, user: str) -> bool:
    return await _code(deployment, user) == 0
