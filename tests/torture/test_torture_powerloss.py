"""A few hundred power cuts of the thousands that `make torture` tries."""

from torture import powerloss


def test_full_loses_nothing_acknowledged_and_normal_does(tmp_path):
    figures = powerloss.run(tmp_path, 1, messages=25, states=300)

    assert figures["FULL"]["lost"] == 0
    assert figures["NORMAL"]["lost"] > 0
