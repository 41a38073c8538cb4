"""What must have been true, whatever was broken: counts of everything that went wrong.

Pure: it is given what all sides saw and touches nothing. Each of its counts has seen a bug planted for it.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

ENDS = frozenset({"sent", "rejected", "failed"})

SLACK = 1.0
"""Seconds by which the bench may see a send after the crash that it caused a repeat of: it was on the wire."""


IN_FLIGHT = 10.0
"""Seconds after a send in which a crash may have caught it: to be answered, and recorded."""


@dataclass(frozen=True)
class Row:
    """A message as the store has it at the end."""

    uid: str
    state: str
    waits: bool
    """Whether it has a due time."""


@dataclass(frozen=True)
class Told:
    """A status as the store has it at the end."""

    status: str
    callback_state: str


@dataclass(frozen=True)
class Excuse:
    """Something after which a message may be sent once more."""

    at: float
    ids: frozenset[str] | None = None
    """The messages whose answer was lost; None: a crash, which may have caught any."""


@dataclass
class History:
    """What all sides saw. Times are seconds of one clock."""

    answers: dict[str, list[str]] = field(default_factory=dict)
    """By uid, every ext_message_id that Smartico was given with error_code 0."""
    sends: list[tuple[float, str]] = field(default_factory=list)
    """When the provider took which message."""
    excuses: list[Excuse] = field(default_factory=list)
    reported: dict[str, set[str]] = field(default_factory=dict)
    """Statuses whose report the gateway answered with 200, by message."""
    heard: list[tuple[str, str]] = field(default_factory=list)
    """Message and status of every callback that Smartico answered with success, in their order."""
    rows: dict[str, Row] = field(default_factory=dict)
    statuses: dict[str, list[Told]] = field(default_factory=dict)
    """In the order in which they became known."""
    finished_again: list[str] = field(default_factory=list)
    """Messages that the store saw end and then end otherwise, or by another hand."""


@dataclass
class Verdict:
    """What went wrong: ids or uids of every violation. ``resent`` alone is no violation."""

    lost: list[str] = field(default_factory=list)
    """Answered with 0, and neither at a provider nor at an end that was told."""
    wrong_id: list[str] = field(default_factory=list)
    """Uids with two ids, or ids with two uids."""
    uncommitted: list[str] = field(default_factory=list)
    """Sent, and the store knows nothing of it."""
    duplicated: list[str] = field(default_factory=list)
    """Sent again, and no crash or lost answer since the send before."""
    unacknowledged: list[str] = field(default_factory=list)
    """Of which a status that is known was never heard."""
    out_of_order: list[str] = field(default_factory=list)
    stranded: list[str] = field(default_factory=list)
    """Neither at its end nor with a due time."""
    unfinished: list[str] = field(default_factory=list)
    """Not at its end although the bench waited."""
    finished_twice: list[str] = field(default_factory=list)
    resent: list[str] = field(default_factory=list)
    """Sent again with an excuse."""

    @property
    def violations(self) -> dict[str, int]:
        """What was violated, and how often; empty when all promises were kept."""
        counts = {one.name: len(getattr(self, one.name)) for one in fields(self) if one.name != "resent"}
        return {name: count for name, count in counts.items() if count}


def judge(history: History) -> Verdict:
    """Hold what happened against the promises."""
    verdict = Verdict(finished_twice=list(history.finished_again))
    sent = {identity for _, identity in history.sends}
    heard: dict[str, list[str]] = {}
    for identity, status in history.heard:
        heard.setdefault(identity, []).append(status)
    _answers(history, verdict, sent)
    _sends(history, verdict)
    for identity, row in history.rows.items():
        if row.state not in ENDS:
            (verdict.unfinished if row.waits else verdict.stranded).append(identity)
    for identity in {*history.statuses, *history.reported, *heard}:
        _statuses(history, verdict, identity, heard.get(identity, ()))
    return verdict


def _answers(history: History, verdict: Verdict, sent: set[str]) -> None:
    owner: dict[str, str] = {}
    for uid, ids in history.answers.items():
        row = history.rows.get(ids[0])
        others = owner.setdefault(ids[0], uid) != uid
        if len(set(ids)) > 1 or others or (row is not None and row.uid != uid):
            verdict.wrong_id.append(uid)
        if row is None or (row.state == "sent" and ids[0] not in sent):
            verdict.lost.append(uid)
        elif row.state in ENDS and not history.statuses.get(ids[0]):
            verdict.unacknowledged.append(ids[0])


def _sends(history: History, verdict: Verdict) -> None:
    times: dict[str, list[float]] = {}
    for at, identity in sorted(history.sends):
        times.setdefault(identity, []).append(at)
    for identity, moments in times.items():
        if identity not in history.rows:
            verdict.uncommitted.append(identity)
        for before, after in itertools.pairwise(moments):
            excused = any(
                before - SLACK <= excuse.at <= min(after, before + IN_FLIGHT)
                and (excuse.ids is None or identity in excuse.ids)
                for excuse in history.excuses
            )
            (verdict.resent if excused else verdict.duplicated).append(identity)


def _statuses(history: History, verdict: Verdict, identity: str, heard: Sequence[str]) -> None:
    known = history.statuses.get(identity, [])
    names = [one.status for one in known]
    wanted = {*names, *history.reported.get(identity, ())}
    told = all(one.callback_state == "acknowledged" for one in known)
    if wanted - set(heard) or set(history.reported.get(identity, ())) - set(names) or not told:
        verdict.unacknowledged.append(identity)
    first = list(dict.fromkeys(heard))
    in_order = [status for status in names if status in first]
    if first != in_order or "accepted" in heard[len(list(_leading(heard))) :]:
        verdict.out_of_order.append(identity)


def _leading(heard: Iterable[str]) -> Iterable[str]:
    for status in heard:
        if status != "accepted":
            return
        yield status


def figures(history: History, verdict: Verdict) -> Mapping[str, int]:
    """The counts that go into a table."""
    return {
        "accepted": len(history.answers),
        "sends": len(history.sends),
        "callbacks": len(history.heard),
        "resent": len(verdict.resent),
        **verdict.violations,
    }
