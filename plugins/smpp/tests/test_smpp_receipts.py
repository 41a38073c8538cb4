"""What the provider delivers: receipts in each form, texts of users, garbage; acknowledged once it is stored."""

import asyncio

import pytest

from gatepost.model import Receipt, Report, Secret, Status, StatusEvent
from gatepost.testing.conformance.running_plugin import wait_until
from gatepost.testing.fakes import FakeCore
from gatepost_smpp import Smpp
from gatepost_smpp.testing import octets
from gatepost_smpp.testing.deliveries import delivery, text_of

RECEIPTED_ID, NETWORK_ERROR, PAYLOAD, STATE = 0x001E, 0x0423, 0x0424, 0x0427
OK, TRY_LATER = 0, 0x64


@pytest.fixture
async def submission(plugin, provider, sms):
    """A message that the provider has taken; ``submission.receipt`` is the plugin's."""
    await plugin.send_sms(sms())
    return provider.submissions[-1]


async def reported(provider, core, body):
    """Return what is reported of a delivery, which must be acknowledged."""
    core.reports.clear()
    assert await provider.deliver(body) == OK
    (report,) = core.reports
    return report


def only(report):
    (event,) = report.events
    return event


@pytest.mark.parametrize(
    ("stat", "state", "status", "code"),
    [
        ("ENROUTE", 1, Status.ACCEPTED, ""),
        ("DELIVRD", 2, Status.DELIVERED, ""),
        ("EXPIRED", 3, Status.FAILED, "EXPIRED"),
        ("DELETED", 4, Status.FAILED, "DELETED"),
        ("UNDELIV", 5, Status.FAILED, "UNDELIV"),
        ("ACCEPTD", 6, Status.ACCEPTED, ""),
        ("UNKNOWN", 7, None, ""),
        ("REJECTD", 8, Status.REJECTED, "REJECTD"),
    ],
)
async def test_each_state(provider, core, submission, sms, stat, state, status, code):
    bodies = [
        provider.receipt(submission, stat),
        provider.receipt(submission, stat.lower()),
        # The state as a number, which counts more than the text.
        provider.receipt(submission, "NONSENSE", options=octets.option(STATE, bytes([state]))),
    ]
    for body in bodies:
        report = await reported(provider, core, body)
        if status is None:
            assert report == Report(ignored={"unknown": 1})
            continue
        event = only(report)
        assert (event.status, event.code, event.message_id) == (status, code, sms().id)
        assert event.provider_id == provider.ids(submission.number)[1]


@pytest.mark.parametrize(
    ("error", "option", "code"),
    [
        ("000", b"", "UNDELIV"),
        ("0", b"", "UNDELIV"),
        ("027", b"", "UNDELIV 027"),
        ("E1A", b"", "UNDELIV E1A"),
        ("000", octets.option(NETWORK_ERROR, b"\3\0\x1b"), "UNDELIV 27"),
        ("011", octets.option(NETWORK_ERROR, b"\3\0\0"), "UNDELIV 011"),
        ("447700900123", b"", "UNDELIV"),
        ("a@b.c", b"", "UNDELIV"),
    ],
)
async def test_the_code_of_a_failure(provider, core, submission, error, option, code):
    body = provider.receipt(submission, "UNDELIV", error=error, options=option)
    assert only(await reported(provider, core, body)).code == code


async def test_the_id_in_the_parameter_counts_more_than_the_one_in_the_text(provider, core, submission):
    option = octets.option(RECEIPTED_ID, octets.text("of-the-parameter"))
    event = only(await reported(provider, core, provider.receipt(submission, options=option)))
    assert (event.provider_id, event.message_id) == ("of-the-parameter", "")


async def test_a_receipt_is_known_by_its_parameter_where_esm_class_does_not_say_so(
    provider, core, submission
):
    options = octets.option(RECEIPTED_ID, b"gp00000001\0") + octets.option(STATE, b"\2")
    body = delivery("447700900123", b"", options=options)
    assert only(await reported(provider, core, body)).status is Status.DELIVERED


async def test_an_intermediate_notification_and_a_receipt_in_the_payload_count_too(
    provider, core, submission
):
    text = b"id:gp00000001 stat:ACCEPTD err:000"
    body = delivery("447700900123", b"", esm_class=0x20, options=octets.option(PAYLOAD, text))
    assert only(await reported(provider, core, body)).status is Status.ACCEPTED


async def test_our_own_id_in_the_receipt_counts_whatever_the_providers_is(provider, core, submission, sms):
    option = octets.option(provider.reference_tag, octets.text(sms().id))
    body = delivery("447700900123", b"stat:DELIVRD", esm_class=4, options=option)
    event = only(await reported(provider, core, body))
    assert (event.status, event.message_id, event.provider_id) == (Status.DELIVERED, sms().id, "")


async def test_what_the_user_was_sent_is_not_read_as_a_receipt(provider, core, submission):
    text = b"sub:001 err:000 text:id:4711 stat:DELIVRD"
    body = delivery("447700900123", text, esm_class=4)
    assert await reported(provider, core, body) == Report(ignored={"malformed": 1})


