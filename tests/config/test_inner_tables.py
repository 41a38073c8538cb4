"""Tables inside a plugin's table: every fault names its key there, and hides no other."""

from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from gatepost.config.toml_table import Table
from gatepost.model import Secret


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    means: str
    status: Annotated[int, msgspec.Meta(ge=100)] = 200


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: Secret
    rules: list[Rule] = []


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    inner: Annotated[Inner | None, msgspec.Meta(description="a table")] = None
    plain: dict[str, str] = {}


def convert(content):
    table = Table.root({"p": content}, base=Path(), environment={"KEY": "hunter2"}).table("p")
    return table.convert(Outer, "p"), dict(table.faults)


def test_a_good_table_is_converted():
    outer, faults = convert(
        {"inner": {"key": "env:KEY", "rules": [{"means": "x"}, {"means": "y", "status": 400}]}}
    )
    assert faults == {}
    assert outer == Outer(inner=Inner(Secret("hunter2"), [Rule("x"), Rule("y", 400)]))


@pytest.mark.parametrize(
    ("content", "key", "problem"),
    [
        ({"inner": {}}, "p.inner.key", "is missing"),
        ({"inner": {"kye": "x"}}, "p.inner.kye", "is it key?"),
        ({"inner": {"key": "env:NONE"}}, "p.inner.key", "NONE is not set"),
        ({"inner": {"key": "x", "rules": [{"means": "x"}, {}]}}, "p.inner.rules[2].means", "is missing"),
        (
            {"inner": {"key": "x", "rules": [{"means": "x", "status": 1}]}},
            "p.inner.rules[1].status",
            ">= 100",
        ),
        ({"inner": {"key": "x", "rules": [7]}}, "p.inner.rules", "expected a table"),
        ({"inner": {"key": "x", "rules": {}}}, "p.inner.rules", "expected a list"),
        ({"inner": 7}, "p.inner", "expected a table"),
        ({"plain": {"a": 7}}, "p.plain", "expected a text"),
    ],
)
def test_a_fault_names_the_key_inside(content, key, problem):
    outer, faults = convert(content)
    assert outer is None
    assert problem in faults[key]


def test_all_faults_are_named_at_once():
    _, faults = convert({"inner": {"rules": [{"x": 1}, {"means": 7}]}, "plain": 7})
    assert faults.keys() == {
        "p.inner.key",
        "p.inner.rules[1].x",
        "p.inner.rules[1].means",
        "p.inner.rules[2].means",
        "p.plain",
    }
