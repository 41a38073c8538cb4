"""Methods that a plugin marks as hooks, and that are none: most are misspelled."""

import inspect
from collections.abc import Iterator

from gatepost import hookspecs
from gatepost.config.toml_table import closest_name


def unknown_hooks(plugin: object) -> Iterator[str]:
    """Yield what is wrong with each method that is marked with @hookimpl and is no hook of the contract."""
    for name, method in inspect.getmembers_static(type(plugin)):
        if hasattr(method, f"{hookspecs.PROJECT}_impl") and name not in hookspecs.HOOKS:
            closest = closest_name(name, hookspecs.HOOKS)
            question = f": is it {closest}?" if closest else f"; there are: {', '.join(hookspecs.HOOKS)}"
            yield f"has a hook {name}, which is not in the contract{question}"
