"""Binds: how many, how full, how they are checked, lost and opened again, and what that means for a message."""

import asyncio
from contextlib import suppress

import pytest

from gatepost.errors import Unavailable, Uncertain
from gatepost.model import Receipt, Report, Status, StatusEvent
from gatepost.testing.conformance.running_plugin import wait_until
from gatepost.testing.features import FailureMode
from gatepost_smpp.testing import SmppEmulator

UNBIND, ENQUIRE_LINK, QUERY_SM, GENERIC_NACK = 6, 0x15, 3, 0x80000000


async def opened(plugin):
    """Wait until every bind stands, as the plugin sees it."""
    await wait_until(lambda: all(one.is_open for one in plugin._binds), lambda: "it does not bind")


async def bound(provider, count):
    await wait_until(
        lambda: sum(one.is_bound for one in provider.open) >= count, lambda: "the binds are not open"
    )


async def test_it_binds_before_the_first_message_and_unbinds_at_the_end(running, provider):
    async with running(connections=3) as plugin:
        await opened(plugin)
    await wait_until(lambda: not provider.open, lambda: "the connections are still open")
    assert provider.unbinds == 3
    assert provider.connections == 3


async def test_the_messages_are_spread_over_all_binds(running, provider, sms):
    async with running(connections=2, window=2, context={"concurrency": 4}) as plugin:
        await opened(plugin)
        provider.answering.clear()
        sending = [asyncio.create_task(plugin.send_sms(sms(id=str(number)))) for number in range(4)]
        await wait_until(lambda: provider.attempts == 4, lambda: "not all windows are used")
        provider.answering.set()
        await asyncio.gather(*sending)
    assert sorted(one.submitted for one in provider.served) == [2, 2]


async def test_no_more_messages_are_on_a_bind_than_its_window_holds(running, provider, sms):
    async with running(window=3) as plugin:
        provider.answering.clear()
        sending = [asyncio.create_task(plugin.send_sms(sms(id=str(number)))) for number in range(10)]
        await wait_until(lambda: provider.attempts == 3, lambda: "the window is not used")
        # Whatever else would be sent comes before this answer.
        await provider.request(ENQUIRE_LINK)
        assert provider.attempts == 3
        provider.answering.set()
        receipts = await asyncio.gather(*sending)
    assert len({one.provider_id for one in receipts}) == 10
    assert provider.max_unanswered <= 3


async def test_a_message_that_finds_no_place_has_not_left(running, provider, sms, set_ahead):
    async with running(window=1, context={"timeout": 600.0}) as plugin:
        provider.answering.clear()
        first = asyncio.create_task(plugin.send_sms(sms(id="first")))
        await wait_until(lambda: provider.attempts, lambda: "nothing was sent")
        second = asyncio.create_task(plugin.send_sms(sms(id="second")))
        await asyncio.sleep(0)
        set_ahead(300.0)
        with pytest.raises(Unavailable, match="window") as refused:
            await second
        assert refused.value.message_only
        set_ahead(300.0)
        with pytest.raises(Uncertain, match="no answer in time"):
            await first
        assert provider.attempts == 1


async def test_a_ping_needs_no_place_in_the_window(running, provider, sms):
    async with running(window=1) as plugin:
        provider.answering.clear()
        sending = asyncio.create_task(plugin.send_sms(sms()))
        await wait_until(lambda: provider.attempts, lambda: "nothing was sent")
        await plugin.ping()
        provider.answering.set()
        await sending


async def uncertain(plugin, provider, message, set_ahead):
    """Send a message whose answer is late."""
    provider.answering.clear()
    sending = asyncio.create_task(plugin.send_sms(message))
    await wait_until(lambda: provider.attempts, lambda: "nothing was sent")
    set_ahead(60.0)
    with pytest.raises(Uncertain):
        await sending


