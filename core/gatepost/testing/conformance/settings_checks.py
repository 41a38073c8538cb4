"""Checks of every plugin's settings."""

import pprint
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec

from gatepost.config.settings import CORE_KEYS
from gatepost.errors import ConfigError
from gatepost.model import Secret
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.leaks import contains_any, text_of
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.fakes import FakeCore

_SECRET_NAME = re.compile(r"(password|passphrase|secret|token|api_?key|private_?key)(_file)?\Z")

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


@check(Group.SETTINGS, standalone=True)
async def frozen(harness: Harness) -> None:
    """Have a settings_type that is a frozen msgspec.Struct, as is every table inside it.

    Write `class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True)`, and each table inside it
    alike.
    """
    not_frozen = [
        kind.__name__ for kind in _structs(harness.plugin.settings_type) if not kind.__struct_config__.frozen
    ]
    assert not not_frozen, f"not frozen=True: {', '.join(not_frozen)}"


@check(Group.SETTINGS, standalone=True)
async def unknown_keys(harness: Harness) -> None:
    """Refuse unknown keys, also in the tables inside its table.

    Add forbid_unknown_fields=True, so that a misspelled key stops the start.
    """
    permissive = [
        kind.__name__
        for kind in _structs(harness.plugin.settings_type)
        if not kind.__struct_config__.forbid_unknown_fields
    ]
    assert not permissive, (
        f"these accept unknown keys, add forbid_unknown_fields=True: {', '.join(permissive)}"
    )


def _structs(kind: object) -> list[type[msgspec.Struct]]:
    """Return the settings' type and the structs in its fields."""
    assert isinstance(kind, type), "settings_type is not a class"
    assert issubclass(kind, msgspec.Struct), "settings_type is not a msgspec.Struct"
    found: list[type[msgspec.Struct]] = []
    waiting: list[object] = [kind]
    while waiting:
        one = waiting.pop()
        if isinstance(one, type) and issubclass(one, msgspec.Struct) and one not in found:
            found.append(one)
            waiting += [field.type for field in msgspec.structs.fields(one)]
        waiting += get_args(one)
    return found


@check(Group.SETTINGS, standalone=True)
async def core_keys(harness: Harness) -> None:
    """Use none of the core's keys.

    Rename the setting: the core reads a key of this name itself and does not pass it on.
    """
    taken = sorted(set(_fields(harness.plugin.settings_type)) & set(CORE_KEYS))
    assert not taken, f"these keys are the core's: {', '.join(taken)}"


@check(Group.SETTINGS, standalone=True)
async def secret_types(harness: Harness) -> None:
    """Use the type Secret for each key whose name says that it holds one.

    Use `Secret` of `gatepost.model`. Mark a value that anybody may see: Annotated[str, Meta(extra={"public":
    True})].
    """
    plain = [
        field.encode_name
        for table in _structs(harness.plugin.settings_type)
        for field in msgspec.structs.fields(table)
        if _SECRET_NAME.search(field.encode_name) and "Secret" not in str(field.type)
        if "Path" not in str(field.type) and not _is_public(field.type) and not _is_table(field.type)
    ]
    assert not plain, (
        f"these keys have the name of a secret, and their type is not Secret: {', '.join(plain)}"
    )


def _is_table(kind: object) -> bool:
    """Return whether a field's value is a table, the keys of which are checked themselves."""
    parts = get_args(kind)
    return (isinstance(kind, type) and issubclass(kind, msgspec.Struct)) or any(map(_is_table, parts))


def _is_public(kind: object) -> bool:
    """Return whether a field's type says that its value is no secret, such as the id of an API key."""
    meta = [one for one in get_args(kind) if isinstance(one, msgspec.Meta)]
    return any((one.extra or {}).get("public") is True for one in meta)


@check(Group.SETTINGS, standalone=True)
async def no_leaks_in_repr(harness: Harness) -> None:
    """Show no secret of the settings or the instance, in whatever way they are printed.

    Keep the Secret and not its value in attributes, and call reveal() only where the value is used.
    """
    settings, plugin = harness.settings(), harness.make_plugin()
    shown = "\n".join(
        [
            f"{settings} {settings!r} {settings:} {pprint.pformat(settings)}",
            f"{plugin} {plugin!r} {pprint.pformat(plugin)}",
            str(msgspec.structs.astuple(settings)),
        ]
    )
    assert not contains_any(shown, harness.secrets()), (
        "a secret can be read in the repr of the settings or the plugin"
    )


@check(Group.SETTINGS, standalone=True)
async def hostile_texts(harness: Harness) -> None:
    """Construct an instance or raise ConfigError, whatever the texts in its table are.

    Check each text in the constructor, and raise ConfigError with a Fault for each one that can't be used.
    """
    for key, text, error in _constructor_errors(harness):
        assert isinstance(error, ConfigError), (
            f"{key} = {text[:20]!r}: the constructor raised {type(error).__name__} instead of ConfigError"
        )


@check(Group.SETTINGS, standalone=True)
async def fault_keys(harness: Harness) -> None:
    """Name keys of its table in the faults of a ConfigError.

    Name the key in each Fault as it stands in the plugin's table: Fault("base_url", "must be a URL").
    """
    keys = set(_fields(harness.plugin.settings_type))
    for key, text, error in _constructor_errors(harness):
        if isinstance(error, ConfigError):
            unknown = [fault.key for fault in error.faults if fault.key.partition(".")[0] not in keys]
            assert error.faults, f"{key} = {text[:20]!r}: ConfigError without a fault"
            assert not unknown, (
                f"{key} = {text[:20]!r}: a fault's key is {unknown[0]!r}, not one of the table's"
            )


@check(Group.SETTINGS, standalone=True)
async def no_leaks_in_faults(harness: Harness) -> None:
    """Quote no secret in a ConfigError, neither that of its own key nor of another.

    Say what a value must be, not what it is, and raise with `from None` where the cause quotes it.
    """
    marked = {key: f"marked-{key}" for key, value in harness.table.items() if isinstance(value, str)}
    secret = {key: value for key, value in marked.items() if _is_secret(harness, key)}
    for changed in ({**harness.table, **secret}, {**harness.table, **marked}):
        for spoiled in (changed, *({**changed, key: text} for key in secret for text in (" \n", "ü☃"))):
            error = _error(harness, spoiled)
            values = [*harness.secrets(), *secret.values()]
            assert not contains_any(text_of(error), values), "the text of a ConfigError quotes a secret"


def _is_secret(harness: Harness, key: str) -> bool:
    return isinstance(getattr(harness.settings(), key, None), Secret)


def _constructor_errors(harness: Harness) -> Iterator[tuple[str, str, BaseException]]:
    """Yield each key and hostile text for which the constructor raises an error, and the error."""
    for key, value in harness.table.items():
        if not isinstance(value, str):
            continue
        for text in _HOSTILE_TEXTS:
            error = _error(harness, {**harness.table, key: text})
            if error is not None:
                yield key, text, error


def _error(harness: Harness, table: Mapping[str, Any]) -> BaseException | None:
    """Return what the constructor raised; None where it raised nothing or the types refuse the table."""
    try:
        settings = harness.settings(table)
    except (ConfigError, ValueError, OSError):
        return None
    try:
        harness.plugin(settings, FakeCore().context(folder=harness.base))
    except Exception as error:  # noqa: BLE001  the checks decide about it
        return error
    return None


def _fields(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]
