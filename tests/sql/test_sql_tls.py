"""TLS to PostgreSQL with a certificate of an own authority. PgBouncer stands for a server: the wheel's has no TLS."""

import shutil
from pathlib import Path

import pytest
import trustme

from gatepost.errors import ConfigError
from gatepost.model import Contact, Secret
from gatepost.testing.configuration import free_port
from gatepost_sql.testing.tables import FIND
from torture.pgbouncer import PGBOUNCER, pooler

pytestmark = [
    pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed"),
    pytest.mark.parametrize("players", ["postgres"], indirect=True),
]

UNVERIFIED = "the database's certificate can't be verified"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def port(players, authority):
    """The port of a server that takes only TLS, with a certificate for localhost, and that knows ann."""
    players.create()
    players.add({"ann": Contact(email=Secret("ann@players.example"))})
    server = players._server
    issued = authority.issue_cert("localhost")
    folder = Path(server._folder)
    for name, pem in (("tls.crt", issued.cert_chain_pems[0]), ("tls.key", issued.private_key_pem)):
        pem.write_to_path(folder / name)
        shutil.chown(folder / name, folder.stat().st_uid)
    port = free_port()
    lines = f"""\
listen_addr = 127.0.0.1
client_tls_sslmode = require
client_tls_cert_file = {folder}/tls.crt
client_tls_key_file = {folder}/tls.key
"""
    with pooler(server.url(players.database), "session", port=port, lines=lines):
        yield port


@pytest.fixture
def url(players, port, authority, tmp_path):
    """A function that returns the URL with another host, option or file."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")

    def build(host="localhost", mode="verify-full", file="ca.pem"):
        address = f"postgresql://gatepost@{host}:{port}/{players.database}"
        return f"{address}?sslmode={mode}&sslrootcert={tmp_path / file}"

    return build


@pytest.fixture
def table(url):
    return {"url": url(), "query": FIND}


async def test_a_server_is_known_by_the_own_authority(running, core):
    async with running() as plugin:
        assert (await plugin.find_contact("ann")).email.reveal() == "ann@players.example"
    assert core.logged == []


@pytest.mark.parametrize(
    "wrong",
    [{"file": "other.pem"}, {"file": "other.pem", "mode": "verify-ca"}, {"host": "127.0.0.1"}],
    ids=str,
)
async def test_a_server_of_another_authority_or_name_is_refused(running, core, url, wrong):
    async with running(url=url(**wrong)):
        pass
    assert [entry["reason"] for entry in core.logged] == [UNVERIFIED]


async def test_a_file_that_is_missing_is_a_fault(running, url):
    with pytest.raises(ConfigError) as caught:
        async with running(url=url(file="missing.pem")):
            pass
    assert [fault.key for fault in caught.value.faults] == ["url"]


async def test_each_of_several_servers_is_verified_by_its_own_name(running, core, port, url):
    async with running(url=url(host=f"127.0.0.1:{port},localhost")) as plugin:
        assert await plugin.find_contact("ann")
    assert core.logged == []
