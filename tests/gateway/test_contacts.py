"""Recipients are looked up when a message arrives and again when it is sent; much can change in between."""

import msgspec
import pytest

from gatepost.errors import Unavailable
from gatepost.hookspecs import API_VERSION, ContactSource, hookimpl
from gatepost.model import Contact, Secret
from gatepost.plugin_host import discovery
from gatepost.testing import emulator


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings without a key."""


class UnreliableSource(ContactSource):
    """A source that is down until the test sets ``down`` to False."""

    api_version = API_VERSION
    settings_type = NoSettings
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
def unreliable_source(deployment, monkeypatch):
    """Configure a source before the contacts file; it is down at first."""
    load = discovery.load
    monkeypatch.setattr(discovery, "load", lambda use: UnreliableSource if use == "unreliable" else load(use))
    monkeypatch.setattr(UnreliableSource, "down", True)
    deployment.tables["plugins.unreliable"] = {"use": "unreliable"}
    deployment.tables["contacts"]["sources"] = ["unreliable", "players"]
    return UnreliableSource


async def test_a_source_that_is_down_is_skipped(deployment, sendgrid, unreliable_source):
    async with deployment.running(email=["sendgrid-main"]):
        await deployment.hears(await deployment.email("anna"), "accepted")
        no_address = await deployment.crm.send_email(ext_user_id="nomail")
        assert no_address["error_code"] == 2


async def test_while_a_source_is_down_unknown_users_are_looked_up_later(
    deployment, sendgrid, unreliable_source
):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        late, unknown = await deployment.email("late"), await deployment.email("nobody")
        await gateway.waits("email", "queued")
        assert deployment.crm.attempts == []
        unreliable_source.down = False
        await deployment.hears(late, "accepted")
        await deployment.hears(unknown, "rejected")
        assert (await deployment.crm.send_email(ext_user_id="nobody"))["error_code"] == 1
    (taken,) = sendgrid.taken
    assert taken.message["personalizations"][0]["to"] == [{"email": "late@players.example"}]


async def test_a_cap_that_could_not_be_judged_at_arrival_ends_in_rejected(
    deployment, sendgrid, unreliable_source
):
    """The route depends on the address, so it is decided and counted when the source is back."""
    deployment.tables["routes.email"] = [
        {"name": "capped", "domains": ["players.example"], "use": ["sendgrid-main"], "per_day": 1},
        {"name": "rest", "use": ["sendgrid-main"]},
    ]
    deployment.tables["contacts"]["sources"] = ["unreliable"]
    async with deployment.running() as gateway:
        both = [await deployment.email("late") for _ in range(2)]
        await gateway.waits("email", "queued")
        unreliable_source.down = False
        await gateway.settled()
        heard = [deployment.crm.statuses_of(message) for message in both]
        assert sorted(heard) == [["accepted"], ["rejected"]]
        # Now it is judged at arrival.
        assert (await deployment.crm.send_email(ext_user_id="late"))["error_code"] == 14
    assert len(sendgrid.taken) == 1


@pytest.mark.parametrize("now", ["", "anna,,\n"])
async def test_a_user_who_was_removed_or_lost_the_address_is_rejected(deployment, sendgrid, wait_until, now):
    sendgrid.failure = emulator.answer(503)
    async with deployment.running(email=["sendgrid-main"]):
        message = await deployment.email("anna")
        await wait_until(lambda: sendgrid.requests)
        (deployment.folder / "contacts.csv").write_text(
            "\n".join(line for line in deployment.contacts.splitlines() if not line.startswith("anna"))
            + "\n"
            + now
        )
        # From now on every lookup reads the new file.
        await wait_until(lambda: _code(deployment, "anna"))
        sendgrid.failure = emulator.NO_FAILURE
        await deployment.hears(message, "rejected")
    assert sendgrid.taken == []


async def test_each_try_uses_the_current_address(deployment, sendgrid, wait_until):
    sendgrid.failure = emulator.answer(503)
    async with deployment.running(email=["sendgrid-main"]):
        message = await deployment.email("anna")
        await wait_until(lambda: sendgrid.requests)
        moved = deployment.contacts.replace("anna@players.example", "anna@moved.example")
        # A new row shows when the new file is in use.
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
        unlisted, listed = [
            await deployment.email(
                "nobody", activity_type="preview", to_email_address=f"{name}@brand.example"
            )
            for name in ("one", "two")
        ]
        await wait_until(lambda: len(sendgrid.requests) >= 2)
    sendgrid.failure = emulator.NO_FAILURE
    client["preview_recipients"] = ["two@brand.example"]
    async with deployment.running():
        await deployment.hears(unlisted, "rejected")
        await deployment.hears(listed, "accepted")
    (taken,) = sendgrid.taken
    assert taken.message["personalizations"][0]["to"] == [{"email": "two@brand.example"}]


async def _code(deployment, user: str) -> int:
    return (await deployment.crm.send_email(ext_user_id=user, callback_url=None))["error_code"]


async def _known(deployment, user: str) -> bool:
    return await _code(deployment, user) == 0
