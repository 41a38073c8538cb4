"""Whose a number or an address is, by the contact sources of the clients that an instance sends for."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gatepost.config.routes import Routes
from gatepost.contacts.addresses import canonical_email, canonical_phone
from gatepost.contacts.lookup import Contacts
from gatepost.errors import Unavailable
from gatepost.model import Channel, Secret
from gatepost.observe import logs, redaction
from gatepost.plugin_host.instances import Instance

_log = logs.get(__name__)


class Recipient(NamedTuple):
    """A canonical address or number, and the channel that it belongs to."""

    channel: Channel
    address: Secret


class User(NamedTuple):
    """A user of one client."""

    client: str
    ext_user_id: str


def canonical_recipient(recipient: Secret) -> Recipient | None:
    """Return the canonical form of an address or of a number with its country code; None where it is neither."""
    text = recipient.reveal()
    channel = Channel.EMAIL if "@" in text else Channel.SMS
    canonical = canonical_email(text) if channel is Channel.EMAIL else canonical_phone(text, "")
    return Recipient(channel, Secret(canonical)) if canonical else None


class UserSearch:
    """The sources that know whose a number or an address is, for each instance that reports one."""

    def __init__(self, contacts: Contacts, routes: Routes, timeout: float) -> None:
        """``timeout`` is in seconds and for each call."""
        self._contacts = contacts
        self._sources = {
            client: [one for one in instances if one.as_source.finds_users]
            for client, instances in contacts.sources.items()
        }
        self._routes = routes
        self._timeout = timeout

    async def find(
        self, instance: str, recipients: Sequence[Recipient]
    ) -> Mapping[Recipient, Sequence[User]]:
        """Return the users with each of these numbers and addresses, all of which are looked up at the same time.

        Only sources of the clients are asked whose messages the instance may send. Raises Unavailable when one of them
        can't answer now.
        """
        with redaction.redaction_scope(*(one.address for one in recipients)):
            async with asyncio.TaskGroup() as group:
                searches = {
                    (source.name, one): group.create_task(self._ask(source, one))
                    for one in recipients
                    for source in self._of_instance(instance, one.channel)
                }
        found = {key: search.result() for key, search in searches.items()}
        if None in found.values():
            raise Unavailable("a contact source can't say now whose a recipient is")
        candidates = [
            (one, source, User(client, ext_user_id))
            for one in recipients
            for client in self._clients(instance, one.channel)
            for source in self._sources[client]
            for ext_user_id in found[source.name, one] or ()
        ]
        # At the same time: a source that hangs would make each of them wait.
        are_used = await asyncio.gather(*(self._is_used(*one) for one in candidates))
        users: dict[Recipient, list[User]] = {one: [] for one in recipients}
        for (one, _, user), is_used in zip(candidates, are_used, strict=True):
            if is_used:
                users[one].append(user)
        return users

    async def _is_used(self, recipient: Recipient, source: Instance, user: User) -> bool:
        """Return whether messages to a user of this source may go to this number or address.

        They do not if an earlier source has another one: the number that a later source still has may be that of
        somebody else by now. Where that can't be said, the user is taken to be meant.
        """
        if source is self._contacts.sources[user.client][0]:
            return True
        found = await self._contacts.find(user.client, user.ext_user_id, recipient.channel)
        if found.recipient is None:
            return True
        # Sources find an address also in another case.
        return found.recipient.reveal().casefold() == recipient.address.reveal().casefold()

    def _of_instance(self, instance: str, channel: Channel) -> Iterable[Instance]:
        """Return each source of the clients of an instance, once."""
        clients = self._clients(instance, channel)
        return {source.name: source for client in clients for source in self._sources[client]}.values()

    def _clients(self, instance: str, channel: Channel) -> Sequence[str]:
        """Return the clients with a route of this channel to the instance."""
        rules = [rule for rule in self._routes.of(channel) if instance in rule.instances]
        return [
            client
            for client in self._sources
            if any(not rule.clients or client in rule.clients for rule in rules)
        ]

    async def _ask(self, source: Instance, recipient: Recipient) -> Sequence[str] | None:
        try:
            return await source.as_source.find_user(recipient.channel, recipient.address, self._timeout)
        except Unavailable as error:
            write = _log.error if error.misconfigured else _log.warning
            write("contact_source_unavailable", instance=source.name, reason=error.reason, code=error.code)
            return None