@pytest.mark.parametrize(
    ("form", "answered", "receipted", "equal"),
    [
        ("same", "4711", "4711", True),
        ("same", "0000004711", "4711", True),
        ("same", "4711", "0000004711", True),
        ("same", "1A2B", "1a2b", True),
        ("same", "0", "0000", True),
        ("same", "9f3c-AbC", "9f3c-AbC", True),
        ("same", "9f3c-AbC", "9f3c-abc", False),
        ("same", "1f", "31", False),
        ("decimal", "1F", "31", True),
        ("decimal", "0000001f", "0000000031", True),
        ("decimal", "10", "16", True),
        ("decimal", "10", "10", False),
        ("hex", "31", "1F", True),
        ("hex", "0000000031", "0000001f", True),
        ("hex", "31", "31", False),
        ("hex", "f" * 64, "f" * 64, False),
        ("decimal", "f" * 64, str(int("f" * 64, 16)), False),
    ],
)
async def test_ids_match_through_hex_decimal_and_zeros(
    running, provider, core, sms, form, answered, receipted, equal
):
    provider.ids = lambda _: (answered, receipted)
    async with running(receipt_ids=form) as plugin:
        receipt = await plugin.send_sms(sms())
        event = only(await reported(provider, core, provider.receipt(provider.submissions[-1])))
    if len(answered) < 64:
        assert (event.provider_id == receipt.provider_id) is equal
        assert (event.message_id == sms().id) is equal
    assert len(event.provider_id) <= 255


async def test_another_replica_hears_the_receipt_by_the_same_id(running, provider, sms, table):
    """What the store knows of the message is the id in the Receipt."""
    provider.ids = lambda number: (f"{number + 0xABC0:08X}", f"{number + 0xABC0:012}")
    async with running(receipt_ids="decimal") as plugin:
        receipt = await plugin.send_sms(sms())
    other = FakeCore()
    async with running(receipt_ids="decimal") as plugin:
        plugin._deliveries._context = other.context()
        await plugin.ping()
        assert await provider.deliver(provider.receipt(provider.submissions[-1])) == OK
    assert only(other.reports[0]) == StatusEvent(status=Status.DELIVERED, provider_id=receipt.provider_id)


async def test_a_receipt_that_nobody_knows_yet_is_reported_once_more(provider, core, submission):
    """It may have come before the answer to the send was stored, here or by another replica."""
    core.unknown = 1
    assert await provider.deliver(provider.receipt(submission)) == OK
    assert len(core.reports) == 2
    assert core.reports[0] == core.reports[1]


async def test_the_second_report_names_a_message_whose_answer_has_come_since(
    running, provider, core, sms, monkeypatch, set_ahead
):
    monkeypatch.setattr("gatepost_smpp.deliveries._PAUSE", 40.0)
    async with running(context={"timeout": 60.0}) as plugin:
        provider.answering.clear()
        sending = asyncio.create_task(plugin.send_sms(sms()))
        await wait_until(lambda: provider.submissions, lambda: "nothing was sent")
        core.unknown = 1
        delivering = asyncio.create_task(provider.deliver(provider.receipt(provider.submissions[0])))
        await wait_until(lambda: core.reports, lambda: "nothing was reported")
        provider.answering.set()
        await sending
        set_ahead(50.0)
        assert await delivering == OK
    assert [only(report).message_id for report in core.reports] == ["", sms().id]


async def test_it_is_acknowledged_only_once_it_is_stored(provider, core, submission):
    core.reachable = False
    delivering = asyncio.create_task(provider.deliver(provider.receipt(submission)))
    await wait_until(lambda: core.refusals, lambda: "nothing was reported")
    assert not delivering.done()
    core.reachable = True
    assert await delivering == OK
    assert only(core.reports[-1]).status is Status.DELIVERED


async def test_where_it_cannot_be_stored_in_time_the_provider_keeps_it(
    running, provider, core, sms, set_ahead
):
    async with running(context={"timeout": 60.0}) as plugin:
        await plugin.send_sms(sms())
        core.reachable = False
        delivering = asyncio.create_task(provider.deliver(provider.receipt(provider.submissions[-1])))
        await wait_until(lambda: core.refusals, lambda: "nothing was reported")
        set_ahead(60.0)
        assert await delivering == TRY_LATER
        assert not core.reports


