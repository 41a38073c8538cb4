"""What `gatepost serve` prints when it can't start: every fault on a line of its own, and nothing else."""

import asyncio
import json
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gatepost.outbox.sqlite import FileLock

CONFIG = """\
[server]
port = {port}
[store]
url = "{url}"
[clients.brand]
authorization = ["the-secret"]
allow_ips = ["127.0.0.1"]
[contacts]
sources = ["players"]
[logs]
format = "{log_format}"
level = "{level}"
[plugins.players]
use = "csv"
path = "{path}"
"""

DEFAULTS = {
    "port": 0,
    "url": "sqlite:///gatepost.db",
    "log_format": "json",
    "level": "info",
    "path": "contacts.csv",
}

UNWRITABLE = "/proc/nowhere"
"""A folder that not even root can create."""

ODD = """\
[plugins.{name}]
use = "odd"
fails_in = "{fails_in}"
"""

ODD_PLUGIN = """
import contextlib, os
import msgspec
from gatepost.errors import ConfigError, Fault
from gatepost.hookspecs import API_VERSION, hookimpl

KEY = "-".join(["tulgey", "key"])

class Settings(msgspec.Struct, frozen=True):
    fails_in: str

class Odd:
    api_version = API_VERSION
    settings_type = Settings

    def __init__(self, settings, context):
        self.fails_in = settings.fails_in
        context.log.warning("built")
        print("built", flush=True)
        if self.fails_in == "constructor":
            raise RuntimeError(KEY)

    @hookimpl
    @contextlib.asynccontextmanager
    async def lifespan(self):
        print("opening", flush=True)
        if self.fails_in == "lifespan":
            raise LookupError(KEY)
        if self.fails_in == "group":
            raise BaseExceptionGroup(KEY, [KeyError(KEY), SystemExit(3)])
        if self.fails_in == "faults":
            raise ConfigError([Fault("fails_in", "is odd"), Fault("", "is even\\nodder")])
        yield
"""


class Starts:
    """Configurations, each in a folder of its own, whose gateways are started at the same time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        site = folder / "site"
        metadata = site / "odd-1.0.dist-info"
        metadata.mkdir(parents=True)
        (site / "odd.py").write_text(ODD_PLUGIN)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("[gatepost]\nodd = odd:Odd\n")
        self.path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))

    def add(self, name: str, *fails_in: str, **fields: object) -> Path:
        """Write a configuration with an odd plugin for each of ``fails_in``, the part in which it fails."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "contacts.csv").write_text("ext_user_id,email,phone\n")
        text = CONFIG.format(**(DEFAULTS | fields))
        text += "".join(ODD.format(name=f"odd-{one}", fails_in=one) for one in fails_in)
        (folder / "gatepost.toml").write_text(text)
        return folder

    async def output_of(self, *names: str) -> list[list[str]]:
        """Start them at the same time; returns the lines that each prints on stderr.

        Checks that nothing is printed on stdout and that the exit code is 1.
        """
        results = await asyncio.gather(*map(self._run, names))
        for name, (code, out, err) in zip(names, results, strict=True):
            assert (name, code, out) == (name, 1, ""), err
            assert "tulgey-key" not in err
        return [err.splitlines() for _code, _out, err in results]

    async def _run(self, name: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gatepost", "serve", "--config", "gatepost.toml"),
            cwd=self.folder / name,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder / name), self.path])},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    def at(self, text: str) -> str:
        """Return the place where the odd plugin raises this."""
        plugin = self.folder / "site" / "odd.py"
        lines = plugin.read_text().splitlines()
        number = next(place for place, line in enumerate(lines, start=1) if f"raise {text}" in line)
        return f"{plugin}:{number}"


def faults(lines: list[str]) -> list[tuple[str, str]]:
    """Return the keys and the problems of a JSON log, which must have no other records."""
    records = [json.loads(line) for line in lines]
    assert {(one["event"], one["level"], one["config"]) for one in records} == {
        ("start_refused", "critical", "gatepost.toml")
    }
    return [(one["key"], one["problem"]) for one in records]


@pytest.fixture
def starts(tmp_path):
    return Starts(tmp_path)


