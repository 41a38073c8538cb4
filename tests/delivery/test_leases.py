"""The lease of a claim does not end while a plugin is still sending, however short its timeout is."""

import pytest

from gatepost.config.settings import InstanceSettings
from gatepost.delivery.routes import RouteMember
from gatepost.outbox import polling
from gatepost.plugin_host import instances, isolation
from gatepost.throttle import Throttle


@pytest.mark.parametrize("timeout", [0.01, 0.3, 1.0, 10.0, 600.0])
def test_a_claim_outlasts_the_longest_send_and_the_wait_for_its_renewal(timeout):
    instance = instances.Instance(InstanceSettings(name="any", use="any", timeout=timeout), object())
    lease = RouteMember(instance, Throttle(concurrency=1, per_second=0.0)).lease

    assert lease > timeout + instances.SEND_OVERRUN + isolation.CANCEL_TIMEOUT
    # It is renewed when a third of it is over, at the next poll.
    assert lease * 2 / 3 > polling.POLL_INTERVAL
