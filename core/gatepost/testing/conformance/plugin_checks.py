"""What holds for every plugin and for its settings, whatever it can do."""

import asyncio
import pprint
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec

from gatepost import hookspecs
from gatepost.config.settings import CORE_KEYS, InstanceSettings
from gatepost.errors import ConfigError
from gatepost.model import Secret
from gatepost.plugin_host.discovery import implements
from gatepost.plugin_host.instances import Instance
from gatepost.testing.conformance.bench import Bench
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.watching import (
    Watch,
    everything_in,
    found_in,
    noticed,
)

_SOUNDS_SECRET = re.compile(r"(password|passphrase|secret|token|api_?key|private_?key)(_file)?\Z")

_HOSTILE_TEXTS = (
    "",
    " ",
    "\0",
    "\n",
    "a\r\nb: c",
    "ü☃😀",
    "\ud800",
    "http://[",
    "http://user:hunter2@host.example:99999/",
    "{}%s${x}",
    "x" * 10_000,
)


@check(Group.PLUGIN, unattended=True)
async def version(bench: Bench) -> None:
    """Its api_version is the number of this contract."""
    number = getattr(bench.plugin, "api_version", None)
    assert number == hookspecs.API_VERSION, (
        f"api_version is {number!r}, this Gatepost's {hookspecs.API_VERSION}"
    )


@check(Group.PLUGIN, unattended=True)
async def hooks(bench: Bench) -> None:
    """Every hook is marked, async and known, so that the gateway takes it."""
    try:
        Instance(InstanceSettings(name="conformance", use="conformance"), bench.make())
    except ConfigError as error:
        raise AssertionError(str(error)) from None


@check(Group.PLUGIN)
async def declared(bench: Bench) -> None:
    """It has every hook that its suites declare."""
    missing = sorted(name for name in bench.hooks if not implements(bench.plugin, name))
    assert not missing, f"declared by a suite, but {bench.plugin.__name__} has no hook {', '.join(missing)}"


@check(Group.PLUGIN, unattended=True)
async def constructor(bench: Bench) -> None:
    """Its constructor opens nothing, calls nobody and starts nothing."""
    settings = bench.settings()
    watch = Watch()
    context = hookspecs.Context(name="conformance", log=watch.logger("conformance"))
    with noticed(), watch.mine():
        bench.plugin(settings, context)
    for task in watch.tasks:
        task.cancel()
    await asyncio.sleep(0)
    assert not watch.blocking, (
        f"the constructor calls {_listed(watch.blocking)}: that belongs into the lifespan"
    )
    assert not watch.tasks, "the constructor starts a task: that belongs into the lifespan"


@check(Group.SETTINGS, unattended=True)
async def frozen(bench: Bench) -> None:
    """Its settings_type is a frozen msgspec.Struct, and so is every table inside it."""
    soft = [
        kind.__name__ for kind in _structs(bench.plugin.settings_type) if not kind.__struct_config__.frozen
    ]
    assert not soft, f"not frozen=True: {', '.join(soft)}"


@check(Group.SETTINGS, unattended=True)
async def unknown_keys(bench: Bench) -> None:
    """A key that it does not know is refused, in the tables inside its table too."""
    lax = [
        kind.__name__
        for kind in _structs(bench.plugin.settings_type)
        if not kind.__struct_config__.forbid_unknown_fields
    ]
    assert not lax, f"an unknown key is taken, for want of forbid_unknown_fields=True: {', '.join(lax)}"


def _structs(kind: object) -> list[type[msgspec.Struct]]:
    """The settings' type and the structs that its fields are made of."""
    assert isinstance(kind, type), "settings_type is no class"
    assert issubclass(kind, msgspec.Struct), "settings_type is no msgspec.Struct"
    found: list[type[msgspec.Struct]] = []
    waiting: list[object] = [kind]
    while waiting:
        one = waiting.pop()
        if isinstance(one, type) and issubclass(one, msgspec.Struct) and one not in found:
            found.append(one)
            waiting += [field.type for field in msgspec.structs.fields(one)]
        waiting += get_args(one)
    return found


