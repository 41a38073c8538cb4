"""Two brands on one gateway: a user id of one is somebody else of the other, at acceptance and at every try."""

import sqlite3
from contextlib import closing

import pytest

from gatepost.testing import emulator

OTHER_SECRET = "the-other-secret"


@pytest.fixture
def brands(deployment, sendgrid):
    """A second client with a source of its own; both sources know the user anna, each another person."""
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


async def _of_other(deployment, gateway, user: str = "anna") -> dict[str, object]:
    fields = {"from_email_address": "other@other.example", "subject": "Hello", "body": "<p>Hello</p>"}
    uid = {"ext_user_id": user, "email_uid": "the-same", "callback_url": deployment.crm.callback_url}
    return await gateway.post("/email", {**fields, **uid}, secret=OTHER_SECRET)


def _recipients(sendgrid) -> dict[str, str]:
    return {one.id: one.message["personalizations"][0]["to"][0]["email"] for one in sendgrid.taken}


async def test_each_try_asks_the_sources_of_the_messages_own_client(brands, sendgrid, wait_until):
    """The first try may use what the arrival found; the later ones, and those after a restart, look again."""
    sendgrid.failure = emulator.answer(503)
    async with brands.running(email=["sendgrid-main"]) as gateway:
        ours = await brands.email("anna", email_uid="the-same")
        theirs = (await _of_other(brands, gateway))["ext_message_id"]
        await wait_until(lambda: len(sendgrid.requests) >= 6)
    sendgrid.failure = emulator.NO_FAILURE
    async with brands.running():
        await brands.hears(ours, "accepted")
        await brands.hears(theirs, "accepted")

    assert _recipients(sendgrid) == {ours: "anna@players.example", theirs: "anna@members.example"}


async def test_what_another_clients_source_knows_is_unknown(brands, sendgrid):
    async with brands.running(email=["sendgrid-main"]) as gateway:
        assert (await brands.crm.send_email(ext_user_id="only"))["error_code"] == 1
        assert (await _of_other(brands, gateway, "nophone"))["error_code"] == 1
        assert (await _of_other(brands, gateway, "only"))["error_code"] == 0


async def test_a_message_whose_client_is_gone_waits_and_asks_no_other_clients_sources(
    brands, sendgrid, wait_until
):
    sendgrid.failure = emulator.answer(503)
    async with brands.running(email=["sendgrid-main"]) as gateway:
        orphan = (await _of_other(brands, gateway))["ext_message_id"]
        await wait_until(lambda: sendgrid.requests)
    sendgrid.failure = emulator.NO_FAILURE
    del brands.tables["clients.other"]
    brands.tables["clients.brand"]["contacts"] = []
    brands.tables["contacts"] = {"sources": ["players", "members"]}
    async with brands.running():

        def how() -> tuple[str, str]:
            query = "SELECT state, reason FROM messages WHERE id = ?"
            with closing(sqlite3.connect(brands.folder / "gatepost.db")) as store:
                return store.execute(query, [orphan]).fetchone()

        await wait_until(lambda: how() == ("queued", "its client is no longer configured"))
    assert sendgrid.taken == []


async def test_sources_are_shared_where_it_is_said(brands, sendgrid):
    for client in ("clients.brand", "clients.other"):
        brands.tables[client]["contacts"] = []
    brands.tables["contacts"] = {"sources": ["members", "players"], "shared": True}
    async with brands.running(email=["sendgrid-main"]) as gateway:
        ours = await brands.email("anna")
        theirs = (await _of_other(brands, gateway))["ext_message_id"]
        await brands.hears(ours, "accepted")
        await brands.hears(theirs, "accepted")
    assert set(_recipients(sendgrid).values()) == {"anna@members.example"}
