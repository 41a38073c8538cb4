"""Which servers a URL of PostgreSQL names."""

import pytest

from gatepost_sql.postgresql_hosts import hosts_of


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u:p@a,b/p", [("a", None), ("b", None)]),
        ("postgresql://u:p@a:1,b,[::1]:3,[::2]/p?port=9", [("a", 1), ("b", None), ("::1", 3), ("::2", None)]),
        ("postgresql://u:p@%2Frun%2Fone,b/p", [("/run/one", None), ("b", None)]),
        ("postgresql:///p?host=/run/one,b&port=1,2", [("/run/one", 1), ("b", 2)]),
        ("postgresql:///p?host=a:5,b&port=7", [("a", 7), ("b", 7)]),
        ("postgresql:///p?host=a,b:5", [("a", None), ("b", 5)]),
        ("postgresql:///p?host=a,b&port=1,2,3", []),
        ("postgresql:///p", []),
        ("postgresql://u:p@a,,b/p", []),
    ],
)
def test_hosts_are_those_of_the_driver(url, hosts):
    assert list(hosts_of(url)) == hosts
