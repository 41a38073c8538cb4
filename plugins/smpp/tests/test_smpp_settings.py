"""The settings: every fault at once, in words that say what to do."""

import pytest

from gatepost.errors import ConfigError


@pytest.fixture
def table():
    return {
        "host": "127.0.0.1",
        "tls": False,
        "system_id": "gatepost",
        "password": "s3cr3t",
    }


def faults(make_plugin, **keys):
    with pytest.raises(ConfigError) as refused:
        make_plugin(**keys)
    return {fault.key: fault.problem for fault in refused.value.faults}


def test_every_fault_is_named_at_once(make_plugin):
    found = faults(
        make_plugin,
        host="smpp example",
        ca_file="ca.pem",
        system_id="a" * 16,
        password="ninechars",
        system_type="naïve",
    )
    assert found.keys() == {"host", "ca_file", "system_id", "password", "system_type"}
    assert "8 characters" in found["password"]
    assert "ninechars" not in str(found)


@pytest.mark.parametrize("key", ["host", "system_id", "password"])
def test_what_is_needed_must_not_be_empty(make_plugin, key):
    assert key in faults(make_plugin, **{key: ""})


@pytest.mark.parametrize("key", ["host", "system_id", "password"])
def test_what_is_needed_must_be_there(make_plugin, key):
    assert faults(make_plugin, **{key: None})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", 0),
        ("port", 65536),
        ("connections", 0),
        ("connections", 65),
        ("window", 0),
        ("window", 1001),
        ("short_code_type", [3]),
        ("short_code_type", [3, 256]),
        ("long_texts", "sar"),
        ("receipt_ids", "octal"),
        ("reference_tag", 0x13FF),
        ("reference_tag", 0x4000),
        ("system_id", "a\0b"),
        ("password", "é"),
        ("host", "exämple"),
        ("unknown", 1),
    ],
)
def test_a_value_that_cannot_be_used(make_plugin, key, value):
    assert key in faults(make_plugin, **{key: value})


def test_clear_text_is_warned_of(make_plugin, core):
    make_plugin()
    assert [key for key, _ in core.warnings] == ["tls"]
    core.warnings.clear()
    make_plugin(tls=True)
    assert not core.warnings


async def test_a_ca_file_that_is_none_stops_the_start(running, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(ConfigError) as refused:
            async with running(tls=True, ca_file=name):
                pass
        assert [fault.key for fault in refused.value.faults] == ["ca_file"]
