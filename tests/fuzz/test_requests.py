"""A short run of the fuzz bench; ``make fuzz`` is the long one."""

import pytest

from fuzz import bench, gateway
from fuzz.driver import Bench
from fuzz.oracle import Expected
from fuzz.requests import Requests
from gatepost.testing.process import GatewayProcess


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with GatewayProcess(gateway.write(tmp_path_factory.mktemp("gateway"))) as running:
        yield running


@pytest.mark.parametrize("seed", [1, 2])
def test_every_post_that_is_http_gets_200_and_json(process, seed):
    thrower = Bench(gateway.address(process), seed)
    thrower.run(2_000)
    thrower.close()
    assert thrower.violations == []
    assert gateway.faults(process.log) == []
    # It is no use when all of it is refused at the door, or none.
    assert {"400", "code 0", "code 1", "code 3", "code 5", "code 7"} <= set(thrower.answers)


def test_hundreds_of_silent_connections_end_and_shut_nobody_out(process):
    most, _ = bench.silent_crowd(process, 300)
    assert most < gateway.memory(process.pid) + 50 * 2**20


def test_the_same_seed_gives_the_same_requests():
    one, other = Requests(7), Requests(7)
    assert [one.framed() for _ in range(50)] == [other.framed() for _ in range(50)]


def test_what_is_thrown_with_sound_framing_is_a_post_on_the_contract():
    thrown = Requests(3)
    requests = [thrown.framed().data for _ in range(500)]
    # What a parser makes of the rest after an Upgrade it does not say; the server reads that again without it.
    assert [Expected(data).owed for data in requests if b"Upgrade" not in data].count([True]) > 400
    assert [] not in [Expected(data).owed for data in requests if b"Upgrade" not in data]
