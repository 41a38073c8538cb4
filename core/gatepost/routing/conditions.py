"""The conditions of a rule in canonical form, and whether a message meets them."""

from collections.abc import Iterator

import msgspec

from gatepost.config.routes import Route
from gatepost.contacts.addresses import canonical_email
from gatepost.model import Channel, Secret
from gatepost.routing.countries import country_of
from gatepost.routing.senders import canonical_senders, sender_listed


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions of one rule; an empty one is met by every message."""

    clients: frozenset[str]
    senders: frozenset[str]
    countries: frozenset[str]
    prefixes: tuple[str, ...]
    domains: frozenset[str]
    """Domains, and with ``*.`` before them all domains below one."""

    @classmethod
    def of(cls, route: Route, channel: Channel) -> "Conditions":
        """Return the conditions of a rule of this channel; entries that can't be used are left out."""
        senders = canonical_senders(route.senders) if channel is Channel.EMAIL else frozenset(route.senders)
        return cls(
            clients=frozenset(route.clients),
            senders=senders,
            countries=frozenset(route.countries),
            prefixes=route.prefixes,
            domains=frozenset(domain for text in route.domains if (domain := canonical_domain(text))),
        )

    @property
    def needs_recipient(self) -> bool:
        """Whether there is a condition on the recipient."""
        return bool(self.countries or self.prefixes or self.domains)

    def sender_fits(self, sender: str) -> bool:
        """Return whether a message from this sender meets the condition on senders."""
        return not self.senders or sender_listed(sender, self.senders)

    def recipient_fits(self, recipient: str) -> bool:
        """Return whether a number or an address meets the conditions on prefixes and domains."""
        return (not self.prefixes or recipient.startswith(self.prefixes)) and (
            not self.domains or domain_listed(_domain(recipient), self.domains)
        )

    def unmet(self, client: str, sender: str, recipient: Secret | None) -> Iterator[str]:
        """Yield in words each condition that a message does not meet; of the recipient only country and domain."""
        if self.clients and client not in self.clients:
            yield f"the client is none of its clients ({_listed(self.clients)})"
        if not self.sender_fits(sender):
            yield f"the sender is none of its senders ({_listed(self.senders)})"
        if recipient is None:
            return
        text = recipient.reveal()
        if self.countries and (country := country_of(text)) not in self.countries:
            yield f"the country of the number, {country or 'none'}, is not {_listed(self.countries, ' or ')}"
        if self.prefixes and not text.startswith(self.prefixes):
            yield f"the number does not begin with {_listed(self.prefixes, ' or ')}"
        if self.domains and not domain_listed(domain := _domain(text), self.domains):
            yield f"the domain of the address, {domain}, is not {_listed(self.domains, ' or ')}"


def canonical_domain(text: str) -> str | None:
    """Return an entry of ``domains`` in lower-case ASCII (IDNA); None when no address can be there."""
    below = text.startswith("*.")
    # A label before the rest: *.example is valid, and example alone is the domain of no address.
    address = canonical_email(f"x@x.{text[2:]}" if below else f"x@{text}")
    if address is None:
        return None
    return f"*{address[3:]}" if below else address[2:]


def domain_listed(domain: str, domains: frozenset[str]) -> bool:
    """Return whether a canonical domain, or ``*.`` and a domain above it, is in a canonical list."""
    if domain in domains:
        return True
    position = domain.find(".")
    while position >= 0:
        if f"*{domain[position:]}" in domains:
            return True
        position = domain.find(".", position + 1)
    return False


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _listed(words: frozenset[str] | tuple[str, ...], separator: str = ", ") -> str:
    return separator.join(sorted(words))
