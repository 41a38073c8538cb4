"""What is wrong with a plugin's hooks and attributes, found when an instance is built."""

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence

import pluggy

from gatepost import hookspecs

MAX_REPLAY_SAFE = 86_400.0
"""Seconds of ``replay_safe`` at most."""


def find_problems(plugin: object, hooks: Mapping[str, Sequence[pluggy.HookImpl]]) -> Iterable[str]:
    """Yield what is wrong with a plugin, of which ``hooks`` are the implementations by name."""
    for name, methods in hooks.items():
        yield from _hook_problems(plugin, name, methods)
    for name in ("find_contacts", "find_user"):
        if hooks[name] and not hooks["find_contact"]:
            yield f"implements {name} without find_contact"
    for name in ("delivers", "reports_itself"):
        if type(getattr(plugin, name, True)) is not bool:
            yield f"has a {name} that is not True or False"
    preview: object = getattr(plugin, "preview_request", None)
    if preview is not None and (not callable(preview) or inspect.iscoroutinefunction(preview)):
        yield "has a preview_request that is not a plain method"
    seconds: object = getattr(plugin, "replay_safe", 0.0)
    if not _is_number(seconds) or not 0 <= seconds <= MAX_REPLAY_SAFE:  # type: ignore[operator]
        yield f"has a replay_safe that is not a number of seconds from 0 to {MAX_REPLAY_SAFE:g}"
    status: object = getattr(plugin, "retry_status", 503)
    if type(status) is not int or not (status == 429 or 500 <= status <= 599):
        yield "has a retry_status that is not 429 or 500 to 599"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _hook_problems(plugin: object, name: str, methods: Sequence[pluggy.HookImpl]) -> Iterable[str]:
    """Yield what is wrong with a plugin's implementation of one hook."""
    if not methods:
        method = inspect.getattr_static(plugin, name, None)
        # A plugin that inherits from the hookspecs' Protocol has the hook's specification, but does not implement it.
        if method is not None and not hasattr(method, f"{hookspecs.PROJECT}_spec"):
            yield f"has a method {name} without @hookimpl"
        return
    if len(methods) > 1:
        yield f"implements {name} twice"
    function = methods[0].function
    if name not in {"lifespan", "find_contact"} and not inspect.iscoroutinefunction(function):
        yield f"must write {name} as an async def"
    if name == "lifespan" and (inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function)):
        yield "must write lifespan with @asynccontextmanager"
    # pluggy would call a hook without the parameters that it lacks; the core calls some hooks directly.
    parameters = [*inspect.signature(getattr(hookspecs.HOOKS[name], name)).parameters][1:]
    try:
        inspect.signature(function).bind(**dict.fromkeys(parameters))
    except TypeError:
        yield f"must write {name} with the parameters ({', '.join(['self', *parameters])})"
