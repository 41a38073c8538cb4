"""What Smartico hears, in which order, and what happens where it does not want to hear."""

import pytest

from gatepost import throttle
from gatepost.callbacks import worker as callback_worker
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
async def test_a_call_that_was_not_heard_is_made_again(deployment, sendgrid, set_ahead, wait_until, failure):
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
    # A kept connection that is closed under a call brings a second call that is not a try of ours.
    assert figures["gatepost_callbacks_total", "retry", "accepted"] in (
        {1, 2} if failure == "closed" else {2}
    )
    assert figures["gatepost_callbacks_total", "acknowledged", "accepted"] == 1


HEARD = {
    "200": smartico.Failure(),
    "204": smartico.answer(204),
    "no JSON": smartico.Failure(body=b"OK"),
    "another JSON": smartico.Failure(body=b'["error_code"]'),
    "null": smartico.Failure(body=b'{"error_code": null}'),
}


@pytest.mark.parametrize("answer", HEARD)
async def test_any_2xx_without_an_error_code_is_heard(deployment, sendgrid, answer):
    deployment.crm.fail(HEARD[answer])
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email()
        await deployment.crm.wait_for(message, "accepted", attempted=True)
        await gateway.settled()
    assert len(deployment.crm.attempts) == 1


async def test_the_statuses_of_a_message_wait_for_each_other(deployment, sendgrid):
    """One call at a time for a message, in the order in which they became known; others pass it."""
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


async def test_after_the_last_try_a_call_is_dead_and_the_next_status_goes(deployment, sendgrid):
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


async def test_retry_after_is_honoured(deployment, sendgrid, monkeypatch):
    """Without it the next call would be due at once."""
    monkeypatch.setattr(callback_worker, "PAUSES", (0.05,) * 6 + (3600.0,))
    deployment.crm.fail(smartico.answer(503, retry_after=1))
    async with deployment.running(email=["sendgrid-main"]):
        message = await deployment.email()
        await deployment.hears(message, "accepted")
    first, second = deployment.crm.attempts
    assert second.at - first.at >= 0.99


async def test_a_host_that_keeps_failing_rests_and_is_told_everything_afterwards(
    deployment, sendgrid, monkeypatch, wait_until
):
    class AsLongAsCanBe:
        @staticmethod
        def uniform(_low, high):
            return high

    monkeypatch.setattr(throttle, "SystemRandom", AsLongAsCanBe)
    monkeypatch.setattr(throttle, "FIRST_REST", 0.2)
    monkeypatch.setattr(throttle, "LONGEST_REST", 3600.0)
    monkeypatch.setattr(callback_worker, "AT_ONCE", 1)
    deployment.crm.fail(smartico.answer(503), calls=None)
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        ids = [await deployment.email() for _ in range(30)]
        # Rests of 0.2, 0.4 and 0.8 seconds, each ended by a single call; 30 statuses, each due every 0.05 seconds.
        await wait_until(lambda: len(deployment.crm.attempts) >= throttle.TRIP + 3)
        deployment.crm.recover()
        times = [call.at for call in deployment.crm.attempts]
        assert [times[throttle.TRIP + n] - times[throttle.TRIP + n - 1] >= 0.19 * 2**n for n in range(3)] == [
            True
        ] * 3
        for message in ids:
            await deployment.hears(message, "accepted")
        await gateway.settled()
    assert len(deployment.crm.callbacks) == 30


async def test_one_hosts_rest_is_not_anothers(deployment, sendgrid, monkeypatch, wait_until):
    """The other host is the same machine by another name; only the first one fails."""
    deployment.tables["clients.brand"]["callback_hosts"] = ["127.0.0.1", "localhost"]
    monkeypatch.setattr(throttle, "FIRST_REST", 3600.0)
    monkeypatch.setattr(throttle, "LONGEST_REST", 3600.0)
    monkeypatch.setattr(callback_worker, "AT_ONCE", 1)
    async with (
        smartico.Smartico(api_key=deployment.crm.api_key) as other,
        deployment.running(email=["sendgrid-main"]),
    ):
        other.fail(smartico.answer(503), calls=None)
        for _ in range(2 * throttle.TRIP):
            await deployment.email(callback_url=other.callback_url.replace("127.0.0.1", "localhost"))
        await wait_until(lambda: len(other.attempts) >= throttle.TRIP)
        await deployment.hears(await deployment.email(), "accepted")


async def test_the_clients_default_is_called_where_a_message_brings_no_url(deployment, sendgrid):
    deployment.tables["clients.brand"]["callback_url"] = deployment.crm.callback_url
    async with deployment.running(email=["sendgrid-main"]):
        await deployment.hears(await deployment.email(callback_url=None), "accepted")


async def test_without_any_url_statuses_are_recorded_and_nobody_is_called(deployment, sendgrid):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        await deployment.email(callback_url=None)
        await gateway.settled()
        await sendgrid.report([sendgrid.event("delivered", sendgrid.taken[0])])
        await gateway.settled()
        figures = await gateway.metrics()
        assert figures["gatepost_webhook_events_total", "delivered", "sendgrid-main"] == 1
    assert deployment.crm.attempts == []
    assert not deployment.crm.violations


async def test_the_urls_own_query_stays_and_what_has_our_names_is_replaced(deployment, sendgrid):
    """The stand-in finds fault with a parameter that is missing, is there twice or has another value."""
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


async def test_what_the_client_lists_no_more_is_not_called_any_more(deployment, sendgrid):
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


async def test_what_was_not_told_before_a_stop_is_told_after_it(deployment, sendgrid, monkeypatch):
    monkeypatch.setattr(callback_worker, "PAUSES", (1.0,) * 7)
    deployment.crm.fail(smartico.answer(500), calls=None)
    async with deployment.running(email=["sendgrid-main"]):
        message = await deployment.email()
        await deployment.crm.wait_for(message, "accepted", attempted=True)
    assert not deployment.crm.callbacks
    deployment.crm.recover()
    async with deployment.running():
        await deployment.hears(message, "accepted")
