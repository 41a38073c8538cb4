"""A route with Vonage first and the sandbox second: the result of each failure of Vonage."""

import pytest

from gatepost.testing import emulator

ROUTE = ["vonage-eu", "box"]


@pytest.fixture
def handset(deployment, vonage):
    """Return a function that lists the text messages of the sandbox by our ids."""
    deployment.tables["plugins.box"] = {"use": "sandbox", "folder": "box"}
    return lambda: sorted(path.stem for path in (deployment.folder / "box").glob("*.json"))


@pytest.mark.parametrize("status", [401, 402, 429, 500, 503])
async def test_an_unavailable_message_goes_to_the_next_instance_at_once(deployment, vonage, handset, status):
    vonage.failure = emulator.answer(status)
    async with deployment.running(sms=ROUTE) as gateway:
        message = await deployment.sms()
        await deployment.hears(message, "accepted")
        await gateway.settled()
    # After a 401 the request is repeated once, with a new token.
    requests = 2 if status == 401 else 1
    assert (vonage.sends(message), len(vonage.requests), handset()) == (0, requests, [message])


async def test_a_rejected_message_goes_to_no_other_instance(deployment, vonage, handset):
    vonage.failure = emulator.answer(422)
    async with deployment.running(sms=ROUTE):
        await deployment.hears(await deployment.sms(), "rejected")
    assert (len(vonage.requests), handset()) == (1, [])


async def test_a_sender_that_no_network_accepts_is_rejected_before_the_call(deployment, vonage, handset):
    async with deployment.running(sms=ROUTE):
        await deployment.hears(await deployment.sms(from_number="Amazing & Sons"), "rejected")
    assert (len(vonage.requests), handset()) == (0, [])


@pytest.mark.parametrize("taken", [True, False])
async def test_after_a_lost_answer_and_a_wait_the_whole_route_is_tried(deployment, vonage, handset, taken):
    deployment.tables["delivery"]["uncertain_wait"] = 0.3
    vonage.plan(emulator.close_after_body(taken=taken))
    vonage.failure = emulator.answer(503)
    async with deployment.running(sms=ROUTE) as gateway:
        message = await deployment.sms()
        await deployment.hears(message, "accepted")
        await gateway.settled()
    assert (vonage.sends(message), len(vonage.requests), handset()) == (int(taken), 2, [message])


async def test_a_report_proves_that_a_message_with_a_lost_answer_was_sent(deployment, vonage, handset):
    deployment.tables["delivery"]["uncertain_wait"] = 3600
    vonage.plan(emulator.close_after_body(taken=True))
    async with deployment.running(sms=ROUTE) as gateway:
        message = await deployment.sms()
        await gateway.waits("sms", "uncertain")
        assert await vonage.report([vonage.event("submitted", vonage.taken[0])]) == [200]
        await deployment.hears(message, "accepted")
        await gateway.settled()
    assert (vonage.sends(message), handset()) == (1, [])


async def test_a_held_message_is_not_sent_again(deployment, vonage, handset, deadlines_pass):
    deployment.tables["delivery"] |= {"uncertain": "hold", "uncertain_wait": 0.3}
    vonage.failure = emulator.hang(taken=True)
    async with deployment.running(sms=ROUTE) as gateway:
        message = await deployment.sms()
        await gateway.waits("sms", "held")
        assert deployment.crm.attempts == []
        await vonage.report([vonage.event("undeliverable:1110", vonage.taken[0])])
        await deployment.hears(message, "accepted", "failed")
        await gateway.settled()
    assert (vonage.sends(message), handset()) == (1, [])


async def test_failures_of_one_channel_do_not_delay_the_other(deployment, sendgrid, vonage, handset):
    deployment.tables["plugins.vonage-eu"]["timeout"] = 2.0
    vonage.failure = emulator.hang(taken=False)
    async with deployment.running(sms=["vonage-eu"], email=["sendgrid-main"]):
        for _ in range(20):
            await deployment.sms()
        await deployment.hears(await deployment.email(), "accepted")
