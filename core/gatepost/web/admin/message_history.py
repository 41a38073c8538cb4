"""What the store has of one message, read in one moment, and what the message depends on now."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from gatepost.config.settings import Settings
from gatepost.model import Channel
from gatepost.outbox import pauses, queries, refusals, warmups
from gatepost.outbox.audit import AuditView
from gatepost.outbox.message_acts import acts_on
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.pauses import Pause
from gatepost.outbox.queries import MessageView
from gatepost.outbox.records import Queue
from gatepost.outbox.refusals import RefusalView
from gatepost.outbox.states import State
from gatepost.outbox.warmups import WarmupView
from gatepost.upkeep.warmups import configured_warmups
from gatepost.web.admin.message_timeline import Step, Surroundings, timeline


class Found(NamedTuple):
    """What the store has of an id. ``acts`` and ``pauses`` are those of the only message."""

    messages: Sequence[MessageView]
    refusals: Sequence[RefusalView]
    """Of requests with this id as their uid, or with the uid of the only message."""
    acts: Sequence[AuditView]
    pauses: Sequence[Pause]
    warmups: Sequence[WarmupView]
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
        warmups.find(connection),
        now,
    )


def happened(message: MessageView, found: Found, settings: Settings) -> list[Step]:
    """Return the timeline of the only message that was found; a pause is in it if it stopped a plugin of its route."""
    same = [one for one in found.refusals if (one.client, one.channel) == (message.client, message.channel)]
    instances = {"", *instances_of(message, settings), *(one.instance for one in message.tries)}
    acts = [one for one in found.acts if one.target.get("plugin", "") in instances]
    return timeline(message, acts, same)


def surroundings(message: MessageView, found: Found, settings: Settings) -> Surroundings:
    """Return what the message depends on, but for the instances that rest, which only the gateway knows."""
    around = Surroundings(now=found.now / 1000, delivery=settings.delivery)
    if not depends_on_others(message):
        return around
    queue = Queue(0, Channel(message.channel), message.route, message.client)
    instances = instances_of(message, settings)
    stopping = [
        one
        for one in found.pauses
        if one.scope.matches(queue, one.scope.plugin) and one.scope.plugin in {"", *instances}
    ]
    full = [
        one
        for one in configured_warmups(settings, found.warmups)
        if one.instance in instances and one.is_full(around.now)
    ]
    return msgspec.structs.replace(around, pauses=stopping, full=full)


def instances_of(message: MessageView, settings: Settings) -> Collection[str]:
    """Return the instances that may send the message: of its route, or of all that its client may get."""
    routes = settings.routes.of(Channel(message.channel))
    own = [one for one in routes if one.name == message.route] or [
        one for one in routes if not one.clients or message.client in one.clients
    ]
    return {name for route in own for name in route.instances}


def depends_on_others(message: MessageView) -> bool:
    """Return whether pauses and resting instances delay the message."""
    return message.state in {State.QUEUED, State.SUSPECT}
