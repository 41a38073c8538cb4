"""The shares of a split route with ``balance = "receipts"``: they follow what the instances really deliver.

``decide`` compares each instance with the others of the same route and country, once a minute, and changes its factor:
the part of its configured share that it keeps. It is a pure function of the factors before and of counts in the store, so
it decides the same on every replica. `docs/explanation/balance.md` explains the rule and how it was tried.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from enum import Enum

import msgspec

from gatepost.outbox.cohorts import GRACE, WINDOWS, Cohort
from gatepost.routing.comparison import Comparison

MIN_MESSAGES = 50
"""Messages that each side must have in a window."""
WORSE_RATIO = 0.8
"""Below this ratio of the delivered parts, an instance is markedly worse than the others."""
EQUAL_RATIO = 0.9
"""From this ratio on, an instance is as good as the others."""
SIGNIFICANCE = 5.0
"""Standard deviations from which a difference is not taken for chance."""
DECREASE = 0.5
INCREASE = 2.0
SLOW_INCREASE = 2 ** (1 / 60)
"""Without a clear verdict a factor doubles in an hour."""
MIN_WAIT, MAX_WAIT = 10, 160
"""Minutes since the ratio was below ``WORSE_RATIO`` for the last time, before a factor is increased. They double each
time that the instance is worse again after an increase."""
WAIT_MEMORY = 360
"""Minutes without a ratio below ``WORSE_RATIO`` after which the wait is ``MIN_WAIT`` again."""
MIN_FACTOR = 0.1
"""The part of its share that an instance always keeps, so that its recovery is noticed."""
REPORTING_PART = 0.25
"""The delivered part of the last hour's messages that shows that an instance reports in time."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided about an instance. Only an instance that has reported in time has one."""

    factor: float
    """The part of its configured share that it keeps: from ``MIN_FACTOR`` to 1."""
    sent: int = 0
    delivered: int = 0
    """Of the messages that were compared last."""
    reason: str = ""
    """Why the factor is below 1: what the instance delivered when it was worse for the last time."""
    worse_at: int = 0
    """The last minute in which the ratio was below ``WORSE_RATIO``, by chance or not."""
    wait: int = MIN_WAIT
    """Minutes from ``worse_at`` until the factor may be increased."""
    increased: bool = False
    """Whether the factor was increased since the instance was worse."""
    measured_from: int = 0
    """The first minute whose reports could come in; what was sent before is not judged."""
    decided: int
    """The minute of the decision."""


class Verdict(Enum):
    """The result of a comparison, with the change of the factor."""

    WORSE = DECREASE
    PERHAPS_WORSE = 1.0
    UNCLEAR = SLOW_INCREASE
    EQUAL = INCREASE


Counts = Mapping[int, tuple[int, int]]
"""By minute: sent, and delivered of that."""


def decide(
    country: str,
    instances: Collection[str],
    shares: Mapping[str, Share],
    cohorts: Iterable[Cohort],
    minute: int,
    unmeasured: Collection[str] = (),
) -> dict[str, Share]:
    """Return the shares of one route's instances in one country, from ``minute`` on, which begins now.

    An instance without a share keeps what is configured. ``unmeasured`` are those whose reports can't come in at this
    moment, such as after a refused webhook. A second decision in the same minute changes nothing.
    """
    known = {name: share for name, share in shares.items() if name in instances}
    if any(share.decided >= minute for share in known.values()):
        return known
    counts = _counts(known, cohorts, minute)
    measured = [
        name
        for name in instances
        if name not in unmeasured and (name in known or _reports_in_time(counts[name]))
    ]
    decided = {
        name: _unjudged(share, minute, measured=name not in unmeasured) for name, share in known.items()
    }
    for name in measured:
        others = [other for other in measured if other != name]
        verdict, comparison = _judge(counts[name], [counts[other] for other in others], minute)
        reason = _reason(name, others, country, comparison) if verdict is Verdict.WORSE else ""
        share = known.get(name, Share(factor=1.0, decided=minute))
        decided[name] = _judged(share, verdict, comparison, reason, minute)
    return _normalized(instances, decided)


def split_factors(weights: Mapping[str, float], shares: Mapping[str, Share]) -> dict[str, float]:
    """Return what the weights of a split are multiplied by, from above 0 to 1.

    An instance with a factor below 1 then gets that part of its configured share. What it loses goes to the instances
    with a factor of 1, in proportion to their weights.
    """
    factors = {name: shares[name].factor if name in shares else 1.0 for name in weights}
    full = sum(weight for name, weight in weights.items() if factors[name] == 1.0)
    lost = sum(weight * (1.0 - factors[name]) for name, weight in weights.items())
    # All weights may be multiplied alike. So what the others gain is written as what the reduced ones lose.
    gain = 1.0 + lost / full if full else 1.0
    return {name: 1.0 if factor == 1.0 else factor / gain for name, factor in factors.items()}


