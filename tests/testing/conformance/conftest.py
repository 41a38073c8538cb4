"""A fixture that runs one check on a plugin, with an emulated provider of its own."""

import re

import pytest

from full_plugin import ExampleEmulator, Full, FullEmulator, Polling, PollingEmulator
from gatepost.model import Channel
from gatepost.testing.conformance import running_plugin
from gatepost.testing.conformance.declaration import emulated_harness
from gatepost.testing.conformance.registry import Case, Group, checks
from gatepost.testing.conformance.runner import error_of


def emulator_for(plugin):
    usual = FullEmulator if issubclass(plugin, Full) else ExampleEmulator
    return getattr(plugin, "own_emulator", PollingEmulator if issubclass(plugin, Polling) else usual)


@pytest.fixture
def verdict(tmp_path, monkeypatch):
    """A function that runs one check on a plugin and returns the problem; empty where the plugin passes."""

    async def run(check_id, plugin, expected):
        if re.search("deadline|did not end|ignores|still|is lost|not passed|never asks", expected):
            # The first timeout is short, as the check waits for all of it; a busy machine may need the second.
            for seconds in (0.4, 4.0):
                monkeypatch.setattr(running_plugin, "CALL_TIMEOUT", seconds)
                monkeypatch.setattr(running_plugin, "CANCEL_TIMEOUT", seconds / 2)
                if re.search(expected, said := await once(check_id, plugin)):
                    return said
            monkeypatch.undo()
        return await once(check_id, plugin)

    async def once(check_id, plugin):
        check = checks()[check_id]
        async with emulator_for(plugin)() as emulator:
            harness = emulated_harness(plugin, emulator, tmp_path)
            if check_id == "plugin.declared_hooks":
                harness.hooks = ["send_sms", "find_contact"]
            channel = getattr(plugin, "wrong_on", Channel.SMS) if check.group is Group.SEND else None
            error = await error_of(Case(check, channel), harness)
        if error is None:
            return ""
        return (
            str(error) if isinstance(error, AssertionError) else f"it raised {type(error).__name__}: {error}"
        )

    return run
