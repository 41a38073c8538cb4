"""Values that have the right type and could never work: each one is a fault where it stands."""

import pytest

from gatepost import app, logs

GOOD = """\
[server]
[clients.brand]
authorization = ["a secret"]
[contacts]
[delivery]
[plugins.box]
use = "sandbox"
folder = "box"
"""


@pytest.fixture
def faults(tmp_path):
    """Has the good configuration read with a line more in one of its tables; gives every fault."""
    file = tmp_path / "gatepost.toml"

    def read(table="server", line=""):
        file.write_text(GOOD.replace(f"[{table}]\n", f"[{table}]\n{line}\n"))
        return {fault.key: fault.problem for fault in app.examine(file)[2]}

    assert read() == {}
    yield read
    logs.never(None)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("delivery", "email_lifetime"),
        ("delivery", "sms_lifetime"),
        ("delivery", "uncertain_wait"),
        ("delivery", "retention"),
        ("contacts", "timeout"),
        ("plugins.box", "timeout"),
        ("plugins.box", "per_second"),
    ],
)
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e300", "315360001"])
def test_a_number_that_no_clock_can_hold_is_a_fault(faults, table, key, value):
    found = faults(table, f"{key} = {value}")

    assert list(found) == [f"{table}.{key}"]
    assert "expected a number" in found[f"{table}.{key}"]
    assert faults(table, f"{key} = 315360000") == {}
