"""Some hundreds of the thousands of power cuts of `make torture`."""

from torture import powerloss


def test_full_loses_no_acknowledged_commit_and_normal_does(tmp_path):
    figures = powerloss.run(tmp_path, 1, messages=25, states=300)

    assert figures["FULL"]["lost"] == 0
    assert figures["NORMAL"]["lost"] > 0
