"""What this process measures of the store and of the statuses that it records, for the metrics."""

import time
from collections import Counter
from collections.abc import Collection

from gatepost.model import Channel, Status
from gatepost.observe.histogram import FAST, SLOW, Histogram
from gatepost.outbox.transaction import Transaction


class Measurements:
    """Everything here is from transactions that are on disk."""

    def __init__(self) -> None:
        self.transactions = Histogram(
            "store_transaction_duration_seconds", "Time that a transaction of the store took", [], FAST
        )
        self.transactions.create([()])
        self.deliveries = Histogram(
            "delivery_duration_seconds",
            "Time from the acceptance of a message to the report that it was delivered",
            ["plugin", "channel"],
            SLOW,
        )
        self.statuses: Counter[tuple[str, str, str]] = Counter()
        """The statuses recorded, by instance (empty where none has had the message), channel and status."""

    def create(self, instances: Collection[tuple[str, Channel]]) -> None:
        """Create every series of these instances and channels, at zero."""
        self.deliveries.create(instances)
        for name, channel in (*instances, *(("", channel) for channel in Channel)):
            self.statuses.update({(name, channel.value, status.value): 0 for status in Status})

    def note(self, transaction: Transaction) -> None:
        """Note a transaction that has just been committed."""
        self.transactions.observe(time.monotonic() - transaction.read_at)
        for message, one in transaction.new_statuses:
            self.statuses[one.instance, message.channel, one.status.value] += 1
            if one.status is Status.DELIVERED:
                seconds = max(0.0, (transaction.now - message.created_at) / 1000)
                self.deliveries.observe(seconds, one.instance, message.channel)
