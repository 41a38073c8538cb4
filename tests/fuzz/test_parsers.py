"""Every parser of untrusted bytes, with valid bytes that were changed; ``make fuzz`` is guided by coverage."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.targets import SEEDS, TARGETS


@st.composite
def mutated(draw, seeds):
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 1, 4, 30])))
        data[start:end] = draw(
            st.binary(max_size=4)
            | st.sampled_from(
                [b"\r\n", b"\0", b'"', b"\\u0000", b"\\ud800", b"%0d%0a", b"@", b"=?utf-8?q?=0A?="]
            )
            | st.just(bytes(data[start : end + 8]))
        )
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_parsed_or_refused(name):
    for seed in SEEDS[name]:
        TARGETS[name](seed)

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(mutated(SEEDS[name]) | st.binary(max_size=200))
    def any_bytes(data):
        TARGETS[name](data)

    any_bytes()
