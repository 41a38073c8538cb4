import itertools

from gatepost.observe.log_throttle import LogThrottle


def test_a_log_line_is_due_once_a_minute_for_each_key():
    now = [100.0]
    throttle = LogThrottle(lambda: now[0])
    assert [throttle.due(key) for key in ("a", "a", "b", "a", "b")] == [True, False, True, False, False]
    now[0] = 159.9
    assert not throttle.due("a")
    now[0] = 160.0
    assert [throttle.due(key) for key in ("b", "a", "a")] == [True, True, False]


def test_many_keys_fill_neither_memory_nor_log():
    now = [0.0]
    throttle = LogThrottle(lambda: now[0], max_keys=10)
    assert sum(throttle.due(str(key)) for key in range(1000)) == 10
    now[0] = 61.0
    assert sum(throttle.due(str(key)) for key in itertools.chain(range(500), range(500))) == 10
