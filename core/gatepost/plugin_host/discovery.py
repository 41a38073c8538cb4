"""The plugin kinds of this environment: found by their entry points, loaded when a configuration names them."""

import difflib
import re
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

import msgspec

from gatepost import hookspecs
from gatepost.config.settings import CORE_KEYS
from gatepost.errors import ConfigError, Fault
from gatepost.observe import logs

GROUP = "gatepost"
"""Of entry points."""

HOW_TO_INSTALL = (
    "Gatepost's own are installed from your checkout of it, as in pip install ./plugins/{}; "
    "others as their authors say"
)
"""Of a plugin, whose name belongs into the braces."""

_log = logs.get(__name__)


def installed() -> dict[str, EntryPoint]:
    """The plugin kinds of this environment, by the name that `use` gives them."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def settings_type(use: str) -> type[msgspec.Struct]:
    """The settings of one plugin kind; imports that kind and no other.

    Raises ConfigError, with a Fault that has no key, when it is not installed or can't be used.
    """
    kind: type[msgspec.Struct] = load(use).settings_type
    return kind


def load(use: str) -> type[Any]:
    """The class of one plugin kind, fit to be made an instance of; raises as ``settings_type`` does."""
    entries = list(entry_points(group=GROUP, name=use))
    if not entries:
        raise _unusable(_not_installed(use))
    names = [entry.dist.name if entry.dist else "?" for entry in entries]
    if len(entries) > 1:
        raise _unusable(f"is offered by {' and by '.join(sorted(names))}: uninstall one of them")
    try:
        plugin = entries[0].load()
    except (Exception, SystemExit) as error:  # noqa: BLE001  a stranger's module may raise anything
        _log.debug("plugin_not_importable", distribution=names[0], exc_info=True)
        missing = f" {error.name}" if isinstance(error, ModuleNotFoundError) else ""
        place = logs.place(error, entries[0].module.partition(".")[0])
        why = f"{type(error).__name__}{missing}{f' at {place}' if place else ''}"
        raise _unusable(f"the distribution {names[0]} can't be imported ({why})") from None
    problem = _unfit(plugin)
    if problem:
        raise _unusable(f"the distribution {names[0]} can't be used: {problem}")
    return cast("type[Any]", plugin)


def _unusable(problem: str) -> ConfigError:
    return ConfigError([Fault("", problem)])


def _not_installed(use: str) -> str:
    names = sorted(installed())
    text = "no such plugin is installed; there are: " + (", ".join(names) or "none")
    # Nothing else is quoted: it may be a secret that stands in the wrong place.
    if not re.fullmatch(r"[a-z]{1,16}(-[a-z]{1,16})?", use):
        return text
    near = difflib.get_close_matches(use, names, 1)
    return f"{text}; is it {near[0]}?" if near else f"{text}. {HOW_TO_INSTALL.format(use)}"


def _unfit(plugin: object) -> str:
    """Why this class can't be a plugin; empty when it can."""
    if not isinstance(plugin, type):
        return "its entry point names no class"
    version = getattr(plugin, "api_version", None)
    if version != hookspecs.API_VERSION:
        written = f"number {version}" if isinstance(version, int) else "no number"
        return f"its api_version is {written}, this Gatepost's is {hookspecs.API_VERSION}; upgrade the older"
    kind = getattr(plugin, "settings_type", None)
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return "its settings_type is no msgspec.Struct"
    if not kind.__struct_config__.frozen:
        return "its settings_type is not frozen"
    taken = sorted({field.encode_name for field in msgspec.structs.fields(kind)} & set(CORE_KEYS))
    return f"its settings_type has keys that are the core's: {', '.join(taken)}" if taken else ""
