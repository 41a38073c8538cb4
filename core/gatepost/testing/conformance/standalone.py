"""The checks that need no emulated provider, run on a plugin as it is configured."""

from typing import NamedTuple

from gatepost.errors import ConfigError
from gatepost.observe import redaction
from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.registry import Check, Group, checks_of

_HOOKS = {
    Group.LIFESPAN: "lifespan",
    Group.PING: "ping",
    Group.CONTACTS: "find_contact",
    Group.WEBHOOKS: "parse_webhook",
}


class CheckResult(NamedTuple):
    """The result of one check."""

    check: Check
    problem: str
    """What is wrong; empty where the plugin passes. Holds no secret, address or number."""


def standalone_checks(plugin: type, *, live: bool) -> list[Check]:
    """Return the checks for the hooks of the class; with ``live`` also those that call the provider."""
    groups = [Group.PLUGIN, Group.SETTINGS]
    groups += [group for group, hook in _HOOKS.items() if implements(plugin, hook)]
    if not live and Group.PING in groups:
        groups.remove(Group.PING)
    return [check for check in checks_of(groups) if check.standalone]


async def run_check(harness: Harness, check: Check) -> CheckResult:
    """Run one check and return its result; every error is a problem of the plugin or its configuration."""
    try:
        await check.run(harness)
    except AssertionError as error:
        # Only the first line: where pytest has rewritten the check, values follow.
        return CheckResult(check, redaction.redact(str(error).partition("\n")[0]))
    except ConfigError as error:
        return CheckResult(check, str(error))
    except Exception as error:  # noqa: BLE001  a plugin may raise anything, with any text
        return CheckResult(check, f"it raised {type(error).__name__}")
    return CheckResult(check, "")
