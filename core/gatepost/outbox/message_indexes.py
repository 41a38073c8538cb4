"""Where an index names the messages that may meet a filter, so that the others need not be read."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from sqlalchemy import Column, Connection, Select, select, text, union_all

from gatepost.outbox.indexes import TROUBLED_MESSAGES, TROUBLED_STATUSES
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.queues import all_queues
from gatepost.outbox.schema import attempts, messages, statuses
from gatepost.outbox.states import FINAL_STATES, CallbackState

MAX_FEW = 20_000
"""Messages that are read one by one, because an index names them: within a second."""

MAX_FEW_OF_PAGE = 4_000
"""The same for a page, which nobody waits a second for."""

_MAX_FEW_OF_CLIENT = 2_000
"""The same where only the index on uids does: SQLite then reads each message's row."""


class Candidates(NamedTuple):
    """Ids that another table names in their order, so that messages without need not be read."""

    query: Select[tuple[str]]
    message_id: Column[str]


def all_troubled(wanted: MessageFilter) -> bool:
    """Return whether an index has the messages in these states in the order of their ids."""
    return bool(wanted.states) and not any(f"'{state}'" in TROUBLED_MESSAGES for state in wanted.states)


def candidates_of(wanted: MessageFilter) -> tuple[Candidates | None, MessageFilter]:
    """Return where the ids of the messages stand that may meet the conditions, and the conditions that remain."""
    if wanted.status is not None and f"'{wanted.status}'" not in TROUBLED_STATUSES:
        of_status = select(statuses.c.message_id).where(
            statuses.c.status == wanted.status.value, text(TROUBLED_STATUSES)
        )
        return Candidates(of_status, statuses.c.message_id), msgspec.structs.replace(wanted, status=None)
    if wanted.plugin and not all_troubled(wanted):
        of_plugin = select(attempts.c.message_id).where(attempts.c.instance == wanted.plugin).distinct()
        return Candidates(of_plugin, attempts.c.message_id), msgspec.structs.replace(wanted, plugin="")
    return None, wanted


def few_ids(connection: Connection, wanted: MessageFilter, max_few: int) -> list[str] | None:
    """Return the ids of the messages that may meet the conditions, where an index shows that they are few."""
    for query, limit_of_index in _indexed(connection, wanted):
        limit = min(limit_of_index, max_few)
        found = connection.execute(query.limit(limit + 1)).all()
        if len(found) <= limit:
            return [str(row[0]) for row in found]
    return None


def _indexed(connection: Connection, wanted: MessageFilter) -> Iterator[tuple[Select[tuple[str]], int]]:
    """Yield a query for each condition that an index answers by itself, and how many ids of it are few."""
    of_message = select(messages.c.id)
    of_status = select(statuses.c.message_id)
    if wanted.user:
        yield of_message.where(messages.c.ext_user_id == wanted.user), MAX_FEW
    if wanted.dead_callbacks:
        yield of_status.where(text(f"callback_state = '{CallbackState.DEAD}'")), MAX_FEW
    if wanted.failed_callbacks:
        # Each half within an index of its own.
        again = of_status.where(
            text(f"callback_state = '{CallbackState.QUEUED}'"),
            statuses.c.due_at.is_not(None),
            statuses.c.attempt > 0,
        )
        dead = of_status.where(text(f"callback_state = '{CallbackState.DEAD}'"))
        yield select(union_all(dead, again).subquery().c.message_id), MAX_FEW
    # A final state has no due time, and is in no index on these.
    if wanted.states and not FINAL_STATES & set(wanted.states):
        yield (
            of_message.where(
                messages.c.queue.in_([queue.id for queue in all_queues(connection)]),
                messages.c.state.in_([state.value for state in wanted.states]),
                messages.c.due_at.is_not(None),
            ),
            MAX_FEW,
        )
    if wanted.client:
        yield of_message.where(messages.c.client == wanted.client), _MAX_FEW_OF_CLIENT
