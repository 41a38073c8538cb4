"""Callbacks of a whole gateway: their order, their retries, and what ends them."""

import pytest

from gatepost import throttle
from gatepost.callbacks import attempt as callback_attempt
from gatepost.callbacks import claim_planner
from gatepost.testing import smartico

FAILURES = {
    "error_code in a 200": smartico.error_code(7),
    "error_code as a text": smartico.Failure(
        headers={"Content-Type": "application/json"}, body=b'{"error_code": "7"}'
    ),
    "error_code that is a list": smartico.Failure(
        headers={"Content-Type": "application/json"}, body=b'{"error_code": []}'
    ),
    "302": smartico.redirect("/elsewhere"),
    "308": smartico.answer(308),
    "404": smartico.answer(404),
    "429": smartico.answer(429),
    "500": smartico.answer(500),
    "503": smartico.answer(503),
    "closed": smartico.close(),
    "silence": smartico.hang(),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_call_that_was_not_acknowledged_is_made_again(
    deployment, sendgrid, set_ahead, wait_until, failure
):
    deployment.crm.fail(FAILURES[failure], calls=2)
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email()
        for tries in (1, 2) if failure == "silence" else ():
            await wait_until(lambda tries=tries: len(deployment.crm.attempts) == tries)
            # A call has fifteen seconds; this ends them at once.
            set_ahead(15)
        await deployment.hears(message, "accepted")
        await gateway.settled()
        figures = await gateway.metrics()
    assert len(deployment.crm.attempts) == 3
    # When a reused connection is closed during a call, the client makes the call again, which is not a try of ours.
    assert figures["gatepost_callbacks_total", "retry", "accepted"] in (
        {1, 2} if failure == "closed" else {2}
    )
    assert figures["gatepost_callbacks_total", "acknowledged", "accepted"] == 1


ACKNOWLEDGED = {
    "200": smartico.Failure(),
    "204": smartico.answer(204),
    "no JSON": smartico.Failure(body=b"OK"),
    "another JSON": smartico.Failure(body=b'["error_code"]'),
    "null": smartico.Failure(body=b'{"error_code": null}'),
}


@pytest.mark.parametrize("answer", ACKNOWLEDGED)
async def test_any_2xx_without_an_error_code_acknowledges_a_status(deployment, sendgrid, answer):
    deployment.crm.fail(ACKNOWLEDGED[answer])
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email()
        await deployment.crm.wait_for(message, "accepted", attempted=True)
        await gateway.settled()
    assert len(deployment.crm.attempts) == 1


async def test_the_statuses_of_a_message_are_sent_in_order(deployment, sendgrid):
    """One call at a time for a message, in the order in which the statuses became known."""
    deployment.crm.fail(smartico.answer(500), calls=5, statuses=["accepted"])
    deployment.crm.fail(smartico.close(), calls=2, statuses=["delivered"])
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email()
        await deployment.crm.wait_for(message, "accepted", attempted=True)
        kinds = "delivered", "open", "unsubscribe", "spamreport"
        await sendgrid.report([sendgrid.event(kind, sendgrid.taken[0]) for kind in kinds])
        await deployment.hears(message, "accepted", "delivered", "opened", "unsubscribed", "complained")
        await gateway.settled()
    tried = [call.status for call in deployment.crm.attempts]
    assert tried == ["accepted"] * 6 + ["delivered"] * 3 + ["opened", "unsubscribed", "complained"]


async def test_a_slow_smartico_gets_one_call_at_a_time_for_a_message(deployment, sendgrid):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        ids = [await deployment.email() for _ in range(20)]
        for message in ids:
            await deployment.crm.wait_for(message, "accepted")
        kinds = "delivered", "open", "spamreport"
        await sendgrid.report(
            [sendgrid.event(kind, taken) for kind in kinds for taken in sendgrid.taken], batch=7
        )
        for message in ids:
            await deployment.hears(message, "accepted", "delivered", "opened", "complained")
        await gateway.settled()
    assert len(deployment.crm.attempts) == 80


async def test_after_the_last_try_a_callback_is_dead_and_the_next_status_is_sent(deployment, sendgrid):
    deployment.crm.fail(smartico.answer(500), calls=None, statuses=["accepted"])
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email()
        await deployment.crm.wait_for(message, "accepted", attempted=True)
        await sendgrid.report([sendgrid.event("delivered", sendgrid.taken[0])])
        await deployment.hears(message, "delivered")
        await gateway.settled()
        figures = await gateway.metrics()
    assert [call.status for call in deployment.crm.attempts] == ["accepted"] * 8 + ["delivered"]
    assert figures["gatepost_callbacks_total", "dead", "accepted"] == 1


async def test_retry_after_delays_the_next_call(deployment, sendgrid, monkeypatch):
    """Without it the next call would be due at once."""
    monkeypatch.setattr(callback_attempt, "RETRY_DELAYS", (0.05,) * 6 + (3600.0,))
    deployment.crm.fail(smartico.answer(503, retry_after=1))
    async with deployment.running(email=["sendgrid-main"]):
        message = await deployment.email()
        await deployment.hears(message, "accepted")
    first, second = deployment.crm.attempts
    assert second.at - first.at >= 0.99


async def test_a_host_that_keeps_failing_rests_and_gets_all_statuses_afterwards(
    deployment, sendgrid, monkeypatch, wait_until
):
    class LongestRests:
        @staticmethod
        def uniform(_low, high):
            return high

    monkeypatch.setattr(throttle, "SystemRandom", LongestRests)
    monkeypatch.setattr(throttle, "FIRST_REST", 0.2)
    monkeypatch.setattr(throttle, "MAX_REST", 3600.0)
    monkeypatch.setattr(claim_planner, "MAX_CALLS", 1)
    deployment.crm.fail(smartico.answer(503), calls=None)
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        ids = [await deployment.email() for _ in range(30)]
        # Rests of 0.2, 0.4 and 0.8 seconds, each ended by one call; without them 30 statuses would be due every 0.05 seconds.
        await wait_until(lambda: len(deployment.crm.attempts) >= throttle.FAILURE_THRESHOLD + 3)
        deployment.crm.recover()
        times = [call.at for call in deployment.crm.attempts]
        assert [
            times[throttle.FAILURE_THRESHOLD + n] - times[throttle.FAILURE_THRESHOLD + n - 1] >= 0.19 * 2**n
            for n in range(3)
        ] == [True] * 3
        for message in ids:
            await deployment.hears(message, "accepted")
        await gateway.settled()
    assert len(deployment.crm.callbacks) == 30


async def test_the_rest_of_one_host_does_not_delay_another(deployment, sendgrid, monkeypatch, wait_until):
    """Both hosts are the same machine under two names; only the first one fails."""
    deployment.tables["clients.brand"]["callback_hosts"] = ["127.0.0.1", "localhost"]
    monkeypatch.setattr(throttle, "FIRST_REST", 3600.0)
    monkeypatch.setattr(throttle, "MAX_REST", 3600.0)
    monkeypatch.setattr(claim_planner, "MAX_CALLS", 1)
    async with (
        smartico.Smartico(api_key=deployment.crm.api_key) as other,
        deployment.running(email=["sendgrid-main"]),
    ):
        other.fail(smartico.answer(503), calls=None)
        for _ in range(2 * throttle.FAILURE_THRESHOLD):
            await deployment.email(callback_url=other.callback_url.replace("127.0.0.1", "localhost"))
        await wait_until(lambda: len(other.attempts) >= throttle.FAILURE_THRESHOLD)
        await deployment.hears(await deployment.email(), "accepted")


async def test_a_message_without_a_callback_url_uses_the_clients_default(deployment, sendgrid):
    deployment.tables["clients.brand"]["callback_url"] = deployment.crm.callback_url
    async with deployment.running(email=["sendgrid-main"]):
        await deployment.hears(await deployment.email(callback_url=None), "accepted")


async def test_without_any_url_statuses_are_recorded_and_no_call_is_made(deployment, sendgrid):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        await deployment.email(callback_url=None)
        await gateway.settled()
        await sendgrid.report([sendgrid.event("delivered", sendgrid.taken[0])])
        await gateway.settled()
        figures = await gateway.metrics()
        assert figures["gatepost_reported_events_total", "delivered", "sendgrid-main"] == 1
    assert deployment.crm.attempts == []
    assert not deployment.crm.violations


async def test_the_query_of_the_url_stays_and_our_parameters_are_replaced(deployment, sendgrid):
    """The emulated Smartico reports a parameter that is missing, occurs twice or has another value."""
    query = {"brand": "a b&c", "status": "old", "api_key": "old", "empty": ""}
    async with (
        smartico.Smartico(api_key=deployment.crm.api_key, query=query) as crm,
        deployment.running(email=["sendgrid-main"]),
    ):
        message = await deployment.email(callback_url=crm.callback_url)
        call = await crm.wait_for(message, "accepted")
        assert not crm.violations
    assert call.query == {
        "brand": "a b&c",
        "empty": "",
        "type": "email",
        "ext_message_id": message,
        "status": "accepted",
        "api_key": "the-api-key",
    }


async def test_a_redirect_is_not_followed(deployment, sendgrid):
    async with smartico.Smartico(api_key=deployment.crm.api_key) as elsewhere:
        deployment.crm.fail(smartico.redirect(elsewhere.callback_url), calls=2)
        async with deployment.running(email=["sendgrid-main"]):
            await deployment.hears(await deployment.email(), "accepted")
        assert not elsewhere.attempts
        assert not elsewhere.violations


async def test_a_host_that_the_client_no_longer_lists_is_not_called(deployment, sendgrid):
    deployment.crm.fail(smartico.answer(500), calls=None)
    async with deployment.running(email=["sendgrid-main"]):
        message = await deployment.email()
        await deployment.crm.wait_for(message, "accepted", attempted=True)
    deployment.crm.recover()
    attempts = len(deployment.crm.attempts)
    deployment.tables["clients.brand"]["callback_hosts"] = ["*.smartico.example"]
    async with deployment.running() as gateway:
        await gateway.settled()
        figures = await gateway.metrics()
    assert figures["gatepost_callbacks_total", "dead", "accepted"] == 1
    assert len(deployment.crm.attempts) == attempts


async def test_a_status_that_was_not_acknowledged_before_a_stop_is_sent_after_it(
    deployment, sendgrid, monkeypatch
):
    monkeypatch.setattr(callback_attempt, "RETRY_DELAYS", (1.0,) * 7)
    deployment.crm.fail(smartico.answer(500), calls=None)
    async with deployment.running(email=["sendgrid-main"]):
        message = await deployment.email()
        await deployment.crm.wait_for(message, "accepted", attempted=True)
    assert not deployment.crm.callbacks
    deployment.crm.recover()
    async with deployment.running():
        await deployment.hears(message, "accepted")
