"""A few seeds of the simulation; `python benchmarks/balance.py` runs a thousand. A seed always gives the same run."""

import importlib.util
import statistics
from pathlib import Path
from random import Random

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "balance.py"
SEEDS = {"outage, 10 a second": 10, "outage, three, 10 a second": 3}
"""The simulation of an outage takes a twentieth of a second, and that of a day half a second."""


def simulation():
    spec = importlib.util.spec_from_file_location("benchmarks_balance", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


balance = simulation()


@pytest.mark.parametrize("scenario", balance.SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_shares_meet_the_goal(scenario):
    figures = [scenario.figures(seed) for seed in range(SEEDS.get(scenario.name, 1))]

    assert [one for one in figures if not scenario.met(one)] == []


@pytest.mark.parametrize(("count", "chance"), [(5, 0.3), (40, 0.1), (1000, 0.002), (1000, 0.4), (1500, 0.97)])
def test_the_simulation_draws_from_the_binomial_distribution(count, chance):
    random = Random(1)
    draws = [balance.binomial(random, count, chance) for _ in range(20_000)]

    assert 0 <= min(draws) <= max(draws) <= count
    variance = count * chance * (1 - chance)
    assert statistics.fmean(draws) == pytest.approx(count * chance, abs=4 * (variance / 20_000) ** 0.5)
    assert statistics.variance(draws) == pytest.approx(variance, rel=0.06)


@pytest.mark.parametrize("mean", [0.2, 6.0, 600.0])
def test_the_simulation_draws_from_the_poisson_distribution(mean):
    random = Random(1)
    draws = [balance.poisson(random, mean) for _ in range(20_000)]

    assert statistics.fmean(draws) == pytest.approx(mean, rel=0.03)
    assert statistics.variance(draws) == pytest.approx(mean, rel=0.06)


def test_the_table_has_a_row_for_each_scenario():
    lines = list(balance.table(1, ["outage, 10 a second", "outage, 50 a second"]))

    assert [line.count("|") for line in lines] == [7, 7, 7, 7]
    assert "| 100.0% |" in lines[2]
