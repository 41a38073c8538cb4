"""What one client's callbacks and contents cost another client: nothing."""

import asyncio
import socket

import pytest

from gatepost import throttle
from gatepost.testing import smartico
from gatepost.testing.smartico import Smartico

ILL = 400
"""Callbacks of the client that has a dead target."""
WELL = 40


@pytest.fixture(autouse=True)
def long_rests(brisk, monkeypatch):
    """What rests does so until the test ends: whoever waits for it, waits for ever."""

    class AsLongAsCanBe:
        @staticmethod
        def uniform(_low, high):
            return high

    monkeypatch.setattr(throttle, "SystemRandom", AsLongAsCanBe)
    monkeypatch.setattr(throttle, "FIRST_REST", 3600.0)
    monkeypatch.setattr(throttle, "LONGEST_REST", 3600.0)


@pytest.fixture
async def other(deployment):
    """Another brand's Smartico, as the client ``other``; it uses the same providers."""
    async with Smartico(api_key="the-other-key", authorization="the-other-secret") as crm:
        deployment.tables["contacts"]["shared"] = True
        deployment.tables["clients.other"] = deployment.tables["clients.brand"] | {
            "authorization": [crm.authorization],
            "callback_api_key": crm.api_key,
        }
        yield crm


async def sent(crm, count, **fields):
    """So many emails that were accepted; returns their ids."""
    answers = await asyncio.gather(*(crm.send_email(ext_user_id="anna", **fields) for _ in range(count)))
    assert [answer["error_code"] for answer in answers] == [0] * count
    return [answer["ext_message_id"] for answer in answers]


@pytest.fixture
def silent():
    """A socket on which the system takes every connection, and nobody ever says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=ILL) as server:
        yield server


@pytest.mark.parametrize("dead", ["refused", "silent"])
async def test_a_dead_target_of_one_client_holds_up_nobody_elses_callbacks(
    deployment, other, sendgrid, wait_until, silent, dead
):
    """Both clients' callbacks go to one host, each to a port of its own."""
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        other.gateway_url = gateway.url
        port = 1 if dead == "refused" else silent.getsockname()[1]
        await sent(other, ILL, callback_url=f"http://127.0.0.1:{port}/")
        await wait_until(lambda: len(sendgrid.taken) == ILL)

        ids = await sent(deployment.crm, WELL)
        for message in ids:
            await deployment.hears(message, "accepted")

        figures = await gateway.metrics()
        assert figures["gatepost_callbacks_waiting", "queued"] >= ILL - 80
        assert figures["gatepost_callbacks_total", "dead", "accepted"] == 0
        silent.close()  # or else the stop would wait for those calls
    assert len(deployment.crm.attempts) == WELL


async def test_clients_that_share_a_target_do_not_share_its_breaker(deployment, other, sendgrid, wait_until):
    deployment.crm.fail(smartico.answer(503), calls=None)
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        other.gateway_url = gateway.url
        await sent(deployment.crm, throttle.TRIP)

        async def tripped():
            retries = (await gateway.metrics()).get(("gatepost_callbacks_total", "retry", "accepted"), 0)
            return retries >= throttle.TRIP

        await wait_until(tripped)

        await sent(other, 1, callback_url=deployment.crm.callback_url)

        # It comes with the other client's key, with which this stand-in finds fault.
        await wait_until(lambda: deployment.crm.violations)


class Choosy:
    """A relay's end of DATA: some subjects get a temporary refusal, and are counted."""

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
async def test_a_content_that_the_relay_refuses_holds_up_nobody_elses_mail(
    deployment, other, mailboxes, wait_until, subjects
):
    """Thirty mails of a campaign, each with its recipient's name in it, tried again and again."""
    relay = Choosy(mailboxes, lambda subject: subject.startswith("An offer"))
    async with deployment.running(email=["relay"]) as gateway:
        other.gateway_url = gateway.url
        for number in range(30):
            subject = f"An offer to you, number {number}" if subjects == "thirty" else "An offer"
            await sent(other, 1, subject=subject, body=f"<p>Hello {number}</p>")
        await wait_until(lambda: len(relay.refused) > 60)

        for message in await sent(deployment.crm, 5, subject="Your code"):
            await deployment.hears(message, "accepted")

        refused = len(relay.refused)
        await wait_until(lambda: len(relay.refused) > refused)
        assert (await gateway.get("/health/ready"))[0] == 200


async def test_a_relay_that_refuses_five_contents_in_a_row_rests(deployment, other, mailboxes, wait_until):
    relay = Choosy(mailboxes, lambda _subject: True)
    async with deployment.running(email=["relay"]) as gateway:
        other.gateway_url = gateway.url
        for number in range(throttle.TRIP):
            await sent((deployment.crm, other)[number % 2], 1, subject=f"Number {number}")

        async def rests():
            return (await gateway.get("/health/ready"))[0] == 503

        await wait_until(rests)
    assert set(relay.refused) == {f"Number {number}" for number in range(throttle.TRIP)}
