"""Every status as Smartico gets it: through the sandbox, and through the emulators of both providers."""

import asyncio

import pytest

from gatepost.testing.configuration import free_port

BEHAVIOURS = {
    # The start of an address: the last digits of a number, and the statuses that Smartico gets.
    "other": ("00", ["accepted", "delivered"]),
    "bounce": ("91", ["accepted", "failed"]),
    "reject": ("92", ["rejected"]),
    "complain": ("93", ["accepted", "delivered", "complained"]),
    "unsubscribe": ("94", ["accepted", "delivered", "unsubscribed"]),
    "open": ("95", ["accepted", "delivered", "opened"]),
    "slow": ("96", ["accepted", "delivered"]),
    "down": ("97", ["failed"]),
    "lost": ("98", ["accepted", "delivered"]),
}


@pytest.mark.parametrize("channel", ["email", "sms"])
async def test_the_sandbox_reports_every_status(deployment, channel):
    deployment.contacts = "ext_user_id,email,phone\n" + "".join(
        f"{word},{word}@players.example,+4477009001{ending}\n" for word, (ending, _) in BEHAVIOURS.items()
    )
    port = free_port()
    deployment.tables["server"] |= {"port": port, "public_url": f"http://127.0.0.1:{port}"}
    deployment.tables["delivery"]["uncertain_wait"] = 3600
    deployment.tables["plugins.box"] = {
        "use": "sandbox",
        "folder": "box",
        "webhook_secret": "box-secret",
        "report_after": 0.02,
        "slow": 0.2,
    }
    send = deployment.email if channel == "email" else deployment.sms
    async with deployment.running(**{channel: ["box"]}) as gateway:
        messages = {word: await send(word) for word in BEHAVIOURS if word != "down"}
        for word, message in messages.items():
            await deployment.crm.wait_for(message, BEHAVIOURS[word][1][-1])
        await gateway.settled()
    deployment.tables["delivery"][f"{channel}_lifetime"] = 0.3
    async with deployment.running() as gateway:
        messages["down"] = await send("down")
        await gateway.settled()
    received = {word: deployment.crm.statuses_of(message) for word, message in messages.items()}
    assert received == {word: statuses for word, (_, statuses) in BEHAVIOURS.items()}
    assert {status for statuses in received.values() for status in statuses} == {
        *("accepted", "delivered", "failed", "rejected", "complained", "opened", "unsubscribed")
    }


SENDGRID = {
    "processed": ["accepted"],
    "deferred": ["accepted"],
    "delivered": ["accepted", "delivered"],
    "bounce": ["accepted", "failed"],
    "blocked": ["accepted", "failed"],
    "dropped": ["accepted", "rejected"],
    "open": ["accepted", "opened"],
    "machine_open": ["accepted"],
    "click": ["accepted"],
    "spamreport": ["accepted", "complained"],
    "unsubscribe": ["accepted", "unsubscribed"],
    "group_unsubscribe": ["accepted", "unsubscribed"],
    "group_resubscribe": ["accepted"],
}
VONAGE = {
    "submitted": ["accepted"],
    "delivered": ["accepted", "delivered"],
    "read": ["accepted", "opened"],
    "undeliverable:1110": ["accepted", "failed"],
    "rejected:1120": ["accepted", "rejected"],
    "rejected:1310": ["accepted", "failed"],
    "rejected:1240": ["accepted", "unsubscribed", "rejected"],
    "rejected": ["accepted", "rejected"],
}


async def test_the_statuses_of_sendgrids_events(deployment, sendgrid):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        assert await _received_statuses(deployment, gateway, sendgrid, deployment.email, SENDGRID) == SENDGRID


async def test_the_statuses_of_vonages_events(deployment, vonage):
    async with deployment.running(sms=["vonage-eu"]) as gateway:
        assert await _received_statuses(deployment, gateway, vonage, deployment.sms, VONAGE) == VONAGE


async def _received_statuses(deployment, gateway, provider, send, kinds):
    """Send a message for each kind of event; return the statuses that Smartico got."""
    ids = dict(zip(kinds, await asyncio.gather(*(send() for _ in kinds)), strict=True))
    await gateway.settled()
    taken = {one.id: one for one in provider.taken}
    answers = await provider.report([provider.event(kind, taken[ids[kind]]) for kind in kinds])
    assert set(answers) == {200}
    await gateway.settled()
    assert not deployment.crm.violations
    return {kind: deployment.crm.statuses_of(message) for kind, message in ids.items()}


async def test_reports_are_sent_to_smartico_in_order(deployment, sendgrid):
    """All events of a message in one request, and then one request for each, in the opposite order."""
    kinds = ["processed", "delivered", "open", "unsubscribe", "spamreport"]
    statuses = ["accepted", "delivered", "opened", "unsubscribed", "complained"]
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        first, second = await deployment.email(), await deployment.email()
        await gateway.settled()
        taken = {one.id: one for one in sendgrid.taken}
        timed = [
            sendgrid.event(kind, taken[first]) | {"timestamp": 1_700_000_000 + n}
            for n, kind in enumerate(kinds)
        ]
        await sendgrid.report(reversed(timed))
        await deployment.hears(first, *statuses)
        # With one request each, a status is sent as soon as it is known, so the order is that of the requests.
        await sendgrid.report([sendgrid.event(kind, taken[second]) for kind in reversed(kinds)], batch=1)
        await deployment.hears(second, "accepted", *reversed(statuses[1:]))
        await gateway.settled()
