"""The gateway's own certificate: a running gateway uses a new one, but not an invalid one."""

import asyncio
import ssl
from datetime import UTC, datetime

import pytest
import trustme
from cryptography import x509
from structlog.testing import capture_logs

from gatepost.config import certificate


class Files:
    """The certificate file and the key file that the gateway reads."""

    def __init__(self, folder, authority):
        self.certificate, self.key = folder / "cert.pem", folder / "key.pem"
        self.authority = authority

    def write(self):
        """Write a new pair and return the certificate's serial number."""
        issued = self.authority.issue_cert("localhost", "127.0.0.1")
        issued.private_key_pem.write_to_path(self.key)
        issued.cert_chain_pems[0].write_to_path(self.certificate)
        return x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).serial_number


@pytest.fixture
def files(tmp_path, authority, monkeypatch):
    monkeypatch.setattr("gatepost.config.certificate.CHECK_INTERVAL", 0.01)
    return Files(tmp_path, authority)


@pytest.fixture
async def connect(authority):
    """A function that opens a TLS connection, with or without a host name in the handshake."""
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    opened = []

    async def open_connection(gateway, host="localhost"):
        port = int(gateway.url.rpartition(":")[2])
        connection = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=host)
        opened.append(connection[1])
        return connection

    yield open_connection
    for writer in opened:
        writer.transport.abort()
    await asyncio.sleep(0)


def serial_number(writer):
    """Return the serial number of the certificate that a connection uses."""
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(certificate).serial_number


async def is_live(reader, writer):
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = await reader.readuntil(b"\r\n\r\n")
    await reader.readuntil(b"}")
    return answer.startswith(b"HTTP/1.1 200 ")


async def test_a_new_certificate_is_used_while_clients_are_connected(
    files, start, config, tmp_path, connect, wait_until
):
    old = files.write()
    tls = config.replace("[server]", '[server]\ncertificate = "cert.pem"\nkey = "key.pem"')
    async with start(tmp_path, tls) as gateway:
        earlier = await connect(gateway)
        assert serial_number(earlier[1]) == old

        new = files.write()

        for host in ("localhost", "127.0.0.1"):

            async def is_new(host=host):
                return serial_number((await connect(gateway, host))[1]) == new

            await wait_until(is_new)
        assert serial_number(earlier[1]) == old
        assert await is_live(*earlier)


async def test_an_invalid_pair_is_logged_once_and_the_old_one_stays(
    files, start, config, tmp_path, connect, wait_until
):
    old = files.write()
    tls = config.replace("[server]", '[server]\ncertificate = "cert.pem"\nkey = "key.pem"')
    with capture_logs() as logged:

        def problems():
            return [one["problem"] for one in logged if one["event"] == "certificate_not_renewed"]

        async with start(tmp_path, tls) as gateway:
            other = trustme.CA().issue_cert("localhost")
            other.private_key_pem.write_to_path(files.key)
            await wait_until(lambda: len(problems()) == 1)
            assert serial_number((await connect(gateway))[1]) == old

            files.certificate.unlink()
            await wait_until(lambda: len(problems()) == 2)
            assert serial_number((await connect(gateway))[1]) == old
            assert await is_live(*await connect(gateway))

            new = files.write()

            async def is_new():
                return serial_number((await connect(gateway))[1]) == new

            await wait_until(is_new)
    # The gateway may have looked between the writes of the last pair: a new key without its certificate.
    assert problems()[0].startswith(
        "server.certificate: certificate and key are not a matching pair of PEM files"
    )
    assert problems()[1].startswith("server.certificate: can't be read (No such file or directory)")
    assert all(problem.endswith("; the old certificate stays in use") for problem in problems())


@pytest.mark.parametrize("year", [2030, 2049, 2050, 2070])
def test_the_end_of_a_certificate_is_read(tmp_path, authority, year):
    end = datetime(year, 3, 1, 12, 30, 5, tzinfo=UTC)
    path = tmp_path / "cert.pem"
    issued = authority.issue_cert("localhost", not_after=end)
    path.write_bytes(b"a comment\n" + issued.cert_chain_pems[0].bytes() + issued.cert_chain_pems[0].bytes())
    assert certificate.ends_at(path) == end.timestamp()


@pytest.mark.parametrize("damage", [b"", b"no certificate", b"cut", b"nonsense"])
def test_the_end_of_what_is_no_certificate_is_not_known(tmp_path, authority, damage):
    path = tmp_path / "cert.pem"
    pem = authority.issue_cert("localhost").cert_chain_pems[0].bytes()
    lines = pem.splitlines(keepends=True)
    contents = {b"cut": lines[0] + lines[-1], b"nonsense": lines[0] + b"AAAA\n" + lines[-1]}
    path.write_bytes(contents.get(damage, damage))
    assert certificate.ends_at(path) is None
    assert certificate.ends_at(tmp_path / "missing.pem") is None
