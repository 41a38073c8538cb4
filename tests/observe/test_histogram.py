"""The histogram, as Prometheus sees it."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as ClientHistogram

from gatepost.observe.histogram import FAST, SLOW, Histogram


def exposed(histogram):
    registry = CollectorRegistry()
    registry.register(histogram)
    return generate_latest(registry).decode().splitlines()


@pytest.mark.parametrize("bounds", [FAST, SLOW])
def test_it_counts_as_the_histogram_of_prometheus_client_does(bounds):
    values = [0.0, *bounds, *(bound * 1.0001 for bound in bounds), 1e9]
    registry = CollectorRegistry()
    reference = ClientHistogram("gatepost_x", "text", ["plugin"], buckets=bounds, registry=registry)
    histogram = Histogram("x", "text", ["plugin"], bounds)
    for value in values:
        reference.labels("box").observe(value)
        histogram.observe(value, "box")
    expected = [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
    assert exposed(histogram) == expected


def test_a_series_exists_before_its_first_observation():
    histogram = Histogram("x", "text", ["plugin", "channel"], [1.0])
    histogram.create([("box", "email")])
    assert 'gatepost_x_count{channel="email",plugin="box"} 0.0' in exposed(histogram)
    histogram.observe(0.5, "box", "email")
    histogram.create([("box", "email")])
    assert 'gatepost_x_count{channel="email",plugin="box"} 1.0' in exposed(histogram)
