"""A provider that a table of the guide describes, over a whole gateway: 46elks, whose reports have our id in the URL."""

import re
import tomllib
from pathlib import Path

import pytest
from yarl import URL

from gatepost_http.testing import ElksEmulator
from wire.raw_server import Connection, RawServer

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "how-to" / "providers" / "http.md"
README = ROOT / "plugins" / "http" / "README.md"


def flat(name, table):
    """Yield a table and the tables inside it, by their names."""
    yield name, {key: value for key, value in table.items() if not isinstance(value, dict)}
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(f"{name}.{key}", value)


@pytest.fixture
async def elks(deployment, monkeypatch):
    blocks = re.findall(r"^```toml\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if "[plugins.elks]" in block]
    async with ElksEmulator() as emulator:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        deployment.emulators["elks"] = emulator
        deployment.tables["server"]["public_url"] = "https://gate.example"
        deployment.tables |= flat("plugins.elks", tomllib.loads(block)["plugins"]["elks"])
        deployment.tables["plugins.elks"]["base_url"] = emulator.base_url
        yield emulator


async def test_reports_may_be_verified_by_the_network_that_they_come_from(deployment, elks):
    """Many aggregators sign nothing, and say from which addresses they report."""
    table = deployment.tables["plugins.elks"]
    del deployment.tables["plugins.elks.webhook_token"]
    table["webhook_networks"] = ["203.0.113.0/24", "2001:db8::/32"]
    deployment.tables["server"]["trusted_proxies"] = ["127.0.0.1"]
    async with deployment.running(sms=["elks"]) as gateway:
        message = await deployment.sms()
        await deployment.hears(message, "accepted")
        (taken,) = elks.taken
        (body,) = elks.bodies([elks.event("delivered", taken)], batch=0)
        here = URL(
            f"{gateway.url}/webhooks/elks?{taken.message['whendelivered'].partition('?')[2]}", encoded=True
        )

        async def report_from(addresses, name="elks"):
            headers = {"X-Forwarded-For": addresses} if addresses else {}
            url = here.with_path(f"/webhooks/{name}", keep_query=True)
            async with gateway.http.post(url, data=body, headers=headers) as response:
                return response.status, await response.read()

        refused = [
            "",
            "198.51.100.7",
            # What a client writes itself stands to the left of what the proxy adds.
            "203.0.113.7, 198.51.100.7",
            "203.0.113.7, somewhere",
        ]
        for addresses in refused:
            assert await report_from(addresses) == await report_from(addresses, "nobody") == (404, b"")
        assert await report_from("198.51.100.7, 203.0.113.7") == (200, b"")
        await deployment.hears(message, "accepted", "delivered")
        assert (await report_from("2001:db8::7"))[0] == 200
        assert (await report_from("::ffff:203.0.113.8"))[0] == 200


async def test_a_report_from_the_network_still_needs_its_signature(deployment, elks):
    deployment.tables["plugins.elks"]["webhook_networks"] = ["127.0.0.1"]
    async with deployment.running(sms=["elks"]) as gateway:
        message = await deployment.sms()
        await deployment.hears(message, "accepted")
        (taken,) = elks.taken
        here = f"{gateway.url}/webhooks/elks?{taken.message['whendelivered'].partition('?')[2]}"
        delivered = [elks.event("delivered", taken)]
        assert await elks.report(delivered, to=here, tampering="forged") == [401]
        assert await elks.report(delivered, to=here) == [200]


async def test_a_get_that_is_lost_is_uncertain_and_its_url_is_in_no_log(deployment, monkeypatch, capfd):
    async def close(connection: Connection) -> None:
        await connection.read()

    (block,) = re.findall(r"^```text\n([^`]*GET[^`]*)^```", README.read_text("utf-8"), re.MULTILINE)
    for name in re.findall(r"env:([A-Z_]+)", block):
        monkeypatch.setenv(name, f"value-of-{name}")
    deployment.tables["server"]["public_url"] = "https://gate.example"
    table = tomllib.loads(block)["plugins"]["acme"]
    del table["answer"]["errors"]
    deployment.tables |= flat("plugins.acme", table)
    async with RawServer(close) as provider:
        deployment.tables["plugins.acme"]["base_url"] = provider.url
        async with deployment.running(sms=["acme"]) as gateway:
            await deployment.sms()
            await gateway.waits("sms", "uncertain")
            (_, ready), metrics = await gateway.get("/health/ready"), await gateway.metrics()
    (request,) = provider.requests
    assert "text=Hello" in request.target
    number = re.search(r"to=(\d+)", request.target)[1]
    log = "".join(capfd.readouterr())
    assert "the connection was lost after the request was out" in log
    written = f"{log} {ready} {metrics}".lower()
    for private in (number, number[3:], "hello", "value-of", "text=", "/send"):
        assert private not in written


async def test_a_text_message_goes_out_and_its_report_comes_back(deployment, elks):
    async with deployment.running(sms=["elks"]) as gateway:
        message = await deployment.sms()
        await deployment.hears(message, "accepted")
        (taken,) = elks.taken
        assert taken.message["message"] == "Hello there"
        url = taken.message["whendelivered"]
        assert url.startswith(f"https://gate.example/webhooks/elks?message={message}&token=")
        here = f"{gateway.url}/webhooks/elks?{url.partition('?')[2]}"
        delivered = [elks.event("delivered", taken)]
        assert await elks.report(delivered, to=here, tampering="forged") == [401]
        assert await elks.report(delivered, to=here.replace(message, "0" * 36)) == [200]
        assert await elks.report(delivered, to=here) == [200]
        await deployment.hears(message, "accepted", "delivered")
