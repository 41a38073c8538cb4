"""What of a configuration can't be used, though each of its keys has the right type: before anything is opened."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from gatepost import wire
from gatepost.callback_urls import CallbackUrlPolicy, CallbackUrlRefused
from gatepost.config import certificate
from gatepost.config.settings import Client, Server, Settings
from gatepost.config.toml_table import nearest
from gatepost.contacts.addresses import canonical_email, check_region
from gatepost.errors import ConfigError, Fault
from gatepost.intake import mail_headers
from gatepost.outbox.store_url import sqlite_path


def faults(settings: Settings, known: Collection[str]) -> list[Fault]:
    """Everything that is wrong, but for keys in ``known``: what stands in the place of their value is ours."""
    found = [*_store(settings), *_server(settings.server), *_region(settings.contacts.default_region)]
    for name, client in settings.clients.items():
        found += _client(f"clients.{name}", client, known)
    found += [*_ambiguous(settings.clients), *_shared_contacts(settings, known)]
    return [fault for fault in found if fault.key not in known]


def _store(settings: Settings) -> Sequence[Fault]:
    try:
        sqlite_path(settings.store.url, settings.path.parent)
    except ConfigError as error:
        return error.faults
    return ()


def _server(server: Server) -> Iterator[Fault]:
    if server.public_url:
        try:
            wire.check_base_url(server.public_url, "server.public_url")
        except ConfigError as error:
            yield from error.faults
    if server.certificate and server.key:
        try:
            certificate.load(server.certificate, server.key)
        except ConfigError as error:
            yield from error.faults
    elif server.certificate or server.key:
        yield Fault("server.certificate", "certificate and key go together: set both or neither")


def _region(region: str) -> Sequence[Fault]:
    try:
        if region:
            check_region(region)
    except ConfigError as error:
        return error.faults
    return ()


def _client(path: str, client: Client, known: Collection[str]) -> Iterator[Fault]:
    for position, secret in enumerate(client.authorization, start=1):
        if not _fits_a_header(secret.reveal()):
            yield Fault(
                f"{path}.authorization",
                f"entry {position} must not be empty, begin or end with a space, "
                "or hold a control character such as a line break: no header can hold that",
            )
    for text in mail_headers.sender_faults(client.email_senders):
        yield Fault(f"{path}.email_senders", text)
    for position, recipient in enumerate(client.preview_recipients, start=1):
        if canonical_email(recipient.reveal()) is None:
            text = f"entry {position} is no address such as name@example.com"
            yield Fault(f"{path}.preview_recipients", text)
    yield from _callbacks(path, client, known)


def _callbacks(path: str, client: Client, known: Collection[str]) -> Iterator[Fault]:
    unusable = CallbackUrlPolicy.faults(client.callback_hosts)
    yield from (Fault(f"{path}.callback_hosts", text) for text in unusable)
    if not client.callback_url:
        return
    if not client.callback_api_key:
        yield Fault(f"{path}.callback_api_key", "is needed where there is a callback_url")
    if not unusable and f"{path}.callback_hosts" not in known:
        try:
            CallbackUrlPolicy(client.callback_hosts, client.allow_private_callbacks).check(
                client.callback_url
            )
        except CallbackUrlRefused as error:
            yield Fault(f"{path}.callback_url", str(error))


def _fits_a_header(text: str) -> bool:
    """Whether a header's value can be this text; spaces around it get lost on the way."""
    return bool(text) and text == text.strip(" ") and not any(char < " " or char == "\x7f" for char in text)


def _ambiguous(clients: Mapping[str, Client]) -> list[Fault]:
    """Pairs of clients that one and the same request could be from."""
    faults: list[Fault] = []
    names = list(clients)
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            one, other = clients[first], clients[second]
            if not any(a.overlaps(b) for a in one.allow_ips for b in other.allow_ips):
                continue
            if set(one.authorization) & set(other.authorization):
                faults.append(
                    Fault(
                        f"clients.{second}.authorization",
                        f"shares a secret and a network with clients.{first}: a caller could be either",
                    )
                )
            if not (one.sms_authorization or other.sms_authorization):
                faults.append(
                    Fault(
                        f"clients.{second}.sms_authorization",
                        f"is false here and for clients.{first}, and their allow_ips overlap: "
                        "a text message could be from either",
                    )
                )
    return faults


def _shared_contacts(settings: Settings, known: Collection[str]) -> Iterator[Fault]:
    """Clients that look users up in the same source, where one user id may be two people."""
    if len(settings.clients) < 2 or settings.contacts.shared:
        return
    if "contacts" in known or _misspelled("contacts.shared", known):
        return
    danger = "the same user id may be somebody else's there"
    unless = "if these clients really have the same users, write shared = true in [contacts]"
    first: dict[str, str] = {}
    for name, client in settings.clients.items():
        key = f"clients.{name}.contacts"
        if not client.contacts and not _misspelled(key, known):
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
                    f"{source} is a source of clients.{other} too: {danger}. "
                    f"Give each client sources of its own; {unless}",
                )


def _misspelled(key: str, known: Collection[str]) -> bool:
    """Whether a key at fault in this one's table is it, or is probably meant to be it."""
    table, _, name = key.rpartition(".")
    beside = (one.rpartition(".") for one in known)
    return any(where == table and nearest(other, [name]) for where, _, other in beside)
