"""Two brands on one gateway: the same user id means two different people, at acceptance and at every try."""

import sqlite3
from contextlib import closing

import pytest

from gatepost.testing import emulator

OTHER_SECRET = "the-other-secret"


@pytest.fixture
def brands(deployment, sendgrid):
    """Add a second client with a source of its own; in each source the user anna is a different person."""
    deployment.tables["contacts"]["sources"] = []
    deployment.tables["clients.brand"]["contacts"] = ["players"]
    deployment.tables["clients.other"] = {
        **deployment.tables["clients.brand"],
        "authorization": [OTHER_SECRET],
        "contacts": ["members"],
    }
    deployment.tables["plugins.members"] = {"use": "csv", "path": "members.csv"}
    (deployment.folder / "members.csv").write_text(
        "ext_user_id,email,phone\nanna,anna@members.example,\nonly,only@members.example,\n"
    )
    return deployment


async def _send_as_other(deployment, gateway, user: str = "anna") -> dict[str, object]:
    fields = {"from_email_address": "other@other.example", "subject": "Hello", "body": "<p>Hello</p>"}
    uid = {"ext_user_id": user, "email_uid": "the-same", "callback_url": deployment.crm.callback_url}
    return await gateway.post("/email", {**fields, **uid}, secret=OTHER_SECRET)


def _recipients(sendgrid) -> dict[str, str]:
    return {one.id: one.message["personalizations"][0]["to"][0]["email"] for one in sendgrid.taken}


async def test_each_try_asks_the_sources_of_the_messages_own_client(brands, sendgrid, wait_until):
    """The first try may use the lookup of the acceptance; later tries, also after a restart, look the user up again."""
    sendgrid.failure = emulator.answer(503)
    async with brands.running(email=["sendgrid-main"]) as gateway:
        own = await brands.email("anna", email_uid="the-same")
        others = (await _send_as_other(brands, gateway))["ext_message_id"]
        await wait_until(lambda: len(sendgrid.requests) >= 6)
    sendgrid.failure = emulator.NO_FAILURE
    async with brands.running():
        await brands.hears(own, "accepted")
        await brands.hears(others, "accepted")

    assert _recipients(sendgrid) == {own: "anna@players.example", others: "anna@members.example"}


async def test_a_user_of_another_clients_source_is_unknown(brands, sendgrid):
    async with brands.running(email=["sendgrid-main"]) as gateway:
        assert (await brands.crm.send_email(ext_user_id="only"))["error_code"] == 1
        assert (await _send_as_other(brands, gateway, "nophone"))["error_code"] == 1
        assert (await _send_as_other(brands, gateway, "only"))["error_code"] == 0


async def test_a_message_of_a_removed_client_waits_and_uses_no_other_clients_sources(
    brands, sendgrid, wait_until
):
    sendgrid.failure = emulator.answer(503)
    async with brands.running(email=["sendgrid-main"]) as gateway:
        waiting = (await _send_as_other(brands, gateway))["ext_message_id"]
        await wait_until(lambda: sendgrid.requests)
    sendgrid.failure = emulator.NO_FAILURE
    del brands.tables["clients.other"]
    brands.tables["clients.brand"]["contacts"] = []
    brands.tables["contacts"] = {"sources": ["players", "members"]}
    async with brands.running():

        def how() -> tuple[str, str]:
            query = "SELECT state, reason FROM messages WHERE id = ?"
            with closing(sqlite3.connect(brands.folder / "gatepost.db")) as store:
                return store.execute(query, [waiting]).fetchone()

        await wait_until(lambda: how() == ("queued", "its client is no longer configured"))
    assert sendgrid.taken == []


async def test_sources_are_shared_where_the_configuration_says_so(brands, sendgrid):
    for client in ("clients.brand", "clients.other"):
        brands.tables[client]["contacts"] = []
    brands.tables["contacts"] = {"sources": ["members", "players"], "shared": True}
    async with brands.running(email=["sendgrid-main"]) as gateway:
        own = await brands.email("anna")
        others = (await _send_as_other(brands, gateway))["ext_message_id"]
        await brands.hears(own, "accepted")
        await brands.hears(others, "accepted")
    assert set(_recipients(sendgrid).values()) == {"anna@members.example"}