async def test_the_late_answer_to_a_message_is_reported(running, provider, core, sms, set_ahead):
    """It proves that the provider has the message, whose send has ended as uncertain."""
    async with running(context={"timeout": 60.0}) as plugin:
        await uncertain(plugin, provider, sms(), set_ahead)
        provider.answering.set()
        await wait_until(lambda: core.reports, lambda: "the answer is not reported")
        event = StatusEvent(status=Status.ACCEPTED, message_id=sms().id, provider_id="gp00000001")
        assert core.reports == [Report(events=[event])]
        await provider.deliver(provider.receipt(provider.submissions[0]))
        assert core.reports[-1].events[0].message_id == sms().id


async def test_the_late_refusal_of_a_message_is_not_reported(running, provider, core, sms, set_ahead):
    async with running(context={"timeout": 60.0}) as plugin:
        provider.planned.append(0x0B)
        await uncertain(plugin, provider, sms(), set_ahead)
        provider.answering.set()
        await plugin.ping()
        assert not core.reports


async def test_after_a_cancelled_message_the_window_has_its_place_back(running, provider, sms):
    async with running(window=1) as plugin:
        provider.answering.clear()
        sending = asyncio.create_task(plugin.send_sms(sms(id="first")))
        await wait_until(lambda: provider.attempts, lambda: "nothing was sent")
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        provider.answering.set()
        assert isinstance(await plugin.send_sms(sms(id="second")), Receipt)


async def test_a_message_in_hand_at_a_loss_is_uncertain_and_one_that_waits_is_not(running, provider, sms):
    async with running(window=1) as plugin:
        provider.answering.clear()
        first = asyncio.create_task(plugin.send_sms(sms(id="first")))
        await wait_until(lambda: provider.attempts, lambda: "nothing was sent")
        second = asyncio.create_task(plugin.send_sms(sms(id="second")))
        await asyncio.sleep(0)
        await provider.drop_connections()
        with pytest.raises(Uncertain, match="lost"):
            await first
        with pytest.raises(Unavailable, match="before the message left"):
            await second
        provider.answering.set()
        assert isinstance(await plugin.send_sms(sms(id="third")), Receipt)
    assert provider.attempts == 2


async def test_a_part_that_is_refused_after_another_was_taken_makes_the_message_uncertain(
    plugin, provider, sms
):
    provider.planned.extend([0, 0x58])
    with pytest.raises(Uncertain, match="1 of 3 parts") as partly:
        await plugin.send_sms(sms("a" * 400))
    assert partly.value.code == "ESME_RTHROTTLED"
    assert provider.attempts == 2


async def test_a_first_part_that_is_refused_ends_the_message(plugin, provider, sms):
    provider.planned.append(0x58)
    with pytest.raises(Unavailable):
        await plugin.send_sms(sms("a" * 400))
    assert provider.attempts == 1


async def test_the_parts_have_one_deadline_together(running, provider, sms, set_ahead):
    async with running(context={"timeout": 600.0}) as plugin:
        provider.answering.clear()
        sending = asyncio.create_task(plugin.send_sms(sms("a" * 1_500)))
        for part in (1, 2, 3):
            await wait_until(lambda: provider.attempts == part, lambda: "the part was not sent")  # noqa: B023
            # Its answer waits for the event after one more turn of the loop.
            await asyncio.sleep(0)
            set_ahead(200.0)
            if part < 3:
                provider.answering.set()
                provider.answering.clear()
        await wait_until(sending.done, lambda: "it goes on after its deadline")
        with pytest.raises(Uncertain, match="2 of 10 parts, then: no answer in time"):
            await sending
    assert provider.attempts == 3


async def test_a_silent_provider_is_asked_and_then_left(running, provider, monkeypatch):
    monkeypatch.setattr("gatepost_smpp.bind._MAX_SILENCE", 1.0)
    provider.simulate(FailureMode.HANG)
    async with running(context={"timeout": 0.3}):
        await wait_until(lambda: provider.connections >= 2, lambda: "the silent connection is kept")
        await wait_until(lambda: provider.enquiries, lambda: "it does not ask")


