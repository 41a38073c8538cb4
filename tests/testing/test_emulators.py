"""Emulators are found by their entry points: the demo, and tests of others, need no module's name."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from gatepost.testing import emulators
from gatepost.testing.emulator import Emulator
from gatepost_sendgrid.testing import SendGridEmulator
from gatepost_vonage.testing import VonageEmulator


@pytest.mark.parametrize(("use", "kind"), [("sendgrid", SendGridEmulator), ("vonage", VonageEmulator)])
async def test_an_installed_emulator_is_created_by_its_plugins_name(use, kind):
    async with emulators.create(use) as emulator:
        assert isinstance(emulator, kind)
        assert isinstance(emulator, Emulator)
        assert emulator.table["base_url"] == emulator.base_url


def test_a_plugin_without_an_emulator_is_a_lookup_error():
    with pytest.raises(LookupError):
        emulators.create("nobody")


@pytest.mark.parametrize(
    "value", ["no_such_module:Emulator", "gatepost.testing.emulator:NoSuchName", "gatepost.model:Email"]
)
def test_an_emulator_that_cannot_be_used_is_named(monkeypatch, value):
    entry = EntryPoint("broken", value, emulators.ENTRY_POINT_GROUP)
    monkeypatch.setattr(emulators, "entry_points", lambda group: [entry])

    with pytest.raises(RuntimeError, match=f"the emulator {value} of broken can't be used"):
        emulators.create("broken")


def test_looking_for_emulators_imports_none():
    program = (
        "import sys; from gatepost.testing import emulators; "
        "assert {'sandbox', 'sendgrid', 'vonage'} <= emulators.installed().keys(); "
        "print([name for name in sys.modules if name.endswith('.testing') and name != 'gatepost.testing'])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "gatepost_" not in shown.stdout
