"""What the store has of one message, read in one moment, and what the message depends on now."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from gatepost.config.settings import Delivery
from gatepost.model import Channel
from gatepost.outbox import pauses, queries, refusals
from gatepost.outbox.audit import AuditView
from gatepost.outbox.message_acts import acts_on
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.pauses import Pause
from gatepost.outbox.queries import MessageView
from gatepost.outbox.records import Queue
from gatepost.outbox.refusals import RefusalView
from gatepost.outbox.states import State
from gatepost.web.admin.message_timeline import Step, Surroundings, timeline


class Found(NamedTuple):
    """What the store has of an id. ``acts`` and ``pauses`` are those of the only message."""

    messages: Sequence[MessageView]
    refusals: Sequence[RefusalView]
    """Of requests with this id as their uid, or with the uid of the only message."""
    acts: Sequence[AuditView]
    pauses: Sequence[Pause]
    now: int
    """The store's time, in milliseconds since the epoch."""


def find(
    connection: Connection,
    identity: str,
    clock: Callable[[Connection], int],
    of_clients: Sequence[str] = (),
) -> Found:
    """Return what the store has of any id of a message; with ``of_clients`` only of messages of these."""
    found = queries.find_messages(connection, identity, of_clients=of_clients)
    message = found[0] if len(found) == 1 else None
    uid = identity if message is None else message.uid
    now = clock(connection)
    return Found(
        found,
        refusals.find_page(connection, MessageFilter(clients=tuple(of_clients)), uid=uid).refusals,
        acts_on(connection, message) if message else (),
        pauses.in_force(connection, now),
        now,
    )


def happened(message: MessageView, found: Found) -> list[Step]:
    """Return the timeline of the only message that was found."""
    same = [one for one in found.refusals if (one.client, one.channel) == (message.client, message.channel)]
    return timeline(message, found.acts, same)


def surroundings(message: MessageView, found: Found, delivery: Delivery) -> Surroundings:
    """Return what the message depends on, but for the instances that rest, which only the gateway knows."""
    around = Surroundings(now=found.now / 1000, delivery=delivery)
    if not depends_on_others(message):
        return around
    queue = Queue(0, Channel(message.channel), message.route, message.client)
    stopping = [one for one in found.pauses if one.scope.matches(queue, one.scope.plugin)]
    return Surroundings(now=around.now, delivery=delivery, pauses=stopping)


def depends_on_others(message: MessageView) -> bool:
    """Return whether pauses and resting instances delay the message."""
    return message.state in {State.QUEUED, State.SUSPECT}
