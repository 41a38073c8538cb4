"""A real gateway and a message centre of another's making: receipts in any order, doubled and late, connections cut.

``GATEPOST_SMPP_MESSAGES=10000`` sends as many messages as the promise is about.
"""

import asyncio
import os
from collections import Counter, defaultdict

import pytest

from gatepost.testing.configuration import toml_table
from gatepost.testing.process import GatewayProcess
from gatepost.testing.smartico import Smartico

MESSAGES = int(os.environ.get("GATEPOST_SMPP_MESSAGES", "100"))
END_TIMEOUT = 60.0 + MESSAGES / 10
"""Seconds; never reached unless something is lost."""
MAX_REQUESTS = 50


def number_of(user):
    return f"44770{user:07}"


def write_config(folder, smartico, table):
    users = "".join(f"{user},,+{number_of(user)}\n" for user in range(MESSAGES))
    (folder / "contacts.csv").write_text(f"ext_user_id,email,phone\n{users}")
    tables = {
        "server": {"port": 0},
        "clients.smartico": {
            "authorization": [smartico.authorization],
            "allow_ips": ["127.0.0.1"],
            "callback_api_key": smartico.api_key,
            "callback_hosts": ["127.0.0.1"],
            "callback_url": smartico.callback_url,
            "allow_private_callbacks": True,
        },
        "contacts": {"sources": ["players"]},
        "delivery": {"uncertain_wait": 3.0},
        "routes": {"sms": ["centre"]},
        "plugins.players": {"use": "csv", "path": "contacts.csv"},
        "plugins.centre": {"use": "smpp", "connections": 2, "concurrency": 20, **table},
    }
    config = folder / "gatepost.toml"
    config.write_text("\n".join(toml_table(name, values) for name, values in tables.items()))
    config.chmod(0o600)
    return config


async def send_all(smartico):
    """Return the number of each message's recipient, by its id."""
    slots = asyncio.Semaphore(MAX_REQUESTS)

    async def send(user):
        async with slots:
            answer = await smartico.send_sms(ext_user_id=str(user), callback_url=None)
            return answer["ext_message_id"], number_of(user)

    return dict(await asyncio.gather(*map(send, range(MESSAGES))))


async def ended(smartico, count):
    """Return the statuses of each message, once so many have ended."""
    async with asyncio.timeout(END_TIMEOUT):
        while True:
            ends = [one for one in smartico.callbacks if one.status in {"delivered", "failed"}]
            if len({one.ext_message_id for one in ends}) >= count:
                break
            await asyncio.sleep(0.2)
    statuses = defaultdict(list)
    for callback in smartico.callbacks:
        statuses[callback.ext_message_id].append(callback.status)
    return statuses


async def settled(provider):
    """Return the state of the message centre once every receipt is acknowledged."""
    async with asyncio.timeout(END_TIMEOUT):
        while True:
            state = await provider.state()
            if not state["outstanding"]:
                return state
            await asyncio.sleep(0.1)


async def test_each_message_ends_once(tmp_path, running_centre):
    pytest.importorskip(
        "gatepost_csv", reason="gatepost-csv is not installed: the gateway needs a contact source"
    )
    storm = {"cut": min(0.02, 40 / MESSAGES), "latest": 1500}
    async with (
        running_centre(seed=4711, storm=storm) as provider,
        Smartico(api_key="key", authorization="secret") as smartico,
    ):
        gateway = GatewayProcess(write_config(tmp_path, smartico, provider.table))
        try:
            smartico.gateway_url = await asyncio.to_thread(gateway.start)
            numbers = await send_all(smartico)
            statuses = await ended(smartico, MESSAGES)
            state = await settled(provider)
            log = gateway.log.read_text()
        finally:
            gateway.kill()
    assert len(numbers) == len(set(numbers.values())) == MESSAGES
    assert statuses == {
        one: ["accepted", "failed" if number.endswith("7") else "delivered"]
        for one, number in numbers.items()
    }
    taken = Counter(state["taken"])
    assert taken.keys() == set(numbers.values()), "a message is lost"
    doubled = {number for number, count in taken.items() if count > 1}
    assert doubled <= state["cut"].keys(), "a message was sent twice although its answer came"
    assert state["cuts"] > 0
    assert state["acknowledged"] > MESSAGES, "no receipt was doubled"
    assert not any(number in log for number in numbers.values())
