"""A provider that a table of the guide describes, over a whole gateway: 46elks, whose reports have our id in the URL."""

import re
import tomllib
from pathlib import Path

import pytest

from gatepost_http.testing import ElksEmulator

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "providers" / "http.md"


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
