"""Failing callbacks and refused contents of one client do not delay another client."""

import asyncio
import socket

import pytest

from gatepost import throttle
from gatepost.testing import smartico
from gatepost.testing.smartico import Smartico

FAILING_CALLBACKS = 400
"""Callbacks of the client that has a dead target."""
WORKING_CALLBACKS = 40
"""Callbacks of the other client."""


@pytest.fixture(autouse=True)
def long_rests(brisk, monkeypatch):
    """Make each rest longer than the test."""

    class LongestRests:
        @staticmethod
        def uniform(_low, high):
            return high

    monkeypatch.setattr(throttle, "SystemRandom", LongestRests)
    monkeypatch.setattr(throttle, "FIRST_REST", 3600.0)
    monkeypatch.setattr(throttle, "MAX_REST", 3600.0)


@pytest.fixture
async def other(deployment):
    """Run the Smartico of another brand, as the client ``other`` with the same providers."""
    async with Smartico(api_key="the-other-key", authorization="the-other-secret") as crm:
        deployment.tables["contacts"]["shared"] = True
        deployment.tables["clients.other"] = deployment.tables["clients.brand"] | {
            "authorization": [crm.authorization],
            "callback_api_key": crm.api_key,
        }
        yield crm


async def accepted(crm, count, **fields):
    """Send ``count`` emails, all of which are accepted; return their ids."""
    answers = await asyncio.gather(*(crm.send_email(ext_user_id="anna", **fields) for _ in range(count)))
    assert [answer["error_code"] for answer in answers] == [0] * count
    return [answer["ext_message_id"] for answer in answers]


@pytest.fixture
def silent():
    """Open a socket on which the system accepts every connection, and which never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=FAILING_CALLBACKS) as server:
        yield server


@pytest.mark.parametrize("dead", ["refused", "silent"])
async def test_a_dead_target_of_one_client_does_not_delay_another_clients_callbacks(
    deployment, other, sendgrid, wait_until, silent, dead
):
    """The callbacks of both clients go to one host, but to different ports."""
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        other.gateway_url = gateway.url
        port = 1 if dead == "refused" else silent.getsockname()[1]
        await accepted(other, FAILING_CALLBACKS, callback_url=f"http://127.0.0.1:{port}/")
        await wait_until(lambda: len(sendgrid.taken) == FAILING_CALLBACKS)

        ids = await accepted(deployment.crm, WORKING_CALLBACKS)
        for message in ids:
            await deployment.hears(message, "accepted")

        figures = await gateway.metrics()
        assert figures["gatepost_callbacks_waiting", "queued"] >= FAILING_CALLBACKS - 80
        assert figures["gatepost_callbacks_total", "dead", "accepted"] == 0
        silent.close()  # otherwise the stop would wait for these calls
    assert len(deployment.crm.attempts) == WORKING_CALLBACKS


async def test_clients_that_share_a_target_do_not_share_its_breaker(deployment, other, sendgrid, wait_until):
    deployment.crm.fail(smartico.answer(503), calls=None)
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        other.gateway_url = gateway.url
        await accepted(deployment.crm, throttle.FAILURE_THRESHOLD)

        async def tripped():
            retries = (await gateway.metrics()).get(("gatepost_callbacks_total", "retry", "accepted"), 0)
            return retries >= throttle.FAILURE_THRESHOLD

        await wait_until(tripped)

        await accepted(other, 1, callback_url=deployment.crm.callback_url)

        # The call has the key of the other client, which this Smartico reports as wrong.
        await wait_until(lambda: deployment.crm.violations)


class RefusingRelay:
    """A relay that refuses some subjects temporarily, and counts these refusals."""

    def __init__(self, mailboxes, refuses):
        self.refused = []
        self._take, self._refuses = mailboxes.handle_DATA, refuses
        mailboxes.handle_DATA = self

    async def __call__(self, server, session, envelope):
        subject = envelope.content.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()
        if self._refuses(subject):
            self.refused.append(subject)
            return "451 4.7.1 this content is suspicious"
        return await self._take(server, session, envelope)


@pytest.mark.parametrize("subjects", ["one", "thirty"])
async def test_a_content_that_the_relay_refuses_does_not_delay_another_clients_mail(
    deployment, other, mailboxes, wait_until, subjects
):
    """Thirty mails of a campaign, each with its recipient's name in it, are tried repeatedly."""
    relay = RefusingRelay(mailboxes, lambda subject: subject.startswith("An offer"))
    async with deployment.running(email=["relay"]) as gateway:
        other.gateway_url = gateway.url
        for number in range(30):
            subject = f"An offer to you, number {number}" if subjects == "thirty" else "An offer"
            await accepted(other, 1, subject=subject, body=f"<p>Hello {number}</p>")
        await wait_until(lambda: len(relay.refused) > 60)

        for message in await accepted(deployment.crm, 5, subject="Your code"):
            await deployment.hears(message, "accepted")

        refused = len(relay.refused)
        await wait_until(lambda: len(relay.refused) > refused)
        assert (await gateway.get("/health/ready"))[0] == 200


async def test_a_relay_that_refuses_five_contents_of_two_clients_rests(
    deployment, other, mailboxes, wait_until
):
    relay = RefusingRelay(mailboxes, lambda _subject: True)
    async with deployment.running(email=["relay"]) as gateway:
        other.gateway_url = gateway.url
        for number in range(throttle.FAILURE_THRESHOLD):
            await accepted((deployment.crm, other)[number % 2], 1, subject=f"Number {number}")

        async def rests():
            return (await gateway.get("/health/ready"))[0] == 503

        await wait_until(rests)
    assert set(relay.refused) == {f"Number {number}" for number in range(throttle.FAILURE_THRESHOLD)}
