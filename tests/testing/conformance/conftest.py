"""The template's plugin and its emulated provider, for plugins that are wrong in one way each."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from gatepost.model import Channel, Status
from gatepost.testing.conformance import bench as benches
from gatepost.testing.conformance.bench import Bench
from gatepost.testing.conformance.people import PEOPLE
from gatepost.testing.conformance.provider import Emulated, Form, Trouble
from gatepost.testing.conformance.registry import Group, checks

TEMPLATE = Path(__file__).parents[3] / "plugin_template"

MEANINGS = {
    "sent": [Status.ACCEPTED],
    "delivered": [Status.DELIVERED],
    "failed": [Status.FAILED],
    "priced": [],
}


@pytest.fixture(scope="session")
def emulator_type():
    spec = spec_from_file_location("template_conftest", TEMPLATE / "tests" / "conftest.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ExampleEmulator


@pytest.fixture
async def provider(emulator_type):
    async with emulator_type() as emulator:
        for name, contact in PEOPLE.items():
            emulator.users[name] = {
                "id": name,
                "email": contact.email and contact.email.reveal(),
                "phone": contact.phone and contact.phone.reveal(),
            }
        yield emulator


@pytest.fixture
def verdict(provider, tmp_path, monkeypatch):
    """What a check has to say against a plugin, where something is expected; empty when nothing."""

    async def judge(check_id, plugin, expected):
        if re.search("deadline|did not end|ignores|still", expected):
            # What will never happen shall not keep us for long; on a busy machine other things may.
            for seconds in (0.4, 4.0):
                monkeypatch.setattr(benches, "PATIENCE", seconds)
                monkeypatch.setattr(benches, "RELEASE", seconds / 2)
                if re.search(expected, said := await once(check_id, plugin)):
                    return said
            monkeypatch.undo()
        return await once(check_id, plugin)

    async def once(check_id, plugin):
        bench = Bench(
            plugin=plugin,
            table={
                "api_key": provider.api_key,
                "base_url": provider.base_url,
                "webhook_secret": provider.webhook_secret,
            },
            provider=Emulated(provider),
            channels=[Channel.SMS, Channel.EMAIL],
            hooks=["send_sms", "find_contact"],
            plays=set(Trouble),
            reports_are=set(Form),
            at_port=lambda port: {"base_url": f"http://127.0.0.1:{port}"},
            meanings=MEANINGS,
            verification_keys={"webhook_secret"},
            people=PEOPLE,
            base=tmp_path,
        )
        check = checks()[check_id]
        try:
            await check.run(bench.on(Channel.SMS) if check.group is Group.SEND else bench)
        except AssertionError as error:
            return str(error)
        return ""

    return judge
