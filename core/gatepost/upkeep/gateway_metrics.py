"""The metrics of a gateway, with every series that its configuration can have."""

import platform
import time
from collections.abc import Mapping, Sequence

from gatepost import __version__
from gatepost.config.settings import Settings
from gatepost.hookspecs import API_VERSION
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Outbox
from gatepost.plugin_host.instances import Instance
from gatepost.upkeep.freshness import Freshness, freshness


def gateway_metrics(
    settings: Settings, instances: Mapping[str, Instance], outbox: Outbox, previous: Metrics | None = None
) -> Metrics:
    """Return the metrics; what the instances and the store count themselves is read at each scrape.

    ``previous`` are those of the configuration before, which go on.
    """
    senders = {name: one for name, one in instances.items() if one.channels}
    metrics = Metrics(
        clients=settings.clients,
        providers=senders,
        reporters=[name for name, one in instances.items() if one.channels or one.takes_webhooks],
        webhooks={name: one.retry_status for name, one in instances.items() if one.takes_webhooks},
        previous=previous,
    )
    metrics.add_gauge(
        "build_info",
        "The versions of Gatepost, of Python and of the plugin API",
        ["version", "python", "api_version"],
        lambda: {(__version__, platform.python_version(), str(API_VERSION)): 1.0},
    )
    metrics.add_counter(
        "plugin_violations",
        "How often a plugin violated its contract",
        ["plugin"],
        lambda: {(name,): one.violations for name, one in instances.items()},
    )
    metrics.add_counter(
        "contact_lookups_failed",
        "Lookups of users that a contact source failed to answer",
        ["plugin"],
        lambda: {(name,): one.as_source.failed_lookups for name, one in instances.items() if one.is_source},
    )
    _add_contacts(
        metrics, [one for one in instances.values() if one.is_source], settings.contacts.stale_after
    )
    _add_outbox(metrics, outbox, senders)
    return metrics


def _add_contacts(metrics: Metrics, sources: Sequence[Instance], stale_after: float) -> None:
    """Add what the sources say of their contacts; a source that does not say it has no series."""
    metrics.add_gauge(
        "contacts_users",
        "Users whom a contact source knows",
        ["plugin"],
        lambda: {
            (one.name,): float(found.users)
            for one in sources
            if (found := one.services.contacts) is not None and found.users is not None
        },
    )
    metrics.add_gauge(
        "contacts_age_seconds",
        "The age of a contact source's data",
        ["plugin"],
        lambda: {
            (one.name,): max(0.0, time.time() - found.as_of)
            for one in sources
            if (found := one.services.contacts) is not None and found.as_of is not None
        },
    )
    metrics.add_gauge(
        "contacts_stale",
        "Whether a contact source's data are stale, or their age is no longer known",
        ["plugin"],
        lambda: {
            (one.name,): float(found is not Freshness.FRESH)
            for one in sources
            if (found := freshness(one.services, stale_after)) is not Freshness.UNKNOWN
        },
    )


def _add_outbox(metrics: Metrics, outbox: Outbox, senders: Mapping[str, Instance]) -> None:
    measured = outbox.measurements
    measured.create([(name, channel) for name, one in senders.items() for channel in one.channels])
    metrics.add_histogram(measured.transactions)
    metrics.add_histogram(measured.deliveries)
    metrics.add_counter(
        "statuses",
        "Statuses of messages that were recorded, each once a message",
        ["plugin", "channel", "status"],
        lambda: measured.statuses,
    )
    metrics.add_counter(
        "messages_ended",
        "Messages that have ended, by their last state",
        ["channel", "state"],
        lambda: outbox.end_counts,
    )
    metrics.add_gauge("pauses", "Pauses in force", [], lambda: {(): len(outbox.pauses)})
