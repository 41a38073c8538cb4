"""The gateway as a process of its own, for tests."""

import pytest

from gatepost.testing.process import GatewayProcess

CONFIG = """
[server]
port = 0

[clients.smartico]
authorization = ["secret"]
allow_ips = ["127.0.0.1/32"]
"""


def test_a_process_that_runs_is_not_started_again(tmp_path):
    config = tmp_path / "gatepost.toml"
    config.write_text(CONFIG)
    with GatewayProcess(config) as gateway:
        pid = gateway.pid

        with pytest.raises(RuntimeError, match="runs already"):
            gateway.start()

        assert (gateway.running, gateway.pid) == (True, pid)
        gateway.kill()
        assert gateway.start()
