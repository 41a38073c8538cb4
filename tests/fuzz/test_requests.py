"""A short run of the fuzzer; ``make fuzz`` is the long one."""

import pytest

from fuzz import gateway
from fuzz.driver import Fuzzer
from fuzz.oracle import Expected
from fuzz.requests import Requests
from fuzz.silent_connections import hold_silent_connections
from gatepost.testing.process import GatewayProcess


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with GatewayProcess(gateway.write(tmp_path_factory.mktemp("gateway"))) as running:
        yield running


@pytest.mark.parametrize("seed", [1, 2])
def test_every_post_that_is_http_gets_200_and_json(process, seed):
    fuzzer = Fuzzer(gateway.address(process), seed)
    fuzzer.run(2_000)
    fuzzer.close()
    assert fuzzer.violations == []
    assert gateway.log_errors(process.log) == []
    # A run shows something only if the requests reach every check of the gateway.
    assert {"400", "code 0", "code 1", "code 3", "code 5", "code 7"} <= set(fuzzer.answers)


def test_300_silent_connections_are_closed_and_block_no_request(process):
    memory, _ = hold_silent_connections(process, 300)
    assert memory < gateway.memory(process.pid) + 50 * 2**20


def test_the_same_seed_gives_the_same_requests():
    first, second = Requests(7), Requests(7)
    assert [first.framed() for _ in range(50)] == [second.framed() for _ in range(50)]


def test_a_request_with_valid_framing_is_a_post_on_the_contract():
    requests = Requests(3)
    # The parser of the oracle does not parse what follows an Upgrade; the server parses it as a normal request.
    answers = [
        Expected(data).answers for _ in range(500) if b"Upgrade" not in (data := requests.framed().data)
    ]
    assert answers.count([True]) > 400
    assert [] not in answers
