"""The checks that need no stand-in and disturb nobody, on a plugin as it is configured."""

from typing import NamedTuple

from gatepost.errors import ConfigError
from gatepost.observe import redaction
from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance.bench import Bench
from gatepost.testing.conformance.registry import Check, Group, of

_HOOKS = {
    Group.LIFESPAN: "lifespan",
    Group.PING: "ping",
    Group.CONTACTS: "find_contact",
    Group.WEBHOOKS: "parse_webhook",
}


class Verdict(NamedTuple):
    """What one check came to."""

    check: Check
    problem: str
    """What is wrong; empty when nothing is. Holds no secret and nobody's address."""


def applicable(plugin: type, *, live: bool) -> list[Check]:
    """The checks for what the class can do; with ``live`` also those that sign in to the provider."""
    groups = [Group.PLUGIN, Group.SETTINGS]
    groups += [group for group, hook in _HOOKS.items() if implements(plugin, hook)]
    if not live and Group.PING in groups:
        groups.remove(Group.PING)
    return [check for check in of(groups) if check.unattended]


async def judge(bench: Bench, check: Check) -> Verdict:
    """Run one check; whatever goes wrong is a problem of the plugin or its configuration."""
    try:
        await check.run(bench)
    except AssertionError as error:
        # Of the first line alone: where pytest has rewritten the check, values come after it.
        return Verdict(check, redaction.redact(str(error).partition("\n")[0]))
    except ConfigError as error:
        return Verdict(check, str(error))
    except Exception as error:  # noqa: BLE001  a plugin may raise anything; its text may hold anything
        return Verdict(check, f"it raised {type(error).__name__}")
    return Verdict(check, "")