@check(Group.SETTINGS, unattended=True)
async def core_keys(bench: Bench) -> None:
    """None of its keys is one of the core's."""
    taken = sorted(set(_fields(bench.plugin.settings_type)) & set(CORE_KEYS))
    assert not taken, f"these keys are the core's: {', '.join(taken)}"


@check(Group.SETTINGS, unattended=True)
async def secrets_typed(bench: Bench) -> None:
    """What sounds like a secret is a Secret."""
    plain = [
        field.encode_name
        for field in msgspec.structs.fields(bench.plugin.settings_type)
        if _SOUNDS_SECRET.search(field.encode_name) and "Secret" not in str(field.type)
        if "Path" not in str(field.type)
    ]
    assert not plain, f"these keys sound secret, and are no Secret: {', '.join(plain)}"


@check(Group.SETTINGS, unattended=True)
async def secrets_unseen(bench: Bench) -> None:
    """Printing the settings or the instance, in any way, shows no secret."""
    settings, plugin = bench.settings(), bench.make()
    shown = "\n".join(
        [
            f"{settings} {settings!r} {settings:} {pprint.pformat(settings)}",
            f"{plugin} {plugin!r} {pprint.pformat(plugin)}",
            str(msgspec.structs.astuple(settings)),
        ]
    )
    assert not found_in(shown, bench.secrets()), "a secret can be read in the settings' or the plugin's repr"


@check(Group.SETTINGS, unattended=True)
async def hostile(bench: Bench) -> None:
    """Whatever a text of its table says, the constructor makes an instance or raises ConfigError."""
    for key, text, error in _refusals(bench):
        assert isinstance(error, ConfigError), (
            f"{key} = {text[:20]!r}: the constructor raised {type(error).__name__} instead of ConfigError"
        )


@check(Group.SETTINGS, unattended=True)
async def faults_placed(bench: Bench) -> None:
    """A ConfigError's faults name keys of its table."""
    keys = set(_fields(bench.plugin.settings_type))
    for key, text, error in _refusals(bench):
        if isinstance(error, ConfigError):
            strange = [fault.key for fault in error.faults if fault.key.partition(".")[0] not in keys]
            assert error.faults, f"{key} = {text[:20]!r}: ConfigError without a fault"
            assert not strange, f"{key} = {text[:20]!r}: a fault's key is {strange[0]!r}, which is no key"


@check(Group.SETTINGS, unattended=True)
async def faults_quote_nothing(bench: Bench) -> None:
    """A ConfigError quotes no secret, neither its own key's nor another's."""
    told = {key: f"tell-tale-{key}" for key, value in bench.table.items() if isinstance(value, str)}
    secret = {key: value for key, value in told.items() if _is_secret(bench, key)}
    for changed in ({**bench.table, **secret}, {**bench.table, **told}):
        for spoiled in (changed, *({**changed, key: text} for key in secret for text in (" \n", "ü☃"))):
            error = _error(bench, spoiled)
            values = [*bench.secrets(), *secret.values()]
            assert not found_in(everything_in(error), values), "the text of a ConfigError quotes a secret"


def _is_secret(bench: Bench, key: str) -> bool:
    return isinstance(getattr(bench.settings(), key, None), Secret)


def _refusals(bench: Bench) -> Iterator[tuple[str, str, BaseException]]:
    """What the constructor raises for hostile texts, one key after the other."""
    for key, value in bench.table.items():
        if not isinstance(value, str):
            continue
        for text in _HOSTILE_TEXTS:
            error = _error(bench, {**bench.table, key: text})
            if error is not None:
                yield key, text, error


def _error(bench: Bench, table: Mapping[str, Any]) -> BaseException | None:
    """What the constructor raised; None when it raised nothing, or the types already said no."""
    try:
        settings = bench.settings(table)
    except (ConfigError, ValueError, OSError):
        return None
    try:
        bench.plugin(settings, hookspecs.Context(name="conformance", log=Watch().logger("conformance")))
    except Exception as error:  # noqa: BLE001  judged by whoever asked
        return error
    return None


def _fields(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _listed(calls: list[str]) -> str:
    return ", ".join(sorted(set(calls)))