async def test_of_too_many_at_once_the_provider_keeps_the_rest(running, provider, core, sms, monkeypatch):
    # The bind is a task too.
    monkeypatch.setattr("gatepost_smpp.deliveries._MAX_WAITING", 4)
    async with running() as plugin:
        await plugin.send_sms(sms())
        core.reachable = False
        body = provider.receipt(provider.submissions[-1])
        delivering = [asyncio.create_task(provider.deliver(body)) for _ in range(5)]
        done, waiting = await asyncio.wait(delivering, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 2:
            more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        assert [task.result() for task in done] == [TRY_LATER, TRY_LATER]
        core.reachable = True
        assert [await task for task in waiting] == [OK, OK, OK]


async def test_an_answer_never_goes_to_a_later_connection(plugin, provider, core, submission):
    """A delivery of the same sequence number there would be acknowledged in its place, and lost."""
    core.reachable = False
    lost = asyncio.create_task(provider.deliver(provider.receipt(submission)))
    await wait_until(lambda: core.refusals, lambda: "nothing was reported")
    await provider.drop_connections()
    with pytest.raises(ConnectionError):
        await lost
    await plugin.ping()
    core.reachable = True
    # Long enough for the report of the first delivery, whose connection is gone.
    await wait_until(lambda: core.reports, lambda: "nothing was reported")
    # An answer without a request would end the emulator's connection.
    await plugin.ping()
    assert provider.connections == 2


async def test_the_receipt_of_an_old_message_has_the_providers_id_alone(
    plugin, provider, core, sms, monkeypatch
):
    monkeypatch.setattr("gatepost_smpp.deliveries._MAX_REMEMBERED", 2)
    for number in range(4):
        await plugin.send_sms(sms(id=f"message-{number}"))
    events = [only(await reported(provider, core, provider.receipt(one))) for one in provider.submissions]
    assert [event.message_id for event in events] == ["", "", "message-2", "message-3"]
    assert [event.provider_id for event in events] == [f"gp{number:08x}" for number in range(1, 5)]


# Texts of users.


@pytest.mark.parametrize("text", ["STOP", "stop", " Stop. ", "STOP!", '"unsubscribe"', "Quit", "end\r\n"])
async def test_a_stop_unsubscribes_the_user(provider, core, submission, text):
    event = only(await reported(provider, core, text_of("447700900123", text)))
    assert event == StatusEvent(status=Status.UNSUBSCRIBED, recipient=Secret("+447700900123"))


async def test_a_stop_in_ucs2_or_with_a_header_is_one_too(provider, core, submission):
    for octets_, data_coding, esm_class in (
        ("Stop".encode("utf-16-be"), 8, 0),
        (b"\5\0\3\1\1\1STOP", 0, 0x40),
    ):
        body = delivery("+447700900123", octets_, data_coding=data_coding, esm_class=esm_class)
        assert only(await reported(provider, core, body)).recipient == Secret("+447700900123")


async def test_the_words_are_the_operators(running, provider, core, sms):
    async with running(stop_words=["ARRÊT", "STOP PUB"]) as plugin:
        await plugin.ping()
        for text in ("arrêt", "Stop Pub"):
            body = delivery("33639980123", text.encode("latin-1"))
            assert only(await reported(provider, core, body)).status is Status.UNSUBSCRIBED
        body = text_of("33639980123", "STOP")
        assert await reported(provider, core, body) == Report(ignored={"inbound": 1})


@pytest.mark.parametrize("text", ["", "Hello", "please stop", "id:1 stat:DELIVRD err:000", "stopping"])
async def test_another_text_is_counted(provider, core, submission, text):
    body = text_of("447700900123", text)
    assert await reported(provider, core, body) == Report(ignored={"inbound": 1})


@pytest.mark.parametrize(
    ("source", "source_type"),
    [("07700900123", (2, 1)), ("7700900123", (2, 1)), ("Amazing", (5, 0)), ("12", (1, 1)), ("", (0, 0))],
)
async def test_a_stop_without_a_country_code_names_nobody(provider, core, submission, source, source_type):
    body = delivery(source, b"STOP", source_type=source_type)
    assert await reported(provider, core, body) == Report(ignored={"malformed": 1})


# Garbage.


@pytest.mark.parametrize(
    ("text", "esm_class", "ignored"),
    [
        (b"", 4, "malformed"),
        (b"id:4711", 4, "malformed"),
        (b"stat:DELIVRD", 4, "malformed"),
        (b"id:4711 stat:PURPLE", 4, "malformed"),
        (b"id:\xff\xfe stat:DELIVRD", 4, "malformed"),
        (b"hello", 8, "acknowledgement"),
        (b"hello", 0x10, "acknowledgement"),
        (b"\xff" * 100, 0x44, "malformed"),
    ],
)
async def test_what_says_nothing_is_counted_and_acknowledged(
    provider, core, submission, text, esm_class, ignored
):
    body = delivery("447700900123", text, esm_class=esm_class)
    assert await reported(provider, core, body) == Report(ignored={ignored: 1})


async def test_every_cut_of_a_receipt_is_survived(plugin, provider, core, submission, sms):
    whole = provider.receipt(submission, options=octets.option(RECEIPTED_ID, b"gp00000001\0"))
    for end in range(len(whole)):
        assert await provider.deliver(whole[:end]) == OK
    assert len(core.reports) == len(whole)
    assert isinstance(await plugin.send_sms(sms()), Receipt)
    assert provider.connections == 1


def test_the_plugin_has_no_webhooks():
    assert not hasattr(Smpp, "parse_webhook")
