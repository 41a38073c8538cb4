"""A harness from a plugin's emulator, which declares what the checks need; for pytest and for commands."""

from pathlib import Path

from gatepost.hookspecs import HOOKS, SEND_HOOKS
from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.provider import provider_of
from gatepost.testing.conformance.registry import Case, cases, groups_of
from gatepost.testing.conformance.sample_contacts import BLOCKED_CONTACTS, SAMPLE_CONTACTS
from gatepost.testing.features import ContactFeature, Need
from gatepost.testing.kit_emulator import KitEmulator


def declared_by(emulator: type[KitEmulator]) -> frozenset[Need]:
    """Return what an emulator declares: how it fails, what it carries and how it reports."""
    return frozenset(
        {
            *emulator.failure_modes,
            *emulator.message_features,
            *emulator.report_features,
            *emulator.contact_features,
        }
    )


def emulated_harness(plugin: type, emulator: KitEmulator, base: Path) -> Harness:
    """Return a harness for every hook of a plugin on its running emulator; relative paths start from ``base``."""
    declared = declared_by(type(emulator))
    contacts = {**SAMPLE_CONTACTS, **(BLOCKED_CONTACTS if ContactFeature.BLOCKS in declared else {})}
    emulator.load_contacts(contacts)
    channels = [
        channel
        for channel, hook in SEND_HOOKS.items()
        if channel in emulator.channels and implements(plugin, hook)
    ]
    other_sends = {hook for channel, hook in SEND_HOOKS.items() if channel not in channels}
    hooks = [hook for hook in HOOKS if implements(plugin, hook) and hook not in other_sends]
    return Harness(
        plugin=plugin,
        table=emulator.table,
        provider=provider_of(emulator),
        channels=channels,
        hooks=hooks,
        declared=declared,
        recipient=emulator.recipient,
        table_for_port=emulator.table_for_port,
        table_for_tls_port=emulator.table_for_tls_port,
        meanings=emulator.meanings,
        verification_keys=emulator.verification_keys,
        contacts=contacts,
        base=base,
    )


def cases_of(harness: Harness) -> dict[str, Case]:
    """Return all cases for a harness, by id."""
    return cases(groups_of(harness.hooks), harness.channels, harness.declared)


def standalone_cases(harness: Harness) -> dict[str, Case]:
    """Return the cases for a harness that need no emulator, by id."""
    return {name: case for name, case in cases_of(harness).items() if case.check.standalone}
