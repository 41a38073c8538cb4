"""``gatepost serve --processes``: several gateways on one socket, with one parent."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.conftest import sms, until
from torture.stores import Postgresql


@pytest.fixture
def several(deployment, postgres_server):
    """The configuration of two gateways on PostgreSQL."""
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
