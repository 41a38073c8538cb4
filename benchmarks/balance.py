"""*Balance*: the rule of ``balance = "receipts"``, simulated.

``python benchmarks/balance.py --seeds 1000`` prints a table: how many of the seeds meet the goal of each scenario. Time
goes in minutes. In each minute, the messages of each of two replicas are drawn (Poisson), then how many of them go to
which provider, are delivered, and are reported after how many minutes (binomial draws). The second replica learns of
each decision a minute late. A seed always gives the same run.
"""

import argparse
import math
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from random import Random
from statistics import NormalDist
from typing import NamedTuple

from gatepost.outbox.cohorts import Cohort
from gatepost.routing.balance import Share, decide, split_factors

DAY = 24 * 60
OUTAGE = range(10, 40)
STEPS = (*range(16), *range(18, 31, 3), *range(35, 66, 5))
"""Minutes after the send at which reports are counted; those that come later change nothing."""
NORMAL = NormalDist()


class Provider(NamedTuple):
    """One simulated provider."""

    rate: float
    """The part of the messages that is delivered and reported at some time."""
    median: float
    """Seconds until a report; the delay is lognormal."""
    sigma: float
    outage: range = range(0)
    """Minutes in which it takes everything and delivers nothing."""
    batch: int = 1
    """Minutes between two webhooks; all reports until then come together."""

    def arrivals(self) -> list[float]:
        """Return the part of a minute's messages that is reported until each of ``STEPS``."""
        # Messages are sent at any moment of their minute.
        moments = [(place + 0.5) / 10 for place in range(10)]
        return [
            self.rate
            * sum(
                NORMAL.cdf(math.log((step + 1 - moment) * 60 / self.median) / self.sigma)
                for moment in moments
            )
            / len(moments)
            for step in STEPS
        ]


class Run(NamedTuple):
    """What happened in one simulation."""

    shares: list[float]
    """The share of the first provider in each minute, as decided."""
    sent: list[tuple[int, int]]
    """By minute: the messages of the first provider, and of all."""

    def part(self, begin: int, end: int) -> float:
        """Return the part of the messages between two minutes that went to the first provider."""
        of_first = sum(one for one, _ in self.sent[begin:end])
        return of_first / max(1, sum(one for _, one in self.sent[begin:end]))


def binomial(random: Random, count: int, chance: float) -> int:
    """Draw exactly from the binomial distribution; quick for few and for many."""
    if chance <= 0 or not count:
        return 0
    if chance >= 1:
        return count
    if chance > 0.5:
        return count - binomial(random, count, 1 - chance)
    if count < 8:
        return sum(random.random() < chance for _ in range(count))
    if count * chance < 10:
        return _by_gaps(random, count, chance)
    return _by_rejection(random, count, chance)


def _by_gaps(random: Random, count: int, chance: float) -> int:
    """Draw the gaps between successes, which are geometric (Devroye 1986)."""
    successes, place, scale = 0, 0, math.log1p(-chance)
    while True:
        place += int(math.log(1.0 - random.random()) / scale) + 1
        if place > count:
            return successes
        successes += 1


def _by_rejection(random: Random, count: int, chance: float) -> int:
    """Draw by transformed rejection, algorithm BTRS (Hörmann 1993)."""
    deviation = math.sqrt(count * chance * (1 - chance))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * chance
    center = count * chance + 0.5
    vr = 0.92 - 4.2 / b
    alpha = (2.83 + 5.1 / b) * deviation
    odds, mode = math.log(chance / (1 - chance)), int((count + 1) * chance)
    height = math.lgamma(mode + 1) + math.lgamma(count - mode + 1)
    while True:
        u = random.random() - 0.5
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + center)
        if not 0 <= k <= count:
            continue
        v = random.random()
        if us >= 0.07 and v <= vr:
            return k
        v = math.log(v * alpha / (a / (us * us) + b))
        if v <= height - math.lgamma(k + 1) - math.lgamma(count - k + 1) + (k - mode) * odds:
            return k


def poisson(random: Random, mean: float) -> int:
    """Draw from the Poisson distribution; for large means from the normal one, rounded."""
    if mean > 100:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    count, product, limit = 0, random.random(), math.exp(-mean)
    while product > limit:
        count += 1
        product *= random.random()
    return count


def _reports(random: Random, count: int, arrivals: list[float]) -> Iterator[tuple[int, int]]:
    """Yield after how many minutes how many of ``count`` messages are reported as delivered."""
    if count < 20:
        places = [bisect_left(arrivals, random.random()) for _ in range(count)]
        for place in set(places):
            if place < len(STEPS):
                yield STEPS[place], places.count(place)
        return
    left, before = count, 0.0
    for step, until in zip(STEPS, arrivals, strict=True):
        if not left:
            return
        if until > before:
            reported = binomial(random, left, (until - before) / (1.0 - before))
            if reported:
                yield step, reported
            left -= reported
            before = until


