"""The trail of a message through the log of a real process, and what is kept of refused requests."""

import asyncio
import json

from gatepost.cli import store
from gatepost.outbox import refusals


def records(process):
    return [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]


def trail_of(process, message):
    return [
        (one["event"], one.get("status") or one.get("outcome"))
        for one in records(process)
        if one.get("message") == message
    ]


async def test_a_message_can_be_followed_through_the_log_by_its_id_alone(deployment, sendgrid, begin):
    deployment.tables["logs"] = {"format": "json"}
    process, _ = await begin(email=["sendgrid-main"])
    message = await deployment.email(email_uid="uid-of-anna")
    await deployment.crm.wait_for(message, "accepted")
    (taken,) = sendgrid.taken
    await sendgrid.report([sendgrid.event("delivered", taken)])
    await deployment.crm.wait_for(message, "delivered")
    await asyncio.to_thread(process.terminate)
    assert trail_of(process, message) == [
        ("message_accepted", None),
        ("message_tried", "sent"),
        ("status_recorded", "accepted"),
        ("status_acknowledged", "accepted"),
        ("status_recorded", "delivered"),
        ("status_acknowledged", "delivered"),
    ]
    accepted = next(one for one in records(process) if one["event"] == "message_accepted")
    assert accepted["uid"] == "uid-of-anna"
    assert "anna@players.example" not in process.log.read_text()
    assert '"user"' not in process.log.read_text()


async def test_a_refused_request_is_found_by_its_uid_and_its_user(deployment, sendgrid, begin, wait_until):
    process, _ = await begin(email=["sendgrid-main"])
    for user, uid in (("nobody", "uid-1"), ("nomail", "uid-2"), ("+447700900100", "uid-3")):
        await deployment.crm.send_email(ext_user_id=user, email_uid=uid)
    settings = store.load_settings(process.config)

    async def find(**wanted):
        return await store.fetch(settings, lambda connection: refusals.find(connection, **wanted))

    async def all_are_stored():
        return len(await find()) == 3

    await wait_until(all_are_stored)
    (one,) = await find(uid="uid-2")
    assert (one.client, one.channel, one.code, one.ext_user_id) == ("brand", "email", 2, "nomail")
    assert [found.uid for found in await find(user="nobody")] == ["uid-1"]
    (hidden,) = await find(uid="uid-3")
    assert hidden.ext_user_id == refusals.HIDDEN
    assert {one["uid"] for one in records(process) if one["event"] == "request_refused"} == {
        "uid-1",
        "uid-2",
        "uid-3",
    }