async def test_all_faults_of_address_store_and_plugins_are_printed_at_once(starts):
    """The output of the plugins is dropped, unless the log's level is debug."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        folder = starts.add("opening", "lifespan", "group", "faults", port=port, path="missing.csv")
        starts.add("building", "constructor", "nothing")
        starts.add("verbose", "lifespan", level="debug", url=f"sqlite:///{folder}")
        lock = FileLock(folder / "gatepost.db")
        lock.acquire()
        try:
            opening, building, verbose = await starts.output_of("opening", "building", "verbose")
        finally:
            lock.release()

    in_use = (
        f"another gatepost has {folder}/gatepost.db open, and only one process can have it: "
        "stop that one, or use PostgreSQL for several"
    )
    could_not = "could not be opened: the plugin raised"
    assert faults(opening) == [
        ("server.port", f"another program listens on 127.0.0.1 port {port}: stop it, or choose another port"),
        ("plugins.players.path", f"{folder}/missing.csv: No such file or directory"),
        (
            "plugins.odd-lifespan",
            f"{could_not} LookupError at {starts.at('LookupError')}. Report this to the plugin's author",
        ),
        (
            "plugins.odd-group",
            f"{could_not} BaseExceptionGroup at {starts.at('BaseExceptionGroup')}. Report this to the plugin's author",
        ),
        ("plugins.odd-faults.fails_in", "is odd"),
        ("plugins.odd-faults", "is even\nodder"),
        ("store.url", in_use),
    ]
    problem = f"could not be built: the plugin raised RuntimeError at {starts.at('RuntimeError')}. Report this to the plugin's author"
    assert faults(building) == [("plugins.odd-constructor", problem)]
    records = [json.loads(line) for line in verbose]
    assert [one["key"] for one in records[-2:]] == ["plugins.odd-lifespan", "store.url"]
    assert records[-1]["problem"] == f"{folder} is a folder: name a file in it"
    traces = [one["exception"] for one in records if one["event"] == "plugin_not_opened"]
    assert [starts.at("LookupError").replace(":", '", line ') in one for one in traces] == [True]
    assert {"built", "printed"} <= {one["event"] for one in records}


async def test_a_store_that_cannot_be_opened_is_a_fault(starts, postgres_server):
    newer = starts.add("newer", log_format="console")
    with closing(sqlite3.connect(newer / "gatepost.db")) as database:
        database.execute("CREATE TABLE alembic_version AS SELECT '9999' AS version_num")
        database.commit()
    starts.add("away", url="postgresql://gatepost@127.0.0.1:1/gatepost")
    starts.add("missing", url=postgres_server.url("no_such_database"))
    starts.add("password", url=with_password(postgres_server, "vorpal"))
    driverless = starts.add("driverless", url="postgresql://gatepost@127.0.0.1:1/gatepost")
    (driverless / "asyncpg.py").write_text("raise ImportError")
    starts.add("unwritable", url=f"sqlite:///{UNWRITABLE}/gatepost.db")
    names = ("away", "missing", "password", "driverless", "unwritable")

    (line,), *refused = await starts.output_of("newer", *names)

    assert line.startswith(
        "gatepost.toml: store.url: a newer Gatepost has upgraded this store (revision 9999)"
    )
    assert [[(key, problem.partition(": ")[0]) for key, problem in faults(lines)] for lines in refused] == [
        [("store.url", "PostgreSQL can't be reached (Connection refused)")],
        [("store.url", "PostgreSQL has no database of this name")],
        [("store.url", "PostgreSQL refuses the user or the password of this URL")],
        [("store.url", "PostgreSQL needs the driver asyncpg")],
        [("store.url", f"{UNWRITABLE}/gatepost.db.lock can't be created (No such file or directory)")],
    ]
    assert "vorpal" not in str(refused)


def with_password(server, password):
    """Return the URL of a user who needs a password."""
    server.psql("DROP ROLE IF EXISTS guarded; CREATE ROLE guarded LOGIN PASSWORD 'right'")
    rules = Path(server.psql("SHOW hba_file"))
    if "guarded" not in rules.read_text():
        rules.write_text(f"local all guarded scram-sha-256\n{rules.read_text()}")
        server.psql("SELECT pg_reload_conf()")
    url = server.url("postgres").replace("postgres:@", f"guarded:{password}@")
    # The server takes a moment to read its rules.
    connect = [server.binary("psql"), "-c", "", url]
    while subprocess.run(connect, capture_output=True, check=False).returncode == 0:
        pass
    return url