class Simulation:
    """One route in one country, with two replicas that send half of the messages each."""

    def __init__(self, random: Random, rate: float, providers: list[Provider]) -> None:
        """Take the messages a second and the providers, whose names are their positions."""
        self._random = random
        self._mean = rate * 60 / 2
        self._providers = providers
        self._arrivals = [provider.arrivals() for provider in providers]
        self._names = [f"provider-{place}" for place in range(len(providers))]
        self._weights = dict.fromkeys(self._names, 1 / len(providers))
        self._shares: dict[str, Share] = {}
        # What the store has: by provider and minute the sums of both replicas, of what was sent and delivered.
        self._cohorts: list[dict[int, Cohort]] = [{} for _ in providers]
        # By minute: the provider, the minute of the send, and how many of its messages are reported.
        self._due: dict[int, list[tuple[int, int, int]]] = defaultdict(list)

    def run(self, minutes: int) -> Run:
        """Run from minute 0 on, in which nothing is known of any provider."""
        run = Run([], [])
        before = list(self._weights.values())
        for minute in range(minutes):
            now = self._decide(minute)
            sent = [sum(both) for both in zip(self._split(now), self._split(before), strict=True)]
            run.shares.append(now[0])
            run.sent.append((sent[0], sum(sent)))
            for place, count in enumerate(sent):
                self._send(place, minute, count)
            for place, sent_at, delivered in self._due.pop(minute, ()):
                if cohort := self._cohorts[place].get(sent_at):
                    self._cohorts[place][sent_at] = cohort._replace(delivered=cohort.delivered + delivered)
            before = now
        return run

    def _decide(self, minute: int) -> list[float]:
        for by_minute in self._cohorts:
            by_minute.pop(minute - STEPS[-1] - 2, None)
        cohorts = chain.from_iterable(by_minute.values() for by_minute in self._cohorts)
        self._shares = decide("GB", self._weights, self._shares, cohorts, minute)
        weights = {
            name: self._weights[name] * factor
            for name, factor in split_factors(self._weights, self._shares).items()
        }
        return [weight / sum(weights.values()) for weight in weights.values()]

    def _split(self, shares: list[float]) -> Iterator[int]:
        """Yield how many of one replica's messages in one minute go to each provider."""
        left, left_share = poisson(self._random, self._mean), 1.0
        for share in shares[:-1]:
            count = binomial(self._random, left, min(1.0, share / left_share))
            yield count
            left, left_share = left - count, left_share - share
        yield left

    def _send(self, place: int, minute: int, count: int) -> None:
        self._cohorts[place][minute] = Cohort(self._names[place], minute, count, 0)
        provider = self._providers[place]
        if minute in provider.outage:
            return
        for step, delivered in _reports(self._random, count, self._arrivals[place]):
            reported_at = -(-(minute + step) // provider.batch) * provider.batch
            self._due[reported_at].append((place, minute, delivered))


class Scenario(NamedTuple):
    """A question to the rule, with the goal of its answer."""

    name: str
    minutes: int
    draw: Callable[[Random], tuple[float, list[Provider]]]
    """Draws the messages a second, and the providers."""
    measure: Callable[[Run], tuple[float, float]]
    """Returns the figure that must be at most ``limit``, and the one that must be at least ``floor``."""
    limit: float
    floor: float
    goal: str

    def figures(self, seed: int) -> tuple[float, float]:
        """Simulate one seed."""
        random = Random(f"{self.name} {seed}")
        rate, providers = self.draw(random)
        return self.measure(Simulation(random, rate, providers).run(self.minutes))

    def met(self, figures: tuple[float, float]) -> bool:
        """Return whether the figures of a seed meet the goal."""
        return figures[0] <= self.limit and figures[1] >= self.floor


def between(random: Random, low: float, high: float) -> float:
    """Draw a positive number whose logarithm is uniform."""
    return math.exp(random.uniform(math.log(low), math.log(high)))


def some_provider(random: Random) -> Provider:
    """Draw a provider: 50 to 98 % are reported at some time, half of them within 2 to 120 s, some after many hours."""
    return Provider(random.uniform(0.5, 0.98), between(random, 2, 120), random.uniform(0.5, 2.0))


def outage(rate: float, count: int = 2) -> Callable[[Random], tuple[float, list[Provider]]]:
    """Return a draw of ``count`` providers that are equal but for an outage of the first."""

    def draw(random: Random) -> tuple[float, list[Provider]]:
        provider = some_provider(random)
        return rate, [provider._replace(outage=OUTAGE), *[provider] * (count - 1)]

    return draw


def outage_figures(begin: int, back: int) -> Callable[[Run], tuple[float, float]]:
    """Return the measure of an outage: the part sent there from ``begin`` on, the least share from ``back`` on."""
    return lambda run: (run.part(begin, OUTAGE.stop), min(run.shares[back:]))


def equal(random: Random) -> tuple[float, list[Provider]]:
    """Draw two equal providers."""
    return between(random, 0.2, 50), [some_provider(random)] * 2


def one_hours_late(random: Random) -> tuple[float, list[Provider]]:
    """Draw two providers, of which the first reports after hours."""
    provider = some_provider(random)
    late = provider._replace(median=between(random, 2 * 3600, 8 * 3600), sigma=random.uniform(0.3, 1.0))
    return between(random, 0.2, 50), [late, provider]


def one_without_reports(random: Random) -> tuple[float, list[Provider]]:
    """Draw two providers, of which the first never reports."""
    provider = some_provider(random)
    return between(random, 0.2, 50), [provider._replace(rate=0.0), provider]


def nearly_worse(random: Random) -> tuple[float, list[Provider]]:
    """Draw two providers, of which the first delivers 70 to 90 % of what the second does."""
    provider = some_provider(random)
    return between(random, 0.2, 50), [
        provider._replace(rate=provider.rate * random.uniform(0.7, 0.9)),
        provider,
    ]


def in_batches(random: Random) -> tuple[float, list[Provider]]:
    """Draw two providers, of which the first reports every 2 to 20 minutes only."""
    provider = some_provider(random)
    return between(random, 0.2, 50), [provider._replace(batch=random.randint(2, 20)), provider]


def share_range(run: Run) -> tuple[float, float]:
    """Return the largest and the smallest share."""
    return max(run.shares), min(run.shares)


def drops(run: Run) -> tuple[float, float]:
    """Return how often the share turned from rising by more than a fiftieth to falling, and the last share."""
    steps = [after - before for before, after in pairwise(run.shares) if abs(after - before) > 0.02]
    return sum(before > 0 > after for before, after in pairwise(steps)), run.shares[-1]


AROUND_A_HALF = "share from 35 to 65 %"
FEW_DROPS = "at most 12 relapses a day"


def outage_goal(begin: int, share: int, back: int) -> str:
    """Return the goal of an outage as a text."""
    return f"at most 10 % in minutes {begin} to 40; at least {share} % from minute {back} on"


SCENARIOS = (
    Scenario(
        "outage, 10 a second", 120, outage(10), outage_figures(20, 70), 0.1, 0.4, outage_goal(20, 40, 70)
    ),
    Scenario(
        "outage, 2 a second", 150, outage(2), outage_figures(20, 110), 0.1, 0.4, outage_goal(20, 40, 110)
    ),
    Scenario(
        "outage, 50 a second", 120, outage(50), outage_figures(20, 70), 0.1, 0.4, outage_goal(20, 40, 70)
    ),
    Scenario(
        "outage, 0.2 a second", 300, outage(0.2), outage_figures(30, 240), 0.1, 0.4, outage_goal(30, 40, 240)
    ),
    Scenario(
        "outage, three, 10 a second",
        120,
        outage(10, 3),
        outage_figures(20, 80),
        0.1,
        0.3,
        outage_goal(20, 30, 80),
    ),
    Scenario("two equal", DAY, equal, share_range, 0.65, 0.35, AROUND_A_HALF),
    Scenario("one hours late", DAY, one_hours_late, share_range, 0.65, 0.35, AROUND_A_HALF),
    Scenario("one never reports", DAY, one_without_reports, share_range, 0.65, 0.35, AROUND_A_HALF),
    Scenario("one nearly worse", DAY, nearly_worse, drops, 12, 0.0, FEW_DROPS),
    Scenario("one in batches", DAY, in_batches, drops, 12, 0.0, FEW_DROPS),
)


def table(seeds: int, names: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the table of results, each when its scenario has been simulated."""
    yield "| scenario | goal | seeds | meet it | worst | time |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for scenario in SCENARIOS:
        if names and scenario.name not in names:
            continue
        begin = time.monotonic()
        figures = [scenario.figures(seed) for seed in range(seeds)]
        met = sum(map(scenario.met, figures))
        worst = f"{max(one for one, _ in figures):.3g}, {min(one for _, one in figures):.3g}"
        duration = time.monotonic() - begin
        yield f"| {scenario.name} | {scenario.goal} | {seeds} | {met / seeds:.1%} | {worst} | {duration:.0f} s |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Simulate the rule of balance = receipts.")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("scenario", nargs="*", help=f"one of: {'; '.join(one.name for one in SCENARIOS)}")
    arguments = parser.parse_args()
    for line in table(arguments.seeds, arguments.scenario):
        print(line, flush=True)


if __name__ == "__main__":
    main()
