"""A claim must not be taken for lost while a plugin is still at it, however short its timeout is."""

import pytest

from gatepost.config.settings import Instance as InstanceSettings
from gatepost.delivery.failover import RouteMember
from gatepost.outbox import polling
from gatepost.plugin_host import instances, isolation
from gatepost.throttle import Throttle


@pytest.mark.parametrize("timeout", [0.01, 0.3, 1.0, 10.0, 600.0])
def test_a_claim_outlasts_the_longest_send_and_the_wait_for_its_renewal(timeout):
    instance = instances.Instance(InstanceSettings(name="any", use="any", timeout=timeout), object())
    lease = RouteMember(instance, Throttle(concurrency=1, per_second=0.0)).lease

    assert lease > timeout + instances.MARGIN + isolation.GRACE
    # It is renewed when a third of it is over, at the next of the looks that are POLL_INTERVAL apart.
    assert lease * 2 / 3 > polling.POLL_INTERVAL
