"""The plugin against a message centre of another's making, which reads and writes each PDU with code of its own."""

import ssl
import subprocess

import pytest

from gatepost.errors import Unavailable
from gatepost.model import Secret, Status
from gatepost.testing.conformance.running_plugin import wait_until

NUMBER = "447700900123"


@pytest.fixture
async def centre(running_centre):
    async with running_centre() as running:
        yield running


@pytest.fixture
def table(centre):
    return centre.table


async def test_it_reads_each_field_as_it_was_meant(plugin, centre, core, sms):
    texts = ["Hello", "€uro {1}", "Grüße 🎲", "a" * 161, "’" * 71]
    receipts = [await plugin.send_sms(sms(text)) for text in texts]
    await wait_until(lambda: len(core.reports) == len(texts), lambda: f"only {len(core.reports)} receipts")
    messages = (await centre.state())["messages"]
    single, parts = messages[:3], messages[3:]
    assert [one["text"] for one in single] == texts[:3]
    assert [one["data_coding"] for one in messages] == [0, 0, 8, 0, 0, 8, 8]
    assert "".join(one["text"] for one in parts) == texts[3] + texts[4]
    # The length of the element comes first, as npm's package leaves out the length of all elements.
    assert [one["udh"][0][:4] for one in parts] == ["0003"] * 4
    assert [one["udh"][0][-4:] for one in parts] == ["0201", "0202"] * 2
    assert [one["registered_delivery"] for one in messages] == [1, 1, 1, 0, 1, 0, 1]
    assert {(one["to"], one["source_addr"], one["source_addr_ton"]) for one in messages} == {
        (NUMBER, "Amazing", 5)
    }
    assert all(one["validity_period"] for one in messages)
    events = [report.events[0] for report in core.reports]
    assert {event.status for event in events} == {Status.DELIVERED}
    assert {event.provider_id for event in events} == {one.provider_id for one in receipts}


async def test_a_long_text_in_one_message(running, centre, sms):
    async with running(long_texts="message_payload") as plugin:
        for text in ("a" * 400, "’" * 400):
            await plugin.send_sms(sms(text))
    messages = (await centre.state())["messages"]
    assert [(one["payload"], one["text"]) for one in messages] == [(True, "a" * 400), (True, "’" * 400)]


async def test_a_failure_and_a_stop(plugin, centre, core, sms):
    await plugin.send_sms(sms(recipient=Secret("+447700900127")))
    await wait_until(lambda: core.reports, lambda: "no receipt")
    assert core.reports[0].events[0].status is Status.FAILED
    await centre.state(f"stop {NUMBER}")
    await wait_until(lambda: len(core.reports) == 2, lambda: "no STOP")
    (event,) = core.reports[1].events
    assert (event.status, event.recipient) == (Status.UNSUBSCRIBED, Secret(f"+{NUMBER}"))


async def test_a_wrong_password(running, sms):
    async with running(password="wrong") as plugin:
        with pytest.raises(Unavailable, match="ESME_RINVPASWD") as refused:
            await plugin.send_sms(sms())
    assert refused.value.misconfigured


async def test_it_binds_again_after_a_cut(plugin, centre, sms):
    await plugin.ping()
    for binds in (1, 2, 3):
        assert (await plugin.send_sms(sms())).provider_id
        assert (await centre.state("cut"))["binds"] == binds
        await wait_until(lambda: not plugin._binds[0].is_open, lambda: "the cut is not noticed")


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    options = ["-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(["openssl", "req", *options, *names], check=True, capture_output=True)
    return paths


async def test_tls(running, running_centre, certificate, sms):
    cert, key = certificate
    async with running_centre(cert=str(cert), key=str(key)) as centre:
        keys = {"port": centre.port, "tls": True}
        async with running(**keys, ca_file=str(cert)) as plugin:
            assert (await plugin.send_sms(sms())).provider_id
        async with running(**keys) as plugin:
            with pytest.raises(Unavailable, match="ca_file") as refused:
                await plugin.send_sms(sms())
        assert refused.value.misconfigured
        assert isinstance(refused.value.__context__, ssl.SSLError) is False
        async with running(**keys, ca_file=str(cert), host="localhost") as plugin:
            with pytest.raises(Unavailable):
                await plugin.send_sms(sms())
        async with running(port=centre.port) as plugin:
            with pytest.raises(Unavailable):
                await plugin.send_sms(sms())
        assert (await centre.state())["binds"] == 1
