"""STARTTLS at the bounce listener."""

import asyncio
import smtplib
import ssl

import pytest
import structlog
import trustme

from gatepost.errors import ConfigError
from gatepost_smtp.addresses import return_path
from gatepost_smtp.testing.bounces import BounceClient

ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"
ADDRESS = return_path(ID, "bounces.example", "a shared secret")
MAIL = "From: MAILER-DAEMON@mx.example\r\nX-Failed-Recipients: ann@post.example\r\n\r\nno such user"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def files(authority, tmp_path):
    """Write a certificate, and return the settings that name it."""
    certificate = authority.issue_cert("mx.bounces.example")
    return write(certificate, tmp_path)


def write(certificate, folder):
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "certificate.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    return {"bounce_certificate": folder / "certificate.pem", "bounce_key": folder / "key.pem"}


@pytest.fixture
async def listener(listening, files):
    async with listening(**files) as port:
        yield port


@pytest.fixture
def client_context(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def start_tls(client, context):
    await client.reply()
    await client.command("EHLO mx.example")
    assert await client.command("STARTTLS") == 220
    await client.writer.start_tls(context, server_hostname="mx.bounces.example")
    return client.writer.get_extra_info("peercert")["serialNumber"]


async def test_a_bounce_arrives_encrypted(recorder, listener, client_context):
    def deliver():
        with smtplib.SMTP("127.0.0.1", listener) as client:
            client._host = "mx.bounces.example"  # the name that it verifies
            client.starttls(context=client_context)
            client.ehlo()
            assert not client.has_extn("starttls")
            client.sendmail("", [ADDRESS], MAIL.encode())

    async with BounceClient.connected(listener):
        await asyncio.to_thread(deliver)

    assert recorder.events == [("failed", ID, "")]


async def test_the_dialogue_begins_anew_after_the_encryption(listener, client_context):
    async with BounceClient.connected(listener) as client:
        await start_tls(client, client_context)
        assert await client.command("MAIL FROM:<>") == 503
        assert await client.command("STARTTLS") == 502
        assert await client.command("QUIT") == 221


@pytest.mark.parametrize("more", ["NOOP\r\n", "x", f"MAIL FROM:<>\r\nRCPT TO:<{ADDRESS}>\r\n"])
async def test_commands_before_the_encryption_are_not_taken_for_encrypted_ones(listener, more):
    async with BounceClient.connected(listener) as client:
        await client.reply()
        await client.command("EHLO mx.example")
        client.writer.write(f"STARTTLS\r\n{more}".encode())
        assert await client.rest() == b"501 5.5.1 nothing may follow before the encryption\r\n"


@pytest.mark.parametrize("data", [b"", b"NOOP\r\n", b"\x16\x03\x01\x02\x00\x01", bytes(5000)])
async def test_a_failed_handshake_ends_the_connection(listener, client_context, data):
    async with BounceClient.connected(listener) as client:
        await client.reply()
        assert await client.command("STARTTLS") == 220
        client.writer.write(data)
        client.writer.write_eof()
        await client.rest()
    async with BounceClient.connected(listener) as client:
        await start_tls(client, client_context)


async def test_a_handshake_that_stops_is_given_up(listener, set_ahead):
    async with BounceClient.connected(listener) as client:
        await client.reply()
        assert await client.command("STARTTLS") == 220
        await asyncio.sleep(0.05)
        set_ahead(31)
        assert await client.rest() == b""


async def test_a_renewed_certificate_is_used_at_once(listener, authority, client_context, tmp_path):
    async with BounceClient.connected(listener) as client:
        before = await start_tls(client, client_context)
    write(authority.issue_cert("mx.bounces.example"), tmp_path)
    async with BounceClient.connected(listener) as client:
        after = await start_tls(client, client_context)

    assert before != after


async def test_a_certificate_that_can_not_be_read_any_more_stays_in_use(listener, client_context, tmp_path):
    (tmp_path / "key.pem").write_text("no key")
    serials = set()
    with structlog.testing.capture_logs() as logged:
        for _ in range(2):
            async with BounceClient.connected(listener) as client:
                serials.add(await start_tls(client, client_context))

    assert len(serials) == 1
    [record] = [one for one in logged if one["log_level"] == "error"]
    assert record["event"] == "certificate_not_renewed"


@pytest.mark.parametrize("setting", ["bounce_certificate", "bounce_key"])
async def test_a_file_that_can_not_be_read_is_a_fault(listening, files, tmp_path, setting):
    with pytest.raises(ConfigError, match=f"{setting}: can't be read"):
        async with listening(**files | {setting: tmp_path / "missing.pem"}):
            pass


async def test_files_that_do_not_belong_together_are_a_fault(listening, files, authority, tmp_path):
    authority.issue_cert("other.example").private_key_pem.write_to_path(tmp_path / "key.pem")
    with pytest.raises(ConfigError, match="this and bounce_key are not a matching pair"):
        async with listening(**files):
            pass
