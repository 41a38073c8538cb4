"""The emulated provider of the template, and a fixture that runs one check on a plugin."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from gatepost.model import Channel, Status
from gatepost.testing.conformance import running_plugin
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.provider import EmulatedProvider, FailureMode, ReportFeature
from gatepost.testing.conformance.registry import Group, checks
from gatepost.testing.conformance.sample_contacts import BLOCKED_CONTACTS, SAMPLE_CONTACTS

CONTACTS = {**SAMPLE_CONTACTS, **BLOCKED_CONTACTS}

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
        for name, contact in CONTACTS.items():
            emulator.users[name] = {
                "id": name,
                "email": contact.email and contact.email.reveal(),
                "phone": contact.phone and contact.phone.reveal(),
                "blocked": contact.blocked,
            }
        yield emulator


@pytest.fixture
def verdict(provider, tmp_path, monkeypatch):
    """A function that runs one check on a plugin and returns the problem; empty where the plugin passes."""

    async def run(check_id, plugin, expected):
        if re.search("deadline|did not end|ignores|still", expected):
            # The first timeout is short, as the check waits for all of it; a busy machine may need the second.
            for seconds in (0.4, 4.0):
                monkeypatch.setattr(running_plugin, "CALL_TIMEOUT", seconds)
                monkeypatch.setattr(running_plugin, "CANCEL_TIMEOUT", seconds / 2)
                if re.search(expected, said := await once(check_id, plugin)):
                    return said
            monkeypatch.undo()
        return await once(check_id, plugin)

    async def once(check_id, plugin):
        harness = Harness(
            plugin=plugin,
            table={
                "api_key": provider.api_key,
                "base_url": provider.base_url,
                "webhook_secret": provider.webhook_secret,
            },
            provider=EmulatedProvider(provider),
            channels=[Channel.SMS, Channel.EMAIL],
            hooks=["send_sms", "find_contact"],
            failure_modes=set(FailureMode),
            report_features=set(ReportFeature),
            table_for_port=lambda port: {"base_url": f"http://127.0.0.1:{port}"},
            meanings=MEANINGS,
            verification_keys={"webhook_secret"},
            contacts=CONTACTS,
            base=tmp_path,
        )
        check = checks()[check_id]
        try:
            await check.run(harness.for_channel(Channel.SMS) if check.group is Group.SEND else harness)
        except AssertionError as error:
            return str(error)
        return ""

    return run
