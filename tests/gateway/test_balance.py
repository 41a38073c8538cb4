"""A split route that follows receipts, from outside: an instance that delivers nothing loses its share."""

import asyncio
import json
import re
import sqlite3
import time
from contextlib import closing

import pytest
from click.testing import CliRunner

from gatepost.cli import main
from gatepost.model import Secret
from gatepost.outbox import Policy, counters, open_outbox
from gatepost.outbox.cohorts import SCOPE_PREFIX, Counted, Group, counter_key
from gatepost.testing.configuration import free_port
from gatepost.upkeep.balance import Balancer

REASON = "infobip delivered 0 % of its last 200 in GB (vonage-eu 90 %)"

CHANGES = """
[[routes.sms]]
name = "uk"
split = { infobip = 50, vonage-eu = 50 }
balance = "receipts"

[plugins.infobip]
use = "sandbox"
folder = "infobip"

[plugins.vonage-eu]
use = "sandbox"
folder = "vonage-eu"
webhook_secret = "secret"
report_after = 0.02
"""


@pytest.fixture
def split_config(config):
    """Return a configuration in which both instances take everything, and only vonage-eu reports a delivery."""
    port = free_port()
    server = f'[server]\nport = {port}\npublic_url = "http://127.0.0.1:{port}"\n'
    return config.replace("[server]\nport = 0\n", server).replace(
        '[routes]\nemail = ["box"]\nsms = ["box"]\n', CHANGES
    )


async def plant_outage(folder):
    """Count what was sent in the last hour: for ten minutes infobip has delivered nothing."""
    now = round(time.time() * 1000)

    def add(tx, _items):
        # Two minutes more than are compared, because the decision may be made in the next minute.
        for age in range(2, 64):
            for instance, delivered in (("infobip", 0 if age < 14 else 18), ("vonage-eu", 18)):
                for kind, count in ((Counted.SENT, 20), (Counted.DELIVERED, delivered)):
                    counters.add(
                        tx, counter_key(Group("uk", "GB"), instance, now - age * 60_000, kind), count
                    )
        return [None]

    async with open_outbox(Secret("sqlite:///gatepost.db"), folder, Policy()) as outbox:
        await outbox.change(add, None)


def query(folder, statement):
    with closing(sqlite3.connect(folder / "gatepost.db")) as store:
        return store.execute(statement).fetchall()


async def run(folder, *arguments):
    arguments = [*arguments, "--config", str(folder / "gatepost.toml")]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


async def test_an_instance_that_delivers_nothing_loses_its_share(
    tmp_path, start, split_config, wait_until, monkeypatch
):
    await plant_outage(tmp_path)
    async with start(tmp_path, split_config):
        await wait_until(lambda: query(tmp_path, "SELECT 1 FROM shares WHERE factor = 0.5"))
    begin = round(time.time() * 1000) // 60_000 * 60_000
    # After a restart the shares hold before the loop has done anything.
    monkeypatch.setattr(Balancer, "run", lambda _: asyncio.sleep(0))
    async with start(tmp_path, split_config) as gateway:
        ids = [(await gateway.sms(f"uid-{number}"))["ext_message_id"] for number in range(8)]
        await gateway.settled()
        tries = dict(query(tmp_path, "SELECT instance, count(*) FROM attempts GROUP BY 1"))
        # Half of the half that infobip has by its weight.
        assert tries == {"infobip": 2, "vonage-eu": 6}
        counts = f"SELECT scope, sum(value) FROM counters WHERE period >= {begin} GROUP BY 1 ORDER BY 1"
        scope = f"{SCOPE_PREFIX}uk/GB/"
        await wait_until(
            lambda: (
                query(tmp_path, counts)
                == [
                    (f"{scope}infobip/sent", 2),
                    (f"{scope}vonage-eu/delivered", 6),
                    (f"{scope}vonage-eu/sent", 6),
                ]
            )
        )

        shown = [json.loads(await run(tmp_path, "messages", "show", one, "--json")) for one in ids]
        assert {message["tries"][0]["choice"] for message in shown} == {
            f"vonage-eu, because {REASON}",
            f"infobip, with 50 % of its share, because {REASON}",
        }
        text = " ".join((await run(tmp_path, "messages", "show", ids[0])).split())
        assert re.search(rf"Z \S+ \(.*{re.escape(REASON)}\): (sent|delivered) after \d\.\d+ s", text)
        assert f"uk in GB: infobip has 50 % of its share, because {REASON}" in " ".join(
            (await run(tmp_path, "status")).split()
        )
        (share,) = json.loads(await run(tmp_path, "status", "--json"))["store"]["shares"]
        assert (share["instance"], share["factor"], share["reason"]) == ("infobip", 0.5, REASON)
