"""What `gatepost check --live` says of the list in the guide "Mail that arrives", as far as the core can know it."""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from gatepost.cli.findings import Finding
from gatepost.config.client import Client
from gatepost.config.sender_domains import sender_domains
from gatepost.config.settings import Settings
from gatepost.links.mail import public_url
from gatepost.model import Channel
from gatepost.plugin_host.instances import Instance

_MAX_NAMED = 3
"""Domains that one finding names."""


def check_mail(settings: Settings, instances: Mapping[str, Instance]) -> Iterator[Finding]:
    """Yield the findings about mails that reach recipients, after the instances' pings."""
    for name, client in settings.clients.items():
        senders = _senders(settings, instances, name)
        if senders:
            yield from _unsubscribe(settings, f"clients.{name}", client, senders)
    for name in settings.routes.instances(Channel.EMAIL):
        instance = instances.get(name)
        if (
            instance
            and instance.delivers
            and not (instance.services.confirmations or instance.services.advice)
        ):
            yield Finding("note", f"plugins.{name}", _unseen_records(sender_domains(settings, name)))


def _senders(settings: Settings, instances: Mapping[str, Instance], client: str) -> Sequence[Instance]:
    """Return the instances that deliver this client's mails."""
    routes = [route for route in settings.routes.email if not route.clients or client in route.clients]
    names = dict.fromkeys(name for route in routes for name in route.instances)
    return [instances[name] for name in names if name in instances and instances[name].delivers]


def _unsubscribe(
    settings: Settings, key: str, client: Client, senders: Sequence[Instance]
) -> Iterator[Finding]:
    own = ", ".join(one.name for one in senders if one.settings.own_unsubscribe)
    others = ", ".join(one.name for one in senders if not one.settings.own_unsubscribe)
    if own:
        text = (
            f"one-click unsubscribe through {own}: left to the provider (own_unsubscribe): see that a mail which it sent has "
            "the header List-Unsubscribe-Post"
        )
        yield Finding("note", key, text)
    if others and not client.unsubscribe:
        yield Finding(
            "warning",
            f"{key}.unsubscribe",
            f"is false: mails through {others} have no one-click unsubscribe, which Gmail and Yahoo ask bulk senders "
            "for. Set it to true, or own_unsubscribe of a provider that adds it itself",
        )
    elif others:
        yield _unsubscribe_links(key, others, public_url(settings, client))


def _unsubscribe_links(key: str, senders: str, url: str) -> Finding:
    if urlsplit(url).scheme != "https":
        return Finding(
            "warning", f"{key}.unsubscribe", "has links without https, which mail programs never call"
        )
    return Finding("good", key, f"one-click unsubscribe: mails through {senders} have a link to {url}")


def _unseen_records(domains: Sequence[str]) -> str:
    named = ", ".join(domains[:_MAX_NAMED]) or "your sender domains"
    more = f" and {len(domains) - _MAX_NAMED} more" if len(domains) > _MAX_NAMED else ""
    return (
        "DKIM, SPF and DMARC are not looked at here: see in the provider's console that it signs for, and has verified, "
        f"{named}{more}"
    )