def explain(instance: str, shares: Mapping[str, Share]) -> str:
    """Return why a message went to the instance, as a phrase for the operator."""
    own = shares.get(instance)
    if own and own.factor < 1.0:
        return f"{instance}, with {round(100 * own.factor)} % of its share, because {own.reason}"
    reduced = sorted((share.factor, name) for name, share in shares.items() if share.factor < 1.0)
    if not reduced:
        return f"{instance}, by its share"
    return f"{instance}, because {' and '.join(shares[name].reason for _, name in reduced)}"


def _counts(
    shares: Mapping[str, Share], cohorts: Iterable[Cohort], minute: int
) -> dict[str, dict[int, tuple[int, int]]]:
    """Return the counts of each instance in the largest window. What may still be young is left out."""
    first, end = minute - GRACE - WINDOWS[-1], minute - GRACE
    begins = {name: max(first, share.measured_from) for name, share in shares.items()}
    counts: dict[str, dict[int, tuple[int, int]]] = defaultdict(dict)
    for name, sent_at, sent, delivered in cohorts:
        if begins.get(name, first) <= sent_at < end:
            before_it = counts[name].get(sent_at, (0, 0))
            counts[name][sent_at] = (before_it[0] + sent, before_it[1] + delivered)
    return counts


def _reports_in_time(counts: Counts) -> bool:
    sent = sum(one for one, _ in counts.values())
    delivered = sum(one for _, one in counts.values())
    return sent >= MIN_MESSAGES and delivered >= REPORTING_PART * sent


def _judge(own: Counts, others: Collection[Counts], minute: int) -> tuple[Verdict, Comparison]:
    """Return the verdict, and what it was reached from: the shortest window that is enough for one."""
    comparison = Comparison()
    verdict = Verdict.UNCLEAR
    for age in range(1, WINDOWS[-1] + 1):
        sent_at = minute - GRACE - age
        if counted := own.get(sent_at):
            others_sent = others_delivered = 0
            for other in others:
                sent, delivered = other.get(sent_at, (0, 0))
                others_sent += sent
                others_delivered += delivered
            comparison.add(*counted, others_sent, others_delivered)
        if age in WINDOWS and min(comparison.sent, comparison.others_sent) >= MIN_MESSAGES:
            verdict = _verdict(comparison)
            if verdict is not Verdict.PERHAPS_WORSE:
                break
    return verdict, comparison


def _verdict(comparison: Comparison) -> Verdict:
    if not comparison.weighted + comparison.others_weighted:
        return Verdict.UNCLEAR
    if comparison.ratio >= EQUAL_RATIO:
        return Verdict.EQUAL
    if comparison.ratio >= WORSE_RATIO:
        return Verdict.UNCLEAR
    return Verdict.WORSE if comparison.z <= -SIGNIFICANCE else Verdict.PERHAPS_WORSE


def _unjudged(share: Share, minute: int, *, measured: bool) -> Share:
    return msgspec.structs.replace(
        share,
        factor=min(1.0, share.factor * SLOW_INCREASE),
        measured_from=share.measured_from if measured else minute + 1,
        decided=minute,
    )


def _judged(share: Share, verdict: Verdict, comparison: Comparison, reason: str, minute: int) -> Share:
    below = verdict in {Verdict.WORSE, Verdict.PERHAPS_WORSE}
    quiet = minute - share.worse_at
    wait = MIN_WAIT if quiet >= WAIT_MEMORY else share.wait
    if verdict is Verdict.WORSE and share.increased:
        wait = min(2 * wait, MAX_WAIT)
    change = 1.0 if verdict is Verdict.EQUAL and quiet < wait else verdict.value
    recovers = verdict is Verdict.EQUAL and share.factor < 1.0 < change
    return msgspec.structs.replace(
        share,
        factor=max(MIN_FACTOR, min(1.0, share.factor * change)),
        sent=comparison.sent,
        delivered=comparison.delivered,
        reason=reason or share.reason,
        worse_at=minute if below else share.worse_at,
        wait=wait,
        increased=verdict is not Verdict.WORSE and (share.increased or recovers),
        decided=minute,
    )


def _normalized(instances: Collection[str], shares: dict[str, Share]) -> dict[str, Share]:
    """Raise all factors alike until one is 1: there is always an instance that keeps all of its share."""
    largest = max((shares[name].factor if name in shares else 1.0 for name in instances), default=1.0)
    return {
        name: msgspec.structs.replace(share, factor=factor, reason="" if factor >= 1.0 else share.reason)
        for name, share in shares.items()
        for factor in [min(1.0, share.factor / largest)]
    }


def _reason(name: str, others: Collection[str], country: str, comparison: Comparison) -> str:
    place = f" in {country}" if country else ""
    (against,) = others if len(others) == 1 else ("the others",)
    return (
        f"{name} delivered {round(100 * comparison.rate)} % of its last {comparison.sent}{place}"
        f" ({against} {round(100 * comparison.others_rate)} %)"
    )
