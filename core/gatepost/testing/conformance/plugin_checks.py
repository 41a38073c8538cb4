"""Checks of every plugin: its class, its hooks, its constructor."""

import asyncio
import threading
from difflib import get_close_matches

from gatepost import hookspecs
from gatepost.config.settings import InstanceSettings
from gatepost.errors import ConfigError
from gatepost.hookspecs import HOOKS, OptionalAttributes
from gatepost.plugin_host.discovery import implements
from gatepost.plugin_host.instances import Instance
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.recorder import Recorder, recording
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.fakes import FakeCore
from gatepost.testing.features import MessageFeature

_ATTRIBUTES = ("api_version", "settings_type", *OptionalAttributes.__annotations__)


@check(Group.PLUGIN, standalone=True)
async def version(harness: Harness) -> None:
    """Have the api_version of this contract.

    Set `api_version` to the number that the problem names, and look into the changelog for what is new in that
    contract.
    """
    number = getattr(harness.plugin, "api_version", None)
    assert number == hookspecs.API_VERSION, (
        f"api_version is {number!r}, this Gatepost's {hookspecs.API_VERSION}"
    )


@check(Group.PLUGIN, standalone=True)
async def starts(harness: Harness) -> None:
    """Be constructed with its table, and open.

    Raise ConfigError in the constructor for a setting that can't be used, and let the lifespan open without the
    provider.
    """
    async with harness.run_plugin():
        pass


@check(Group.PLUGIN, standalone=True)
async def hooks(harness: Harness) -> None:
    """Have only hooks that are marked, async and in the contract, so that the gateway accepts them.

    Copy the signature of each hook from `gatepost.hookspecs`, and mark it with @hookimpl.
    """
    try:
        Instance(InstanceSettings(name="conformance", use="conformance"), harness.make_plugin())
    except ConfigError as error:
        raise AssertionError(str(error)) from None


@check(Group.PLUGIN)
async def declared_hooks(harness: Harness) -> None:
    """Have every hook that its suites declare.

    Write the missing hook, or leave its suite out of the test class.
    """
    plugin = harness.make_plugin()
    missing = [name for name in HOOKS if name in harness.hooks and not implements(plugin, name)]
    assert not missing, f"declared by a suite, but {harness.plugin.__name__} has no hook {', '.join(missing)}"


@check(Group.PLUGIN, standalone=True)
async def attributes(harness: Harness) -> None:
    """Have usable values in the attributes of its class, and misspell none of their names.

    Correct the attribute that the problem names; `gatepost.hookspecs` says what each of them means.
    """
    plugin = harness.plugin
    delivers, seconds = getattr(plugin, "delivers", True), getattr(plugin, "replay_safe", 0.0)
    status = getattr(plugin, "retry_status", 503)
    assert isinstance(delivers, bool), f"delivers is {delivers!r}, not True or False"
    reports_itself = getattr(plugin, "reports_itself", False)
    assert isinstance(reports_itself, bool), f"reports_itself is {reports_itself!r}, not True or False"
    assert type(seconds) in {int, float}, f"replay_safe is {seconds!r}, not a number of seconds"
    assert 0 <= seconds <= 86_400, f"replay_safe is {seconds!r} seconds: a day is the most"
    assert type(status) is int and (status == 429 or 500 <= status <= 599), (  # noqa: PT018  one problem
        f"retry_status is {status!r}, not 429 or 500 to 599"
    )
    for name, value in vars(plugin).items():
        if not name.startswith("_") and not callable(value) and name not in _ATTRIBUTES:
            close = get_close_matches(name, _ATTRIBUTES, 1, 0.8)
            assert not close, f"{name} is no attribute of the contract: is it {close[0]}?"


@check(Group.PLUGIN)
async def replay_key(harness: Harness) -> None:
    """Send the idempotency key along where the class says that repeats are safe.

    Declare MessageFeature.IDEMPOTENCY_KEY, so that the key is compared with what the provider received; or
    leave `replay_safe` out.
    """
    safe = getattr(harness.plugin, "replay_safe", 0.0)
    assert not safe or MessageFeature.IDEMPOTENCY_KEY in harness.declared, (
        f"replay_safe is {safe:g}, and the suite does not declare MessageFeature.IDEMPOTENCY_KEY"
    )


@check(Group.PLUGIN, standalone=True)
async def constructor(harness: Harness) -> None:
    """Open nothing, call no server, and start no task and no thread in the constructor.

    Move it into the lifespan: a command that only reads the configuration constructs the plugin too.
    """
    settings = harness.settings()
    recorder, threads = Recorder(), set(threading.enumerate())
    context = FakeCore(recorder.logger("conformance")).context(folder=harness.base)
    with recording(), recorder.plugin_code():
        harness.plugin(settings, context)
    started = [thread.name for thread in threading.enumerate() if thread not in threads]
    for task in recorder.tasks:
        task.cancel()
    await asyncio.sleep(0)
    calls = ", ".join(sorted(set(recorder.blocking_calls)))
    assert not calls, f"the constructor calls {calls}: that belongs in the lifespan"
    assert not recorder.tasks, "the constructor starts a task: that belongs in the lifespan"
    assert not started, (
        f"the constructor starts a thread ({', '.join(started)}): that belongs in the lifespan"
    )
    assert not recorder.sockets_made, "the constructor makes a socket: that belongs in the lifespan"