async def test_a_provider_that_answers_is_kept(running, provider, monkeypatch):
    monkeypatch.setattr("gatepost_smpp.bind._MAX_SILENCE", 1.0)
    async with running(context={"timeout": 5.0}):
        await wait_until(lambda: provider.enquiries >= 2, lambda: "it does not ask")
    assert provider.connections == 1


async def test_the_providers_requests_are_answered(plugin, provider):
    await bound(provider, 1)
    assert (await provider.request(ENQUIRE_LINK)).status == 0
    nack = await provider.request(QUERY_SM, b"1\0")
    assert (nack.command, nack.status) == (GENERIC_NACK, 3)
    answer = await provider.request(UNBIND)
    assert (answer.command, answer.status) == (UNBIND | GENERIC_NACK, 0)
    await wait_until(lambda: not provider.open, lambda: "the connection is kept after unbind")
    await plugin.ping()
    assert provider.connections == 2


async def test_it_binds_again_by_itself(running, provider, monkeypatch):
    pauses = []
    monkeypatch.setattr("random.uniform", lambda _, longest: pauses.append(longest / 1.2) or 0.0)
    async with running(connections=2) as plugin:
        for count in (2, 4, 6):
            await wait_until(lambda: provider.connections == count, lambda: "it does not bind again")  # noqa: B023
            await opened(plugin)
            await provider.drop_connections()
    assert pauses == pytest.approx([1.0] * len(pauses)), "a loss is no failure to bind"


async def test_it_waits_longer_after_each_failure(running, provider, monkeypatch):
    pauses = []
    monkeypatch.setattr("random.uniform", lambda _, longest: pauses.append(longest / 1.2) or 0.0)
    provider.bind_status = 0x08
    async with running():
        await wait_until(lambda: len(pauses) >= 9, lambda: "it does not try again")
    assert pauses[:9] == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])


async def test_a_message_ends_the_wait_for_the_next_bind(running, provider, sms, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda *_: 1_000.0)
    provider.bind_status = 0x0E
    async with running() as plugin:
        for _ in range(3):
            with pytest.raises(Unavailable, match="RINVPASWD") as refused:
                await plugin.send_sms(sms())
            assert refused.value.misconfigured
        provider.bind_status = 0
        assert isinstance(await plugin.send_sms(sms()), Receipt)


async def test_a_bind_that_the_provider_does_not_allow_leaves_the_others_alone(running, sms, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda *_: 1_000.0)
    async with SmppEmulator(max_binds=1) as provider, running(connections=3, **provider.table) as plugin:
        await bound(provider, 1)
        for number in range(20):
            await plugin.send_sms(sms(id=str(number)))
        assert provider.connections <= 4


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\x08\0\0\0\0" * 2,
        b"\xff" * 64,
        b"\0\0\0\x0f" + b"\0" * 12,
    ],
)
async def test_a_server_of_another_kind_is_unavailable(running, sms, garbage):
    async def serve(reader, writer):
        await reader.read(16)
        writer.write(garbage)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with running(port=port) as plugin:
            with pytest.raises(Unavailable, match="check host, port"):
                await plugin.send_sms(sms())


async def test_a_connection_that_closes_at_once_is_unavailable(running, sms):
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, running(port=port) as plugin:
        with pytest.raises(Unavailable, match="check host, port"):
            await plugin.send_sms(sms())


async def test_a_name_that_cannot_be_resolved_is_unavailable(running, sms):
    async with running(host="smpp.invalid") as plugin:
        with pytest.raises(Unavailable) as refused:
            await plugin.send_sms(sms())
    assert "smpp.invalid" not in str(refused.value)


async def test_the_sequence_begins_again_after_its_largest_number(plugin, provider, sms):
    await plugin.ping()
    plugin._binds[0]._sequence = 0x7FFFFFFE
    for number in range(3):
        assert isinstance(await plugin.send_sms(sms(id=str(number))), Receipt)
    assert provider.connections == 1
