"""A claim must not be taken for lost while a plugin is still at it, however short its timeout is."""

import pytest

from gatepost import delivery, guard, instances
from gatepost.delivery import Provider
from gatepost.pace import Pace
from gatepost.settings import Instance as InstanceSettings


@pytest.mark.parametrize("timeout", [0.01, 0.3, 1.0, 10.0, 600.0])
def test_a_claim_outlasts_the_longest_send_and_the_wait_for_its_renewal(timeout):
    instance = instances.Instance(InstanceSettings(name="any", use="any", timeout=timeout), object())
    lease = Provider(instance, Pace(concurrency=1, per_second=0.0)).lease

    assert lease > timeout + instances.MARGIN + guard.GRACE
    # It is renewed when a third of it is over, at the next of the looks that are POLL apart.
    assert lease * 2 / 3 > delivery.POLL
