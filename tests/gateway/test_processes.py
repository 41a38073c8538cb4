"""``gatepost serve --processes``: several gateways on one socket, with one parent."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.conftest import needs_hangups, sms, until
from torture.stores import Postgresql


@pytest.fixture
def several(deployment, postgres_server, tmp_path, monkeypatch):
    """The configuration of two gateways on PostgreSQL."""
    # No folder for temporary files, and a name in it would be too long for a socket.
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("x" * 100)))
    (tmp_path / ("x" * 100)).mkdir()
    deployment.tables["store"] = {"url": Postgresql(postgres_server).url}
    deployment.tables["plugins.box"] = {"use": "sandbox", "folder": "box"}
    deployment.tables["routes"] = {"sms": ["box"]}
    deployment.tables["logs"]["level"] = "info"
    return deployment


class Service:
    """The parent and its gateways."""

    def __init__(self, config):
        self.log = config.with_suffix(".log")
        arguments = ["-m", "gatepost", "serve", "--processes", "2", "--config", str(config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, *arguments], stdout=log, stderr=log)

    async def listening(self):
        await until(
            lambda: '"all_processes_listen"' in self.log.read_text() or self.process.poll() is not None
        )
        assert self.process.poll() is None, self.log.read_text()
        return re.search(r'"url": "([^"]+)"', self.log.read_text())[1]

    def gateways(self):
        """Return the process ids of its gateways."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def has_listener(self, url):
        """Return whether the parent itself has the socket at this address."""
        port = f":{int(url.rpartition(':')[2]):04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        # 0A: it listens.
        inodes = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(port) and row[3] == "0A"}
        found = set()
        for one in Path(f"/proc/{self.process.pid}/fd").iterdir():
            # It may be closed meanwhile.
            with suppress(FileNotFoundError):
                found.add(str(one.readlink()))
        return bool(found & inodes)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
async def service(several):
    service = Service(several.write())
    yield service
    if service.process.poll() is None:
        service.process.terminate()
        await asyncio.to_thread(service.process.wait, 60)


async def post(http, url, uid):
    async with http.post(f"{url}/sms", json=sms(uid), headers={"Authorization": "the-secret"}) as response:
        return (await response.json())["error_code"]


async def scrape(http, url):
    async with http.get(f"{url}/metrics") as response:
        text = await response.text()
    families = [*text_string_to_metric_families(text)]
    assert len({one.name for one in families}) == len(families)
    return [sample for family in families for sample in family.samples]


async def test_two_gateways_answer_at_one_address_and_one_that_dies_is_started_again(service, several, run):
    url = await service.listening()
    first = service.gateways()
    assert len(first) == 2
    # A connection of its own for each request, so that both get some.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        assert {await post(http, url, f"a-{number}") for number in range(40)} == {0}
        samples = await scrape(http, url)
        accepted = [
            one.value
            for one in samples
            if one.name == "gatepost_answers_total" and one.labels["code"] == "0" and one.labels["client"]
        ]
        assert sum(accepted) == 40
        assert {one.labels["process"] for one in samples} == {"1", "2"}

        os.kill(first[1], signal.SIGKILL)
        await until(lambda: len(set(service.gateways()) - set(first)) == 1)
        assert '"event": "process_died"' in service.log.read_text()
        assert {await post(http, url, f"b-{number}") for number in range(20)} == {0}
        await until(lambda: service.log.read_text().count('"event": "listening"') == 3)

        several.tables["clients.brand"]["authorization"] = ["another-secret"]
        several.write()
        assert "Taken over: 1 key has changed." in await run("reload")
        assert {await post(http, url, f"c-{number}") for number in range(20)} == {3}
    service.process.terminate()
    assert await asyncio.to_thread(service.process.wait, 60) == 0


@pytest.fixture
def watched(several, monkeypatch):
    """Let a service manager watch the parent: it watches the gateways for as long."""
    # Long enough for a gateway on a busy machine to give a sign of life in time.
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")


async def test_a_gateway_that_hangs_is_ended_and_started_again(watched, service):
    url = await service.listening()
    await until(lambda: service.log.read_text().count('"event": "listening"') == 2)
    first = service.gateways()
    os.kill(first[1], signal.SIGSTOP)
    await until(lambda: len(set(service.gateways()) - set(first)) == 1)

    log = service.log.read_text()
    assert log.index('"event": "process_hangs"') < log.index('"event": "process_died"')
    assert first[0] in service.gateways()
    await until(lambda: service.log.read_text().count('"event": "listening"') == 3)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        assert {await post(http, url, f"d-{number}") for number in range(10)} == {0}


@needs_hangups
async def test_a_hangup_during_the_start_is_a_reload_after_it(service):
    await until(service.gateways)
    service.process.send_signal(signal.SIGHUP)
    await service.listening()
    await until(lambda: '"event": "reloaded"' in service.log.read_text())


async def test_the_parent_has_no_socket_during_the_stop(service):
    """Else clients could go on to connect when no gateway accepts any more, and would be reset at the end."""
    url = await service.listening()
    assert service.has_listener(url)
    for pid in service.gateways():
        os.kill(pid, signal.SIGSTOP)
    service.process.terminate()
    await until(lambda: not service.has_listener(url))
    assert service.process.poll() is None
    for pid in service.gateways():
        os.kill(pid, signal.SIGCONT)
    assert await asyncio.to_thread(service.process.wait, 60) == 0


async def test_gateways_without_their_parent_end(several):
    """Without a folder for their sockets, too: then each shows its own metrics."""
    several.tables["server"]["admin_socket"] = "missing/gateway.sock"
    service = Service(several.write())
    url = await service.listening()
    left = service.gateways()
    async with aiohttp.ClientSession() as http:
        samples = await scrape(http, url)
    assert len({one.labels["process"] for one in samples}) == 1
    service.process.kill()
    await asyncio.to_thread(service.process.wait, 60)
    await until(lambda: not any(is_running(pid) for pid in left))
    assert service.log.read_text().count('"event": "parent_died"') == 2
    assert service.log.read_text().count('"event": "stopped"') == 2


async def test_a_fault_is_named_once_and_nothing_runs(several):
    several.tables["plugins.players"]["path"] = "missing.csv"
    service = Service(several.write())
    assert await asyncio.to_thread(service.process.wait, 60) == 1
    assert service.log.read_text().count("plugins.players.path") == 1


async def test_sqlite_is_for_one_process(several):
    del several.tables["store"]
    service = Service(several.write())
    assert await asyncio.to_thread(service.process.wait, 60) == 1
    assert "several processes need PostgreSQL" in service.log.read_text()
