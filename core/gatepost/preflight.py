"""Faults of a configuration whose keys are all valid by themselves, found before anything is opened."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from gatepost import wire
from gatepost.alerts.receivers import receiver_faults
from gatepost.callback_urls import CallbackUrlPolicy, CallbackUrlRefused
from gatepost.config.certificate import certificate_faults
from gatepost.config.client import Client
from gatepost.config.console_faults import console_faults
from gatepost.config.settings import Server, Settings
from gatepost.config.toml_table import closest_name
from gatepost.contacts.addresses import canonical_email, check_region
from gatepost.content_keys import key_faults
from gatepost.errors import ConfigError, Fault, Refused
from gatepost.intake import mail_headers
from gatepost.intake.requests import MAX_NUMBER
from gatepost.links.faults import link_faults
from gatepost.model import Channel
from gatepost.outbox.store_url import sqlite_path
from gatepost.routing.rule_faults import rule_faults
from gatepost.routing.senders import sender_faults


def find_faults(settings: Settings, faulty_keys: Collection[str]) -> list[Fault]:
    """Return every fault, except those of ``faulty_keys``.

    These keys have a fault already, and the settings hold a default in place of their values.
    """
    found = [*_store(settings), *_server(settings.server), *_region(settings.contacts.default_region)]
    found += key_faults("store.content_keys", settings.store.content_keys)
    found += link_faults(settings, faulty_keys)
    for name, client in settings.clients.items():
        found += _client(f"clients.{name}", client, faulty_keys)
    found += [*_ambiguous_clients(settings.clients), *_shared_contacts(settings, faulty_keys)]
    found += _merging_first(settings)
    found += [*rule_faults(settings, faulty_keys), *_waits(settings, faulty_keys)]
    found += console_faults(settings.console, faulty_keys)
    found += receiver_faults(settings.alerts)
    return [fault for fault in found if fault.key not in faulty_keys]


def _waits(settings: Settings, faulty_keys: Collection[str]) -> Iterator[Fault]:
    """Yield a fault for each rule whose next plugin would only get messages that have failed already."""
    delivery = settings.delivery
    for channel, lifetime in (
        (Channel.EMAIL, delivery.email_lifetime),
        (Channel.SMS, delivery.sms_lifetime),
    ):
        if f"delivery.{channel}_lifetime" in faulty_keys:
            continue
        for position, route in enumerate(settings.routes.of(channel)):
            if route.next_after >= lifetime:
                yield Fault(
                    settings.routes.key(channel, position, "next_after"),
                    f"must be shorter than delivery.{channel}_lifetime, which is {lifetime:g} seconds: later the "
                    "message has failed, and the next plugin does not get it",
                )


def _store(settings: Settings) -> Sequence[Fault]:
    try:
        sqlite_path(settings.store.url, settings.path.parent)
    except ConfigError as error:
        return error.faults
    return ()


def _server(server: Server) -> Iterator[Fault]:
    yield from _public_url(server.public_url, "server.public_url")
    yield from certificate_faults(server.certificate, server.key, "server")


def _public_url(url: str, key: str) -> Sequence[Fault]:
    try:
        if url:
            wire.check_base_url(url, key)
    except ConfigError as error:
        return error.faults
    return ()


def _region(region: str) -> Sequence[Fault]:
    try:
        if region:
            check_region(region)
    except ConfigError as error:
        return error.faults
    return ()


def _client(path: str, client: Client, faulty_keys: Collection[str]) -> Iterator[Fault]:
    for position, secret in enumerate(client.authorization, start=1):
        if not _fits_in_header(secret.reveal()):
            yield Fault(
                f"{path}.authorization",
                f"entry {position} must not be empty, begin or end with a space, or hold a control character "
                "such as a line break: no HTTP header can have such a value",
            )
    for text in sender_faults(client.email_senders):
        yield Fault(f"{path}.email_senders", text)
    try:
        mail_headers.check_header_text("it", client.sms_default_sender, MAX_NUMBER)
    except Refused as error:
        yield Fault(f"{path}.sms_default_sender", error.message)
    for position, recipient in enumerate(client.preview_recipients, start=1):
        if canonical_email(recipient.reveal()) is None:
            text = f"entry {position} is not an address such as name@example.com"
            yield Fault(f"{path}.preview_recipients", text)
    yield from _public_url(client.public_url, f"{path}.public_url")
    yield from _callbacks(path, client, faulty_keys)


def _callbacks(path: str, client: Client, faulty_keys: Collection[str]) -> Iterator[Fault]:
    unusable = CallbackUrlPolicy.faults(client.callback_hosts)
    yield from (Fault(f"{path}.callback_hosts", text) for text in unusable)
    if not client.callback_url:
        return
    if not client.callback_api_key:
        yield Fault(f"{path}.callback_api_key", "is needed when callback_url is set")
    if not unusable and f"{path}.callback_hosts" not in faulty_keys:
        policy = CallbackUrlPolicy(client.callback_hosts, client.allow_private_callbacks)
        try:
            policy.check(client.callback_url)
        except CallbackUrlRefused as error:
            yield Fault(f"{path}.callback_url", str(error))


def _fits_in_header(text: str) -> bool:
    """Return whether a header can have this value, from which HTTP removes spaces at both ends."""
    return bool(text) and text == text.strip(" ") and not any(char < " " or char == "\x7f" for char in text)


def _ambiguous_clients(clients: Mapping[str, Client]) -> Iterator[Fault]:
    """Yield a fault for each pair of clients that one and the same request could come from."""
    names = list(clients)
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            one, other = clients[first], clients[second]
            if not any(a.overlaps(b) for a in one.allow_ips for b in other.allow_ips):
                continue
            if set(one.authorization) & set(other.authorization):
                yield Fault(
                    f"clients.{second}.authorization",
                    f"has a secret that clients.{first} has too, and their allow_ips overlap: a request with it "
                    "could come from either. Give each client a secret of its own",
                )
            if not (one.sms_authorization or other.sms_authorization):
                yield Fault(
                    f"clients.{second}.sms_authorization",
                    f"is false here and for clients.{first}, and their allow_ips overlap: a text message could "
                    "come from either. Set it to true for one of them at least",
                )


def _shared_contacts(settings: Settings, faulty_keys: Collection[str]) -> Iterator[Fault]:
    """Yield a fault for each client that shares a contact source, where one user id may belong to two people."""
    if len(settings.clients) < 2 or settings.contacts.shared:
        return
    if "contacts" in faulty_keys or _misspelled("contacts.shared", faulty_keys):
        return
    danger = "the same user id may belong to another person there"
    unless = "if these clients really have the same users, write shared = true in [contacts]"
    first: dict[str, str] = {}
    for name, client in settings.clients.items():
        key = f"clients.{name}.contacts"
        if not client.contacts and not _misspelled(key, faulty_keys):
            others = ", ".join(f"clients.{other}" for other in settings.clients if other != name)
            yield Fault(
                key,
                f"is missing, and there is also {others}: {danger}. "
                f'Name the sources of this client alone, as in contacts = ["players"]; {unless}',
            )
        for source in dict.fromkeys(client.contacts):
            other = first.setdefault(source, name)
            if other != name:
                yield Fault(
                    key,
                    f"{source} is also a source of clients.{other}: {danger}. "
                    f"Give each client sources of its own; {unless}",
                )


def _merging_first(settings: Settings) -> Iterator[Fault]:
    """Yield a fault for each source that completes those before it, and is the first."""
    lists = {f"clients.{name}.contacts": client.contacts for name, client in settings.clients.items()}
    for key, sources in {"contacts.sources": settings.contacts.sources, **lists}.items():
        first = settings.plugins.get(sources[0]) if sources else None
        if first is not None and first.merge:
            yield Fault(
                f"plugins.{first.name}.merge",
                f"is true, but {key} begins with {first.name}, which has no source before it to complete: move it "
                "behind another one, or leave merge out",
            )


def _misspelled(key: str, faulty_keys: Collection[str]) -> bool:
    """Return whether a key with a fault is ``key``, or is in the same table and is probably meant to be it."""
    table, _, name = key.rpartition(".")
    others = (one.rpartition(".") for one in faulty_keys)
    return any(other_table == table and closest_name(other, [name]) for other_table, _, other in others)
