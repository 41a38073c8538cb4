"""The oracle: compares what all sides saw with the promises, and counts the violations.

It is a pure function of a ``History``. Each kind of violation has a test with a planted defect.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

Figures = Mapping[str, object]
"""The figures of a scenario by their name in the table of results."""

ENDS = frozenset({"sent", "rejected", "failed"})

SLACK = 1.0
"""Seconds by which a send may be seen after the crash that excuses its resend: it was on the network."""

IN_FLIGHT = 10.0
"""Seconds after a send in which a crash may catch it before its answer is recorded."""


@dataclass(frozen=True)
class MessageRow:
    """A message in the store at the end."""

    uid: str
    state: str
    is_due: bool
    """Whether it has a due time."""


@dataclass(frozen=True)
class StatusRow:
    """A status in the store at the end."""

    status: str
    callback_state: str


@dataclass(frozen=True)
class Excuse:
    """An event after which messages may be sent once more."""

    time: float
    ids: frozenset[str] | None = None
    """The messages whose answer was lost; None for a crash, which may catch any message."""


@dataclass
class History:
    """What all sides saw. All times are seconds of one clock."""

    answers: dict[str, list[str]] = field(default_factory=dict)
    """By uid, every ext_message_id that Smartico got with error_code 0."""
    sends: list[tuple[float, str]] = field(default_factory=list)
    """The time and the id of every message that the provider took."""
    excuses: list[Excuse] = field(default_factory=list)
    reports: dict[str, set[str]] = field(default_factory=dict)
    """By message id, the statuses whose report the gateway answered with 200."""
    callbacks: list[tuple[str, str]] = field(default_factory=list)
    """Message id and status of every callback that Smartico acknowledged, in order."""
    rows: dict[str, MessageRow] = field(default_factory=dict)
    """By message id."""
    statuses: dict[str, list[StatusRow]] = field(default_factory=dict)
    """By message id, in the order in which they were recorded."""
    finished_twice: list[str] = field(default_factory=list)
    """Ids of messages that had ended, and then changed their state, holder or attempt."""


@dataclass
class Verdict:
    """The ids or uids of all messages that violate a promise; ``resent`` alone is not a violation."""

    lost: list[str] = field(default_factory=list)
    """Answered with 0, but not stored; or stored as sent, but not at the provider."""
    wrong_id: list[str] = field(default_factory=list)
    """Uids with two ids, and uids that share an id."""
    uncommitted: list[str] = field(default_factory=list)
    """Sent, but not stored."""
    duplicated: list[str] = field(default_factory=list)
    """Sent again without a crash or a lost answer after the send before."""
    unacknowledged: list[str] = field(default_factory=list)
    """With a status whose callback Smartico did not get, or without a status at the end."""
    out_of_order: list[str] = field(default_factory=list)
    """With callbacks in another order than the statuses."""
    stranded: list[str] = field(default_factory=list)
    """Neither ended nor due."""
    unfinished: list[str] = field(default_factory=list)
    """Not ended, although the test waited long enough."""
    finished_twice: list[str] = field(default_factory=list)
    resent: list[str] = field(default_factory=list)
    """Sent again with an excuse."""

    @property
    def violations(self) -> dict[str, int]:
        """The number of violations by kind; empty if all promises held."""
        counts = {one.name: len(getattr(self, one.name)) for one in fields(self) if one.name != "resent"}
        return {name: count for name, count in counts.items() if count}


def judge(history: History) -> Verdict:
    """Compare the history with the promises."""
    verdict = Verdict(finished_twice=list(history.finished_twice))
    sent = {message_id for _, message_id in history.sends}
    callbacks: dict[str, list[str]] = {}
    for message_id, status in history.callbacks:
        callbacks.setdefault(message_id, []).append(status)
    _judge_answers(history, verdict, sent)
    _judge_sends(history, verdict)
    for message_id, row in history.rows.items():
        if row.state not in ENDS:
            (verdict.unfinished if row.is_due else verdict.stranded).append(message_id)
    for message_id in {*history.statuses, *history.reports, *callbacks}:
        _judge_statuses(history, verdict, message_id, callbacks.get(message_id, ()))
    return verdict


def _judge_answers(history: History, verdict: Verdict, sent: set[str]) -> None:
    owner: dict[str, str] = {}
    for uid, ids in history.answers.items():
        row = history.rows.get(ids[0])
        is_shared = owner.setdefault(ids[0], uid) != uid
        if len(set(ids)) > 1 or is_shared or (row is not None and row.uid != uid):
            verdict.wrong_id.append(uid)
        if row is None or (row.state == "sent" and ids[0] not in sent):
            verdict.lost.append(uid)
        elif row.state in ENDS and not history.statuses.get(ids[0]):
            verdict.unacknowledged.append(ids[0])


def _judge_sends(history: History, verdict: Verdict) -> None:
    times: dict[str, list[float]] = {}
    for time, message_id in sorted(history.sends):
        times.setdefault(message_id, []).append(time)
    for message_id, sends in times.items():
        if message_id not in history.rows:
            verdict.uncommitted.append(message_id)
        for before, after in itertools.pairwise(sends):
            excused = any(
                before - SLACK <= excuse.time <= min(after, before + IN_FLIGHT)
                and (excuse.ids is None or message_id in excuse.ids)
                for excuse in history.excuses
            )
            (verdict.resent if excused else verdict.duplicated).append(message_id)


def _judge_statuses(history: History, verdict: Verdict, message_id: str, callbacks: Sequence[str]) -> None:
    rows = history.statuses.get(message_id, [])
    stored = [row.status for row in rows]
    reported = history.reports.get(message_id, set())
    all_acknowledged = all(row.callback_state == "acknowledged" for row in rows)
    if {*stored, *reported} - set(callbacks) or reported - set(stored) or not all_acknowledged:
        verdict.unacknowledged.append(message_id)
    first_callbacks = list(dict.fromkeys(callbacks))
    in_order = [status for status in stored if status in first_callbacks]
    # The callback of ``accepted`` may be repeated, but only before the one of the next status.
    after_accepted = itertools.dropwhile(lambda status: status == "accepted", callbacks)
    if first_callbacks != in_order or "accepted" in after_accepted:
        verdict.out_of_order.append(message_id)


def figures(history: History, verdict: Verdict) -> Figures:
    """Return the counts for the table of results."""
    return {
        "accepted": len(history.answers),
        "sends": len(history.sends),
        "callbacks": len(history.callbacks),
        "resent": len(verdict.resent),
        **verdict.violations,
    }
