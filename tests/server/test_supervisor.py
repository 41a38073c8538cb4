"""When the parent of several gateways starts one again that has died."""

from gatepost.server.supervisor import RESTART_PAUSES, STABLE_AFTER, count_death, restart_pause


def test_each_death_in_a_row_makes_the_pause_longer():
    assert tuple(restart_pause(deaths) for deaths in range(1, 5)) == RESTART_PAUSES
    assert restart_pause(100) == RESTART_PAUSES[-1]
    assert count_death(2, STABLE_AFTER - 1) == 3


def test_after_a_long_life_the_pause_is_the_shortest():
    assert restart_pause(count_death(7, STABLE_AFTER + 1)) == RESTART_PAUSES[0]
    assert restart_pause(count_death(0, STABLE_AFTER + 1)) == RESTART_PAUSES[0]
