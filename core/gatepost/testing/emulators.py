"""The emulators that installed plugins offer, found by the entry points of the group ``gatepost.emulators``.

The entry point has the plugin's name, and names a class or function without arguments that returns a KitEmulator for
``gatepost conformance``, a DemoProvider for ``gatepost demo``, or, as every Emulator is, one that is both::

    [project.entry-points."gatepost.emulators"]
    acme-sms = "acme_sms.testing:AcmeSmsEmulator"
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

ENTRY_POINT_GROUP = "gatepost.emulators"


def installed() -> dict[str, EntryPoint]:
    """Return the entry points of the installed emulators, by the name of their plugin. Imports none."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def create(use: str) -> Any:
    """Return a new emulator for this plugin, not started yet: a KitEmulator, a DemoProvider or both.

    Raises LookupError where none is installed, and RuntimeError where it can't be imported or created.
    """
    entry = installed()[use]
    try:
        return entry.load()()
    except (ImportError, AttributeError, TypeError) as error:
        raise RuntimeError(f"the emulator {entry.value} of {use} can't be used: {error}") from None
