"""The emulated message centre refuses what SMPP 3.4 does not allow, with the status that it has for that."""

import asyncio

import pytest

from gatepost.model import Status
from gatepost_smpp.testing import octets
from gatepost_smpp.testing.octets import option, packet, receive, text

BIND, SUBMIT, ENQUIRE = 9, 4, 0x15
DEFAULTS = {
    "service_type": text(""),
    "source_type": b"\5\0",
    "source": text("Amazing"),
    "destination_type": b"\1\1",
    "destination": text("447700900123"),
    "esm_class": b"\0",
    "protocol_id": b"\0",
    "priority": b"\0",
    "schedule": text(""),
    "validity": text(""),
    "registered_delivery": b"\1",
    "replace": b"\0",
    "data_coding": b"\0",
    "default_message": b"\0",
    "length": b"\5",
    "text": b"Hello",
    "options": b"",
}


def submit_body(**fields):
    return b"".join({**DEFAULTS, **fields}.values())


def bind_body(provider, password=None, version=0x34):
    names = text(provider.system_id), text(password or provider.password), text("")
    return b"".join(names) + bytes((version, 0, 0)) + text("")


class Client:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.sequence = 0

    async def request(self, command, body=b""):
        self.sequence += 1
        self.writer.write(packet(command, 0, self.sequence, body))
        answer = await receive(self.reader)
        assert answer.sequence == self.sequence
        return answer


@pytest.fixture
async def client(provider):
    reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
    yield Client(reader, writer)
    writer.close()


@pytest.fixture
async def bound(client, provider):
    answer = await client.request(BIND, bind_body(provider))
    assert (answer.status, answer.body) == (0, text("EMULATOR"))
    return client


async def test_a_good_message_is_taken(bound, provider):
    answer = await bound.request(SUBMIT, submit_body())
    assert (answer.command, answer.status, answer.body) == (SUBMIT | 0x80000000, 0, text("gp00000001"))
    (message,) = provider.received()
    assert (message.recipients, message.sender, message.text) == (["+447700900123"], "Amazing", "Hello")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"service_type": text("CMT")}, 0x15),
        ({"service_type": text("longer")}, 0x02),
        ({"source_type": b"\2\0"}, 0x48),
        ({"source": text("Amazing Casino")}, 0x0A),
        ({"source": text("447700900123")}, 0x0A),
        ({"source_type": b"\1\1"}, 0x0A),
        ({"source_type": b"\3\0", "source": text("1234567")}, 0x0A),
        ({"source": text("")}, 0x0A),
        ({"source": text("a" * 21)}, 0x02),
        ({"destination_type": b"\2\1"}, 0x50),
        ({"destination": text("+447700900123")}, 0x0B),
        ({"destination": text("0447700900123")}, 0x0B),
        ({"destination": text("")}, 0x0B),
        ({"esm_class": b"\1"}, 0x43),
        ({"esm_class": b"\x40"}, 0x43),
        ({"priority": b"\1"}, 0x06),
        ({"schedule": text("000000000100000R")}, 0x61),
        ({"validity": text("000000000100000+")}, 0x62),
        ({"validity": text("tomorrow")}, 0x62),
        ({"registered_delivery": b"\2"}, 0x07),
        ({"replace": b"\1"}, 0x54),
        ({"default_message": b"\1"}, 0x63),
        ({"data_coding": b"\4"}, 0x45),
        ({"text": b"H\xffllo"}, 0x45),
        ({"text": b"Hell\x1b"}, 0x45),
        ({"text": b"\x1bzzzz"}, 0x45),
        ({"data_coding": b"\x08"}, 0x01),
        ({"length": b"\xa1", "text": b"a" * 161}, 0x01),
        ({"length": b"\x8e", "text": b"\0a" * 71, "data_coding": b"\x08"}, 0x01),
        ({"length": b"\xff", "text": b"a" * 255}, 0x01),
        ({"length": b"\x06"}, 0x02),
        ({"options": b"\0"}, 0x02),
        ({"options": option(0x0424, b"Hello")}, 0x01),
        ({"options": option(0x1501, b"x\0")}, 0xC1),
        ({"options": option(0x1500, b"x")}, 0xC4),
        ({"esm_class": b"\x40", "length": b"\x07", "text": b"\5\0\3\1\2\3a"}, 0x43),
        ({"esm_class": b"\x40", "length": b"\xa0", "text": b"\5\0\3\1\2\1" + b"a" * 154}, 0x01),
    ],
)
async def test_a_fault_has_its_status(bound, provider, fields, status):
    answer = await bound.request(SUBMIT, submit_body(**fields))
    assert (answer.status, answer.body) == (status, b"")
    assert not provider.submissions
    assert (await bound.request(ENQUIRE)).status == 0


async def test_a_message_in_parts_is_received_once_it_is_whole(bound, provider):
    for number, part in ((2, b"world"), (1, b"Hello ")):
        assert not provider.received()
        header = bytes((5, 0, 3, 77, 2, number))
        length = bytes((len(header + part),))
        body = submit_body(esm_class=b"\x40", length=length, text=header + part)
        assert (await bound.request(SUBMIT, body)).status == 0
    (message,) = provider.received()
    assert message.text == "Hello world"


async def test_the_account_is_checked(client, provider):
    assert (await client.request(SUBMIT, submit_body())).status == 4
    assert (await client.request(ENQUIRE)).status == 4
    assert (await client.request(BIND, bind_body(provider, password="wrong"))).status == 0x0E
    assert (await client.request(BIND, bind_body(provider, version=0x33))).status == 3
    assert (await client.request(BIND, bind_body(provider))).status == 0
    assert (await client.request(BIND, bind_body(provider))).status == 5
    assert (await client.request(3, text("1"))).command == 0x80000000


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", packet(BIND, 1, 1), packet(BIND, 0, 0), packet(BIND, 0, 0x80000000)],
)
async def test_what_is_not_smpp_ends_the_connection(client, garbage):
    client.writer.write(garbage)
    assert await client.reader.read() == b""


@pytest.mark.parametrize(
    ("status", "expected"),
    [(Status.DELIVERED, b"stat:DELIVRD"), (Status.REJECTED, b"stat:REJECTD"), (Status.UNSUBSCRIBED, b"STOP")],
)
async def test_it_reports_for_the_demo(bound, provider, status, expected):
    body = submit_body(options=option(provider.reference_tag, text("our-id")))
    await bound.request(SUBMIT, body)
    (arrival,) = provider.arrivals()
    assert (arrival.id, arrival.recipient, arrival.text) == ("our-id", "+447700900123", "Hello")
    reporting = asyncio.create_task(provider.report_status(arrival.id, status))
    delivered = await receive(bound.reader)
    assert delivered.command == 5
    assert expected in delivered.body
    bound.writer.write(packet(0x80000005, 0, delivered.sequence, octets.text("")))
    await reporting
    await provider.report_status(arrival.id, Status.OPENED)
