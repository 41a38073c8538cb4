"""The providers' ids of messages: which message an id names, and ids that the gateway knows from a report alone."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import bindparam, delete, select, update

from gatepost.observe import redaction
from gatepost.outbox.fallback_store import REPORT_POSITION, MatchedEvent, reported_try
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import ReportedEvents, SendResult
from gatepost.outbox.schema import attempts
from gatepost.outbox.transaction import Record, Transaction, dialect_pair

ID_POSITION = REPORT_POSITION + 1_000
"""The position, in its attempt, of a try of which only the provider's id is known; behind those with a failure."""

_select_by_provider_id = dialect_pair(
    lambda _: select(attempts.c.provider_id, attempts.c.message_id).where(
        attempts.c.instance == bindparam("instance"), one_of(attempts.c.provider_id, IDS)
    )
)


def find_messages(
    tx: Transaction, reports: Sequence[ReportedEvents], known: Collection[str]
) -> dict[tuple[str, str], str]:
    """Return our ids by instance and provider's id, for events that name none of the ``known`` messages."""
    ids: dict[tuple[str, str], str] = {}
    for report in reports:
        provider_ids = {e.provider_id for e in report.events if e.provider_id and e.message_id not in known}
        for row in tx.select_by_ids(_select_by_provider_id, sorted(provider_ids), instance=report.instance):
            ids[report.instance, row.provider_id] = row.message_id
    return ids


def record_reported_ids(tx: Transaction, rows: Mapping[str, Record], matched: Sequence[MatchedEvent]) -> None:
    """Record the provider's ids of messages that a report names by both ids, where the send left none.

    An id that is recorded already, for whatever message, stays as it is. An id that looks like an address or a number is
    not recorded: whether it is the recipient's can't be known here. ``rows`` holds each message's ``attempt``.
    """
    reported: dict[str, dict[str, str]] = {}
    for _, message_id, instance, event in matched:
        # What was never claimed was never sent.
        if event.provider_id and event.message_id == message_id and rows[message_id].attempt:
            reported.setdefault(instance, {}).setdefault(event.provider_id, message_id)
    for instance, ids in reported.items():
        for row in tx.select_by_ids(_select_by_provider_id, sorted(ids), instance=instance):
            ids.pop(row.provider_id, None)
        if new := {one: message_id for one, message_id in ids.items() if redaction.redact(one) == one}:
            _record(tx, rows, instance, new)


# The last try that may have been accepted comes last.
_select_tries_without_id = dialect_pair(
    lambda _: (
        select(attempts.c.message_id, attempts.c.attempt, attempts.c.position)
        .where(
            one_of(attempts.c.message_id, IDS),
            attempts.c.instance == bindparam("instance"),
            attempts.c.provider_id.is_(None),
        )
        .order_by(attempts.c.outcome != "unavailable", attempts.c.attempt, attempts.c.position)
    )
)
_set_provider_id = (
    update(attempts)
    .where(
        attempts.c.message_id == bindparam("of_message"),
        attempts.c.attempt == bindparam("of_attempt"),
        attempts.c.position == bindparam("of_position"),
    )
    .values(provider_id=bindparam("provider_id"))
)


def _record(tx: Transaction, rows: Mapping[str, Record], instance: str, ids: Mapping[str, str]) -> None:
    tries: dict[str, list[Record]] = {}
    for row in tx.select_by_ids(_select_tries_without_id, sorted(set(ids.values())), instance=instance):
        tries.setdefault(row.message_id, []).append(row)
    found: list[dict[str, object]] = []
    missing: list[dict[str, object]] = []
    for provider_id, message_id in ids.items():
        if of_message := tries.get(message_id):
            last = of_message.pop()
            found.append(
                {
                    "of_message": message_id,
                    "of_attempt": last.attempt,
                    "of_position": last.position,
                    "provider_id": provider_id,
                }
            )
        else:
            # Its answer is not known yet, or never will be because the process died.
            missing.append(
                reported_try(
                    tx, rows[message_id], instance, "sent", position=ID_POSITION, provider_id=provider_id
                )
            )
    if found:
        tx.execute_many(_set_provider_id, found)
    if missing:
        tx.insert_new(attempts, missing)


_delete_reported_try = delete(attempts).where(
    attempts.c.message_id == bindparam("of_message"),
    attempts.c.attempt == bindparam("of_attempt"),
    attempts.c.position == ID_POSITION,
    attempts.c.outcome == "sent",
    attempts.c.provider_id == bindparam("of_provider_id"),
)


def replace_reported_tries(tx: Transaction, results: Sequence[SendResult]) -> None:
    """Delete what was recorded for these attempts from a report alone: their answers, which came later, say the same."""
    answered = [
        {"of_message": result.id, "of_attempt": result.attempt, "of_provider_id": one.provider_id}
        for result in results
        for one in result.tries
        if one.provider_id
    ]
    if answered:
        tx.execute_many(_delete_reported_try, answered)
