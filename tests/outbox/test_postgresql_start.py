"""What `gatepost check` and a start say about PostgreSQL, and about a pooler in front of it."""

import asyncio
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from gatepost.cli import check
from gatepost.errors import ConfigError
from gatepost.model import Secret
from gatepost.outbox import Policy, open_outbox
from torture.pgbouncer import PGBOUNCER, pooler

CONFIG = """\
[store]
url = "{url}"
[clients.brand]
authorization = ["the-secret"]
allow_ips = ["127.0.0.1"]
"""


@pytest.fixture
def store_line(tmp_path, monkeypatch):
    """Return a function for the line of `gatepost check` about a store; ``code`` is the expected exit code."""
    monkeypatch.setenv("COLUMNS", "300")
    file = tmp_path / "gatepost.toml"

    async def check_store(url, code=0):
        file.write_text(CONFIG.format(url=url))
        file.chmod(0o600)
        result = await asyncio.to_thread(CliRunner().invoke, check.command, ["--config", str(file)])
        assert result.exit_code == code, result.output
        (line,) = [one.strip() for one in result.output.splitlines() if " store" in one]
        return line

    return check_store


def opened(url, folder):
    return open_outbox(Secret(url), folder, Policy())


async def test_check_signs_in_and_creates_nothing(postgres_server, store_line, tmp_path):
    url = postgres_server.new_database()
    name = urlsplit(url).path.lstrip("/")

    assert await store_line(url) == "✓ store: PostgreSQL, signed in (will be created at the first start)"
    assert postgres_server.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", name) == "0"
    async with opened(url, tmp_path):
        assert await store_line(url) == "✓ store: PostgreSQL, signed in"
    newer = (
        "UPDATE alembic_version SET version_num = '9999'; UPDATE compatibility SET oldest_revision = '9998'"
    )
    postgres_server.psql(newer, name)
    assert "✗ store.url: a newer Gatepost has upgraded this store" in await store_line(url, code=1)


async def test_check_names_what_would_prevent_a_start(postgres_server, store_line):
    url = postgres_server.new_database()
    name = urlsplit(url).path.lstrip("/")
    postgres_server.psql("DROP ROLE IF EXISTS visitor; CREATE ROLE visitor LOGIN")
    visitor = url.replace("postgres:@", "visitor@")

    unreachable = "postgresql://gatepost@127.0.0.1:1/gatepost"
    assert "✗ store.url: PostgreSQL can't be reached (Connection refused)" in await store_line(
        unreachable, code=1
    )
    assert "✗ store.url: this user can't create tables in this database" in await store_line(visitor, code=1)
    postgres_server.psql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "✗ store.url: PostgreSQL takes no writes here" in await store_line(url, code=1)


@pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")
@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("transaction", {}),
        ("transaction", {"size": 1}),
        ("transaction", {"round_robin": True}),
        ("transaction", {"round_robin": True, "size": 3}),
        ("statement", {}),
        ("session", {}),
    ],
    ids=str,
)
async def test_start_and_check_name_a_pooler_that_keeps_no_sessions(
    postgres_server, store_line, tmp_path, mode, options
):
    with pooler(postgres_server.new_database(), mode, **options) as url:
        if mode == "session":
            async with opened(url, tmp_path):
                pass
            assert await store_line(url) == "✓ store: PostgreSQL, signed in"
            return
        for _ in range(2):
            with pytest.raises(ConfigError, match="pool_mode"):
                async with opened(url, tmp_path):
                    pytest.fail("must not open")
        assert "✗ store.url: " in (line := await store_line(url, code=1))
        assert "pool_mode" in line
