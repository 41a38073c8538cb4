"""Where a plugin's package holds the report of its conformance run."""

from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

REPORT_FILE = "conformance.json"
"""The name of the report in the package; `gatepost conformance --save` writes it."""


def saved_report(entry: EntryPoint) -> Path | None:
    """Return the file of a plugin's report, which need not exist; None where the plugin is no package."""
    # Found without an import, which may fail in any way.
    spec = find_spec(entry.module.partition(".")[0])
    folders = spec.submodule_search_locations if spec else None
    return Path(folders[0], REPORT_FILE) if folders else None
