"""The plugins that are installed, found by their entry points and imported when a configuration names them."""

import re
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

import msgspec

from gatepost import hookspecs
from gatepost.config.settings import CORE_KEYS
from gatepost.config.toml_table import closest_name
from gatepost.errors import ConfigError, Fault
from gatepost.observe import logs
from gatepost.observe.tracebacks import error_location

ENTRY_POINT_GROUP = "gatepost"

HOW_TO_INSTALL = (
    "Gatepost's own plugins are installed from your checkout of Gatepost, as in pip install ./plugins/{}; "
    "for others see their documentation"
)
"""The advice for a plugin that is not installed. Its name replaces the braces."""

_log = logs.get(__name__)


def installed() -> dict[str, EntryPoint]:
    """Return the installed plugins, by the name that `use` gives them. Imports none."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def settings_type(use: str) -> type[msgspec.Struct]:
    """Import one plugin and return its type of settings.

    Raises ConfigError, with a Fault that has no key, when it is not installed or can't be used.
    """
    plugin_settings: type[msgspec.Struct] = load(use).settings_type
    return plugin_settings


def load(use: str) -> type[Any]:
    """Import one plugin and return its class; raises as ``settings_type`` does."""
    entries = list(entry_points(group=ENTRY_POINT_GROUP, name=use))
    if not entries:
        raise _unusable(_not_installed(use))
    names = [entry.dist.name if entry.dist else "?" for entry in entries]
    if len(entries) > 1:
        raise _unusable(f"is offered by {' and by '.join(sorted(names))}: uninstall one of them")
    try:
        plugin = entries[0].load()
    except (Exception, SystemExit) as error:  # noqa: BLE001  importing a plugin may raise anything
        _log.debug("plugin_not_importable", distribution=names[0], exc_info=True)
        missing = f" {error.name}" if isinstance(error, ModuleNotFoundError) else ""
        location = error_location(error, entries[0].module.partition(".")[0])
        why = f"{type(error).__name__}{missing}{f' at {location}' if location else ''}"
        raise _unusable(f"the distribution {names[0]} can't be imported ({why})") from None
    problem = _class_problem(plugin)
    if problem:
        raise _unusable(f"the distribution {names[0]} can't be used: {problem}")
    return cast("type[Any]", plugin)


def implements(plugin: object, hook: str) -> bool:
    """Return whether a plugin's class, or an instance, has a method of this name that is marked as a hook."""
    return hasattr(getattr(plugin, hook, None), f"{hookspecs.PROJECT}_impl")


def _unusable(problem: str) -> ConfigError:
    return ConfigError([Fault("", problem)])


def _not_installed(use: str) -> str:
    names = sorted(installed())
    text = "no such plugin is installed; there are: " + (", ".join(names) or "none")
    # No other name is quoted: it may be a secret in the wrong place.
    if not re.fullmatch(r"[a-z]{1,16}(-[a-z]{1,16})?", use):
        return text
    closest = closest_name(use, names)
    return f"{text}; is it {closest}?" if closest else f"{text}. {HOW_TO_INSTALL.format(use)}"


def _class_problem(plugin: object) -> str:
    """Return why this object can't be a plugin's class; empty when it can."""
    if not isinstance(plugin, type):
        return "its entry point does not name a class"
    version = getattr(plugin, "api_version", None)
    if version != hookspecs.API_VERSION:
        written = f"number {version}" if isinstance(version, int) else "no number"
        return f"its api_version is {written}, this Gatepost's is {hookspecs.API_VERSION}; upgrade the older"
    settings = getattr(plugin, "settings_type", None)
    if not (isinstance(settings, type) and issubclass(settings, msgspec.Struct)):
        return "its settings_type is not a msgspec.Struct"
    if not settings.__struct_config__.frozen:
        return "its settings_type is not frozen"
    reserved = sorted({field.encode_name for field in msgspec.structs.fields(settings)} & set(CORE_KEYS))
    return f"its settings_type has keys that belong to the core: {', '.join(reserved)}" if reserved else ""
